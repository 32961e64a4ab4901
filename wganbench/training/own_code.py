"""Our own code for a stack's steps, C++ on a CPU and a kernel on a GPU, where it can train them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from wganbench.config.schema import RunConfig
from wganbench.losses.recipe import Recipe
from wganbench.training.cuda.driver import NoKernel
from wganbench.training.cuda.executor import Kernel, divided_for, sizes_of, why_no_kernel
from wganbench.training.cuda.sizes import Sizes
from wganbench.training.native.executor import Native, Traced, native_samplers, why_not_native
from wganbench.training.native.layout import NativeSampler
from wganbench.training.optimizers import State
from wganbench.training.streams import StreamSampler


@dataclass(frozen=True)
class OwnCode:
    """The runs of a stack as our own code sees them.

    ``places`` are those of the trained runs, ``shapes`` those of a point and of a latent, and
    ``double`` says whether critics train in float64.
    """

    config: RunConfig
    recipe: Recipe
    state: State
    traced: Traced
    samplers: Mapping[str, StreamSampler]
    seeds: Sequence[int]
    places: Sequence[int]
    shapes: tuple[Sequence[int], Sequence[int]]
    device: torch.device
    double: bool

    def why_not_native(self) -> str:
        """Return in a few words why our C++ cannot train these runs; empty when it can."""
        if self.double:
            return "it computes in fp32"
        return why_not_native(self.config, self.device, self.recipe)

    def native(self) -> Native | None:
        """Return our C++ for these runs, None when it cannot train them."""
        if self.why_not_native():
            return None
        own = self.config, self.recipe, self.state, self.traced
        return Native(*own, self._drawn, self.places)

    def why_no_kernel(self) -> str:
        """Return in a few words why our kernel cannot train these runs; empty when it can."""
        if self.device.type != "cuda":
            return "it trains on GPUs"
        if self.double:
            return "it computes in fp32"
        if reason := why_no_kernel(self.config, self.recipe, *self.shapes):
            return reason
        if not self._has_the_networks():
            return "it knows the networks of the configuration only"
        try:
            if self._sizes is None:
                return "it needs a GPU with clusters of blocks, and more shared memory"
        except NoKernel as error:
            return str(error)
        return next((f"it does not draw {s}" for s, each in self._drawn.items() if each.given), "")

    def kernel(self) -> Kernel | None:
        """Return our kernel for these runs, None when it cannot train them."""
        if self.why_no_kernel():
            return None
        sizes, own = self._sizes, (self.config, self.recipe, self.state, self.traced)
        assert sizes is not None
        return Kernel(sizes, *own, self._drawn, self.places)

    def _has_the_networks(self) -> bool:
        """Whether the critic and generator are those of the configuration: studies replace them."""
        sizes = sizes_of(self.config, self.recipe, *self.shapes)
        own = [
            [tuple(p.shape[1:]) for p in network.values()]
            for network in (self.state.critic, self.state.generator)
        ]
        return own == [sizes.critic, sizes.generator]

    @cached_property
    def _sizes(self) -> Sizes | None:
        # Places of runs that are elsewhere count: a resumed stack divides its runs as before.
        runs = len(self.state.diverged_at)
        return divided_for(sizes_of(self.config, self.recipe, *self.shapes), runs, self.device)

    @cached_property
    def _drawn(self) -> dict[str, NativeSampler]:
        return native_samplers(
            self.recipe, self.samplers, self.seeds, *self.shapes, device=self.device
        )
