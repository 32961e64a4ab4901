"""The losses side by side: a recipe combines an objective, a penalty and a constraint.

The table at the end of this file has a row for each loss. It holds all differences between
BCE-GAN, WGAN with clipping and WGAN-GP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from wganbench.bounds import COEFFICIENT
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
class Term:
    """A mean over scores: E weight f(sign D), where f is the softplus or the identity."""

    weight: float
    sign: float
    softplus: bool


@dataclass(frozen=True)
class Terms:
    """The terms of an objective, for executors without autograd.

    The critic's objective is the sum of ``real``, over reals, and ``fake``, over fakes.
    """

    real: Term
    fake: Term
    generator: Term


@dataclass(frozen=True)
class Slopes:
    """The form of a penalty, for executors without autograd: scale c E (|grad D| - target)^2.

    ``coefficient`` is the name of c. ``one_sided``: only slopes above the target count.
    ``at_reals``: slopes are taken at the reals, else at interpolates.
    """

    coefficient: str
    target: float
    scale: float = 1.0
    one_sided: bool = False
    at_reals: bool = False


@dataclass(frozen=True)
class Objective:
    """The functions of scores that critic and generator minimise.

    ``terms`` describes the same functions, if they have that form. Our C++ needs it to train
    with this objective.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    bce: bool
    terms: Terms | None = None


@dataclass(frozen=True)
class Recipe:
    """A whole loss, as chosen by ``loss=<name>``.

    ``penalty(critic, x, x_fake, eps, coefficients)`` is added to the critic's objective and
    includes the coefficient; with None the program has no penalty. ``clips`` clamps the
    critic's parameters to ``clip_value`` after each critic step. ``coefficients`` names the
    coefficients that the user may set and sweep. ``ranges`` limits the values of some of them,
    see `typed.check_range`; others accept any finite number. ``slope_target`` is the
    constraint on the slope: "1", "at most 1", "some K" or "none". ``slopes`` describes the same
    penalty, if it has that form. Our C++ needs it to train with a penalty.
    """

    summary: str
    source: str
    objective: Objective
    penalty: Penalty | None = None
    clips: bool = False
    coefficients: tuple[str, ...] = ()
    ranges: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    slope_target: str = "none"
    slopes: Slopes | None = None

    @property
    def needs_pointwise_critic(self) -> bool:
        """Whether D(x)[i] must not depend on x[j]: a penalty excludes batch norm."""
        return self.penalty is not None


# Objectives.
REAL_IS_HIGH, FAKE_IS_LOW = Term(1, -1, softplus=True), Term(1, 1, softplus=True)
BCE = Objective(
    bce_critic_loss,
    bce_generator_loss,
    bce=True,
    terms=Terms(REAL_IS_HIGH, FAKE_IS_LOW, generator=REAL_IS_HIGH),
)
BCE_SATURATING = Objective(
    bce_critic_loss,
    partial(bce_generator_loss, saturating=True),
    bce=True,
    terms=Terms(REAL_IS_HIGH, FAKE_IS_LOW, generator=Term(-1, 1, softplus=True)),
)
MINUS, PLUS = Term(-1, 1, softplus=False), Term(1, 1, softplus=False)
WASSERSTEIN = Objective(
    wasserstein_critic_loss,
    wasserstein_generator_loss,
    bce=False,
    terms=Terms(real=MINUS, fake=PLUS, generator=MINUS),
)


# Penalties with their coefficients.
def two_sided(
    critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, coefficients: Coefficients
) -> Tensor:
    """Return lambda E (|grad D(x_hat)| - 1)^2."""
    return coefficients["gp_lambda"] * gradient_penalty(critic, x, x_fake, eps)


def one_sided(
    critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, coefficients: Coefficients
) -> Tensor:
    """Return lambda E max(0, |grad D(x_hat)| - 1)^2."""
    return coefficients["gp_lambda"] * gradient_penalty(critic, x, x_fake, eps, one_sided=True)


def r1(
    critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, coefficients: Coefficients
) -> Tensor:
    """Return gamma / 2 E |grad D(x)|^2 on reals."""
    return coefficients["r1_gamma"] / 2 * r1_penalty(critic, x)


TO_ONE, AT_MOST_ONE = Slopes("gp_lambda", 1), Slopes("gp_lambda", 1, one_sided=True)
FLAT_AT_REALS = Slopes("r1_gamma", 0, scale=0.5, at_reals=True)

LAMBDA = {"gp_lambda": {"least": 0, "most": COEFFICIENT}}
GAMMA = {"r1_gamma": {"least": 0, "most": COEFFICIENT}}
BOUND = {"clip_value": {"above": 0, "least": 1 / COEFFICIENT}}
"""Ranges of the coefficients. A clip value of inf clips nothing."""

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
    WASSERSTEIN, clips=True, coefficients=("clip_value",), ranges=BOUND, slope_target="some K"))
RECIPES.register("gp", Recipe(
    "Wasserstein critic, gradient penalty towards slope 1", "arXiv:1704.00028, Algorithm 1",
    WASSERSTEIN, penalty=two_sided, coefficients=("gp_lambda",), ranges=LAMBDA,
    slope_target="1", slopes=TO_ONE))
RECIPES.register("lp", Recipe(
    "Wasserstein critic, one-sided penalty: only slopes above 1", "arXiv:1709.08894",
    WASSERSTEIN, penalty=one_sided, coefficients=("gp_lambda",), ranges=LAMBDA,
    slope_target="at most 1", slopes=AT_MOST_ONE))
RECIPES.register("bce_gp", Recipe(
    "control: the penalty without the W-loss", "arXiv:1710.08446",
    BCE, penalty=two_sided, coefficients=("gp_lambda",), ranges=LAMBDA,
    slope_target="1", slopes=TO_ONE))
RECIPES.register("bce_r1", Recipe(
    "control: BCE with R1 on reals", "arXiv:1801.04406, eq. 9",
    BCE, penalty=r1, coefficients=("r1_gamma",), ranges=GAMMA, slopes=FLAT_AT_REALS))
RECIPES.register("wasserstein", Recipe(
    "control: the W-loss without any constraint", "arXiv:1701.07875 without line 7",
    WASSERSTEIN))
# fmt: on
