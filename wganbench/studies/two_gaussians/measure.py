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
from wganbench.losses import RECIPES, Objective
from wganbench.losses.constraints import input_gradients
from wganbench.studies.frozen import FrozenStack, critic_in_double, fitting_threads, gaussian
from wganbench.studies.rest import LOG, RIGHT, Reading, train_to_rest
from wganbench.studies.study import finite, log10
from wganbench.training.device import pick_device

OBJECTIVES = {
    "bce": ("saturating", "non_saturating"),
    "clip": ("clip",),
    "gp": ("gp",),
    "lp": ("lp",),
}
"""Objectives read from a loss's critic; both generators of BCE share one discriminator."""
RECIPE_OF = {"saturating": "bce_saturating", "non_saturating": "bce"}
DECADES = 0.04
"""The movement of a gradient that counts as none, in decades: 2 % of the smallest effect."""
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


def accuracy(critic: Critic, mu: float) -> float:
    """The share of points on the right side of D = 0: the mean over reals and fakes."""
    real, fake = critic(shifted(0.0)) > 0, critic(shifted(mu)) < 0
    return float(expected(real.double()) + expected(fake.double())) / 2


def train_loss(
    loss: str, mus: Sequence[float], seeds: Sequence[int], settings: dict[str, Any], device: str
) -> list[dict[str, Any]]:
    """Train a loss's critics to rest; return a row for each mu, seed and objective.

    Each mu is a stack of its own. A point has converged if its critics are at rest, or if its
    discriminator is right nearly everywhere.
    """
    return [row for mu in mus for row in train_at(loss, mu, seeds, settings, device)]


def train_at(
    loss: str, mu: float, seeds: Sequence[int], settings: dict[str, Any], device: str
) -> list[dict[str, Any]]:
    stack = critics(loss, [(mu, seed) for seed in seeds], settings, pick_device(device))
    names = OBJECTIVES[loss]

    def read() -> Reading:
        own = [critic_in_double(stack, run) for run in range(len(seeds))]
        found = {LOG + name: [log10(gradient_of(name, critic, mu)) for critic in own]
                 for name in names}  # fmt: skip
        return found if loss == "bce" else found | {"estimate": [estimate(c, mu) for c in own]}

    tolerances = {LOG + name: DECADES for name in names}
    with fitting_threads(stack):
        rests = train_to_rest(
            stack, read, [mu] * len(seeds), settings["first"], settings["most"], tolerances
        )
    diverged, rows = stack.diverged_at(), []
    for run, seed in enumerate(seeds):
        critic, lost = critic_in_double(stack, run), diverged[run] >= 0
        right = accuracy(critic, mu) if loss == "bce" else None
        trained = rests[run].at_rest() or (right is not None and right >= RIGHT)
        objective = stack.algorithm.recipe.objective
        shared = {
            "mu": mu, "seed": seed, "diverged": lost, "converged": trained and not lost,
            "accuracy": right, "loss": finite(critic_loss(objective, critic, mu)),
            "estimate": finite(estimate(critic, mu)), **rests[run].row(),
        }  # fmt: skip
        rows += [{"method": name, **shared, "gradient": finite(gradient_of(name, critic, mu))}
                 for name in names]  # fmt: skip
    return rows


def gradient_of(name: str, critic: Critic, mu: float) -> float:
    return mean_gradient(RECIPES[RECIPE_OF.get(name, name)].objective, critic, mu)


def critics(
    loss: str, pairs: Sequence[tuple[float, int]], settings: dict[str, Any], device: torch.device
) -> FrozenStack:
    """One critic for each mu and seed, at constant rates."""
    config = compose([
        f"loss={loss}", "tuned=none", "data=two_gaussians", "data.dimension=1",
        "evaluate.protocol=chi2", f"network.width={settings['width']}",
        f"network.depth={settings['depth']}", f"train.batch_size={settings['batch_size']}",
        "train.decay=none",
        f"compile={'auto' if settings['compile'] else 'false'}",
        f"train.critic_lr={settings[rate_of(loss)]}",
        *([f"loss.clip_value={settings['clip_value']}"] if loss == "clip" else []),
        *([f"loss.gp_lambda={settings['gp_lambda']}"] if loss in ("gp", "lp") else []),
    ])  # fmt: skip
    configs = []
    for _, seed in pairs:
        configs.append(copy.deepcopy(config))
        configs[-1].seed = seed
    fakes = [gaussian(mu, 1.0, 1) for mu, _ in pairs]
    return FrozenStack(configs, device, fakes, [gaussian(0.0, 1.0, 1) for _ in pairs])


def rate_of(loss: str) -> str:
    """Return the setting with a loss's learning rate."""
    return f"{'gp' if loss == 'lp' else loss}_lr"
