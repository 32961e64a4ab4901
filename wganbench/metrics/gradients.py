"""Metrics of the critic: slopes, gradients at the fakes, saturation, estimates, known truths."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.nn.functional import softplus

from wganbench.losses.constraints import input_slopes
from wganbench.metrics.distances import Paired, c_transform_dual
from wganbench.metrics.evaluation import Evaluation, register_metric
from wganbench.metrics.transport import EXACT_POINTS, as_values
from wganbench.tags.lookup import FAR_FROM_FLOOR

SATURATED_SCORE = math.log(0.01 / 0.99)
"""The score of probability 0.01: sigmoid(score) = 0.01."""


def slopes(critic: Callable[[Tensor], Tensor], x: Float[Tensor, " n *d"]) -> Float[Tensor, " n"]:
    """Return ||grad_x D(x_i)||_2, one norm per sample over all its dimensions, without a graph.

    Works under vmap. Raises ValueError when the critic's scores are not of shape (n,).

    >>> slopes(lambda x: x @ torch.tensor([3.0, 4.0]), torch.zeros(2, 2))
    tensor([5., 5.])
    """
    return input_slopes(critic, x).detach()


def _is_bce(evaluation: Evaluation) -> bool:
    return evaluation.bce


@register_metric(
    "slopes",
    ("critic/lipschitz", "critic/slope_mean", "critic/slope_std", "critic/slope_fake"),
    "arXiv:1704.00028, equation 3",
)
def measure_slopes(evaluation: Evaluation) -> dict[str, float]:
    """Return the critic's slopes: largest, mean, standard deviation, mean at the fakes.

    The largest is over n interpolates, n reals and n fakes: a lower bound of the Lipschitz
    constant. Mean and standard deviation are over the interpolates."""
    hat, fake = evaluation.slopes_hat.double(), evaluation.slopes_fake.double()
    return {
        "critic/lipschitz": largest_slope(evaluation),
        "critic/slope_mean": float(hat.mean()),
        "critic/slope_std": float(hat.std(correction=0)),
        "critic/slope_fake": float(fake.mean()),
    }


def largest_slope(evaluation: Evaluation) -> float:
    """Return the largest slope over interpolates, reals and fakes; nan if any slope is nan."""
    parts = (evaluation.slopes_hat, evaluation.slopes_real, evaluation.slopes_fake)
    return float(torch.cat(parts).max())


@register_metric(
    "generator_signal", ("grad_norm/sample", "critic/feedback"), "arXiv:1701.04862, figure 2"
)
def measure_signal(evaluation: Evaluation) -> dict[str, float]:
    """Return the generator's signal: n mean_i ||dL_G/dx_i|| and n mean_i |dL_G/dscore_i|.

    The factor n makes the numbers independent of n, because L_G is a mean over n fakes.
    """
    gradients = evaluation.fake_gradients.double().flatten(1)
    lengths = torch.linalg.vector_norm(gradients, dim=1)
    return {
        "grad_norm/sample": float(lengths.mean()) * len(lengths),
        "critic/feedback": float(evaluation.feedback.double().mean()),
    }


@register_metric(
    "direction",
    ("critic/direction",),
    "wganbench; cf. arXiv:2103.01678",
    applies=lambda evaluation: evaluation.clouds,
)
def measure_direction(evaluation: Evaluation) -> dict[str, float]:
    """Return the mean cosine between -dL_G/dx_i and the direction to the partner of fake i.

    The partner is that of the exact plan. At 1 every fake is moved towards its partner. Vectors
    of length zero have no direction and are left out; without any direction the tag is absent.
    """
    n = evaluation.exact_n
    push = -evaluation.fake_gradients[:n].double()
    way = torch.from_numpy(evaluation.transport.partners) - evaluation.fakes[:n].double()
    lengths = torch.linalg.vector_norm(push, dim=1) * torch.linalg.vector_norm(way, dim=1)
    directed = lengths != 0
    if not directed.any():
        return {}
    # `cosines` of the two would round otherwise.
    found = (push * way).sum(dim=1)[directed] / lengths[directed]
    return {"critic/direction": float(found.mean())}


def _above_two_floors(evaluation: Evaluation) -> bool:
    if evaluation.floor is None or not evaluation.pairs:
        return False
    return evaluation.transport.distance > FAR_FROM_FLOOR * evaluation.floor.mean


@register_metric(
    "direction_ceiling",
    ("critic/direction_ceiling",),
    "wganbench; cf. Spearman 1910",
    applies=lambda evaluation: evaluation.final and _above_two_floors(evaluation),
)
def measure_ceiling(evaluation: Evaluation) -> dict[str, float]:
    """Return `direction_ceiling`, where the direction is read at all: above two floors."""
    ceiling = direction_ceiling(evaluation.paired)
    return {} if ceiling is None else {"critic/direction_ceiling": ceiling}


@register_metric(
    "discriminator",
    ("critic/saturation", "critic/accuracy"),
    "arXiv:1701.04862, figures 1 and 2",
    applies=_is_bce,
)
def measure_discriminator(evaluation: Evaluation) -> dict[str, float]:
    """Return saturation and accuracy of a BCE discriminator.

    Saturation is the share of fakes with sigmoid(score) < 0.01. Accuracy is half of (share of
    reals with score > 0 + share of fakes with score < 0)."""
    real, fake = evaluation.score_real.double(), evaluation.score_fake.double()
    right = (real > 0).double().mean() + (fake < 0).double().mean()
    return {
        "critic/saturation": float((fake < SATURATED_SCORE).double().mean()),
        "critic/accuracy": float(right) / 2,
    }


@register_metric(
    "js_estimate", ("divergence/js_estimate",), "arXiv:1406.2661, theorem 1", applies=_is_bce
)
def measure_js(evaluation: Evaluation) -> dict[str, float]:
    """Return `js_estimate` of a BCE discriminator."""
    real, fake = evaluation.score_real.double(), evaluation.score_fake.double()
    return {"divergence/js_estimate": js_estimate(real, fake)}


def js_estimate(score_real: Float[Tensor, " n"], score_fake: Float[Tensor, " m"]) -> float:
    """Return ln 2 - loss/2 of a BCE discriminator, a lower bound of the JS divergence in nats.

    The loss is mean softplus(-D(x)) + mean softplus(D(G(z))). The bound is exact for the optimal
    discriminator. It is at most ln 2, and below 0 for a bad discriminator.

    >>> js_estimate(torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    0.0
    """
    loss = softplus(-score_real).mean() + softplus(score_fake).mean()
    return math.log(2) - float(loss) / 2


@register_metric(
    "estimate_normalized",
    ("wasserstein/estimate_normalized",),
    "arXiv:1701.07875, equations 2 and 3",
    applies=lambda evaluation: (
        not evaluation.bce and evaluation.packing == 1 and largest_slope(evaluation) != 0
    ),
)
def measure_estimate(evaluation: Evaluation) -> dict[str, float]:
    """Return (E D(x) - E D(G(z))) / largest slope seen, roughly a lower bound on W1.

    It uses held-out reals and fresh fakes. It is absent for BCE and for a flat critic.
    """
    estimate = evaluation.score_real.double().mean() - evaluation.score_fake.double().mean()
    normalized = evaluation.unit * float(estimate) / largest_slope(evaluation)
    return {"wasserstein/estimate_normalized": normalized}


def _has_dual(evaluation: Evaluation) -> bool:
    alone = not evaluation.bce and evaluation.packing == 1
    return alone and evaluation.clouds and len(evaluation.fakes) <= EXACT_POINTS


@register_metric(
    "c_transform",
    ("wasserstein/c_transform",),
    "arXiv:1910.03875",
    applies=_has_dual,
)
def measure_c_transform(evaluation: Evaluation) -> dict[str, float]:
    """Return `c_transform_dual` of the critic's scores at held-out reals, against fresh fakes.

    It is at most wasserstein/exact, which is of the same points. Absent for BCE, whose scores are
    logits, for packs, and where wasserstein/exact takes fewer points than there are.
    """
    value = c_transform_dual(evaluation.reals, evaluation.score_real, evaluation.fakes)
    return {"wasserstein/c_transform": evaluation.unit * value}


@register_metric(
    "weights_at_clip",
    ("critic/weights_at_clip",),
    "arXiv:1704.00028, figure 1b",
    applies=lambda evaluation: evaluation.weights_at_clip is not None,
)
def measure_clipping(evaluation: Evaluation) -> dict[str, float]:
    """Return the share of the critic's weights at plus or minus the clip value."""
    share = evaluation.weights_at_clip
    return {} if share is None else {"critic/weights_at_clip": share}


# What a critic's direction can reach.
def direction_ceiling(parts: Paired) -> float | None:
    """Return about what `critic/direction` is for the exact potential of the distributions.

        sqrt(max(0, E cos(p(y) - y, q(y) - y)))

    p(y) is the partner of a fake in the plan of its own half. q(y) is the real to which the exact
    potential of the other half, phi(y) = min_j ||y - x_j|| - v_j, sends it. Both stray from the
    true direction by chance of their own, each by the cosine that is sought, so the mean cosine
    between them is its square (the reliability of two halves; Spearman 1910). In many dimensions
    and near the floor it is too high, since both directions also point to where reals are at all.

    None when no fake has two directions.
    """
    found = []
    for own, other in ((0, 1), (1, 0)):
        y, x, plan = parts.y[own], parts.x[other], parts.plans[other]
        sent = x[(cdist(y, x) - plan.v).argmin(axis=1)]
        found.append(cosines(parts.plans[own].partners - y, sent - y))
    every = np.concatenate(found)
    return math.sqrt(max(0.0, float(every.mean()))) if len(every) else None


def cosines(
    a: Float64[np.ndarray, "n d"], b: Float64[np.ndarray, "n d"]
) -> Float64[np.ndarray, " m"]:
    """Return the cosine between the rows of a and b, for the m rows where both have a length."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    directed = lengths != 0
    return np.asarray((a * b).sum(axis=1)[directed] / lengths[directed])


# Metrics of a critic against a known truth: the target's density, or the potential of a pair.
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
