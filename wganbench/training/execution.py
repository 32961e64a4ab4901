"""The executor of a stack's steps: our own code, CUDA graphs, compiled or eager programs.

All compute what `step.py` defines. It is chosen here, once for each stack; `name` names it.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from wganbench.config.check import recipe_of
from wganbench.config.schema import RunConfig, static_settings
from wganbench.losses.recipes import Recipe
from wganbench.nativecode import NoCompiler
from wganbench.training.compiling import cache_folder, compile_once, compiled, wants_compilation
from wganbench.training.cuda.driver import NoKernel
from wganbench.training.cuda.executor import Kernel, Sizes, divided_for, sizes_of, why_no_kernel
from wganbench.training.device import products
from wganbench.training.graphs import Graphs, Noted, Program, StepStreams
from wganbench.training.native.executor import Native, Traced, native_samplers, why_not_native
from wganbench.training.native.layout import NativeSampler
from wganbench.training.optimizers import State
from wganbench.training.streams import Streams, StreamSampler, critic_steps_before


@dataclass
class Work:
    """The work to execute: updates of all runs of a stack, on its state.

    ``samplers`` draw the streams, ``drawn`` are those of the steps; ``size`` is the number of
    runs, copies included; ``pictures``: the points are images; ``recordable``: no step waits for
    the host, so that an iteration can be a CUDA graph.
    """

    config: RunConfig
    device: torch.device
    state: State
    streams: Streams
    samplers: dict[str, StreamSampler]
    critic: Program
    generator: Program
    size: int
    pictures: bool
    drawn: StepStreams
    recordable: bool = True

    def batch(self, stream: str, step: int) -> Tensor:
        """Return a stream's batch of this step for all runs: (R, n, ...)."""
        n = self.config.train.batch_size
        return self.streams.batch(self.samplers[stream], stream, step, n)

    def critic_batch(self, number: int) -> list[Tensor]:
        """Return the batches of one critic step."""
        return [self.batch(stream, number) for stream in self.drawn.critic]

    def generator_batch(self, step: int) -> list[Tensor]:
        """Return the batches of one generator step."""
        return [self.batch(stream, step) for stream in self.drawn.generator]


class Execution:
    """The executor of a stack's steps.

    ``native`` is our C++ and ``kernel`` our kernel, None when it cannot train them. ``spared`` is
    the number of cores that others need now; our C++ does without them.
    """

    spared = 0

    def __init__(self, work: Work, native: Native | None, kernel: Kernel | None = None) -> None:
        self.work, self.native, self.kernel = work, native, kernel
        self.critic, self.generator = self._programs()
        self.graphs = self._graphs()

    @property
    def name(self) -> str:
        """``native``, ``kernel``, ``graph``, ``compiled`` or ``eager``."""
        if self.native is not None:
            return "native"
        if self.kernel is not None:
            return "kernel"
        if self.graphs is not None and self.graphs.usable:
            return "graph"
        programs = (self.critic, self.generator)
        fast = all(getattr(program, "compiled", False) for program in programs)
        return "compiled" if fast else "eager"

    @property
    def preparation(self) -> str:
        """The slow part of `prepare` in words; empty when there is none."""
        if own := self.native or self.kernel:
            return own.preparation
        takes = "it can take minutes" if self.work.pictures else "about 15 s"
        return f"compiling ({takes}, once)" if wants_compilation(self.work.config) else ""

    def _programs(self) -> tuple[Program, Program]:
        """Return the critic's and generator's updates, compiled unless our code replaces them."""
        work = self.work
        if self.native is not None or self.kernel is not None:
            return work.critic, work.generator
        critic, generator = (
            compiled(update, work.config, work.device, work.pictures, first=update == work.critic)
            for update in (work.critic, work.generator)
        )
        return critic, generator

    def _graphs(self) -> Graphs | None:
        """Return the CUDA graphs of a stack; None on a CPU and for runs that are not compiled."""
        work = self.work
        if (
            self.kernel is not None
            or not work.recordable
            or work.device.type != "cuda"
            or not wants_compilation(work.config)
        ):
            return None
        return Graphs(
            self.critic,
            self.generator,
            work.state,
            work.streams,
            work.samplers,
            work.config.train.batch_size,
            work.config.loss.n_critic,
            lambda program: compiled(program, work.config, work.device, False, first=False),
            work.drawn,
            work.batch,
        )

    def built(self) -> Native | None:
        """Build our C++ and return it; None when it does not train these runs.

        Without a compiler it warns, and the stack trains without our C++."""
        if self.native is not None:
            try:
                self.native.prepare()
            except NoCompiler as error:
                warnings.warn(f"{error}: training without our C++", stacklevel=4)
                self.native = None
                self.critic, self.generator = self._programs()
        return self.native

    def _built_kernel(self) -> Kernel | None:
        """Build our kernel and return it; None when it does not train these runs.

        When it cannot be built it warns, and the stack trains without it."""
        if self.kernel is not None:
            try:
                self.kernel.prepare()
            except NoKernel as error:
                warnings.warn(f"{error}: training without our kernel", stacklevel=4)
                self.kernel = None
                self.critic, self.generator = self._programs()
                self.graphs = self._graphs()
        return self.kernel

    def prepare(self, step: int, check: Callable[[], None]) -> None:
        """Build everything that is needed from generator step ``step`` on.

        Programs are called on a copy of the state. One process calls each program first (see
        `compile_once`). ``check`` is called between them and may raise to stop the build.
        """
        work = self.work
        if self.built() or self._built_kernel() or not wants_compilation(work.config):
            return
        state = copy.deepcopy(work.state)
        batch = work.critic_batch(critic_steps_before(step, work.config))
        generator_batch = work.generator_batch(step)

        def critic() -> None:
            check()
            self.critic(state, *batch)

        def generator() -> None:
            check()
            self.generator(state, *generator_batch)

        programs = {"critic": critic, "generator": generator}
        key = json.dumps([static_settings(work.config), work.size], sort_keys=True)
        with torch.no_grad(), products(work.device, tf32=work.config.precision == "tf32"):
            compile_once(programs, key, cache_folder())
            if self.graphs is not None:
                bursts = work.config.train.burst_n_critic not in (0, work.config.loss.n_critic)
                self.graphs.prepare(check, bursts)

    def advance(self, critic_step: int, n_critic: int, step: int | None) -> dict[str, Noted]:
        """Take ``n_critic`` critic steps from ``critic_step`` on, then generator step ``step``.

        Returns the scalars of the last critic step and of the generator step.
        """
        work, latest = self.work, dict[str, Noted]()
        if native := self.built():
            return native.advance(critic_step, n_critic, step, work.batch, self.spared)
        if kernel := self._built_kernel():
            return kernel.advance(critic_step, n_critic, step)
        with torch.no_grad(), products(work.device, tf32=work.config.precision == "tf32"):
            if self.graphs is not None and self.graphs.advance(critic_step, n_critic, step):
                return self.graphs.latest
            for number in range(critic_step, critic_step + n_critic):
                latest["critic"] = self.critic(work.state, *work.critic_batch(number))
            if step is not None:
                latest["generator"] = self.generator(work.state, *work.generator_batch(step))
        return latest


def native_trains(config: RunConfig) -> bool:
    """Return whether our C++ trains a run on a CPU, as far as its configuration tells."""
    return not why_not_native(config, torch.device("cpu"), recipe_of(config))


def may_compile(config: RunConfig, kind: str) -> bool:
    """Return whether torch's compiler may train a run on a ``cpu`` or on ``cuda``.

    On a GPU the stack decides, see `OwnCode.why_no_kernel`.
    """
    return wants_compilation(config) and not (kind == "cpu" and native_trains(config))


# Our own code for the steps of a stack, C++ on a CPU and a kernel on a GPU.
@dataclass(frozen=True)
class OwnCode:
    """The runs of a stack as our own code sees them.

    ``places`` are those of the trained runs, ``shapes`` those of a point and of a latent.
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

    def why_not_native(self) -> str:
        """Return in a few words why our C++ cannot train these runs; empty when it can."""
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
        if reason := self.why_no_kernel_anywhere():
            return reason
        try:
            if self._sizes is None:
                return "it needs a GPU with clusters of blocks, and more shared memory"
        except NoKernel as error:
            return str(error)
        return ""

    def why_no_kernel_anywhere(self) -> str:
        """Return why our kernel cannot train these runs on any GPU; empty when it can on some."""
        if reason := why_no_kernel(self.config, self.recipe, *self.shapes):
            return reason
        if not self._has_the_networks():
            return "it knows the networks of the configuration only"
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
