"""Dirac-GAN in float64: the losses' vector fields, and plain gradient steps along them.

The data are at 0, the generator's only point is at theta, the critic is D(x) = psi x. The only
equilibrium is theta = psi = 0. Source: arXiv:1801.04406, Section 2. The paper's critic is
high on fakes; ours is high on reals, so its psi is our -psi.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from wganbench.losses import BCE_SATURATING, RECIPES, Recipe

Move = Callable[[float, float], float]
"""The velocity of one player at (theta, psi)."""
SIMULTANEOUS = 0
"""In place of a number of critic steps: both players step at once, from the same point."""
FIELD_TOLERANCE = 1e-8
"""Tolerance between a closed form and the loss in training (softplus is exact to 2e-9)."""


@dataclass(frozen=True)
class Method:
    """A loss with its coefficients, and its vector field in closed form.

    ``generator`` is -dL_G/dtheta, ``critic`` is -dL_D/dpsi. ``clip_value`` is infinite for a loss
    without clipping.
    """

    name: str
    label: str
    colour: str
    recipe: Recipe
    generator: Move
    critic: Move
    coefficients: Mapping[str, float] = field(default_factory=dict)
    clip_value: float = math.inf


def sigmoid(t: float) -> float:
    """Return 1 / (1 + exp(-t)) without overflow."""
    return 1 / (1 + math.exp(-t)) if t >= 0 else math.exp(t) / (1 + math.exp(t))


def methods(clip_value: float, gp_lambda: float, r1_gamma: float) -> list[Method]:
    """Return every loss of the study. L_D of BCE is softplus(0) + softplus(theta psi)."""

    def minimax(theta: float, psi: float) -> float:
        return psi * sigmoid(theta * psi)

    def non_saturating(theta: float, psi: float) -> float:
        return psi * sigmoid(-theta * psi)

    def discriminate(theta: float, psi: float) -> float:
        return -theta * sigmoid(theta * psi)

    def discriminate_r1(theta: float, psi: float) -> float:
        return discriminate(theta, psi) - r1_gamma * psi

    def estimate_gp(theta: float, psi: float) -> float:
        sign = (psi > 0) - (psi < 0)
        return -theta - 2 * gp_lambda * (abs(psi) - 1) * sign

    r1 = RECIPES["bce_r1"]
    gamma = {"r1_gamma": r1_gamma}
    # fmt: off
    return [
        Method("saturating", "GAN, saturating", "bce_saturating", RECIPES["bce_saturating"],
               minimax, discriminate),
        Method("non_saturating", "GAN, non-saturating", "bce", RECIPES["bce"],
               non_saturating, discriminate),
        Method("clip", f"WGAN, clip {clip_value:g}", "clip", RECIPES["clip"],
               lambda theta, psi: psi, lambda theta, psi: -theta, clip_value=clip_value),
        Method("gp", f"WGAN-GP, λ {gp_lambda:g}", "gp", RECIPES["gp"],
               lambda theta, psi: psi, estimate_gp, {"gp_lambda": gp_lambda}),
        Method("r1_saturating", f"saturating + R1, γ {r1_gamma:g}", "bce_gp",
               replace(r1, objective=BCE_SATURATING), minimax, discriminate_r1, gamma),
        Method("r1_non_saturating", f"non-saturating + R1, γ {r1_gamma:g}", "bce_r1", r1,
               non_saturating, discriminate_r1, gamma),
    ]
    # fmt: on


def trajectory(
    method: Method, start: tuple[float, float], learning_rate: float, steps: int, n_critic: int
) -> Float64[np.ndarray, "points 2"]:
    """Return (theta, psi) before the first and after each of ``steps`` generator steps.

    With `SIMULTANEOUS` both players step from the same point; otherwise theta first, then
    psi ``n_critic`` times. Clipping follows each step of psi.
    """
    theta, psi = start
    path = np.empty((steps + 1, 2))
    path[0] = start
    for step in range(1, steps + 1):
        before = theta
        theta += learning_rate * method.generator(theta, psi)
        seen = before if n_critic == SIMULTANEOUS else theta
        for _ in range(max(n_critic, 1)):
            psi += learning_rate * method.critic(seen, psi)
            psi = max(-method.clip_value, min(method.clip_value, psi))
        path[step] = theta, psi
    return path


def recipe_field(
    recipe: Recipe, coefficients: Mapping[str, float], points: Float64[np.ndarray, "n 2"]
) -> Float64[np.ndarray, "n 2"]:
    """Return (-dL_G/dtheta, -dL_D/dpsi) at each point, by autograd through the recipe.

    The points are a batch in which each has its own psi: a loss is a mean over the batch, so
    n times its gradient holds the gradients of n games.
    """
    theta, psi = torch.from_numpy(points).unbind(dim=1)
    n, eps = len(points), torch.full_like(theta, 0.5)  # the slope is psi at every point

    def critic_loss(psi: Tensor) -> Tensor:
        def critic(x: Tensor) -> Tensor:
            return psi * x[:, 0]

        x_fake = theta.unsqueeze(1)
        x = torch.zeros_like(x_fake)
        loss = recipe.objective.critic(critic(x), critic(x_fake))
        if recipe.penalties:
            loss = loss + recipe.penalty(critic, x, x_fake, eps, coefficients)
        return loss

    def generator_loss(theta: Tensor) -> Tensor:
        return recipe.objective.generator(None, psi * theta)

    moves = -n * torch.func.grad(generator_loss)(theta), -n * torch.func.grad(critic_loss)(psi)
    return np.asarray(torch.stack(moves, dim=1).numpy())


def field_error(method: Method, points: Float64[np.ndarray, "n 2"]) -> float:
    """Return the largest difference between the closed form and the loss used in training."""
    closed = np.array([[method.generator(*p), method.critic(*p)] for p in points.tolist()])
    return float(np.abs(closed - recipe_field(method.recipe, method.coefficients, points)).max())


# Statistics of a trajectory.
def radius(path: Float64[np.ndarray, "points 2"]) -> Float64[np.ndarray, " points"]:
    """Return the distance from the equilibrium at each step."""
    return np.asarray(np.hypot(path[:, 0], path[:, 1]))


def kept_distance(path: Float64[np.ndarray, "points 2"]) -> float:
    """Return the share of the distance that ten times as many steps keep: 10^(d log r / d log n).

    It is about 1 for a cycle, above 1 for divergence and 10^-a for r = b n^-a, whatever the number
    of steps: a distance after a chosen number of steps would depend on that number.
    """
    return float(10 ** power_of_steps(path))


def decades_lost(path: Float64[np.ndarray, "points 2"]) -> float:
    """Return the decades that the distance falls in 100 steps, in the slower half of the path.

    Linear convergence gives the same number in both halves; slower convergence tends to 0.
    """
    logs, half = np.log10(radius(path)), len(path) // 2
    falls = logs[0] - logs[half], logs[half] - logs[-1]
    return float(min(falls[0] / half, falls[1] / (len(path) - 1 - half)) * 100)


def power_of_steps(path: Float64[np.ndarray, "points 2"]) -> float:
    """Return d log r / d log n, fitted over the last decade of steps: a in r = b n^a."""
    distances = radius(path)
    steps = np.arange(max(1, len(path) // 10), len(path))
    return float(np.polyfit(np.log(steps), np.log(distances[steps]), 1)[0])
