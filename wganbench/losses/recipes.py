"""The losses side by side: a recipe = objective x penalty x constraint.

Read the table at the end of this file row by row: that is all in which BCE-GAN,
WGAN with clipping and WGAN-GP differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from wganbench.losses.constraints import Critic, gradient_penalty, r1_penalty
from wganbench.losses.objectives import (
    bce_critic_loss,
    bce_generator_loss,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from wganbench.registry import Registry

Coefficients = Mapping[str, float | Tensor]
Penalty = Callable[[Critic, Tensor, Tensor, Tensor, Coefficients], Tensor]


@dataclass(frozen=True)
class Objective:
    """What critic and generator minimise, as functions of scores."""

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    bce: bool


@dataclass(frozen=True)
class Recipe:
    """A whole loss, as chosen by ``loss=<name>``.

    ``penalty(critic, x, x_fake, eps, coefficients)`` is added to the critic's objective,
    coefficient included; None leaves it out of the program altogether. ``clips`` clamps
    the critic's parameters to ``clip_value`` after each critic step. ``coefficients``
    names what the user may set and sweep; ``slope_target`` is what the constraint asks
    of the slope: "1", "at most 1", "some K" or "none".
    """

    summary: str
    source: str
    objective: Objective
    penalty: Penalty | None = None
    clips: bool = False
    coefficients: tuple[str, ...] = ()
    slope_target: str = "none"

    @property
    def needs_pointwise_critic(self) -> bool:
        """Whether D(x)[i] must not depend on x[j]: no batch norm under a penalty."""
        return self.penalty is not None


# Objectives.
BCE = Objective(bce_critic_loss, bce_generator_loss, bce=True)
BCE_SATURATING = Objective(bce_critic_loss, partial(bce_generator_loss, saturating=True), bce=True)
WASSERSTEIN = Objective(wasserstein_critic_loss, wasserstein_generator_loss, bce=False)


# Penalties, with their coefficient.
def two_sided(
    critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, coefficients: Coefficients
) -> Tensor:
    """lambda E (|grad D(x_hat)| - 1)^2."""
    return coefficients["gp_lambda"] * gradient_penalty(critic, x, x_fake, eps)


def one_sided(
    critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, coefficients: Coefficients
) -> Tensor:
    """lambda E max(0, |grad D(x_hat)| - 1)^2."""
    return coefficients["gp_lambda"] * gradient_penalty(critic, x, x_fake, eps, one_sided=True)


def r1(
    critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, coefficients: Coefficients
) -> Tensor:
    """gamma / 2 E |grad D(x)|^2 on reals."""
    return coefficients["r1_gamma"] / 2 * r1_penalty(critic, x)


RECIPES: Registry[Recipe] = Registry("losses")

# fmt: off
RECIPES.register("bce", Recipe(
    "binary cross-entropy, non-saturating: the GAN that everybody trains", "arXiv:1406.2661",
    BCE))
RECIPES.register("bce_saturating", Recipe(
    "binary cross-entropy, minimax generator: the one whose gradient vanishes", "arXiv:1406.2661",
    BCE_SATURATING))
RECIPES.register("clip", Recipe(
    "Wasserstein critic, weights clipped to [-c, c]", "arXiv:1701.07875, Algorithm 1",
    WASSERSTEIN, clips=True, coefficients=("clip_value",), slope_target="some K"))
RECIPES.register("gp", Recipe(
    "Wasserstein critic, gradient penalty towards slope 1", "arXiv:1704.00028, Algorithm 1",
    WASSERSTEIN, penalty=two_sided, coefficients=("gp_lambda",), slope_target="1"))
RECIPES.register("lp", Recipe(
    "Wasserstein critic, one-sided penalty: only slopes above 1", "arXiv:1709.08894",
    WASSERSTEIN, penalty=one_sided, coefficients=("gp_lambda",), slope_target="at most 1"))
RECIPES.register("bce_gp", Recipe(
    "control: the penalty without the W-loss", "arXiv:1710.08446",
    BCE, penalty=two_sided, coefficients=("gp_lambda",), slope_target="1"))
RECIPES.register("bce_r1", Recipe(
    "control: BCE with R1 on reals", "arXiv:1801.04406, eq. 9",
    BCE, penalty=r1, coefficients=("r1_gamma",)))
RECIPES.register("wasserstein", Recipe(
    "control: the W-loss without any constraint", "arXiv:1701.07875 without line 7",
    WASSERSTEIN))
# fmt: on
