"""Distances between clouds of features: FID and KID, by torchmetrics, in float64."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor, nn

HOW_TO_GET = "FID and KID need torchmetrics: pip install 'wganbench[images]'."


def has_torchmetrics() -> bool:
    """Whether the extra that computes FID and KID is installed."""
    return find_spec("torchmetrics") is not None


class _AsTheyAre(nn.Module):
    """Features in place of pictures: what torchmetrics takes for its network."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.num_features = length

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(reals: Float[Tensor, "n f"], fakes: Float[Tensor, "m f"]) -> float:
    """Squared Frechet distance between Gaussians fitted to two clouds of features.

        ||mu_r - mu_f||^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2)), S with n - 1 in the denominator

    Biased upwards at finite n. Raises ImportError without torchmetrics, ValueError for
    fewer than two points. Source: Heusel et al., arXiv:1706.08500, equation 6.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    if min(len(reals), len(fakes)) < 2:
        raise ValueError("a covariance needs at least 2 points")
    metric = FrechetInceptionDistance(feature=_AsTheyAre(reals.shape[1]))
    # torchmetrics subtracts n mu mu^T from a sum of squares: the means are taken off first.
    centre = reals.double().mean(dim=0)
    metric.update(reals.double() - centre, real=True)
    metric.update(fakes.double() - centre, real=False)
    return float(metric.compute())


KERNEL_POINTS = 1000
"""Points of a block at most: kernels of more take memory with their square."""


def kernel_distance(reals: Float[Tensor, "m f"], fakes: Float[Tensor, "n f"]) -> float:
    """Squared maximum mean discrepancy of two clouds of features, without bias.

        k(x, y) = (x.y / f + 1)^3
        mean k(x, x') over x != x' + mean k(y, y') over y != y' - 2 mean k(x, y)

    Both are taken in blocks of as many as there are reals, but 1 000 at most, block i of the
    fakes against block i of the reals, from the first again where these have ended; returned
    is the mean over the whole blocks. Equal distributions give 0 on average, so it may be
    negative. Raises ImportError without torchmetrics, ValueError for fewer fakes than a block
    or than 2. Source: Binkowski et al., arXiv:1801.01401, section 3 (blocks: its appendix D).
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
