"""An estimate of a sweep's duration before it begins.

CPU: operations / measured rate of matrix products. GPU: bytes / measured copy rate.
"""

from __future__ import annotations

import time

import torch

from wganbench.config.schema import RunConfig
from wganbench.errors import ran_out
from wganbench.nativecode import find_compiler
from wganbench.networks import NETWORKS
from wganbench.sweeps.cost import KERNEL_PROCESSORS, LAUNCH_SECONDS, PASSES, Footprint
from wganbench.sweeps.launch import SweepPlan
from wganbench.training.compiling import wants_compilation
from wganbench.training.cuda.executor import MOST_BLOCKS
from wganbench.training.device import one_thread
from wganbench.training.execution import native_trains
from wganbench.training.process import available_cores

REACHED, NATIVE_REACHED = 0.4, 0.9
"""Share of torch's product rate that training reaches, compiled and in our C++, measured by
scripts/bench_training.py. Where torch leaves AVX-512 unused, our C++ reaches more."""
STARTING_SECONDS = 5.0
COMPILING_SECONDS = 14.0
PROGRAM_SECONDS = 4e-4
"""Seconds for one call of a compiled step, even a very small one."""
COPY_REACHED = 0.6
"""Share of a GPU's copy rate that a large stack reaches.

64 runs of width 64 took an H100 1.9 ms an iteration; their bytes take 1.1 ms at its 3 TB/s."""
KERNEL_RATE, KERNEL_STEP_SECONDS = 1.8e11, 2e-5
"""Operations a second of one processor in our kernel, and the seconds of a step beside them.

An H200 took 0.34 ms for an iteration of one run of width 64, 0.80 for 64 runs and 12.0 for 1 024;
at width 16 it took 0.18 for 64."""
KERNEL_BUILDING_SECONDS = 6.0
"""NVRTC takes 5 to 8 s."""
SIZE = 256
COPIED_BYTES = 2**28
EVALUATION_SECONDS, WITHOUT_COMPILER = 0.1, 2.5
"""Seconds for all metrics of n = 1 000 points, which scale with n^2, and the factor with POT.

One thread took 0.10 to 0.13 s, and 0.52 to 0.69 s for 2 500 points. Two fifths are exact W1, for
which POT takes five times as long."""
DRAWING_SECONDS = 1.0
"""Seconds to draw a run's figure and its last images, with their tables."""


def estimate_seconds(plan: SweepPlan) -> float | None:
    """Return the estimated seconds until all stacks are trained.

    The estimate is rough: it leaves out other work of the machine, caches, and the time to judge
    images. Returns None for devices of a cluster, whose rates are not known here, and for a GPU
    that has no memory left to copy.
    """
    if not plan.stacks:
        return 0.0
    if any(slot.cluster for slot in plan.slots):
        return None
    devices = {slot.device for slot in plan.slots}
    on_gpu = "cpu" not in devices
    try:
        rate = min(map(copy_rate, devices)) if on_gpu else product_rate()
    except RuntimeError as error:
        if ran_out(error):
            return None
        raise
    ends = [STARTING_SECONDS] * len(plan.slots)
    for stack in plan.stacks:
        config, needed, runs = stack.jobs[0].config, plan.footprint_of(stack), len(stack.jobs)
        measuring = runs * measuring_seconds(config, stack.steps_left)
        native = not on_gpu and native_trains(config)
        if on_gpu:
            seconds = stack.steps_left * gpu_step_seconds(config, needed, runs, rate)
            # Measuring runs at the same time, in processes of its own.
            seconds = max(seconds, measuring * len(plan.slots) / available_cores())
        else:
            step = runs * needed.flops / ((NATIVE_REACHED if native else REACHED) * rate)
            step += 0.0 if native else (config.loss.n_critic + 1) * PROGRAM_SECONDS
            seconds = stack.steps_left * step + measuring
        if on_gpu and needed.kernel:
            seconds += KERNEL_BUILDING_SECONDS
        elif wants_compilation(config) and not native:
            seconds += COMPILING_SECONDS
        # The next stack goes to the first free slot.
        soonest = ends.index(min(ends))
        ends[soonest] += seconds
    return max(ends)


def measuring_seconds(config: RunConfig, steps: int) -> float:
    """Return the seconds to measure and draw one run with ``steps`` left."""
    if NETWORKS[config.network.kind].convolves:
        return DRAWING_SECONDS
    asked = config.evaluate
    on_the_way = steps // asked.every_n_steps + 1 if asked.every_n_steps else 0
    squares = on_the_way * asked.n**2 + asked.final_draws * asked.final_n**2
    slower = 1.0 if find_compiler() else WITHOUT_COMPILER
    return DRAWING_SECONDS + slower * EVALUATION_SECONDS * squares / 1000**2


def gpu_step_seconds(config: RunConfig, needed: Footprint, runs: int, rate: float) -> float:
    """Return the seconds of one iteration of a stack on a GPU that copies ``rate`` bytes/s.

    This is the longer of the time for launches and the time for bytes, or that of our kernel.
    """
    if needed.kernel:
        return kernel_step_seconds(config, needed, runs)
    moved = runs * PASSES * needed.run_bytes / (COPY_REACHED * rate)
    return (config.loss.n_critic + 1) * max(LAUNCH_SECONDS, moved)


def kernel_step_seconds(config: RunConfig, needed: Footprint, runs: int) -> float:
    """Return the seconds of one iteration of runs that our kernel trains."""
    blocks = MOST_BLOCKS
    while blocks > 1 and runs * blocks > KERNEL_PROCESSORS:
        blocks //= 2
    rounds = -(-runs * blocks // KERNEL_PROCESSORS)
    steps = (config.loss.n_critic + 1) * KERNEL_STEP_SECONDS
    return rounds * (needed.flops / blocks / KERNEL_RATE + steps)


def copy_rate(device: str) -> float:
    """Return the bytes per second that a GPU reads and writes in a copy."""
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    rates = []
    for _ in range(5):
        torch.cuda.synchronize(source.device)
        began = time.perf_counter()
        for _ in range(10):
            target.copy_(source)
        torch.cuda.synchronize(source.device)
        rates.append(10 * 2 * COPIED_BYTES / (time.perf_counter() - began))
    return max(rates)


def product_rate() -> float:
    """Return the operations per second of a medium matrix product on one thread of the CPU."""
    with one_thread():
        x = torch.eye(SIZE)
        rates = []
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(20):
                x @ x
            rates.append(20 * 2 * SIZE**3 / (time.perf_counter() - began))
        return max(rates)
