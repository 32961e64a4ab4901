"""The losses side by side: a recipe combines an objective, penalties and a constraint.

The table has a row for each loss. It holds all differences between BCE-GAN, WGAN with clipping,
WGAN-GP and the others. In formulas r and f are the scores of reals and fakes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial, reduce
from typing import Any

from torch import Tensor

from wganbench.errors import ConfigError
from wganbench.losses.constraints import (
    PLACES,
    RANGES,
    TERMS,
    Coefficients,
    Cost,
    Critic,
    Penalty,
    Points,
    SlopePenalty,
)
from wganbench.losses.objectives import (
    average_loss,
    bce_critic_loss,
    bce_generator_loss,
    hinge_critic_loss,
    of_fakes,
    pairing_loss,
    roles_swapped,
    smoothed_bce_critic_loss,
    squares_critic_loss,
    squares_generator_loss,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from wganbench.registry import Registry, unknown


# What a loss is made of: an objective, penalties, a wrapper of the critic, clipping.
class Form(Enum):
    """The function f of a `Term`; the value is its number in our C++."""

    IDENTITY = 0
    SOFTPLUS = 1
    HINGE = 2
    SQUARE = 3


@dataclass(frozen=True)
class Term:
    """A mean over scores: E weight f(sign D + shift) + slope D; the hinge is max(0, .)."""

    weight: float
    sign: float
    form: Form
    shift: float = 0.0
    slope: float = 0.0


@dataclass(frozen=True)
class Terms:
    """The terms of an objective, for executors without autograd.

    The critic's objective is the sum of ``real``, over reals, and ``fake``, over fakes.
    """

    real: Term
    fake: Term
    generator: Term


@dataclass(frozen=True)
class Pairs:
    """The term of a paired objective, for executors without autograd.

    The critic's objective is the mean of ``term`` over the differences r_i - f_i of scores, the
    generator's over f_i - r_i.
    """

    term: Term


@dataclass(frozen=True)
class Averages:
    """The term of an objective that compares scores with means, for executors without autograd.

    The critic's objective is E term(r - E f) + E term(E r - f), the generator's the same with
    reals and fakes in exchanged roles.
    """

    term: Term


@dataclass(frozen=True)
class Objective:
    """The functions of scores that critic and generator minimise.

    Both take (score_real, score_fake). The generator's gets None for the first, unless the
    objective is ``paired``: then it gets as many reals' scores as fakes', and those of fresh
    reals in training. The objective is ``zero_sum`` if the generator maximises what the critic
    minimises; the reals' term, which does not depend on the generator, is not in its own.
    ``terms`` describes the same functions, if they have that form. Our C++ needs it to train with
    this objective. ``formulas`` are those of critic and generator.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor | None, Tensor], Tensor]
    bce: bool
    paired: bool = False
    zero_sum: bool = False
    terms: Terms | Pairs | Averages | None = None
    formulas: tuple[str, str] = ("", "")


class Wrapper(Enum):
    """What a critic is wrapped in; the value says it in words."""

    NONE = ""
    SPECTRAL = "each layer's weight is divided by its largest singular value"
    GRADIENT = "D / (|grad D| + |D|) takes the place of D"


@dataclass(frozen=True)
class Recipe:
    """A whole loss, as chosen by ``loss=<name>``.

    Each of ``penalties`` is added to the critic's objective and includes its coefficient; without
    any the program has no penalty. ``clips`` clamps the critic's parameters to ``clip_value``
    after each critic step; ``wrapper`` changes the critic itself. ``coefficients`` names the
    coefficients that the user may set and sweep. ``ranges`` limits the values of some of them, see
    `typed.check_range`; others accept any finite number. ``slope_target`` is the constraint on
    the slope: "1", "at most 1", "0", "some K", "several" that differ, or "none". ``known_for`` is
    a sentence for readers.
    """

    summary: str
    source: str
    objective: Objective
    penalties: tuple[Penalty, ...] = ()
    clips: bool = False
    wrapper: Wrapper = Wrapper.NONE
    coefficients: tuple[str, ...] = ()
    ranges: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    slope_target: str = "none"
    known_for: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for clipping beside another constraint."""
        if self.clips and (self.penalties or self.wrapper is not Wrapper.NONE):
            raise ValueError(
                f"{self.summary}: clipping excludes penalties, spectral and gradient normalisation"
            )

    @property
    def needs_pointwise_critic(self) -> bool:
        """Whether D(x)[i] must not depend on x[j]: a slope at each point excludes batch norm."""
        return bool(self.penalties) or self.wrapper is Wrapper.GRADIENT

    @property
    def slope_elsewhere(self) -> str:
        """Where the penalties take slopes, in words; empty if all do at interpolates.

        It is also empty with a user's own function, whose points are not known.
        """
        at = [p.points if isinstance(p, SlopePenalty) else None for p in self.penalties]
        if {*at} <= {Points.INTERPOLATES} or None in at:
            return ""
        return " and ".join(PLACES[points] for points in dict.fromkeys(at) if points)

    @property
    def perturbs(self) -> bool:
        """Whether a critic step needs noise: a penalty is taken at perturbed reals."""
        return any(_perturbs(penalty) for penalty in self.penalties)

    def penalty(
        self,
        critic: Critic,
        x: Tensor,
        x_fake: Tensor,
        eps: Tensor,
        coefficients: Coefficients,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Return the sum of the penalties, of which there is at least one.

        Raises ConfigError for a penalty that is no number.
        """
        values = [
            penalty(critic, x, x_fake, eps, coefficients, noise)
            if isinstance(penalty, SlopePenalty)
            else penalty(critic, x, x_fake, eps, coefficients)
            for penalty in self.penalties
        ]
        for penalty, value in zip(self.penalties, values, strict=True):
            shape = getattr(value, "shape", None)
            if shape != ():
                found = value if shape is None else tuple(shape)
                name = getattr(penalty, "__name__", type(penalty).__name__)
                raise ConfigError(f"a penalty is one number, of shape (); {name} returned {found}")
        return reduce(operator.add, values)


def _perturbs(penalty: Penalty) -> bool:
    return isinstance(penalty, SlopePenalty) and penalty.points is Points.PERTURBED


# Objectives.
# fmt: off
REAL_IS_HIGH, FAKE_IS_LOW = Term(1, -1, Form.SOFTPLUS), Term(1, 1, Form.SOFTPLUS)
MINUS, PLUS = Term(-1, 1, Form.IDENTITY), Term(1, 1, Form.IDENTITY)
ON_BCE = "E softplus(-r) + E softplus(f)"
BCE = Objective(
    bce_critic_loss, of_fakes(bce_generator_loss), bce=True,
    terms=Terms(REAL_IS_HIGH, FAKE_IS_LOW, generator=REAL_IS_HIGH),
    formulas=(ON_BCE, "E softplus(-f)"))
BCE_SATURATING = Objective(
    bce_critic_loss, of_fakes(partial(bce_generator_loss, saturating=True)), bce=True,
    zero_sum=True,
    terms=Terms(REAL_IS_HIGH, FAKE_IS_LOW, generator=Term(-1, 1, Form.SOFTPLUS)),
    formulas=(ON_BCE, "-E softplus(f)"))
SMOOTHED = Objective(
    partial(smoothed_bce_critic_loss, target=0.9), of_fakes(bce_generator_loss), bce=False,
    terms=Terms(Term(1, -1, Form.SOFTPLUS, slope=0.1), FAKE_IS_LOW, generator=REAL_IS_HIGH),
    formulas=("E [0.9 softplus(-r) + 0.1 softplus(r)] + E softplus(f)", "E softplus(-f)"))
WASSERSTEIN = Objective(
    wasserstein_critic_loss, of_fakes(wasserstein_generator_loss), bce=False, zero_sum=True,
    terms=Terms(real=MINUS, fake=PLUS, generator=MINUS),
    formulas=("E f - E r", "-E f"))
HINGE = Objective(
    hinge_critic_loss, of_fakes(wasserstein_generator_loss), bce=False,
    terms=Terms(Term(1, -1, Form.HINGE, shift=1), Term(1, 1, Form.HINGE, shift=1), MINUS),
    formulas=("E max(0, 1 - r) + E max(0, 1 + f)", "-E f"))


def squares(real: float, fake: float, generator: float) -> Objective:
    """Return the least-squares objective with these targets of the scores."""
    terms = (Term(1 / 2, 1, Form.SQUARE, shift=-target) for target in (real, fake, generator))
    r, f, g = (f"({score} - {t:g})" if t > 0 else f"({score} + {-t:g})" if t < 0 else score
               for score, t in (("r", real), ("f", fake), ("f", generator)))
    return Objective(
        partial(squares_critic_loss, real=real, fake=fake),
        of_fakes(partial(squares_generator_loss, target=generator)), bce=False,
        terms=Terms(*terms), formulas=(f"E {r}^2/2 + E {f}^2/2", f"E {g}^2/2"))


PAIRING = Objective(
    pairing_loss, roles_swapped(pairing_loss), bce=False, paired=True, terms=Pairs(REAL_IS_HIGH),
    formulas=("E softplus(-(r - f)) [pairs i-i]", "E softplus(-(f - r)) [pairs i-i]"))
AVERAGE = Objective(
    average_loss, roles_swapped(average_loss), bce=False, paired=True,
    terms=Averages(REAL_IS_HIGH),
    formulas=("E softplus(-(r - E f)) + E softplus(f - E r)",
              "E softplus(-(f - E r)) + E softplus(r - E f)"))
# fmt: on


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
    BCE,
    known_for="Its generator learns while the critic wins; slow on Dirac; it loses modes."))
RECIPES.register("bce_saturating", Recipe(
    "binary cross-entropy, minimax generator: the one whose gradient vanishes", "arXiv:1406.2661",
    BCE_SATURATING,
    known_for="Its generator's gradient vanishes where the critic is sure that fakes are fake."))
RECIPES.register("bce_smooth", Recipe(
    "binary cross-entropy, reals with the target 0.9", "arXiv:1606.03498",
    SMOOTHED,
    known_for="The critic's score stays below ln 9 where there are no fakes; slopes stay free."))
RECIPES.register("clip", Recipe(
    "Wasserstein critic, weights clipped to [-c, c]", "arXiv:1701.07875, Algorithm 1",
    WASSERSTEIN, clips=True, **having("clip_value"), slope_target="some K",
    known_for="The first Wasserstein GAN; the slope is some K that depends on c and the network."))
RECIPES.register("gp", Recipe(
    "Wasserstein critic, gradient penalty towards slope 1", "arXiv:1704.00028, Algorithm 1",
    WASSERSTEIN, **held_by("gp"), slope_target="1",
    known_for="It trains many networks at one setting; on Dirac it cycles."))
RECIPES.register("lp", Recipe(
    "Wasserstein critic, one-sided penalty: only slopes above 1", "arXiv:1709.08894",
    WASSERSTEIN, **held_by("lp"), slope_target="at most 1",
    known_for="Only slopes above 1 cost: the Lipschitz constraint of Kantorovich's duality."))
RECIPES.register("gp0", Recipe(
    "Wasserstein critic, gradient penalty towards slope 0 at interpolates", "arXiv:1902.03984",
    WASSERSTEIN, **held_by("gp0"), slope_target="0",
    known_for="It converges on Dirac where gp cycles; its estimate grows with the distance squared."
    ))
RECIPES.register("wgan_div", Recipe(
    "Wasserstein divergence: a power of the slope at interpolates", "arXiv:1712.01026",
    WASSERSTEIN, **held_by("div"), slope_target="0",
    known_for="It needs no Lipschitz constraint; the power makes it stiff: large rates diverge."))
RECIPES.register("wasserstein_sn", Recipe(
    "Wasserstein critic, spectral norm", "arXiv:1802.05957",
    WASSERSTEIN, wrapper=Wrapper.SPECTRAL, slope_target="at most 1",
    known_for="An MLP's slope is at most 1 and mostly far below: its estimate is far below W1."))
RECIPES.register("hinge", Recipe(
    "hinge: scores beyond the margins 1 and -1 count no more", "arXiv:1705.02894",
    HINGE,
    known_for="The critic stops where it is right by a margin; the generator never saturates."))
RECIPES.register("hinge_sn", Recipe(
    "hinge, spectral norm", "arXiv:1802.05957",
    HINGE, wrapper=Wrapper.SPECTRAL, slope_target="at most 1",
    known_for="The loss of SN-GAN, SAGAN and BigGAN."))
RECIPES.register("hinge_gn", Recipe(
    "hinge, gradient normalisation", "arXiv:2109.02235",
    HINGE, wrapper=Wrapper.GRADIENT, slope_target="at most 1",
    known_for="A piecewise linear critic has slopes of at most 1 and scores between -1 and 1."))
RECIPES.register("lsgan", Recipe(
    "least squares, targets 0 and 1", "arXiv:1611.04076",
    squares(real=1, fake=0, generator=1),
    known_for="The generator's gradient grows with the miss; the estimate is 1 whatever the W1."))
RECIPES.register("lsgan_pearson", Recipe(
    "least squares, targets -1, 1 and 0: Pearson's chi^2", "arXiv:1611.04076, eq. 8",
    squares(real=1, fake=-1, generator=0),
    known_for="The coding in which the generator minimises Pearson's chi^2 divergence."))
RECIPES.register("rpgan", Recipe(
    "relativistic pairs: is this real more real than that fake?", "arXiv:1807.00734",
    PAIRING,
    known_for="Said to drop fewer modes (not seen on our ring); it need not converge."))
RECIPES.register("ragan", Recipe(
    "relativistic average: against the mean of the others", "arXiv:1807.00734",
    AVERAGE,
    known_for="The relativistic loss of ESRGAN; the generator's loss counts reals too."))
RECIPES.register("rpgan_r1r2", Recipe(
    "relativistic pairs with R1 on reals and R2 on fakes", "arXiv:2501.05441",
    PAIRING, **held_by("r1", "r2"), slope_target="0",
    known_for="The loss of R3GAN; there it covered all modes of stacked MNIST (not run here)."))
RECIPES.register("dragan", Recipe(
    "BCE, gradient penalty towards slope 1 around the reals", "arXiv:1705.07215",
    BCE, **held_by("dragan"), slope_target="1",
    known_for="Slopes near the reals cost, as under gp; the generated samples play no part."))
RECIPES.register("bce_r1r2", Recipe(
    "BCE with R1 on reals and R2 on fakes", "arXiv:1801.04406, eqs. 9 and 10",
    BCE, **held_by("r1", "r2"), slope_target="0",
    known_for="It converges on Dirac; in arXiv:2501.05441 R1 alone diverges on stacked MNIST."))
RECIPES.register("bce_gp", Recipe(
    "control: the penalty without the W-loss", "arXiv:1710.08446",
    BCE, **held_by("gp"), slope_target="1",
    known_for="A control: tuned, it covers on the ring what gp covers."))
RECIPES.register("bce_r1", Recipe(
    "control: BCE with R1 on reals", "arXiv:1801.04406, eq. 9",
    BCE, **held_by("r1"), slope_target="0",
    known_for="It converges on Dirac, linearly; gamma 10 is for images."))
RECIPES.register("wasserstein", Recipe(
    "control: the W-loss without any constraint", "arXiv:1701.07875 without line 7",
    WASSERSTEIN,
    known_for="A control: nothing bounds the scores; tuned it trains, else it fails."))
# fmt: on


def composed(name: str, penalties: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a name with further penalties of `TERMS`, by name.

    Raises ValueError for a penalty that is unknown or given twice, for two that take the same
    coefficient, and with clipping.
    """
    recipe = RECIPES[name]
    for added in penalties:
        if added not in TERMS:
            raise ValueError(unknown("penalty", added, list(TERMS)))
        term = TERMS[added]
        if recipe.clips:
            raise ValueError(f"loss={name} clips; clipping and a penalty exclude each other")
        if term in recipe.penalties:
            raise ValueError(f"loss={name} has the penalty {added} already")
        shared = [each for each in term.names if each in recipe.coefficients]
        if shared:
            raise ValueError(f"{added} takes loss.{shared[0]}, and so does another penalty")
        recipe = replace(
            recipe,
            penalties=(*recipe.penalties, term),
            coefficients=(*recipe.coefficients, *term.names),
            ranges={**recipe.ranges, **{each: RANGES[each] for each in term.names}},
            slope_target=_both(recipe.slope_target, TARGETS[term.cost]),
        )
    return recipe


def _both(target: str, added: str) -> str:
    """Return the constraint on the slope of a recipe to which a penalty is added."""
    return added if target in ("none", added) else "several"


TARGETS = {Cost.FROM_ONE: "1", Cost.ABOVE_ONE: "at most 1", Cost.SQUARED: "0", Cost.POWER: "0"}
"""The slope for which a penalty asks, by its cost."""
