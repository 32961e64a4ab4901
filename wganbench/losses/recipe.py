"""What a loss is made of: an objective, penalties, a wrapper of the critic, clipping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from torch import Tensor

from wganbench.losses.constraints import Critic
from wganbench.losses.penalties import PLACES, Coefficients, Penalty, Points, SlopePenalty


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
        """Return the sum of the penalties, of which there is at least one."""
        values = [
            penalty(critic, x, x_fake, eps, coefficients, noise)
            if isinstance(penalty, SlopePenalty)
            else penalty(critic, x, x_fake, eps, coefficients)
            for penalty in self.penalties
        ]
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total


def _perturbs(penalty: Penalty) -> bool:
    return isinstance(penalty, SlopePenalty) and penalty.points is Points.PERTURBED
