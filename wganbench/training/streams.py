"""Random streams: what a run draws depends on its seed, the stream's name and the step alone.

Draws of built-in data, latents and mixing weights are functions of the words of (seed, stream,
step), see `wganbench.draws`: no state is saved, and a resumed run draws what it would have
drawn. What can only be drawn from a torch generator (a starting weight, a user's own target)
gets one for each seed, stream and step.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor

from wganbench.config.schema import RunConfig
from wganbench.data.drawn import Drawn
from wganbench.data.target import Target
from wganbench.draws import Draws, Keyed, keys_of, stream_key

STREAM_FORMAT = 2
"""Raise when equal (seed, stream, step) give other draws, by another hash, generator or order of
its parts: a checkpoint of another format would go on with other data, so it is refused."""

AT_ONCE_STEPS, AT_ONCE_NUMBERS = 64, 2**21
"""Steps that are drawn ahead in one call, at most, and the numbers that these hold."""

Sampler = Callable[[Draws, int], Tensor]
"""Makes (*lead, n, ...) values of random words, for all runs and steps in one call."""

Draw = Callable[[int, torch.Generator], Tensor]
"""Draws (n, ...) values from a generator, in one call."""

StreamSampler = Sampler | list[Draw]
"""How a kind of values is drawn: a sampler for all runs, or for each run what takes a generator."""


def stream_seed(seed: int, stream: str, step: int) -> int:
    """64-bit hash of (seed, stream, step)."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def stream_generator(
    seed: int, stream: str, step: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The generator of one step of one stream of one run."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream, step))


def mixing(draws: Draws, n: int) -> Tensor:
    """Mixing weights of interpolates, uniform in [0, 1)."""
    return draws.uniform(n)


def training_sampler(target: Target, runs: int) -> StreamSampler:
    """How a target's training points are drawn."""
    return target.draw if by_words(target, "sample") else [target.sample] * runs


def held_out_sampler(target: Target, runs: int) -> StreamSampler:
    """How the points to evaluate on are drawn."""
    return target.draw_held_out if by_words(target, "held_out") else [target.held_out] * runs


def by_words(target: Target, method: str) -> TypeGuard[Drawn]:
    """Whether a target's points come from words: a subclass may have a ``sample`` of its own."""
    own: object = getattr(type(target), method)
    return isinstance(target, Drawn) and own is getattr(Drawn, method)


def in_double(sampler: StreamSampler) -> StreamSampler:
    """The same draws in float64."""
    if isinstance(sampler, list):
        return [_draw_in_double(draw) for draw in sampler]
    return _sampler_in_double(sampler)


def _draw_in_double(draw: Draw) -> Draw:
    return lambda n, generator: draw(n, generator).double()


def _sampler_in_double(sampler: Sampler) -> Sampler:
    return lambda draws, n: sampler(draws, n).double()


class Streams:
    """The streams of the runs of a stack, on its device."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.seeds, self.device = list(seeds), device
        self._keys: dict[str, Tensor] = {}
        self._ahead: dict[str, Ahead] = {}

    def keys(self, stream: str) -> Tensor:
        """The keys (R, 2) of one stream."""
        if stream not in self._keys:
            keys = [stream_key(seed, stream) for seed in self.seeds]
            self._keys[stream] = keys_of(keys, self.device)
        return self._keys[stream]

    def draw(self, sampler: StreamSampler, stream: str, steps: Sequence[int], n: int) -> Tensor:
        """(S, R, n, ...): ``n`` values for each step and run."""
        if not isinstance(sampler, list):
            return self.draw_by_words(sampler, stream, torch.tensor(steps, device=self.device), n)
        return torch.stack([self._by_generators(sampler, stream, step, n) for step in steps])

    def draw_by_words(self, sampler: Sampler, stream: str, steps: Tensor, n: int) -> Tensor:
        """The same for steps (S,) that stand on the device: nothing is read from there."""
        return sampler(Keyed(self.keys(stream), steps.unsqueeze(-1)), n)

    def _by_generators(self, draws: list[Draw], stream: str, step: int, n: int) -> Tensor:
        drawn = [
            draw(n, stream_generator(seed, stream, step, self.device))
            for draw, seed in zip(draws, self.seeds, strict=True)
        ]
        return torch.stack(drawn)

    def batch(self, sampler: StreamSampler, stream: str, step: int, n: int) -> Tensor:
        """(R, n, ...): one step's values, drawn some steps ahead in one call."""
        ahead = self._ahead.get(stream)
        if ahead is None or not 0 <= step - ahead.first < len(ahead.values):
            count = len(ahead.values) if ahead else 1
            if ahead and step == ahead.first + count:
                # Going on: as many steps at once as are cheap to keep.
                most = AT_ONCE_NUMBERS // max(1, math.prod(ahead.values.shape[1:]))
                count = max(1, min(AT_ONCE_STEPS, 8 * count, most))
            ahead = Ahead(step, self.draw(sampler, stream, range(step, step + count), n))
            self._ahead[stream] = ahead
        return ahead.values[step - ahead.first]


@dataclass(frozen=True)
class Ahead:
    """Values of some steps (S, R, n, ...), and the first of these."""

    first: int
    values: Tensor


# How many critic steps each generator step takes, and how the learning rates decay.
def n_critic_at(step: int, config: RunConfig) -> int:
    """Critic steps before generator step ``step`` (counted from 0).

    ``loss.n_critic``, except in the bursts of the WGAN authors' code
    (arXiv:1701.07875: 100 critic steps for the first 25 generator steps and for
    every 500th): there ``train.burst_n_critic``.
    """
    train = config.train
    if train.burst_n_critic:
        periodic = train.burst_every_n_steps and step % train.burst_every_n_steps == 0
        if step < train.burst_first_steps or periodic:
            return train.burst_n_critic
    return config.loss.n_critic


def critic_steps_before(step: int, config: RunConfig) -> int:
    """Critic steps taken when ``step`` generator steps are done."""
    train = config.train
    bursts = 0
    if train.burst_n_critic:
        bursts = min(step, train.burst_first_steps)
        if train.burst_every_n_steps:
            every = train.burst_every_n_steps
            periodic = math.ceil(step / every)
            bursts += periodic - math.ceil(min(step, train.burst_first_steps) / every)
    return bursts * train.burst_n_critic + (step - bursts) * config.loss.n_critic


def rate_factor(step: Tensor, steps: int, decay: str) -> Tensor:
    """What both learning rates are multiplied with at a step (a tensor, on the device).

    ``none``: 1. ``linear``: 1 - step / steps. ``cosine``: (1 + cos(pi step / steps)) / 2.
    """
    progress = step.to(torch.float32) / steps
    if decay == "linear":
        return 1 - progress
    if decay == "cosine":
        return (1 + torch.cos(math.pi * progress)) / 2
    return torch.ones_like(progress)
