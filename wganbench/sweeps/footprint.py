"""What a run needs of a device, measured on one eager iteration: memory and operations."""

from __future__ import annotations

import dataclasses
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry

from wganbench.config.schema import RunConfig
from wganbench.networks import NETWORKS
from wganbench.training.stack import Stack

SAFETY = 1.3
"""Caching allocators and compiled code's own buffers, on top of what tensors need."""

CONVOLUTION_BYTES = 300 * 10**6
"""What a library of convolutions holds beside tensors, however many runs there are. DCGANs for
28 x 28 pixels, width 64, batch 64, one thread, took 157, 263, 605 and 1053 MB on a CPU for 1, 2, 4
and 8 of them, compiled 211, 297, 454 and 829 MB, once each; the plan says 383, 465, 628 and 955,
times `SAFETY`. Not measured on a GPU."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a stack, ``fixed + runs * per_run``, and operations of a run's iteration."""

    fixed_bytes: int
    run_bytes: int
    flops: int

    def runs_that_fit(self, free_bytes: int) -> int:
        """How many runs a stack can have in so much memory, at least 1."""
        return max(1, int((free_bytes / SAFETY - self.fixed_bytes) // max(1, self.run_bytes)))


def footprint(config: RunConfig) -> Footprint:
    """Measure one generator step, its critic steps included, at one run and at two, on the CPU.

    Bytes are the peak of live tensors, and `CONVOLUTION_BYTES` where there are convolutions;
    operations those of matrix products and convolutions, forward and backward.
    """
    one, flops = _iteration(config, 1)
    two, _ = _iteration(config, 2)
    library = CONVOLUTION_BYTES if NETWORKS[config.network.kind].convolves else 0
    return Footprint(max(0, 2 * one - two) + library, max(1, two - one), flops)


def _iteration(config: RunConfig, runs: int) -> tuple[int, int]:
    eager = dataclasses.replace(config, compile="false")
    with Meter() as meter:
        stack = Stack([eager] * runs, torch.device("cpu"))
        stack.iterate()
    return meter.peak, meter.flops


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
