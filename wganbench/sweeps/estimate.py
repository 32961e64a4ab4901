"""How long a sweep may take, before it begins: operations over the rate of products here."""

from __future__ import annotations

import time

import torch

from wganbench.config.schema import RunConfig
from wganbench.networks import NETWORKS
from wganbench.sweeps.launch import SweepPlan
from wganbench.training.compilation import wants_compilation

REACHED = 0.4
"""Share of the product rate that training reaches: scripts/bench_training.py."""
STARTING_SECONDS = 5.0
COMPILING_SECONDS = 14.0
PROGRAM_SECONDS = 4e-4
"""What calling the compiled step costs, however small it is."""
SIZE = 256
DISTANCE_SECONDS = 0.1
"""Of an exact distance between 1 000 points; it grows with their number's square."""
DRAWING_SECONDS = 0.35
"""Of a run's last pictures."""


def estimate_seconds(plan: SweepPlan) -> float | None:
    """Seconds until all stacks are trained, measured rates and counts of operations combined.

    A rough figure: what else the machine does, caches, and what it takes to judge pictures are
    not in it. None for devices of a cluster, whose rates are not known here.
    """
    if not plan.stacks:
        return 0.0
    if any(slot.cluster for slot in plan.slots):
        return None
    rate = {device: product_rate(device) for device in {slot.device for slot in plan.slots}}
    slowest = min(rate.values())
    ends = [STARTING_SECONDS] * len(plan.slots)
    for stack in plan.stacks:
        config = stack.jobs[0].config
        operations = len(stack.jobs) * plan.footprint_of(stack).flops
        step = operations / (REACHED * slowest) + (config.loss.n_critic + 1) * PROGRAM_SECONDS
        seconds = stack.steps_left * step
        seconds += len(stack.jobs) * measuring_seconds(config, stack.steps_left)
        if wants_compilation(config):
            seconds += COMPILING_SECONDS
        # The next stack goes to the slot that is free first.
        soonest = ends.index(min(ends))
        ends[soonest] += seconds
    return max(ends)


def measuring_seconds(config: RunConfig, steps: int) -> float:
    """Seconds to measure and draw one run that has so many steps left."""
    if NETWORKS[config.network.kind].convolves:
        return DRAWING_SECONDS
    asked = config.evaluate
    on_the_way = steps // asked.every_n_steps + 1 if asked.every_n_steps else 0
    squares = on_the_way * asked.n**2 + asked.final_draws * asked.final_n**2
    return DRAWING_SECONDS + DISTANCE_SECONDS * squares / 1000**2


def product_rate(device: str) -> float:
    """Floating-point operations per second of a medium matrix product, on one CPU thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x = torch.eye(SIZE, device=device)
        rates = []
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(20):
                x @ x
            if x.is_cuda:
                torch.cuda.synchronize(x.device)
            rates.append(20 * 2 * SIZE**3 / (time.perf_counter() - began))
        return max(rates)
    finally:
        torch.set_num_threads(threads)
