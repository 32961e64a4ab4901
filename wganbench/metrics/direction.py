"""What a critic's direction can reach: partners in a plan between samples are partly chance."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from scipy.spatial.distance import cdist

from wganbench.metrics.distances import Paired


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
