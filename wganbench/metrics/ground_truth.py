"""Metrics of a critic against a known truth: the target's density, or the potential of a pair."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.spatial import KDTree
from torch import Tensor

from wganbench.metrics.evaluation import Evaluation, register_metric
from wganbench.metrics.transport import as_values


def ranks(values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Return the ranks from 1 on; equal values share the mean of theirs.

    It is `scipy.stats.rankdata`; to import scipy.stats takes half a second of every start.
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[places])


def rank_correlation(a: Float64[np.ndarray, " n"], b: Float64[np.ndarray, " n"]) -> float | None:
    """Return Spearman's correlation; equal values share their mean rank.

    None where it is undefined: for fewer than two values, equal ones, and ones that are nan.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([5.0, 70.0, 6.0]))
    0.5
    """
    if len(a) < 2 or np.isnan(a).any() or np.isnan(b).any():
        return None
    x, y = (ranks(values) - (len(a) + 1) / 2 for values in (a, b))
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale else None


@register_metric(
    "realness",
    ("critic/density_rank", "critic/distance_rank"),
    "wganbench",
    applies=lambda evaluation: (
        evaluation.target.density is not None and evaluation.clouds and evaluation.packing == 1
    ),
)
def measure_realness(evaluation: Evaluation) -> dict[str, float]:
    """Return the rank correlations of D(x) with log p(x) and with minus the distance to the data.

    They are over n held-out reals and n fakes together; one that is undefined is absent. Both are
    absent for packs, whose points have no scores of their own.
    """
    score = as_values(torch.cat((evaluation.score_real, evaluation.score_fake)))
    points = torch.cat((evaluation.reals, evaluation.fakes)).double()
    values = {
        "critic/density_rank": as_values(evaluation.target.density.log_density(points)),
        "critic/distance_rank": -distances_to_data(evaluation),
    }
    found = {tag: rank_correlation(score, value) for tag, value in values.items()}
    return {tag: value for tag, value in found.items() if value is not None}


def distances_to_data(evaluation: Evaluation) -> Float64[np.ndarray, " m"]:
    """Return the distance of each real and each fake to the nearest mode of a weight above 0.

    Without modes it is that to the nearest held-out real, for a real to the nearest other one.
    """
    reals, fakes = as_values(evaluation.reals), as_values(evaluation.fakes)
    modes, weights = evaluation.target.modes, evaluation.target.weights
    if modes is None:
        tree = KDTree(reals)
        # The nearest real of a real is itself, or an equal one.
        among = tree.query(reals, k=2)[0][:, 1]
        return np.concatenate((among, tree.query(fakes)[0]))
    centres = modes if weights is None else modes[weights > 0]
    return np.asarray(KDTree(as_values(centres)).query(np.concatenate((reals, fakes)))[0])


@register_metric(
    "potential",
    ("critic/potential_cosine", "critic/l2_uvp"),
    "arXiv:2206.07767, Sec. 5",
    applies=lambda evaluation: evaluation.source_gradients is not None,
)
def measure_potential(evaluation: Evaluation) -> dict[str, float]:
    """Return how the critic's gradient at source points agrees with that of the potential."""
    if evaluation.source_gradients is None or evaluation.target.pair is None:
        return {}
    truth = evaluation.target.pair.potential_gradient(evaluation.fakes.double())
    return gradient_agreement(evaluation.source_gradients.double(), truth)


def gradient_agreement(
    gradients: Float[Tensor, "n d"], truth: Float[Tensor, "n d"]
) -> dict[str, float]:
    """Return cosine and L2-UVP of two fields of gradients at the same points, by tag.

    The cosine is E<g, t> / (E|g|^2 E|t|^2)^1/2, absent for a critic that is flat everywhere. L2-UVP
    is 100 E|g - t|^2 / E|t|^2.
    """
    own, true = float(gradients.square().sum()), float(truth.square().sum())
    values = {"critic/l2_uvp": 100 * float((gradients - truth).square().sum()) / true}
    if own == 0:
        return values
    cosine = float((gradients * truth).sum()) / (own * true) ** 0.5
    return {"critic/potential_cosine": cosine} | values
