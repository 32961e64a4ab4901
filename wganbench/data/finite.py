"""A fixed training set, where the target itself would give fresh points for ever."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.data.drawn import Drawn
from wganbench.data.mixture import Mixture
from wganbench.data.target import Target
from wganbench.draws import Draws, Resident


class TrainingSet:
    """Points that are drawn from with replacement; a copy stays on each device."""

    def __init__(self, points: Float[Tensor, "m d"]) -> None:
        self.points = points
        self._resident = Resident(points)

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """``n`` rows, all as likely."""
        points = self._resident.on(draws.device)
        return points[draws.below(len(points), n)]


class Finite(Drawn):
    """Trains on ``train_points`` points of ``target`` drawn once; evaluates on the target."""

    def __init__(self, target: Drawn, train_points: int, train_seed: int) -> None:
        self.target = target
        self.points = draw_once(target, train_points, train_seed)
        self._training_set = TrainingSet(self.points)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.points.shape[1:])

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """``n`` points of the training set, drawn with replacement."""
        return self._training_set.draw(draws, n)

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """``n`` points of the true target."""
        return self.target.draw_held_out(draws, n)


class FiniteMixture(Mixture):
    """`Finite` around a mixture: still a mixture, with its modes, weights and sigma."""

    def __init__(self, target: Mixture, train_points: int, train_seed: int) -> None:
        super().__init__(target.modes, target.weights, target.sigma)
        self.points = draw_once(target, train_points, train_seed)
        self._training_set = TrainingSet(self.points)

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """``n`` points of the training set, drawn with replacement."""
        return self._training_set.draw(draws, n)


def finite(target: Drawn, train_points: int | None, train_seed: int) -> Target:
    """``target`` with a fixed training set of ``train_points``; None leaves it endless.

    The set is drawn on the CPU from ``train_seed``, so it is the same on every device and
    in every run, whatever the run's seed. Source: 100 000 points in arXiv:1712.04086.
    """
    if train_points is None:
        return target
    if isinstance(target, Mixture):
        return FiniteMixture(target, train_points, train_seed)
    return Finite(target, train_points, train_seed)


def draw_once(target: Drawn, train_points: int, train_seed: int) -> Float[Tensor, "m d"]:
    """The training set: ``train_points`` points, a function of the target and the seed."""
    return target.sample(train_points, torch.Generator().manual_seed(train_seed))
