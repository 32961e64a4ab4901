"""Distances that are 0 for a perfect generator in any dimension, and a lower bound of W1."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Num
from torch import Tensor

from wganbench.metrics.compiled import address, library
from wganbench.metrics.transport import (
    Transport,
    as_finite_points,
    exact_transport,
    wasserstein_exact,
)

SPLIT_SEED = 20170510
"""Seed of the order in which a cloud is halved, which is the same at all evaluations."""

ROWS_AT_ONCE = 256
"""Number of points whose distances to all others are in memory at once."""

MOST_BY_DIFFERENCES = 8
"""From more coordinates on distances come from products: five times as fast, exact to 1e-8."""


def wasserstein_symmetric(
    x: Num[np.ndarray, "n d"] | Num[Tensor, "n d"],
    y: Num[np.ndarray, "m d"] | Num[Tensor, "m d"],
    check: Callable[[], None] = lambda: None,
) -> float:
    """Return W1 between two clouds without what two samples of one distribution have too.

        [W(x, y) + W(x', y')] / 2 - [W(x, x') + W(y, y')] / 2

    x, x' are halves of the first cloud and y, y' of the second, in an order that is drawn once;
    with an odd or another number of points the last ones are left out. All four distances are
    exact and have the same number of points, so their biases cancel: it is 0 in expectation for
    two clouds of one distribution, in any dimension. Between distributions it may be far smaller
    than W1. It costs about as much as one exact distance between the whole clouds.

    Raises as `exact_transport`, and ValueError for clouds of fewer than two points.
    Source: ours, in the form of the Sinkhorn divergence, arXiv:1706.00292.

    >>> wasserstein_symmetric(np.zeros((4, 2)), np.zeros((4, 2)) + [3.0, 4.0])
    5.0
    """
    return symmetric_of(paired(x, y, check), check)


@dataclass(frozen=True)
class Paired:
    """Halves of two clouds, and the exact plans from each half of y to the same half of x."""

    x: tuple[Float64[np.ndarray, "h d"], Float64[np.ndarray, "h d"]]
    y: tuple[Float64[np.ndarray, "h d"], Float64[np.ndarray, "h d"]]
    plans: tuple[Transport, Transport]


def paired(
    x: Num[np.ndarray, "n d"] | Num[Tensor, "n d"],
    y: Num[np.ndarray, "m d"] | Num[Tensor, "m d"],
    check: Callable[[], None] = lambda: None,
) -> Paired:
    """Return the clouds' halves with their plans. Raises as `wasserstein_symmetric`."""
    of_x, of_y = _shuffled(x, "x"), _shuffled(y, "y")
    half = min(len(of_x), len(of_y)) // 2
    if not half:
        raise ValueError("a symmetric distance needs at least two points in each cloud")
    halves_x, halves_y = ((cloud[:half], cloud[half : 2 * half]) for cloud in (of_x, of_y))
    first, second = (exact_transport(b, a, check) for a, b in zip(halves_x, halves_y, strict=True))
    return Paired(halves_x, halves_y, (first, second))


def symmetric_of(parts: Paired, check: Callable[[], None] = lambda: None) -> float:
    """Return the symmetric distance of halves whose plans are known."""
    between = sum(plan.distance for plan in parts.plans)
    within = wasserstein_exact(*parts.x, check) + wasserstein_exact(*parts.y, check)
    return (between - within) / 2


def _shuffled(points: np.ndarray | Tensor, name: str) -> Float64[np.ndarray, "n d"]:
    """Return a cloud in the fixed order: held-out points may lie in the order of their modes."""
    cloud = as_finite_points(points, name)
    order = torch.randperm(len(cloud), generator=torch.Generator().manual_seed(SPLIT_SEED))
    return np.take(cloud, order.numpy(), axis=0)


def energy_distance(
    x: Num[np.ndarray, "n d"] | Num[Tensor, "n d"],
    y: Num[np.ndarray, "m d"] | Num[Tensor, "m d"],
) -> float:
    """Return the energy distance of two distributions, estimated without bias from clouds.

        2 E||x - y|| - E||x - x'|| - E||y - y'||, over pairs of different points

    It is at least 0, and 0 only for equal distributions; the estimate for equal ones is 0 in
    expectation and may be slightly negative. Two points at distance L have 2 L.

    Raises ValueError for shapes that do not fit, points that are not finite, and clouds of fewer
    than two points.
    Source: Szekely & Rizzo 2013; the Cramer GAN, arXiv:1705.10743.

    >>> energy_distance(np.zeros((3, 2)), np.zeros((4, 2)) + [3.0, 4.0])
    10.0
    """
    from_points, to_points = as_finite_points(x, "x"), as_finite_points(y, "y")
    if from_points.shape[1] != to_points.shape[1]:
        raise ValueError(f"x is {from_points.shape[1]}-D and y {to_points.shape[1]}-D")
    n, m = len(from_points), len(to_points)
    if min(n, m) < 2:
        raise ValueError("an energy distance needs at least two points in each cloud")
    centre = from_points.mean(axis=0)
    a, b = from_points - centre, to_points - centre
    between = _sum_of_distances(a, b) / (n * m)
    within = _sum_of_distances(a, a) / (n * (n - 1)) + _sum_of_distances(b, b) / (m * (m - 1))
    return 2 * between - within


def _sum_of_distances(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]) -> float:
    """Return sum_ij ||x_i - y_j||; the distance of a point of one cloud to itself is 0."""
    exact = x.shape[1] <= MOST_BY_DIFFERENCES
    if exact and (code := library()):
        points, (m, d), columns = np.ascontiguousarray(x), y.shape, np.ascontiguousarray(y.T)
        parts = (points[i : i + ROWS_AT_ONCE] for i in range(0, len(x), ROWS_AT_ONCE))
        sums = (code.sum_of_distances(len(p), m, d, address(p), address(columns)) for p in parts)
        return float(sum(sums))
    mode = f"{'donot_use' if exact else 'use'}_mm_for_euclid_dist"
    of_x, of_y, total = torch.from_numpy(x), torch.from_numpy(y), 0.0
    for i in range(0, len(x), ROWS_AT_ONCE):
        rows = torch.cdist(of_x[i : i + ROWS_AT_ONCE], of_y, compute_mode=mode)
        if x is y:
            rows[:, i:].fill_diagonal_(0)
        # Summed by numpy: its sum does not depend on the number of threads.
        total += float(rows.numpy().sum())
    return total


# A lower bound of W1 for every potential.
def c_transform_dual(
    x: Num[Tensor, "n d"], potential: Num[Tensor, " n"], y: Num[Tensor, "m d"]
) -> float:
    """Return E phi(x) + E phi^c(y), where phi^c(y) = min_i ||x_i - y|| - phi(x_i).

    ``potential`` holds phi(x_i). phi(x) + phi^c(y) <= ||x - y|| for every pair, so the value is at
    most the exact W1 between the two clouds, for any phi; it is W1 for a Kantorovich potential.
    It does not change when a constant is added to phi.

    Raises ValueError for shapes that do not fit and for points that are not finite.
    Source: Mallasto et al., arXiv:1910.03875.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [4.0]])
    >>> c_transform_dual(x, -x[:, 0], y), c_transform_dual(x, torch.zeros(2), y)
    (3.0, 2.5)
    """
    from_points, to_points = (
        torch.from_numpy(as_finite_points(points, name)) for points, name in ((x, "x"), (y, "y"))
    )
    if from_points.shape[1] != to_points.shape[1] or potential.shape != (len(from_points),):
        raise ValueError(
            f"x {tuple(x.shape)}, its potential {tuple(potential.shape)} and y {tuple(y.shape)} "
            "do not fit: (n, d), (n,) and (m, d) do"
        )
    phi, centre = potential.detach().cpu().double(), from_points.mean(dim=0)
    exact = from_points.shape[1] <= MOST_BY_DIFFERENCES
    mode = f"{'donot_use' if exact else 'use'}_mm_for_euclid_dist"
    at, other = from_points - centre, to_points - centre
    if exact and (code := library()):
        least = _transform(code, at.numpy(), phi.numpy(), other.numpy())
        return float(phi.mean() + least.mean())
    parts = [
        (torch.cdist(other[i : i + ROWS_AT_ONCE], at, compute_mode=mode) - phi).amin(dim=1)
        for i in range(0, len(other), ROWS_AT_ONCE)
    ]
    return float(phi.mean() + torch.cat(parts).mean())


def _transform(
    code: ctypes.CDLL,
    x: Float64[np.ndarray, "n d"],
    phi: Float64[np.ndarray, " n"],
    y: Float64[np.ndarray, "m d"],
) -> Float64[np.ndarray, " m"]:
    """Return min_i ||x_i - y_j|| - phi_i for each j, by our C++."""
    (m, d), columns, least = y.shape, np.ascontiguousarray(y.T), np.full(len(y), np.inf)
    rows, weights = np.ascontiguousarray(x), np.ascontiguousarray(phi)
    for i in range(0, len(x), ROWS_AT_ONCE):  # Ctrl-C is heeded between the parts
        part, own = rows[i : i + ROWS_AT_ONCE], weights[i : i + ROWS_AT_ONCE]
        code.lower_to_transform(
            len(part), m, d, address(part), address(own), address(columns), address(least)
        )
    return least
