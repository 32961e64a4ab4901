"""Mode coverage: the modes or classes that samples cover, their quality and proportions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Num
from scipy.spatial import KDTree
from scipy.special import chdtri, entr, rel_entr
from torch import Tensor

from wganbench.bounds import ModeProtocol
from wganbench.metrics.transport import as_points, as_values

PROTOCOLS: tuple[ModeProtocol, ...] = get_args(ModeProtocol)

WITHIN_THREE_SIGMA_2D = -math.expm1(-4.5)
"""Share of a 2-D Gaussian within three sigma of its centre: 1 - exp(-9/2) = 0.98889."""

FAIR_SHARE = 0.2
"""A mode counts towards `coverage` from this part of its fair share of samples on."""


@dataclass(frozen=True)
class ModeCoverage:
    """The result of `mode_coverage`.

    covered: modes with at least one high-quality sample.
    coverage: share of modes with at least a fifth of their fair share n w_k.
    high_quality: share of all n samples that lie near a mode.
    kl: nats; None without a high-quality sample, where it is undefined.
    counts: high-quality samples of each mode, in the order of the modes.
    """

    covered: int
    coverage: float
    high_quality: float
    kl: float | None
    counts: tuple[int, ...]


def check_protocol(protocol: str, dimension: int) -> None:
    """Raise ValueError for an unknown protocol, or one that does not fit the dimension.

    The published ``veegan`` and ``box`` are for the plane. Within three sigma a perfect sampler
    has only 0.971 of its points in 3-D, and 0.468 in 10-D.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r} (there are: {', '.join(PROTOCOLS)})")
    if protocol != "chi2" and dimension != 2:
        raise ValueError(
            f"protocol {protocol!r} is defined for 2-dimensional data, not {dimension}: use 'chi2'"
        )


def mode_coverage(
    samples: Num[np.ndarray, "n d"] | Num[Tensor, "n d"],
    modes: Num[np.ndarray, "K d"] | Num[Tensor, "K d"],
    sigma: float,
    weights: Num[np.ndarray, " K"] | Num[Tensor, " K"] | None = None,
    protocol: ModeProtocol = "veegan",
) -> ModeCoverage:
    """Return modes covered, share of high quality, and KL(samples' modes || weights) in nats.

    Each sample x belongs to its nearest mode m (Euclidean), and is of high quality when
    - ``veegan``: ||x - m|| < 3 sigma; KL over the high-quality samples
      (VEEGAN, arXiv:1705.07761; PacGAN, arXiv:1712.04086);
    - ``box``: |x_j - m_j| < 3 sigma on both axes; KL over all samples
      (self-conditioned GAN, arXiv:2006.10728);
    - ``chi2``: ||x - m|| < sqrt(quantile(0.98889; chi2_d)) sigma, which equals ``veegan`` in
      the plane and gives a perfect sampler 0.98889 in any dimension d.
    KL = sum_k p_k ln(p_k / w_k) with 0 ln 0 = 0. A perfect sampler does not reach 0: its
    expected KL is about (K - 1) / (2 n). Without a high-quality sample it is None.
    Weights are equal by default; a mode of weight 0 is not counted.
    A sample that is not finite belongs to no mode, but counts in n.

    Raises ValueError for shapes that do not fit, a sigma that is not positive, weights that
    are negative or sum to 0, an unknown protocol, and for ``veegan`` and ``box`` in any
    dimension but 2.

    >>> mode_coverage(np.zeros((5, 2)), np.array([[0.0, 0.0], [9.0, 9.0]]), 1.0).counts
    (5, 0)
    """
    points, centres = as_points(samples, "samples"), as_points(modes, "modes")
    if points.shape[1] != centres.shape[1]:
        raise ValueError(f"samples are {points.shape[1]}-D and modes {centres.shape[1]}-D")
    check_protocol(protocol, centres.shape[1])
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    shares = _mode_shares(weights, len(centres))
    real = shares > 0
    mode, near = _nearest_mode(points, centres, np.flatnonzero(real), 3 * sigma, protocol)
    counts = np.bincount(mode[near], minlength=len(centres))
    counted = np.bincount(mode[mode >= 0], minlength=len(centres)) if protocol == "box" else counts
    # Weights are often float32: a tie with the fair share must not depend on their rounding.
    fair = counts >= FAIR_SHARE * len(points) * shares * (1 - 1e-6)
    kl = float(rel_entr(counted / counted.sum(), shares).sum()) if counts.any() else None
    return ModeCoverage(
        covered=int((counts > 0).sum()),
        coverage=float(fair[real].mean()),
        high_quality=float(near.mean()),
        kl=kl,
        counts=tuple(int(count) for count in counts),
    )


def _mode_shares(
    weights: Num[np.ndarray, " K"] | Num[Tensor, " K"] | None, number: int
) -> Float64[np.ndarray, " K"]:
    """Return the mixture's weights, normalised to sum 1."""
    shares = np.ones(number) if weights is None else as_values(weights)
    if shares.shape != (number,) or not ((shares >= 0).all() and 0 < shares.sum() < np.inf):
        raise ValueError(f"weights must be {number} shares of a whole, got {shares}")
    return np.asarray(shares / shares.sum())


def _nearest_mode(
    points: Float64[np.ndarray, "n d"],
    centres: Float64[np.ndarray, "K d"],
    candidates: Int[np.ndarray, " C"],
    three_sigma: float,
    protocol: ModeProtocol,
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Return the index of the nearest candidate (-1: sample not finite), and high quality."""
    mode, distance = np.full(len(points), -1), np.full(len(points), np.inf)
    finite = np.isfinite(points).all(axis=1)
    if finite.any():
        distance[finite], nearest = KDTree(centres[candidates]).query(points[finite])
        # Coordinates whose squares overflow have no nearest mode: KDTree returns an index past
        # the end, which becomes -1.
        mode[finite] = np.append(candidates, -1)[nearest]
    if protocol == "box":
        near = np.zeros(len(points), dtype=bool)
        known = mode >= 0
        offsets = np.abs(points[known] - centres[mode[known]])
        near[known] = (offsets < three_sigma).all(axis=1)
        return mode, near
    dimension = centres.shape[1]
    sigmas = 3.0 if dimension == 2 else math.sqrt(chdtri(dimension, 1 - WITHIN_THREE_SIGMA_2D))
    return mode, distance < three_sigma * (sigmas / 3)


def gaussian_chance(
    reals: Float[Tensor, "n d"], n: int, generator: torch.Generator
) -> Float[Tensor, "m d"]:
    """Return n samples of the Gaussian with the reals' mean and covariance, as a baseline.

    One hit covers a mode, so even a sampler without modes covers some. Tables of modes
    show this baseline beside trained generators.
    """
    points, dimension = reals.double(), reals.shape[1]
    covariance = torch.cov(points.T).reshape(dimension, dimension)
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt()
    noise = torch.randn(
        n, dimension, generator=generator, device=generator.device, dtype=torch.float64
    )
    chance: Tensor = points.mean(dim=0) + noise @ root.T
    return chance.to(reals.dtype)


# The classes that samples cover according to a judge, and their proportions.
@dataclass(frozen=True)
class ClassCoverage:
    """The result of `class_coverage`.

    covered: classes with at least one sample.
    coverage: share of classes with at least a fifth of their fair share n w_k, counting only
    samples whose class is sure.
    high_quality: share of all n samples whose class is sure.
    kl: KL(samples' classes || weights), nats; None when it is undefined: without a sample in
    any class, or with one in a class of weight 0.
    entropy: entropy of the samples' classes, nats; ln K if all are equally frequent, 0 for one.
    """

    covered: int
    coverage: float
    high_quality: float
    kl: float | None
    entropy: float | None


def class_coverage(
    classes: Int[Tensor, " n"], sure: Bool[Tensor, " n"], weights: Float[Tensor, " K"]
) -> ClassCoverage:
    """Return the classes covered by n samples, their KL to the weights and entropy in nats.

        KL = sum_k p_k ln(p_k / w_k), H = -sum_k p_k ln p_k, with 0 ln 0 = 0

    A sample of class -1 belongs to no class, but counts in n. A perfect sampler does not reach
    KL 0: its expected KL is about (K - 1) / (2 n).
    Source: KL(p || uniform) of stacked digits: VEEGAN, arXiv:1705.07761.
    """
    shares = np.asarray(weights.double().cpu())
    judged, certain = np.asarray(classes.cpu()), np.asarray(sure.cpu())
    counts = np.bincount(judged[judged >= 0], minlength=len(shares))
    good = np.bincount(judged[certain & (judged >= 0)], minlength=len(shares))
    real = shares > 0
    # Weights are quotients: a tie with the fair share must not depend on their rounding.
    fair = good >= FAIR_SHARE * len(judged) * shares * (1 - 1e-6)
    kl = entropy = None
    if counts.any():
        found = counts / counts.sum()
        entropy = float(entr(found).sum())
        divergence = float(rel_entr(found, shares).sum())
        kl = divergence if np.isfinite(divergence) else None
    return ClassCoverage(
        covered=int((counts > 0).sum()),
        coverage=float(fair[real].mean()),
        high_quality=float((certain & (judged >= 0)).mean()),
        kl=kl,
        entropy=entropy,
    )
