"""Which classes the samples reach, as a judge sees them, and in what proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import entr, rel_entr
from torch import Tensor

from wganbench.metrics.modes import FAIR_SHARE


@dataclass(frozen=True)
class ClassCoverage:
    """Result of `class_coverage`.

    covered: classes with at least one sample.
    coverage: share of classes with at least a fifth of their fair share n w_k among those
    samples whose class is sure.
    high_quality: share of all n samples whose class is sure.
    kl: KL(samples' classes || weights), nats; None where it is undefined: without a sample in
    any class, or with one in a class of weight 0.
    entropy: of the samples' classes, nats; ln K when all are equally frequent, 0 on one class.
    """

    covered: int
    coverage: float
    high_quality: float
    kl: float | None
    entropy: float | None


def class_coverage(
    classes: Int[Tensor, " n"], sure: Bool[Tensor, " n"], weights: Float[Tensor, " K"]
) -> ClassCoverage:
    """Classes covered by n samples, their KL to the weights and their entropy, in nats.

        KL = sum_k p_k ln(p_k / w_k), H = -sum_k p_k ln p_k, with 0 ln 0 = 0

    A sample of class -1 belongs to none, but counts in n. A perfect sampler does not reach
    KL 0: its expected KL is about (K - 1) / (2 n).
    Source: KL(p || uniform) of stacked digits: VEEGAN, arXiv:1705.07761.
    """
    shares = np.asarray(weights.double().cpu())
    judged, certain = np.asarray(classes.cpu()), np.asarray(sure.cpu())
    counts = np.bincount(judged[judged >= 0], minlength=len(shares))
    good = np.bincount(judged[certain & (judged >= 0)], minlength=len(shares))
    real = shares > 0
    # Weights are quotients: a tie with the fair share must not hang on their rounding.
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
