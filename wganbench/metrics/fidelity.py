"""Fidelity and diversity of samples, by balls around nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Num
from scipy.spatial.distance import cdist
from torch import Tensor

from wganbench.metrics.points import as_finite_points

ROWS = 1024
"""Reals whose distances to every fake are held at once."""

DIRECT_DIMENSION = 16
"""Up to this dimension coordinates are subtracted; above it matrix products are faster."""


@dataclass(frozen=True)
class Fidelity:
    """Result of `precision_recall_density_coverage`: shares, but density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(
    real: Num[np.ndarray, "n d"] | Num[Tensor, "n d"],
    fake: Num[np.ndarray, "m d"] | Num[Tensor, "m d"],
    k: int = 5,
) -> Fidelity:
    """Precision, recall, density and coverage of the fakes against the reals.

    B(x) is the open ball around x that reaches to its k-th neighbour in its own cloud,
    the point itself not counted.
        precision = share of fakes inside the ball of some real
        recall    = share of reals inside the ball of some fake
        density   = mean over fakes of (number of reals' balls around it) / k
        coverage  = share of reals whose ball holds some fake
    Fakes on one real mode have high precision and low recall; reals and fakes are not
    interchangeable. Equal distributions do not reach 1: with n reals and n fakes the
    expected coverage is 1 - prod_{i=1..k} (n - i) / (2n - i), .96898 for 1 000 and k = 5.

    Raises ValueError for shapes that do not fit, points that are not finite, and k
    outside 1 .. (points of the smaller cloud) - 1.
    Source: Naeem et al., arXiv:2002.09797; precision and recall: arXiv:1904.06991.
    """
    reals, fakes = as_finite_points(real, "real"), as_finite_points(fake, "fake")
    if reals.shape[1] != fakes.shape[1]:
        raise ValueError(f"real is {reals.shape[1]}-D and fake {fakes.shape[1]}-D")
    if not 1 <= k < min(len(reals), len(fakes)):
        raise ValueError(f"k must be at least 1 and below the number of points, got {k}")
    real_radii, fake_radii = _neighbour_distances(reals, k), _neighbour_distances(fakes, k)
    balls_around_fake = np.zeros(len(fakes), dtype=np.int64)
    recalled = covered = 0
    for start in range(0, len(reals), ROWS):
        rows = slice(start, start + ROWS)
        distances = _distances(reals[rows], fakes)
        in_real_ball = distances < real_radii[rows, None]
        balls_around_fake += in_real_ball.sum(axis=0)
        covered += int(in_real_ball.any(axis=1).sum())
        recalled += int((distances < fake_radii).any(axis=1).sum())
    return Fidelity(
        precision=float((balls_around_fake > 0).mean()),
        recall=recalled / len(reals),
        density=float(balls_around_fake.mean()) / k,
        coverage=covered / len(reals),
    )


def _neighbour_distances(points: Float64[np.ndarray, "n d"], k: int) -> Float64[np.ndarray, " n"]:
    """Distance of each point to its k-th neighbour; without a query a point is not its own."""
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=k).fit(points).kneighbors()
    return np.asarray(distances[:, -1], dtype=np.float64)


def _distances(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"]
) -> Float64[np.ndarray, "n m"]:
    """Euclidean distances of all pairs."""
    if x.shape[1] <= DIRECT_DIMENSION:
        return np.asarray(cdist(x, y))
    from sklearn.metrics.pairwise import euclidean_distances

    return np.asarray(euclidean_distances(x, y), dtype=np.float64)
