"""Floors: what a perfect generator scores in the distances between samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.metrics.distances import energy_distance, wasserstein_symmetric
from wganbench.metrics.transport import wasserstein_exact


@runtime_checkable
class Sampled(Protocol):
    """A target distribution, as a floor needs it."""

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n d"]: ...

    def held_out(self, n: int, generator: torch.Generator) -> Float[Tensor, "n d"]: ...


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (ddof 1) of a distance over pairs of samples."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Floor:
    """The distances of a perfect generator over pairs of samples of n points.

    ``mean`` and ``sd`` are those of exact W1, ``symmetric`` and ``energy`` those of the two
    distances that are 0 in expectation, or somewhat below 0 where held-out points are stratified;
    None when they were not measured.
    """

    mean: float
    sd: float
    pairs: int
    n: int
    symmetric: Spread | None = None
    energy: Spread | None = None

    @property
    def standard_error(self) -> float:
        """The standard error of ``mean`` over the pairs."""
        return self.sd / math.sqrt(self.pairs)


def transport_floor(
    target: Sampled, n: int, pairs: int, seed: int, check: Callable[[], None] = lambda: None
) -> Floor:
    """Return the floors: distances between held-out reals and independent samples of the target.

        mean and sd over pairs of W1(target.held_out(n), target.sample(n)),
        and of the symmetric and the energy distance of the same pairs

    An evaluation compares held-out reals, stratified by mode, with n independent draws of
    a generator. A perfect generator's draws would be distributed as ``target.sample(n)``, so
    the floor is its expected result in that measurement. That of W1 is above 0, mostly because a
    draw hits the modes unevenly.

    All pairs come from one CPU generator with the given seed. ``check`` is called before and
    during each pair and may raise to stop.
    Raises ValueError for fewer than two pairs.
    """
    if pairs < 2:
        raise ValueError(f"a floor's standard deviation needs at least 2 pairs, got {pairs}")
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(pairs):
        check()
        real, other = target.held_out(n, generator), target.sample(n, generator)
        once = real[: distinct(target, n)]
        distances = (
            wasserstein_exact(real, other, check),
            wasserstein_symmetric(once, other, check),
            energy_distance(once, other),
        )
        found.append(distances)
    exact, symmetric, energy = (_spread(values) for values in zip(*found, strict=True))
    return Floor(exact.mean, exact.sd, pairs, n, symmetric, energy)


def distinct(target: Any, n: int) -> int:
    """Return how many of the first ``n`` held-out points are surely not repeated.

    Repeated points would be nearer to each other than points of the distribution are.
    """
    rows = getattr(target, "held_out_points", None)
    return n if rows is None else min(n, len(rows))


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)))
