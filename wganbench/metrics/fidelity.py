"""Fidelity and diversity: precision and recall, FID, KID, distance to training images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64, Num, UInt8
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from wganbench.metrics.transport import as_finite_points

ROWS = 256
"""Number of reals whose distances to all fakes are in memory at once."""

DIRECT_DIMENSION = 16
"""Largest dimension in which coordinates are subtracted; above, matrix products are faster."""

EQUAL = 1e-12
"""Distances are equal if they differ by less than this share, by the order of summation."""

NOISE = 1e-7
"""Distances below this share of the largest norm are 0: the rounding of matrix products."""


@dataclass(frozen=True)
class Fidelity:
    """The result of `precision_recall_density_coverage`: shares; density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(
    real: Num[np.ndarray, "n d"] | Num[Tensor, "n d"],
    fake: Num[np.ndarray, "m d"] | Num[Tensor, "m d"],
    k: int = 5,
) -> Fidelity:
    """Return precision, recall, density and coverage of the fakes against the reals.

    B(x) is the closed ball around x up to its k-th neighbour in its own cloud, not counting x.
    k(x) >= k is the number of neighbours in the ball, which is k without ties.
        precision = share of fakes inside the ball of some real
        recall    = share of reals inside the ball of some fake
        density   = mean over fakes of the sum of 1 / k(x) over the reals' balls around it
        coverage  = share of reals whose ball holds some fake
    Fakes on one real mode have high precision and low recall; reals and fakes are not
    interchangeable. Equal distributions do not reach 1: with n reals and n fakes the
    expected coverage is 1 - prod_{i=1..k} (n - i) / (2n - i), 0.96898 for n = 1 000 and k = 5.
    With ties, as for whole numbers, it is larger.

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
    """Return the radii of the points' closed balls, and the number of other points in each."""
    n = len(points)
    # One more neighbour shows ties.
    distances = _to_neighbours(points, min(k + 1, n - 1), noise)
    radii = distances[:, k - 1] * (1 + EQUAL)
    held = np.full(n, k)
    tied = np.flatnonzero(distances[:, -1] <= radii) if n - 1 > k else np.empty(0, dtype=np.int64)
    for start in range(0, len(tied), ROWS):
        rows = tied[start : start + ROWS]
        near = _distances(points[rows], points, noise) <= radii[rows, None]
        held[rows] = near.sum(axis=1) - 1
    return radii, held


def _to_neighbours(
    points: Float64[np.ndarray, "n d"], k: int, noise: float
) -> Float64[np.ndarray, "n k"]:
    """Return the distances of each point to its k nearest other points, in order."""
    if points.shape[1] <= DIRECT_DIMENSION:
        # In the first place is the point, or one that equals it.
        return np.asarray(KDTree(points).query(points, k=k + 1)[0][:, 1:])
    from sklearn.neighbors import NearestNeighbors  # takes half a second to import

    distances = np.asarray(NearestNeighbors(n_neighbors=k).fit(points).kneighbors()[0])
    distances[distances < noise] = 0
    return distances


def _distances(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "m d"], noise: float
) -> Float64[np.ndarray, "n m"]:
    """Return Euclidean distances of all pairs; those by matrix products are 0 below ``noise``."""
    if x.shape[1] <= DIRECT_DIMENSION:
        return np.asarray(cdist(x, y))
    from sklearn.metrics.pairwise import euclidean_distances

    distances = np.asarray(euclidean_distances(x, y), dtype=np.float64)
    distances[distances < noise] = 0
    return distances


# Distances between clouds of features: FID and KID, by torchmetrics, in float64.
HOW_TO_GET = "FID and KID need torchmetrics: pip install 'wganbench[images]'."


def has_torchmetrics() -> bool:
    """Return whether torchmetrics is installed, which computes FID and KID."""
    return find_spec("torchmetrics") is not None


class _Unchanged(nn.Module):
    """An identity that torchmetrics uses as its network, so that it accepts features."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.num_features = length

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(reals: Float[Tensor, "n f"], fakes: Float[Tensor, "m f"]) -> float:
    """Return the squared Frechet distance between Gaussians fitted to two clouds of features.

        ||mu_r - mu_f||^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2)), S with n - 1 in the denominator

    Biased upwards at finite n. Raises ImportError without torchmetrics, ValueError for
    fewer than two points. Source: Heusel et al., arXiv:1706.08500, equation 6.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    if min(len(reals), len(fakes)) < 2:
        raise ValueError("a covariance needs at least 2 points")
    metric = FrechetInceptionDistance(feature=_Unchanged(reals.shape[1]))
    # torchmetrics subtracts n mu mu^T from a sum of squares. Centring first keeps precision.
    centre = reals.double().mean(dim=0)
    metric.update(reals.double() - centre, real=True)
    metric.update(fakes.double() - centre, real=False)
    return float(metric.compute())


KERNEL_POINTS = 1000
"""Most points of a block; the memory of a kernel grows with their square."""


def kernel_distance(reals: Float[Tensor, "m f"], fakes: Float[Tensor, "n f"]) -> float:
    """Return the unbiased squared maximum mean discrepancy of two clouds of features.

        k(x, y) = (x.y / f + 1)^3
        mean k(x, x') over x != x' + mean k(y, y') over y != y' - 2 mean k(x, y)

    Both clouds are cut into blocks of min(m, 1 000) points. Block i of the fakes is compared
    with block i of the reals, whose blocks are repeated; the result is the mean over the full
    blocks of fakes. Equal distributions give 0 on average, so it may be negative. Raises
    ImportError without torchmetrics, ValueError for fewer than 2 reals or fewer fakes than a
    block. Source: Binkowski et al., arXiv:1801.01401, section 3 (blocks: its appendix D).
    """
    from torchmetrics.image.kid import poly_mmd

    size = min(len(reals), KERNEL_POINTS)
    if size < 2 or len(fakes) < size:
        raise ValueError(f"{len(reals)} reals need as many fakes and at least 2, got {len(fakes)}")

    def block(points: Tensor, i: int) -> Tensor:
        start = size * (i % (len(points) // size))
        return points[start : start + size].double()

    distances = [poly_mmd(block(reals, i), block(fakes, i)) for i in range(len(fakes) // size)]
    return float(torch.stack(distances).mean())


# Distances of images to the nearest training image, which show memorisation.
TRAINING_ROWS = 4096
"""Number of training images that are compared at once."""


class Neighbours(NamedTuple):
    """Row numbers in the training set, and Euclidean distances over pixels and channels."""

    rows: Int[Tensor, "n k"]
    distances: Float64[Tensor, "n k"]


def nearest_training_distance(
    points: Float[Tensor, "n c h w"],
    images: UInt8[Tensor, "m b h w"],
    scaled: Callable[[Tensor], Tensor],
    stacked: int = 1,
) -> float:
    """Return the mean Euclidean distance of points to the nearest training image, in pixels.

        mean_i sqrt( sum over the `stacked` parts p of min_j ||x_ip - scaled(images_j)||^2 )

    A point of ``stacked`` images is compared part by part, because any combination of training
    images is a possible training point. Pixels run from -1 to 1.
    """
    n, channels, *size = points.shape
    parts = points.detach().float().cpu().reshape(n * stacked, channels // stacked, *size)
    distances = nearest_training_images(parts, images, scaled).distances
    return float(distances.square().view(n, stacked).sum(dim=1).sqrt().mean())


def nearest_training_images(
    pictures: Float[Tensor, "n c h w"],
    images: UInt8[Tensor, "m c h w"],
    scaled: Callable[[Tensor], Tensor],
    k: int = 1,
) -> Neighbours:
    """Return the ``k`` nearest training images of each image, nearest first; all if fewer.

    Matrix products find the nearest ones. Their rounding hides small distances, so the
    distances are computed by subtraction in float64.
    """
    x = pictures.flatten(1)
    n, k = len(x), min(k, len(images))
    least, rows = torch.empty(n, 0), torch.empty(n, 0, dtype=torch.long)
    for start in range(0, len(images), TRAINING_ROWS):
        y = scaled(images[start : start + TRAINING_ROWS].cpu()).flatten(1)
        # ||x||^2 is left out: it is the same for all y.
        values, nearest = (y.square().sum(dim=1) - 2 * x @ y.T).topk(
            min(k, len(y)), largest=False, sorted=False
        )
        values, nearest = torch.cat([least, values], 1), torch.cat([rows, nearest + start], 1)
        kept = values.topk(min(k, values.shape[1]), largest=False, sorted=False).indices
        least, rows = values.gather(1, kept), nearest.gather(1, kept)
    known = scaled(images[rows.flatten()].cpu()).reshape(n, k, -1).double()
    distances, order = (x.double().unsqueeze(1) - known).norm(dim=2).sort(dim=1)
    return Neighbours(rows.gather(1, order), distances)
