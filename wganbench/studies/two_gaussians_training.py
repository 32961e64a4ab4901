"""Discriminators and critics trained on N(0, 1) against N(mu, 1), measured by quadrature.

Training sees fresh samples; measuring does not draw: every expectation over a Gaussian is an
integral on a fine grid, in float64, so a point carries no noise but that of the training.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from wganbench.config import compose
from wganbench.losses.constraints import input_gradients
from wganbench.losses.recipes import RECIPES, Objective
from wganbench.studies.frozen import FrozenStack
from wganbench.training.device import fitting_cpu, pick_device
from wganbench.training.streams import Draw

OBJECTIVES = {
    "bce": ("saturating", "non_saturating"),
    "clip": ("clip",),
    "gp": ("gp",),
    "lp": ("lp",),
}
"""What is read from the critic of a loss: one discriminator serves both generators of BCE."""
RECIPE_OF = {"saturating": "bce_saturating", "non_saturating": "bce"}
LAST_PART = 0.8
"""A point has converged when its loss moved little after this share of the steps."""
MOVED = 0.01
NODES = torch.linspace(-9.0, 9.0, 3601, dtype=torch.float64)
WEIGHTS = torch.exp(-(NODES**2) / 2) / math.sqrt(2 * math.pi) * float(NODES[1] - NODES[0])
"""E f(z) over a standard normal is sum WEIGHTS f(NODES)."""

Critic = Callable[[Tensor], Tensor]


def expected(values: Float[Tensor, " n"]) -> Tensor:
    """The expectation of what was computed at `NODES`."""
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
    per_score = len(scores) * torch.func.grad(objective.generator)(scores)
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
    """The setting that holds a loss's learning rate."""
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
    """What JSON can hold."""
    return value if math.isfinite(value) else None
