"""Two distributions apart, exact: distances, and the gradients of optimal critics.

N(0, 1) against N(mu, 1), whose optimal discriminator has the logit s(x) = mu^2/2 - mu x
(arXiv:1406.2661, Proposition 1). All in float64 and in logarithms, so that nothing
underflows: with t = x - mu/2 and phi the standard normal density

    p_r = phi(t) exp(-mu^2/8 - mu t/2),  p_g = phi(t) exp(-mu^2/8 + mu t/2).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64

LINE = np.linspace(-13.0, 13.0, 26001)
"""Where integrals over a standard normal are taken; the rule of trapezia is exact to rounding."""
STEP = float(LINE[1] - LINE[0])
LOG_NORMAL = -(LINE**2) / 2 - math.log(2 * math.pi) / 2
VANISHED = math.log(0.01)
"""A gradient has vanished under one per cent of its largest value."""


def log_integral(log_values: Float64[np.ndarray, " n"]) -> float:
    """ln of the integral of exp(log_values) over `LINE`."""
    top = float(log_values.max())
    return top + math.log(float(np.exp(log_values - top).sum()) * STEP)


def earth_mover(mu: float) -> float:
    """W1 of N(0, 1) and N(mu, 1): |mu|."""
    return abs(mu)


def log_doubt(mu: float) -> float:
    """ln E sigmoid(s) over the fakes: how much the optimal discriminator still doubts them.

    E sigmoid(s) = exp(-mu^2/8) int phi(t) / (2 cosh(mu t / 2)) dt
    """
    half = np.abs(mu * LINE / 2)
    log_cosh_twice = half + np.log1p(np.exp(-2 * half))
    return -(mu**2) / 8 + log_integral(LOG_NORMAL - log_cosh_twice)


def log_divergence_gap(mu: float) -> float:
    """ln(ln 2 - JS) = ln E softplus(-s) over the reals, in nats.

    E softplus(-s) = exp(-mu^2/8) int phi(t) exp(-mu t/2) ln(1 + exp(mu t)) dt
    """
    z = mu * LINE
    softplus = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
    # Where exp(z) is small softplus(z) is exp(z), which would underflow first.
    log_softplus = np.where(z < -30, z, np.log(np.maximum(softplus, 1e-300)))
    return -(mu**2) / 8 + log_integral(LOG_NORMAL - z / 2 + log_softplus)


def jensen_shannon(mu: float) -> float:
    """JS of N(0, 1) and N(mu, 1) in nats, at most ln 2."""
    return math.log(2) - math.exp(log_divergence_gap(mu))


def log_gradient_saturating(mu: float) -> float:
    """ln |dL_G/dmu| of E log(1 - sigmoid D(G z)) under the optimal discriminator: mu E sigmoid(s).

    -inf at mu = 0. The discriminator is held fixed, as in a generator step.
    """
    return math.log(mu) + log_doubt(mu) if mu > 0 else -math.inf


def log_gradient_non_saturating(mu: float) -> float:
    """ln |dL_G/dmu| of -E log sigmoid D(G z): mu (1 - E sigmoid(s)). -inf at mu = 0."""
    return math.log(mu) + math.log1p(-math.exp(log_doubt(mu))) if mu > 0 else -math.inf


def log_gradient_wasserstein(mu: float) -> float:
    """ln 1: an optimal 1-Lipschitz critic is D(x) = -x. -inf at mu = 0, where none is pushed."""
    return 0.0 if mu > 0 else -math.inf


GRADIENTS = {
    "saturating": log_gradient_saturating,
    "non_saturating": log_gradient_non_saturating,
    "wasserstein": log_gradient_wasserstein,
}
"""ln of the gradient that the fakes' mean receives, by the generator's objective."""


def vanishing_point(objective: str, largest_mu: float, spacing: float = 0.01) -> float | None:
    """The first mu beyond the largest gradient at which it is under 1 % of that; None: nowhere."""
    gradient = GRADIENTS[objective]
    grid = np.arange(spacing, largest_mu + spacing / 2, spacing)
    logs = np.array([gradient(float(mu)) for mu in grid])
    top = int(logs.argmax())
    below = np.flatnonzero(logs[top:] < logs[top] + VANISHED)
    return float(grid[top + below[0]]) if below.size else None


def decades_lost(objective: str, mus: Float64[np.ndarray, " n"]) -> float:
    """log10 of the largest gradient over the one at the last mu."""
    logs = [GRADIENTS[objective](float(mu)) for mu in mus]
    return (max(logs) - logs[-1]) / math.log(10)


# Masses and lines.
def amount_earth_mover(p: float, distance: float) -> float:
    """W1 of delta_0 and (1 - p) delta_0 + p delta_L: p L."""
    return p * distance


def amount_jensen_shannon(p: float) -> float:
    """JS of delta_0 and (1 - p) delta_0 + p delta_L in nats, for every L other than 0.

    The mean of both has masses 1 - p/2 at 0 and p/2 at L.
    """
    at_zero = 1 - p / 2
    from_real = -math.log(at_zero)
    kept = (1 - p) * math.log((1 - p) / at_zero) if p < 1 else 0.0
    return (from_real + kept + p * math.log(2)) / 2


def lines_earth_mover(theta: float) -> float:
    """W1 of the uniform distributions on two parallel segments theta apart: |theta|."""
    return abs(theta)


def lines_jensen_shannon(theta: float) -> float:
    """JS of the same two: 0 at theta = 0, else ln 2 (arXiv:1701.07875, Example 1)."""
    return math.log(2) if theta != 0 else 0.0
