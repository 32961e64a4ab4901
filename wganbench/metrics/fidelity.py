"""Fidelity and diversity of samples, by balls around nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, Num
from scipy.spatial.distance import cdist
from torch import Tensor

from wganbench.metrics.points import as_finite_points

ROWS = 1024
"""Reals whose distances to every fake are held at once."""

DIRECT_DIMENSION = 16
"""Up to this dimension coordinates are subtracted; above it matrix products are faster."""

EQUAL = 1e-12
"""Distances that differ by less than this share are equal: two ways to add the same squares."""

NOISE = 1e-7
"""Distances below this share of the largest norm are 0: matrix products leave that much of it."""


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

    B(x) is the closed ball around x that reaches to its k-th neighbour in its own cloud,
    the point itself not counted; k(x) >= k is how many neighbours it holds, k without ties.
        precision = share of fakes inside the ball of some real
        recall    = share of reals inside the ball of some fake
        density   = mean over fakes of the sum of 1 / k(x) over the reals' balls around it
        coverage  = share of reals whose ball holds some fake
    Fakes on one real mode have high precision and low recall; reals and fakes are not
    interchangeable. Equal distributions do not reach 1: with n reals and n fakes the
    expected coverage is 1 - prod_{i=1..k} (n - i) / (2n - i), .96898 for 1 000 and k = 5;
    with ties, as whole numbers have, it lies above that.

    Raises ValueError for shapes that do not fit, points that are not finite, and k
    outside 1 .. (points of the smaller cloud) - 1.
    Source: Naeem et al., arXiv:2002.09797; precision and recall: arXiv:1904.06991.
    Differs: open balls there, which are empty where k + 1 points coincide; without ties
    both give the same numbers.
    """
    reals, fakes = as_finite_points(real, "real"), as_finite_points(fake, "fake")
    if reals.shape[1] != fakes.shape[1]:
        raise ValueError(f"real is {reals.shape[1]}-D and fake {fakes.shape[1]}-D")
    if not 1 <= k < min(len(reals), len(fakes)):
        raise ValueError(f"k must be at least 1 and below the number of points, got {k}")
    noise = NOISE * float(np.sqrt(max((x**2).sum(axis=1).max() for x in (reals, fakes))))
    real_radii, held = _balls(reals, k, noise)
    fake_radii, _ = _balls(fakes, k, noise)
    precise = np.zeros(len(fakes), dtype=np.bool_)
    density = 0.0
    recalled = covered = 0
    for start in range(0, len(reals), ROWS):
        rows = slice(start, start + ROWS)
        distances = _distances(reals[rows], fakes, noise)
        in_real_ball = distances <= real_radii[rows, None]
        precise |= in_real_ball.any(axis=0)
        density += float((in_real_ball.sum(axis=1) / held[rows]).sum())
        covered += int(in_real_ball.any(axis=1).sum())
        recalled += int((distances <= fake_radii).any(axis=1).sum())
    return Fidelity(
        precision=float(precise.mean()),
        recall=recalled / len(reals),
        density=density / len(fakes),
        coverage=covered / len(reals),
    )


def _balls(
    points: Float64[np.ndarray, "n d"], k: int, noise: float
) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Radius of each point's closed ball, and how many other points it holds: k without ties."""
    from sklearn.neighbors import NearestNeighbors

    n = len(points)
    # Without a query a point is not its own neighbour. One more tells whether there are ties.
    distances, _ = NearestNeighbors(n_neighbors=min(k + 1, n - 1)).fit(points).kneighbors()
    if points.shape[1] > DIRECT_DIMENSION:
        distances[distances < noise] = 0
    radii = distances[:, k - 1] * (1 + EQUAL)
    held = np.full(n, k)
    tied = np.flatnonzero(distances[:, -1] <= radii) if n - 1 > k else np.empty(0, dtype=np.int64)
    for start in range(0, len(tied), ROWS):
        rows = tied[start : start + ROWS]
        near = _distances(points[rows], points, noise) <= radii[rows, None]
        held[rows] = near.sum(axis=1) - 1
    return radii, held


def _distances(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"], noise: float
) -> Float64[np.ndarray, "n m"]:
    """Euclidean distances of all pairs; those by matrix products are 0 below ``noise``."""
    if x.shape[1] <= DIRECT_DIMENSION:
        return np.asarray(cdist(x, y))
    from sklearn.metrics.pairwise import euclidean_distances

    distances = np.asarray(euclidean_distances(x, y), dtype=np.float64)
    distances[distances < noise] = 0
    return distances
