"""Random streams: a run's draws depend only on its seed, the stream's name and the step.

Draws of built-in data, latents and mixing weights are functions of the words of (seed, stream,
step), see `wganbench.draws`. No state is saved, and a resumed run draws the same numbers as an
undisturbed one. Values that need a torch generator (initial weights, a user's own target) get a
new generator for each seed, stream and step.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor

from wganbench.bounds import AHEAD_NUMBERS, AHEAD_STEPS
from wganbench.config.schema import RunConfig
from wganbench.data.drawn import DrawnTarget
from wganbench.data.target import Target, checked_points
from wganbench.draws import Draws, Keyed, keys_of, stream_key

STREAM_FORMAT = 2
"""To be raised when equal (seed, stream, step) give other draws, because the hash, the generator
or the order of its parts changed. A checkpoint of another format is refused, because its run
would continue with other data."""

Sampler = Callable[[Draws, int], Tensor]
"""A function from random words to (*lead, n, ...) values, for all runs and steps in one call."""

Draw = Callable[[int, torch.Generator], Tensor]
"""A function that draws (n, ...) values from a generator, in one call."""

StreamSampler = Sampler | list[Draw]
"""A sampler for all runs, or for each run a function that draws from a generator."""


def stream_seed(seed: int, stream: str, step: int) -> int:
    """Return a 64-bit hash of (seed, stream, step)."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def stream_generator(
    seed: int, stream: str, step: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return the generator of one step of one stream of one run."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream, step))


def mixing(draws: Draws, n: int) -> Tensor:
    """Return mixing weights of interpolates, uniform in [0, 1)."""
    return draws.uniform(n)


def perturbation(shape: tuple[int, ...], draws: Draws, n: int) -> Tensor:
    """Return noise for points of ``shape``, uniform in [0, 1)."""
    return draws.uniform(n, *shape)


def training_sampler(target: Target, runs: int) -> StreamSampler:
    """Return the sampler of a target's training points."""
    return target.draw if by_words(target, "sample") else [_checked(target, "sample")] * runs


def held_out_sampler(target: Target, runs: int) -> StreamSampler:
    """Return the sampler of a target's held-out points, used for evaluation."""
    if by_words(target, "held_out"):
        return target.draw_held_out
    return [_checked(target, "held_out")] * runs


def _checked(target: Target, method: str) -> Draw:
    """Return a target's method; it raises ConfigError for points of another type or shape, or
    on another device than the generator."""
    draw: Draw = getattr(target, method)
    return lambda n, generator: checked_points(
        draw(n, generator), target, method, n, generator.device
    )


def by_words(target: Target, method: str) -> TypeGuard[DrawnTarget]:
    """Return whether a target draws by words; a subclass may override the ``method``."""
    own: object = getattr(type(target), method)
    return isinstance(target, DrawnTarget) and own is getattr(DrawnTarget, method)


class Streams:
    """The streams of the runs of a stack, on its device."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.seeds, self.device = list(seeds), device
        self._keys: dict[str, Tensor] = {}
        self._ahead: dict[str, Ahead] = {}

    def keys(self, stream: str) -> Tensor:
        """Return the keys (R, 2) of one stream."""
        if stream not in self._keys:
            keys = [stream_key(seed, stream) for seed in self.seeds]
            self._keys[stream] = keys_of(keys, self.device)
        return self._keys[stream]

    def draw(self, sampler: StreamSampler, stream: str, steps: Sequence[int], n: int) -> Tensor:
        """Return ``n`` values for each step and run: (S, R, n, ...)."""
        if not isinstance(sampler, list):
            return self.draw_by_words(sampler, stream, torch.tensor(steps, device=self.device), n)
        return torch.stack([self._by_generators(sampler, stream, step, n) for step in steps])

    def draw_by_words(self, sampler: Sampler, stream: str, steps: Tensor, n: int) -> Tensor:
        """Return the same for steps (S,) on the device, without reading from the device."""
        return sampler(Keyed(self.keys(stream), steps.unsqueeze(-1)), n)

    def _by_generators(self, draws: list[Draw], stream: str, step: int, n: int) -> Tensor:
        drawn = [
            draw(n, stream_generator(seed, stream, step, self.device))
            for draw, seed in zip(draws, self.seeds, strict=True)
        ]
        return torch.stack(drawn)

    def batch(self, sampler: StreamSampler, stream: str, step: int, n: int) -> Tensor:
        """Return one step's values (R, n, ...); one call draws some steps ahead."""
        ahead = self._ahead.get(stream)
        if ahead is None or not 0 <= step - ahead.first < len(ahead.values):
            count = len(ahead.values) if ahead else 1
            if ahead and step == ahead.first + count:
                # Steps are in sequence: draw as many at once as are cheap to keep.
                most = AHEAD_NUMBERS // max(1, math.prod(ahead.values.shape[1:]))
                count = max(1, min(AHEAD_STEPS, 8 * count, most))
            ahead = Ahead(step, self.draw(sampler, stream, range(step, step + count), n))
            self._ahead[stream] = ahead
        return ahead.values[step - ahead.first]


@dataclass(frozen=True)
class Ahead:
    """Values of consecutive steps (S, R, n, ...), and the first of these steps."""

    first: int
    values: Tensor


# The number of critic steps for each generator step, and the decay of the learning rates.
def n_critic_at(step: int, config: RunConfig) -> int:
    """Return the number of critic steps before generator step ``step`` (counted from 0).

    It is ``loss.n_critic``, and ``train.burst_n_critic`` in the bursts of the WGAN authors'
    code (arXiv:1701.07875: 100 critic steps for the first 25 generator steps and for
    every 500th).
    """
    train = config.train
    if train.burst_n_critic:
        periodic = train.burst_every_n_steps and step % train.burst_every_n_steps == 0
        if step < train.burst_first_steps or periodic:
            return train.burst_n_critic
    return config.loss.n_critic


def critic_steps_before(step: int, config: RunConfig) -> int:
    """Return the number of critic steps taken when ``step`` generator steps are done."""
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
    """Return the factor of both learning rates at a step (a tensor, on the device).

    ``none``: 1. ``linear``: 1 - step / steps. ``cosine``: (1 + cos(pi step / steps)) / 2.
    """
    progress = step.to(torch.float32) / steps
    if decay == "linear":
        return 1 - progress
    if decay == "cosine":
        return (1 + torch.cos(math.pi * progress)) / 2
    return torch.ones_like(progress)
