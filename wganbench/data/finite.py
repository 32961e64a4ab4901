"""A fixed training set, where the target itself would give fresh points for ever."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from wganbench.data.mixture import Mixture
from wganbench.data.target import Target


class Finite:
    """Trains on ``train_points`` points of ``target`` drawn once; evaluates on the target."""

    def __init__(self, target: Target, train_points: int, train_seed: int) -> None:
        self.target = target
        self.points = draw_once(target, train_points, train_seed)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.target.shape

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """``n`` points of the training set, drawn with replacement."""
        return resample(self.points, n, generator)

    def held_out(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """``n`` points of the true target."""
        return self.target.held_out(n, generator)


class FiniteMixture(Mixture):
    """`Finite` around a mixture: still a mixture, with its modes, weights and sigma."""

    def __init__(self, target: Mixture, train_points: int, train_seed: int) -> None:
        super().__init__(target.modes, target.weights, target.sigma)
        self.points = draw_once(target, train_points, train_seed)

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """``n`` points of the training set, drawn with replacement."""
        return resample(self.points, n, generator)


def finite(target: Target, train_points: int | None, train_seed: int) -> Target:
    """``target`` with a fixed training set of ``train_points``; None leaves it endless.

    The set is drawn on the CPU from ``train_seed``, so it is the same on every device and
    in every run, whatever the run's seed. Source: 100 000 points in arXiv:1712.04086.
    """
    if train_points is None:
        return target
    if isinstance(target, Mixture):
        return FiniteMixture(target, train_points, train_seed)
    return Finite(target, train_points, train_seed)


def draw_once(target: Target, train_points: int, train_seed: int) -> Float[Tensor, "m d"]:
    """The training set: ``train_points`` points, a function of the target and the seed."""
    return target.sample(train_points, torch.Generator().manual_seed(train_seed))


def resample(points: Float[Tensor, "m d"], n: int, generator: Generator) -> Float[Tensor, "n d"]:
    """``n`` rows of ``points``, drawn with replacement, on the generator's device."""
    rows = torch.randint(len(points), (n,), generator=generator, device=generator.device)
    return points.to(generator.device)[rows]
