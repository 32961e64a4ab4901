"""Two distributions apart, exact: distances, and the gradients of optimal critics.

N(0, 1) against N(mu, 1), whose optimal discriminator has the logit s(x) = mu^2/2 - mu x
(arXiv:1406.2661, Proposition 1). Everything is computed in float64 and in
logarithms, so that nothing underflows: with t = x - mu/2 and phi the standard normal density

    p_r = phi(t) exp(-mu^2/8 - mu t/2),  p_g = phi(t) exp(-mu^2/8 + mu t/2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from jaxtyping import Float64

LINE = np.linspace(-13.0, 13.0, 26001)
"""Where integrals over a standard normal are taken; the rule of trapezia is exact to rounding."""
STEP = float(LINE[1] - LINE[0])
LOG_NORMAL = -(LINE**2) / 2 - math.log(2 * math.pi) / 2
VANISHED = math.log(0.01)
"""A gradient counts as vanished below 1 % of its largest value."""


def log_integral(log_values: Float64[np.ndarray, " n"]) -> float:
    """ln of the integral of exp(log_values) over `LINE`."""
    top = float(log_values.max())
    return top + math.log(float(np.exp(log_values - top).sum()) * STEP)


def earth_mover(mu: float) -> float:
    """W1 of N(0, 1) and N(mu, 1): |mu|."""
    return abs(mu)


def log_doubt(mu: float) -> float:
    """Return ln E sigmoid(s) over the fakes, the optimal discriminator's mean output on them.

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


def kullback_leibler(mu: float) -> float:
    """KL of N(0, 1) from N(mu, 1), in either direction: mu^2 / 2 nats, without a bound."""
    return mu**2 / 2


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


SPACING = 0.01
"""The distance between two mus at which a vanishing gradient is sought."""


def vanishing_point(objective: str, largest_mu: float) -> float | None:
    """Return the first mu after the largest gradient with less than 1 % of it, else None."""
    gradient = GRADIENTS[objective]
    grid = np.arange(SPACING, largest_mu + SPACING / 2, SPACING)
    logs = np.array([gradient(float(mu)) for mu in grid])
    top = int(logs.argmax())
    below = np.flatnonzero(logs[top:] < logs[top] + VANISHED)
    return float(grid[top + below[0]]) if below.size else None


def too_near(largest: float) -> str:
    """Return why nothing is said of Gaussians that move apart: they never are far apart."""
    far = vanishing_mu()
    if largest >= far:
        return ""
    return f"mu ends at {largest:g}: the optimal saturating gradient vanishes from {far:.2f} on"


@cache
def vanishing_mu() -> float:
    """Return the mu from which the optimal saturating gradient is under 1 % of its largest."""
    found = vanishing_point("saturating", 10.0)
    assert found is not None
    return found


def decades_lost(objective: str, mus: Float64[np.ndarray, " n"]) -> float:
    """Return log10(largest gradient / gradient at the last mu)."""
    logs = [GRADIENTS[objective](float(mu)) for mu in mus]
    return (max(logs) - logs[-1]) / math.log(10)


# Masses on a line, and parallel lines.
Masses = Mapping[float, float]
"""The mass at each place."""


def moved_share(p: float, distance: float) -> tuple[Masses, Masses]:
    """Return delta_0 and (1 - p) delta_0 + p delta_L."""
    return {0.0: 1.0}, {0.0: 1 - p, distance: p}


def earth_mover_of(a: Masses, b: Masses) -> float:
    """Return W1 of two distributions of masses: the integral of |F_a - F_b|."""
    places = sorted({*a, *b})
    excess = np.cumsum([a.get(x, 0.0) - b.get(x, 0.0) for x in places])
    return float((np.abs(excess[:-1]) * np.diff(places)).sum())


def kullback_leibler_of(a: Masses, b: Masses) -> float:
    """Return KL(a, b) in nats; infinite where b has no mass and a has some."""
    total = 0.0
    for x, mass in a.items():
        if mass > 0:
            total += mass * math.log(mass / b[x]) if b.get(x, 0.0) > 0 else math.inf
    return total


def jensen_shannon_of(a: Masses, b: Masses) -> float:
    """Return JS in nats: the mean KL of both from their mean."""
    middle = {x: (a.get(x, 0.0) + b.get(x, 0.0)) / 2 for x in {*a, *b}}
    return (kullback_leibler_of(a, middle) + kullback_leibler_of(b, middle)) / 2


def lines_earth_mover(theta: float) -> float:
    """W1 of the uniform distributions on two parallel segments theta apart: |theta|.

    Across the segments the two are point masses, so all three distances are those of masses.
    """
    return earth_mover_of({0.0: 1.0}, {theta: 1.0})


def lines_jensen_shannon(theta: float) -> float:
    """JS of the same two: 0 at theta = 0, else ln 2 (arXiv:1701.07875, Example 1)."""
    return jensen_shannon_of({0.0: 1.0}, {theta: 1.0})


def lines_kullback_leibler(theta: float) -> float:
    """KL of the same two: 0 at theta = 0, else infinite (arXiv:1701.07875, Example 1)."""
    return kullback_leibler_of({0.0: 1.0}, {theta: 1.0})
