"""A whole iteration recorded as one CUDA graph, which the host launches once.

The graph holds the programs of a stack in the order of their calls: the draws, ``n_critic``
critic steps and a generator step. The steps' numbers are counters on the device. The latest
scalars stay where the graph writes them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from wganbench.draws import GivenWords, Keyed
from wganbench.errors import first_line, ran_out
from wganbench.losses.recipes import Recipe
from wganbench.training.optimizers import State
from wganbench.training.process import unstopped
from wganbench.training.streams import Streams, StreamSampler

Noted = tuple[list[str], Tensor]
"""Tags, and their values for all runs: (R, tags)."""

Program = Callable[..., Noted]
"""A step of all runs: takes the state and a batch of each stream."""

CRITIC_STREAMS = ("real", "latent_critic", "mixing")
GENERATOR_STREAM = "latent_generator"
PERTURBATION = "perturbation"
"""The further stream of a critic step whose penalty is taken at perturbed reals."""
PAIRED_REALS = "real_generator"
"""The further stream of a generator step whose objective compares fakes with reals, and of one that
looks at critic steps ahead."""


@dataclass(frozen=True)
class StepStreams:
    """The streams whose batches a critic step and a generator step take, in their order."""

    critic: tuple[str, ...] = CRITIC_STREAMS
    generator: tuple[str, ...] = (GENERATOR_STREAM,)


def step_streams(recipe: Recipe, unrolled: int = 0) -> StepStreams:
    """Return the streams that training with a loss and so many unrolled steps draws from."""
    critic = (*CRITIC_STREAMS, PERTURBATION) if recipe.perturbs else CRITIC_STREAMS
    generator = (GENERATOR_STREAM, *([PAIRED_REALS] if recipe.objective.paired or unrolled else []))
    return StepStreams(critic, generator)


DRAWN_NUMBERS = 2**26
"""Most numbers drawn in one call. When the steps need more, each step is drawn in its own call."""


class NotRecorded(RuntimeError):
    """Work that cannot be recorded; nothing was done."""


class Recording(Protocol):
    """Recorded work that can be repeated."""

    def replay(self) -> None: ...

    @property
    def result(self) -> dict[str, Noted]:
        """The result of the work, written to the same memory each time."""
        ...


Work = Callable[[], dict[str, Noted]]


class CudaRecording:
    """A CUDA graph of some work on a device. Recording does not do the work.

    Raises RuntimeError.
    """

    def __init__(self, work: Work, device: torch.device) -> None:
        with torch.cuda.device(device):
            self._graph = torch.cuda.CUDAGraph()
            # torch keeps one stream for recording, on the device that recorded first.
            stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            # Other threads may use the device while this one records.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self.result = work()

    def replay(self) -> None:
        self._graph.replay()


def on_side_stream(work: Work, device: torch.device) -> None:
    """Do some work on a separate stream of a CUDA device, as recording will, and wait for it."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            work()
        torch.cuda.current_stream(device).wait_stream(stream)
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Steps:
    """The steps of one graph: a number of critic steps, then a generator step or none."""

    critic: int
    generator: bool


CRITIC_STEP, GENERATOR_STEP = Steps(1, False), Steps(0, True)
"""The steps of a burst, which is an iteration with another number of critic steps."""


@dataclass
class Counters:
    """The numbers of the next critic step and generator step, int64 on the device."""

    critic: Tensor
    generator: Tensor


class Graphs:
    """The graphs of a stack: one for ordinary iterations, two smaller ones for bursts.

    ``compile_program`` compiles the programs that draw; ``drawn`` are the streams of the steps,
    and ``batch`` returns a stream's batch of one step as the host draws it.
    ``record`` records work on a device and ``warm_up`` does it once without recording; by default
    both use CUDA.
    """

    def __init__(
        self,
        critic: Program,
        generator: Program,
        state: State,
        streams: Streams,
        samplers: Mapping[str, StreamSampler],
        batch_size: int,
        n_critic: int,
        compile_program: Callable[[Callable[..., Any]], Callable[..., Any]],
        drawn: StepStreams,
        batch: Callable[[str, int], Tensor],
        record: Callable[[Work, torch.device], Recording] = CudaRecording,
        warm_up: Callable[[Work, torch.device], None] = on_side_stream,
    ) -> None:
        self._programs = {"critic": critic, "generator": generator}
        self._state, self._streams, self._samplers = state, streams, samplers
        self._batch_size, self._usual = batch_size, Steps(n_critic, True)
        self._compile, self._record, self._warm_up = compile_program, record, warm_up
        self._drawn, self._host_batch = drawn, batch
        zero = torch.zeros((), dtype=torch.int64, device=streams.device)
        self._counters = Counters(zero, zero.clone())
        self._at: tuple[int, int] | None = None
        self._recordings: dict[Steps, Recording] = {}
        self._draws: dict[tuple[tuple[str, ...], int], Callable[[Tensor], list[Tensor]]] = {}
        self._given: dict[tuple[Steps, str], Tensor] = {}
        self.latest: dict[str, Noted] = {}
        self.usable = True
        """Whether graphs are used; False after the first failure to record."""

    def advance(self, critic_step: int, n_critic: int, step: int | None) -> bool:
        """Take ``n_critic`` critic steps from ``critic_step`` on, then generator step ``step``.

        Returns False and takes no step when they cannot be recorded.
        """
        at = (critic_step, step or 0)
        parts = [Steps(n_critic, step is not None)]
        if parts[0] != self._usual:
            parts = [CRITIC_STEP] * n_critic + [GENERATOR_STEP] * (step is not None)
        if not self._recorded(set(parts)):
            return False
        if self._at != at:
            self._counters.critic.fill_(at[0])
            self._counters.generator.fill_(at[1])
        for steps in parts:
            self._replay(steps, at)
            at = (at[0] + steps.critic, at[1] + steps.generator)
        self._at = at
        return True

    def prepare(self, check: Callable[[], None] = unstopped, bursts: bool = False) -> None:
        """Record ordinary iterations before they are needed, on a copy of the state.

        ``check`` is called between the parts and may raise to stop the recording. With ``bursts``
        the steps of bursts are recorded, too.
        """
        self._recorded({self._usual, *((CRITIC_STEP, GENERATOR_STEP) if bursts else ())}, check)

    def _recorded(self, parts: set[Steps], check: Callable[[], None] = unstopped) -> bool:
        """Record what is missing; return whether graphs can be used. Warns once when not."""
        for steps in parts - self._recordings.keys() if self.usable else ():
            try:
                self._recordings[steps] = self._recording(steps, check)
            except NotRecorded as error:
                warnings.warn(f"{error}: training without it", stacklevel=2)
                self.usable = False
        return self.usable

    def _replay(self, steps: Steps, at: tuple[int, int]) -> None:
        for (owner, stream), values in self._given.items():
            if owner == steps:
                first = at[1] if stream in self._drawn.generator else at[0]
                for i, place in enumerate(values):
                    place.copy_(self._host_batch(stream, first + i))
        recording = self._recordings[steps]
        recording.replay()
        self.latest |= recording.result

    def _recording(self, steps: Steps, check: Callable[[], None]) -> Recording:
        # The first calls compile the programs and set up libraries. They train a copy.
        state, counters = copy.deepcopy(self._state), copy.deepcopy(self._counters)
        device = self._streams.device
        for _ in range(2):
            check()
            self._warm_up(lambda: self._work(steps, state, counters), device)
        check()
        try:
            return self._record(lambda: self._work(steps, self._state, self._counters), device)
        except RuntimeError as error:
            if ran_out(error):
                raise
            reason = first_line(error)
            raise NotRecorded(f"an iteration cannot be a CUDA graph ({reason})") from error

    # What is recorded.
    def _work(self, steps: Steps, state: State, counters: Counters) -> dict[str, Noted]:
        latest: dict[str, Noted] = {}
        for first in range(0, steps.critic, self._at_once(steps)):
            count = min(self._at_once(steps), steps.critic - first)
            batches = self._batches(steps, self._drawn.critic, counters.critic, first, count)
            for i in range(count):
                batch = [values[i] for values in batches]
                latest["critic"] = self._programs["critic"](state, *batch)
        counters.critic.add_(steps.critic)
        if steps.generator:
            batches = self._batches(steps, self._drawn.generator, counters.generator, 0, 1)
            batch = [values[0] for values in batches]
            latest["generator"] = self._programs["generator"](state, *batch)
            counters.generator.add_(1)
        return latest

    def _at_once(self, steps: Steps) -> int:
        """Return the number of critic steps whose batches are drawn in one call."""
        return max(1, steps.critic if self._numbers * steps.critic <= DRAWN_NUMBERS else 1)

    @cached_property
    def _numbers(self) -> int:
        """The count of numbers that a critic step draws; computed once, before recording."""
        return sum(self._host_batch(stream, 0).numel() for stream in self._drawn.critic)

    def _batches(
        self, steps: Steps, streams: tuple[str, ...], counter: Tensor, first: int, count: int
    ) -> list[Tensor]:
        """Return (count, R, n, ...) values of each stream for steps ``counter + first`` on."""
        drawn = tuple(stream for stream in streams if not isinstance(self._samplers[stream], list))
        if (drawn, count) not in self._draws:
            self._draws[drawn, count] = self._drawing(drawn, count)
        values = dict(zip(drawn, self._draws[drawn, count](counter + first), strict=True))
        for stream in streams:
            if stream not in values:
                given = self._given.get((steps, stream))
                if given is None:
                    example = self._host_batch(stream, 0)
                    size = (1 if stream in self._drawn.generator else steps.critic, *example.shape)
                    given = self._given[steps, stream] = example.new_empty(size)
                values[stream] = given[first : first + count]
        return [values[stream] for stream in streams]

    def _drawing(self, drawn: tuple[str, ...], count: int) -> Callable[[Tensor], list[Tensor]]:
        """Return a function that draws ``count`` steps of some streams from a counter on.

        It is two programs, the first of which computes the random words. In one program the
        words would be computed again for every number that depends on them.
        """
        n, device = self._batch_size, self._streams.device
        samplers = [
            sampler for stream in drawn if not isinstance(sampler := self._samplers[stream], list)
        ]
        if not samplers:
            return lambda counter: []
        keys = torch.stack([self._streams.keys(stream) for stream in drawn]).unsqueeze(1)
        needed = 0
        for sampler, key in zip(samplers, keys, strict=True):
            tried = Keyed(key, torch.zeros(1, 1, dtype=torch.int64, device=device))
            sampler(tried, n)  # moves the data to the device now: recorded work must copy nothing
            needed = max(needed, tried.taken)

        elements = torch.arange(needed // 4, device=device)
        following = torch.arange(count, device=device)

        def words(counter: Tensor) -> Tensor:
            steps = (counter + following).unsqueeze(-1)
            return Keyed(keys, steps, elements).words(needed)

        def values(words: Tensor) -> list[Tensor]:
            pairs = zip(samplers, words, strict=True)
            return [sampler(GivenWords(part), n) for sampler, part in pairs]

        make_words, make_values = self._compile(words), self._compile(values)
        return lambda counter: make_values(make_words(counter))
