"""Two distributions apart, exact: distances, and the gradients of optimal critics.

N(0, 1) against N(mu, 1), whose optimal discriminator has the logit s(x) = mu^2/2 - mu x
(arXiv:1406.2661, Proposition 1). All in float64 and in logarithms, so that nothing
underflows: with t = x - mu/2 and phi the standard normal density

    p_r = phi(t) exp(-mu^2/8 - mu t/2),  p_g = phi(t) exp(-mu^2/8 + mu t/2).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import softplus

from wganbench.config import compose
from wganbench.losses import RECIPES, Objective
from wganbench.losses.constraints import input_gradients
from wganbench.studies.frozen import FrozenStack
from wganbench.training.device import fitting_cpu, pick_device
from wganbench.training.streams import Draw

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
    """Return the first mu after the largest gradient with less than 1 % of it, else None."""
    gradient = GRADIENTS[objective]
    grid = np.arange(spacing, largest_mu + spacing / 2, spacing)
    logs = np.array([gradient(float(mu)) for mu in grid])
    top = int(logs.argmax())
    below = np.flatnonzero(logs[top:] < logs[top] + VANISHED)
    return float(grid[top + below[0]]) if below.size else None


def decades_lost(objective: str, mus: Float64[np.ndarray, " n"]) -> float:
    """Return log10(largest gradient / gradient at the last mu)."""
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


# Discriminators and critics trained on N(0, 1) against N(mu, 1), measured by quadrature.
#
# Training sees fresh samples; measuring does not draw: every expectation over a Gaussian is an
# integral on a fine grid, in float64, so a point carries no noise but that of the training.
OBJECTIVES = {
    "bce": ("saturating", "non_saturating"),
    "clip": ("clip",),
    "gp": ("gp",),
    "lp": ("lp",),
}
"""Objectives read from a loss's critic; both generators of BCE share one discriminator."""
RECIPE_OF = {"saturating": "bce_saturating", "non_saturating": "bce"}
LAST_PART = 0.8
"""A point has converged if its loss changes little after this share of the steps."""
MOVED = 0.01
NODES = torch.linspace(-9.0, 9.0, 3601, dtype=torch.float64)
WEIGHTS = torch.exp(-(NODES**2) / 2) / math.sqrt(2 * math.pi) * float(NODES[1] - NODES[0])
"""E f(z) over a standard normal is sum WEIGHTS f(NODES)."""

Critic = Callable[[Tensor], Tensor]


def expected(values: Float[Tensor, " n"]) -> Tensor:
    """Return the expectation of values computed at `NODES`."""
    return (WEIGHTS * values).sum()


def shifted(mu: float) -> Float[Tensor, "n 1"]:
    """The nodes of N(mu, 1) as points."""
    return (NODES + mu).unsqueeze(1)


def critic_loss(objective: Objective, critic: Critic, mu: float) -> float:
    """The critic's loss without its penalty, exact for the two Gaussians."""
    real, fake = critic(shifted(0.0)), critic(shifted(mu))
    return float(expected(softplus(-real) + softplus(fake) if objective.bce else fake - real))


def mean_gradient(objective: Objective, critic: Critic, mu: float) -> float:
    """|dL_G/dmu|: the gradient that the mean of the fakes receives, the critic held fixed.

    |E l'(D(x)) D'(x)|, with l' read from the objective: a mean over n scores, whose gradient
    is l' / n.
    """
    x = shifted(mu)
    scores = critic(x)
    per_score = len(scores) * torch.func.grad(objective.generator, argnums=1)(None, scores)
    return abs(float(expected(per_score * input_gradients(critic, x)[:, 0])))


def estimate(critic: Critic, mu: float) -> float:
    """E D(x) - E D(G(z)), exact for the two Gaussians."""
    return float(expected(critic(shifted(0.0)) - critic(shifted(mu))))


def train_loss(
    loss: str, mus: Sequence[float], seeds: Sequence[int], settings: dict[str, Any], device: str
) -> list[dict[str, Any]]:
    """One row for each objective, mu and seed: loss, estimate, gradient, and whether converged."""
    pairs = [(mu, seed) for mu in mus for seed in seeds]
    stack = critics(loss, pairs, settings, pick_device(device))
    early = round(LAST_PART * settings["steps"])
    with fitting_cpu(stack):
        stack.advance(early)
        before = read_losses(stack, pairs)
        stack.advance(settings["steps"] - early)
        after = read_losses(stack, pairs)
    diverged = stack.diverged_at()
    rows = []
    for run, (mu, seed) in enumerate(pairs):
        critic = critic_of(stack, run)
        moved = abs(after[run] - before[run]) / abs(after[run]) if after[run] else math.inf
        converged = diverged[run] < 0 and moved < MOVED
        for name in OBJECTIVES[loss]:
            objective = RECIPES[RECIPE_OF.get(name, name)].objective
            rows.append({
                "method": name, "mu": mu, "seed": seed, "diverged": diverged[run] >= 0,
                "converged": converged, "moved": finite(moved), "loss": finite(after[run]),
                "estimate": finite(estimate(critic, mu)),
                "gradient": finite(mean_gradient(objective, critic, mu)),
            })  # fmt: skip
    return rows


def critics(
    loss: str, pairs: Sequence[tuple[float, int]], settings: dict[str, Any], device: torch.device
) -> FrozenStack:
    """One critic for each mu and seed, in float64."""
    config = compose([
        f"loss={loss}", "tuned=none", "data=two_gaussians", "data.dimension=1",
        "evaluate.protocol=chi2", f"network.width={settings['width']}",
        f"network.depth={settings['depth']}", f"train.batch_size={settings['batch_size']}",
        f"train.steps={settings['steps']}", "train.decay=linear",
        f"compile={'auto' if settings['compile'] else 'false'}",
        f"train.critic_lr={settings[rate_of(loss)]}",
        *([f"loss.clip_value={settings['clip_value']}"] if loss == "clip" else []),
        *([f"loss.gp_lambda={settings['gp_lambda']}"] if loss in ("gp", "lp") else []),
    ])  # fmt: skip
    configs = []
    for _, seed in pairs:
        configs.append(copy.deepcopy(config))
        configs[-1].seed = seed
    fakes = [normal(mu) for mu, _ in pairs]
    return FrozenStack(configs, device, fakes, [normal(0.0) for _ in pairs], double=True)


def rate_of(loss: str) -> str:
    """Return the setting with a loss's learning rate."""
    return f"{'gp' if loss == 'lp' else loss}_lr"


def normal(mu: float) -> Draw:
    """N(mu, 1) on a line."""

    def draw(n: int, generator: torch.Generator) -> Tensor:
        return mu + torch.randn(n, 1, generator=generator, device=generator.device)

    return draw


def critic_of(stack: FrozenStack, run: int) -> Critic:
    """One run's critic on the CPU."""
    parameters = {name: p.cpu() for name, p in stack.run_parameters(run, "critic").items()}
    return stack.algorithm.critic(parameters)


def read_losses(stack: FrozenStack, pairs: Sequence[tuple[float, int]]) -> list[float]:
    objective = stack.algorithm.recipe.objective
    return [critic_loss(objective, critic_of(stack, r), mu) for r, (mu, _) in enumerate(pairs)]


def finite(value: float) -> float | None:
    """Return the value as plain data for JSON."""
    return value if math.isfinite(value) else None
