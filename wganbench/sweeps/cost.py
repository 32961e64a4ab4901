"""What a run needs of a device, measured on one eager iteration: memory and operations."""

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
from wganbench.networks import NETWORKS
from wganbench.training.parts import PROBED_AT_ONCE
from wganbench.training.stack import Stack

SAFETY = 1.3
"""Caching allocators and compiled code's own buffers, on top of what tensors need."""

CONVOLUTION_BYTES = 300 * 10**6
"""What a library of convolutions holds beside tensors, however many runs there are. DCGANs for
28 x 28 pixels, width 64, batch 64, one thread, took 157, 263, 605 and 1053 MB on a CPU for 1, 2, 4
and 8 of them, compiled 211, 297, 454 and 829 MB, once each; the plan says 383, 465, 628 and 955,
times `SAFETY`. Not measured on a GPU."""


CONTEXT_BYTES = 500 * 10**6 + 32 * 2**20
"""What a process holds of a GPU beside tensors: the driver's context, and cuBLAS's workspace as
`prepare` sets it."""

PASSES = 4.5
"""How often a compiled step reads or writes what it holds at its peak: 4.0 to 4.7 times for widths
16 to 512, by the kernels that torch 2.11 makes of WGAN-GP's two steps for an H100."""

LAUNCH_SECONDS, BYTES_PER_SECOND = 1.8e-4, 3e12
"""Of an H100: what the launches of a step take, however few runs there are (1.1 ms for the six of
an iteration of one run of width 64), and its rate of copies."""

WORTH_OF_LAUNCHES = 4
"""A stack on a GPU is as long as takes so many times what its launches take: from one on the time
of a run is that of its bytes (width 64: 60 runs; 64 took 1.9 ms an iteration, 256 four times
that), and a stack has something that is paid once, compiling and measuring at its end."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a stack, ``fixed + runs * per_run``, and operations of a run's iteration.

    ``rest_bytes`` is what a run keeps between steps and draws to be measured; ``probe_bytes``
    what it takes beside, where ``probed_runs`` are measured at a time on a GPU, and all on a CPU.
    """

    fixed_bytes: int
    run_bytes: int
    flops: int
    rest_bytes: int = 0
    probe_bytes: int = 0
    probed_runs: int = 1

    def training_bytes(self, runs: int) -> int:
        return self.fixed_bytes + runs * self.run_bytes

    def measuring_bytes(self, runs: int, gpu: bool) -> int:
        at_once = min(runs, self.probed_runs) if gpu else runs
        return self.fixed_bytes + runs * self.rest_bytes + at_once * self.probe_bytes

    def bytes(self, runs: int, gpu: bool) -> int:
        """What a device must have free for a stack: training or measuring, with its context."""
        most = max(self.training_bytes(runs), self.measuring_bytes(runs, gpu))
        return int(SAFETY * most) + (CONTEXT_BYTES if gpu else 0)

    def runs_that_fit(self, free_bytes: int, gpu: bool = False) -> int:
        """How many runs a stack can have in so much memory, at least 1."""
        low, high = 1, 2
        while high < MOST_RUNS and self.bytes(high, gpu) <= free_bytes:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.bytes(middle, gpu) <= free_bytes else (low, middle)
        return low

    @property
    def runs_worth(self) -> int:
        """How many runs a stack on a GPU can use: more take no less time each.

        The bytes that a step of them moves take `WORTH_OF_LAUNCHES` times what launches take.
        """
        seconds = PASSES * self.run_bytes / BYTES_PER_SECOND
        return max(1, round(WORTH_OF_LAUNCHES * LAUNCH_SECONDS / seconds))


MOST_RUNS = 2**30


def footprint(config: RunConfig) -> Footprint:
    """Measure one generator step, its critic steps included, at one run and at two, on the CPU;
    and measuring, on so few points that their number can be reckoned up.

    Bytes are the peak of live tensors, and `CONVOLUTION_BYTES` where there are convolutions;
    operations those of matrix products and convolutions, forward and backward.
    """
    one, two = _iteration(config, 1), _iteration(config, 2)
    library = CONVOLUTION_BYTES if NETWORKS[config.network.kind].convolves else 0
    stack = one.stack
    n = max(config.evaluate.n, config.evaluate.final_n)
    at_once = min(n, stack.probed_points)
    return Footprint(
        max(0, 2 * one.peak - two.peak) + library,
        max(1, two.peak - one.peak),
        one.flops,
        two.rest - one.rest + n * drawn_bytes(stack),
        at_once * _probed_bytes(one),
        max(1, PROBED_AT_ONCE // at_once),
    )


FEW_POINTS = 16


@dataclass
class Iteration:
    """A stack and its meter: bytes at the peak of an iteration, and at rest before it."""

    stack: Stack
    meter: Meter
    rest: int
    peak: int
    flops: int


def _iteration(config: RunConfig, runs: int) -> Iteration:
    eager = dataclasses.replace(config, compile="false")
    with Meter() as meter:
        stack = Stack([eager] * runs, torch.device("cpu"))
        rest = meter.live
        stack.iterate()
    return Iteration(stack, meter, rest, meter.peak, meter.flops)


def _probed_bytes(one: Iteration) -> int:
    """Bytes that measuring takes at its peak for a point of a run, those drawn left out."""
    peaks: list[int] = []
    for n in (FEW_POINTS, 2 * FEW_POINTS):
        with one.meter as meter:
            before = meter.peak = meter.live
            one.stack.probe(n)
        peaks.append(meter.peak - before)
    own: int = (peaks[1] - peaks[0]) // FEW_POINTS - drawn_bytes(one.stack)
    return max(0, own)


def drawn_bytes(stack: Stack) -> int:
    """Of a point that is measured: itself, its latent and its mixing weight, in fp32."""
    latent = stack.algorithm.pair.latent
    numbers: int = math.prod(stack.target.shape) + math.prod(latent.shape) + 1
    return 4 * numbers


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and the bytes of tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = self.flops = 0
        self._seen: set[int] = set()

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
