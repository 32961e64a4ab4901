"""A lower bound on the memory of a run, computed before anything is allocated.

A run whose bound exceeds the memory cannot fit. Other runs may still run out of memory; this is
reported when it happens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wganbench.bounds import AHEAD_NUMBERS, AHEAD_STEPS
from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from wganbench.networks import Pair

FLOAT = 4
EXACT_BYTES = 16
"""Bytes per pair of points in an exact transport plan: cost and mass, in float64."""

MOMENTS = {"adam": 2, "rmsprop": 2, "sgd": 1, "optimistic_adam": 3, "optimistic_sgd": 2}
"""Numbers that an optimizer keeps for each parameter."""
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
FREE = ("MemAvailable:", "SwapFree:")
GB = 10**9
WORTH_HALVING = 8
"""Smaller values are not halved, because they are design choices: the number of layers, say."""


def machine_bytes(swap: bool = True) -> int:
    """Return the bytes that this process can use at most: the free memory or a lower limit.

    ``swap`` counts the free swap as memory.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        counted = FREE if swap else FREE[:1]
        free = [int(line.split()[1]) for line in lines if line.startswith(counted)]
        limits += [1024 * sum(free)] if free else []
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    for name in CGROUPS:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(name).read_text()))
    return min(limits)


def check_training_set(config: RunConfig) -> None:
    """Raise ConfigError for a training set of generated points that memory cannot hold.

    Training sets from files are not checked; their size is that of the files.
    """
    from wganbench.data import build

    options = config.data.options
    points = options.get("train_points")
    if not points or {"path", "root", "held_out_share"} & options.keys():
        return
    try:
        shape = build(config.data.kind, {**options, "train_points": None}).shape
    except (ValueError, TypeError):
        return  # the error is reported when the data set is built
    # Each point takes its mode's index, that mode's centre, its noise, and the sum of the two.
    one, room = 8 + 3 * FLOAT * math.prod(shape), machine_bytes()
    if points * one > room:
        refuse(points * one, room, "data.train_points", points, max(1, room // (2 * one)))


def check_memory(config: RunConfig, shape: tuple[int, ...], pair: Pair) -> None:
    """Raise ConfigError for a run that cannot fit; the message names the key with most memory."""
    room, needed = machine_bytes(), bytes_needed(config, shape, pair)
    if needed <= room:
        return
    on_gpu = trains_on_gpu(config)
    needed = bytes_needed(config, shape, pair, on_gpu)
    if needed <= room:
        return
    half = {
        (key, value): with_value(config, key, value // 2, shape, on_gpu)
        for key, value in sizes(config)
        if value >= WORTH_HALVING
    }
    keys = sorted(half, key=lambda item: half[item])
    for key, value in keys:
        fitting = value // 2
        while fitting > 1 and with_value(config, key, fitting, shape, on_gpu) > room:
            fitting //= 2
        if with_value(config, key, fitting, shape, on_gpu) <= room:
            refuse(needed, room, key, value, fitting)
    both = " and ".join(f"{key}={value}" for key, value in keys[:2])
    raise ConfigError(f"{at_least(needed, room)}: less of {both} together")


def refuse(needed: int, room: int, key: str, value: int, fitting: int) -> None:
    raise ConfigError(
        f"{at_least(needed, room)}: most of it for {key}={value}; {key}={fitting} may fit"
    )


def at_least(needed: int, room: int) -> str:
    return f"this takes at least {needed / GB:.3g} GB of memory and {room / GB:.3g} are free"


def trains_on_gpu(config: RunConfig) -> bool:
    """Return whether a GPU holds what a run's steps need, of this machine or of a cluster."""
    import torch

    device = config.device
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def bytes_needed(
    config: RunConfig, shape: tuple[int, ...], pair: Pair, on_gpu: bool = False
) -> int:
    """Return the bytes of a run: weights, gradients, moments + max(critic step, evaluation).

    ``on_gpu`` leaves out the step, whose memory is not that of this machine.
    """
    from wganbench.metrics import EXACT_POINTS
    from wganbench.networks.pair import packed_shape

    train, evaluate = config.train, config.evaluate
    point, latent = math.prod(shape), math.prod(pair.latent.shape)
    weights = sum(p.numel() for net in (pair.critic, pair.generator) for p in net.parameters())
    state = weights * (2 + MOMENTS.get(train.optimizer, 0))
    seen = activations(pair.critic, packed_shape(shape, config.loss.packing))
    streams = [train.batch_size * size for size in (point, latent, latent, 1)]
    ahead = sum(max(one, min(AHEAD_STEPS * one, AHEAD_NUMBERS)) for one in streams)
    step = 0 if on_gpu else ahead + 2 * train.batch_size * seen
    n = max(evaluate.n if evaluate.every_n_steps else 0, evaluate.final_n)
    probe = n * (3 * point + latent)
    exact = 0 if len(shape) != 1 else EXACT_BYTES * min(n, EXACT_POINTS) ** 2
    return FLOAT * state + max(FLOAT * step, FLOAT * probe + exact)


def activations(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Return how many numbers a critic's layers output for one point; 0 if it is unknown."""
    import torch

    from wganbench.networks.mlp import MLP

    layers = [layer for layer in network.modules() if next(layer.children(), None) is None]
    if type(network) is MLP:
        # Count by hand: for a pass on the meta device torch loads its compiler, which takes 1 s.
        counted = width = 0
        for layer in layers:
            width = int(getattr(layer, "out_features", width))
            counted += width
        return counted
    count = 0

    def note(_module: Any, _inputs: Any, output: Any) -> None:
        nonlocal count
        count += output.numel() if isinstance(output, torch.Tensor) else 0

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.no_grad(), contextlib.suppress(Exception):
            network(torch.empty(2, *shape, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return count // 2


def sizes(config: RunConfig) -> Iterator[tuple[str, int]]:
    """Yield the keys on which the memory depends, with their values."""
    yield "train.batch_size", config.train.batch_size
    yield "evaluate.n", config.evaluate.n
    yield "evaluate.final_n", config.evaluate.final_n
    for group, part in (("network", config.network), ("data", config.data)):
        for name, value in part.options.items():
            if isinstance(value, int) and not isinstance(value, bool) and name != "train_seed":
                yield f"{group}.{name}", value


def with_value(
    config: RunConfig, key: str, value: int, shape: tuple[int, ...], on_gpu: bool
) -> float:
    """Return the bytes with another value of a key; inf if that run cannot be built."""
    from wganbench.networks import build_pair

    group, name = key.split(".")
    part = getattr(config, group)
    if hasattr(part, "options"):
        changed = dataclasses.replace(part, options={**part.options, name: value})
    else:
        changed = dataclasses.replace(part, **{name: value})
    other = dataclasses.replace(config, **{group: changed})
    shape = (value,) if key == "data.dimension" else shape
    try:
        network, packing = other.network, config.loss.packing
        pair = build_pair(network.kind, network.options, shape, config.precision, packing)
    except (ValueError, TypeError, RuntimeError):
        return math.inf
    return bytes_needed(other, shape, pair, on_gpu)
