"""The losses side by side: a recipe combines an objective, penalties and a constraint.

The table at the end of this file has a row for each loss. It holds all differences between
BCE-GAN, WGAN with clipping and WGAN-GP.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from wganbench.losses.objectives import (
    bce_critic_loss,
    bce_generator_loss,
    of_fakes,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from wganbench.losses.penalties import RANGES, TERMS
from wganbench.losses.recipe import Form, Objective, Recipe, Term, Terms
from wganbench.registry import Registry

# Objectives.
REAL_IS_HIGH, FAKE_IS_LOW = Term(1, -1, Form.SOFTPLUS), Term(1, 1, Form.SOFTPLUS)
BCE = Objective(
    bce_critic_loss,
    of_fakes(bce_generator_loss),
    bce=True,
    terms=Terms(REAL_IS_HIGH, FAKE_IS_LOW, generator=REAL_IS_HIGH),
)
BCE_SATURATING = Objective(
    bce_critic_loss,
    of_fakes(partial(bce_generator_loss, saturating=True)),
    bce=True,
    terms=Terms(REAL_IS_HIGH, FAKE_IS_LOW, generator=Term(-1, 1, Form.SOFTPLUS)),
)
MINUS, PLUS = Term(-1, 1, Form.IDENTITY), Term(1, 1, Form.IDENTITY)
WASSERSTEIN = Objective(
    wasserstein_critic_loss,
    of_fakes(wasserstein_generator_loss),
    bce=False,
    terms=Terms(real=MINUS, fake=PLUS, generator=MINUS),
)


def held_by(*names: str) -> dict[str, Any]:
    """Return the parts of a recipe with these penalties of `TERMS`, in the order of the sum."""
    terms = tuple(TERMS[name] for name in names)
    return {"penalties": terms, **having(*(name for term in terms for name in term.names))}


def having(*coefficients: str) -> dict[str, Any]:
    """Return the parts of a recipe with these coefficients of `RANGES`."""
    ranges = {name: RANGES[name] for name in coefficients}
    return {"coefficients": tuple(ranges), "ranges": ranges}


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
    WASSERSTEIN, clips=True, **having("clip_value"), slope_target="some K"))
RECIPES.register("gp", Recipe(
    "Wasserstein critic, gradient penalty towards slope 1", "arXiv:1704.00028, Algorithm 1",
    WASSERSTEIN, **held_by("gp"), slope_target="1"))
RECIPES.register("lp", Recipe(
    "Wasserstein critic, one-sided penalty: only slopes above 1", "arXiv:1709.08894",
    WASSERSTEIN, **held_by("lp"), slope_target="at most 1"))
RECIPES.register("bce_gp", Recipe(
    "control: the penalty without the W-loss", "arXiv:1710.08446",
    BCE, **held_by("gp"), slope_target="1"))
RECIPES.register("bce_r1", Recipe(
    "control: BCE with R1 on reals", "arXiv:1801.04406, eq. 9",
    BCE, **held_by("r1")))
RECIPES.register("wasserstein", Recipe(
    "control: the W-loss without any constraint", "arXiv:1701.07875 without line 7",
    WASSERSTEIN))
# fmt: on
