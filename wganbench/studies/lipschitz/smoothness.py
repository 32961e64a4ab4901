"""How smooth a critic's gradient is, and how far it depends on the draws of its training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from wganbench.losses.constraints import input_gradients
from wganbench.training.streams import stream_generator

Critic = Callable[[Tensor], Tensor]


def roughness(critic: Critic, x: Tensor, nearby: float, seed: int) -> float:
    """Return E ||g(x + h) - g(x)|| / ||h|| / E ||g(x)||, with g the gradient of D at x, (n, d).

    h is Gaussian with the standard deviation ``nearby``. The unit is 1 / data unit. Division by
    the mean slope makes critics of any scale comparable: the scale of a W-loss is free. The result
    is 0 for a linear critic and nan for a flat one.

    >>> roughness(lambda x: x.square().sum(dim=1) / 2, torch.tensor([[3.0, 4.0]]), 0.1, 0)
    0.2
    """
    h = nearby * torch.randn(x.shape, generator=stream_generator(seed, "nearby", 0))
    here, there = (input_gradients(critic, at.double()) for at in (x, x + h))
    change = (there - here).norm(dim=1) / h.norm(dim=1)
    size = float(here.norm(dim=1).mean())
    return round(float(change.mean()) / size, 6) if size else math.nan


DIRECTIONS = 200
"""Points at which directions are kept."""


def gradients_at(critic: Critic, x: Tensor) -> list[list[float]]:
    """Return the gradient's direction at the first `DIRECTIONS` points, 0 where D is flat."""
    found = torch.nn.functional.normalize(input_gradients(critic, x[:DIRECTIONS]), dim=1)
    return [[round(value, 4) for value in point] for point in found.tolist()]


def agreement(directions: Sequence[Sequence[Sequence[float]]]) -> list[float | None]:
    """Return one jackknife pseudo-value per critic of the mean cosine between pairs of critics.

    ``directions`` has the shape (critics, points, d). With U the mean over pairs and c_i the mean
    over the pairs of critic i, the pseudo-value n U - (n - 1) U_(-i) is
    (2 (n - 1) c_i - n U) / (n - 2) (Tukey 1958). None for fewer than three critics.

    >>> agreement([[[1.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]])
    [1.0, 1.0, 1.0]
    """
    n = len(directions)
    if n < 3:
        return [None] * n
    g = np.asarray(directions, dtype=np.float64)
    cosines = np.einsum("ipd,jpd->ij", g, g) / g.shape[1]
    np.fill_diagonal(cosines, 0.0)
    own = cosines.sum(axis=1) / (n - 1)
    values = (2 * (n - 1) * own - n * own.mean()) / (n - 2)
    return [round(float(value), 12) for value in values]
