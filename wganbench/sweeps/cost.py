"""Memory and operations of a run, measured on one eager iteration."""

from __future__ import annotations

import dataclasses
import math
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry

from wganbench.config.schema import RunConfig
from wganbench.data import build
from wganbench.networks import NETWORKS
from wganbench.training.device import PROBED_AT_ONCE
from wganbench.training.stack import Stack, pair_of

SAFETY = 1.3
"""Factor on the bytes of tensors, for caching allocators and the buffers of compiled code."""

CONVOLUTION_BYTES = 300 * 10**6
"""Bytes that a library of convolutions holds beside tensors, for any number of runs.

DCGANs for 28 x 28 pixels, width 64, batch 64, one thread, took 157, 263, 605 and 1053 MB on a CPU
for 1, 2, 4 and 8 of them; compiled 211, 297, 454 and 829 MB (each measured once). The plan says
383, 465, 628 and 955 MB, times `SAFETY`."""


CONTEXT_BYTES = 500 * 10**6 + 32 * 2**20
"""Bytes that a process holds of a GPU beside tensors: the driver's context, and cuBLAS's workspace
as `prepare` sets it."""

PASSES = 4.5
"""How often a compiled step reads or writes the bytes that it holds at its peak.

4.0 to 4.7 times for widths 16 to 512, counted in the kernels that torch 2.11 makes of WGAN-GP's
two steps for an H100."""

LAUNCH_SECONDS, BYTES_PER_SECOND = 1.8e-4, 3e12
"""An H100's seconds for the launches of one step, and its copy rate.

An iteration of one run of width 64 took 1.1 ms for its six steps; few runs take no less."""

WORTH_OF_LAUNCHES = 4
"""The length of a stack on a GPU: its bytes take this many times as long as its launches.

From a ratio of 1 on (60 runs at width 64), the time of a run is that of its bytes: 64 runs took
1.9 ms an iteration, and 256 runs four times that. The ratio is above 1 because a stack also has
costs that are paid once: compiling, and measuring at its end."""


KERNEL_PROCESSORS = 132
"""Processors of an H100 or H200, each of which trains a run in our kernel."""

KERNEL_ROUNDS = 4
"""The length of a stack that our kernel trains, in times that all processors are taken.

The time of a run falls up to one; 256 and 1 024 runs took an H200 equally long by run."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a stack, ``fixed + runs * per_run``, and operations of a run's iteration.

    ``rest_bytes`` counts what a run keeps between steps and the points drawn to measure it.
    ``probe_bytes`` counts what measuring a run takes on top; a GPU measures ``probed_runs`` at
    a time, a CPU all of them. ``kernel`` says whether our kernel trains them on a GPU.
    """

    fixed_bytes: int
    run_bytes: int
    flops: int
    rest_bytes: int = 0
    probe_bytes: int = 0
    probed_runs: int = 1
    kernel: bool = False

    def training_bytes(self, runs: int) -> int:
        return self.fixed_bytes + runs * self.run_bytes

    def measuring_bytes(self, runs: int, gpu: bool) -> int:
        at_once = min(runs, self.probed_runs) if gpu else runs
        return self.fixed_bytes + runs * self.rest_bytes + at_once * self.probe_bytes

    def bytes(self, runs: int, gpu: bool) -> int:
        """Return the free bytes that a stack needs: max(training, measuring), plus the context."""
        most = max(self.training_bytes(runs), self.measuring_bytes(runs, gpu))
        return int(SAFETY * most) + (CONTEXT_BYTES if gpu else 0)

    def runs_that_fit(self, free_bytes: int, gpu: bool = False) -> int:
        """Return how many runs of a stack fit into the free bytes, at least 1."""
        low, high = 1, 2
        while high < MOST_RUNS and self.bytes(high, gpu) <= free_bytes:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.bytes(middle, gpu) <= free_bytes else (low, middle)
        return low

    @property
    def runs_worth(self) -> int:
        """The number of runs in a stack on a GPU above which the time per run falls no further.

        The bytes that a step of these runs moves take `WORTH_OF_LAUNCHES` times as long as the
        launches. Our kernel trains runs `KERNEL_PROCESSORS` at a time.
        """
        if self.kernel:
            return KERNEL_ROUNDS * KERNEL_PROCESSORS
        seconds = PASSES * self.run_bytes / BYTES_PER_SECOND
        return max(1, round(WORTH_OF_LAUNCHES * LAUNCH_SECONDS / seconds))


MOST_RUNS = 2**30


def footprint(config: RunConfig, gpu: bool = False, clusters: bool = True) -> Footprint:
    """Return the footprint of a run on a CPU or GPU, measured on the CPU.

    ``clusters``: whether the GPU has clusters of blocks, which our kernel needs.

    One generator step with its critic steps is measured for one run and for two. Evaluation is
    measured on few points and scaled to their number. Bytes are the peak of live tensors, plus
    `CONVOLUTION_BYTES` on a CPU if the network has convolutions. Operations are those of matrix
    products and convolutions, forward and backward. Raises ValueError for data that cannot be
    built.
    """
    one, two = _iteration(config, 1, gpu), _iteration(config, 2, gpu)
    # On a GPU convolutions are products of patches, without a library of their own.
    library = CONVOLUTION_BYTES if NETWORKS[config.network.kind].convolves and not gpu else 0
    stack = one.stack
    own = dataclasses.replace(stack.own_code(), config=config)
    n = max(config.evaluate.n, config.evaluate.final_n)
    at_once = min(n, stack.probed_points)
    return Footprint(
        max(0, 2 * one.peak - two.peak) + library,
        max(1, two.peak - one.peak),
        one.flops,
        two.rest - one.rest + n * drawn_bytes(stack),
        at_once * _probed_bytes(one),
        max(1, PROBED_AT_ONCE // at_once),
        gpu and clusters and not own.why_no_kernel_anywhere(),
    )


FEW_POINTS = 16


@dataclass
class Iteration:
    """A stack, its meter, and its bytes at rest and at the peak of an iteration."""

    stack: Stack
    meter: Meter
    rest: int
    peak: int
    flops: int


def _iteration(config: RunConfig, runs: int, gpu: bool) -> Iteration:
    eager = dataclasses.replace(config, compile="false")
    target = build(config.data.kind, config.data.options)
    pair = pair_of(config, target, gpu)
    with Meter() as meter:
        stack = Stack([eager] * runs, torch.device("cpu"), target=target, pair=pair)
        rest = meter.live
        stack.iterate()
    return Iteration(stack, meter, rest, meter.peak, meter.flops)


def _probed_bytes(one: Iteration) -> int:
    """Return the peak bytes of measuring one point of one run, without the drawn values."""
    peaks: list[int] = []
    for n in (FEW_POINTS, 2 * FEW_POINTS):
        with one.meter as meter:
            before = meter.peak = meter.live
            one.stack.probe(n)
        peaks.append(meter.peak - before)
    own: int = (peaks[1] - peaks[0]) // FEW_POINTS - drawn_bytes(one.stack)
    return max(0, own)


DRAWING = 5
"""The peak bytes of drawing, in bytes of what is drawn: words are 64 bits wide, and indices beside
them. Held-out points of ring8 take 57 bytes for 8, normal latents of two numbers 40."""


def drawn_bytes(stack: Stack) -> int:
    """Return the bytes of drawing one measured point: point, latent and mixing weight."""
    latent = stack.algorithm.pair.latent
    numbers: int = math.prod(stack.target.shape) + math.prod(latent.shape) + 1
    return DRAWING * 4 * numbers


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations and the bytes of live tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = self.flops = 0
        self._seen: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True, torch's default, imports its compiler for every mode: 1.2 s. (torch 2.11 to 2.14)
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **kwargs, out_val=result)
        for value in tree_flatten(result)[0]:
            if isinstance(value, torch.Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size
