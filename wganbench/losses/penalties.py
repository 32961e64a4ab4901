"""The terms of penalties: a coefficient, the points where slopes are taken, and their cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from wganbench.bounds import COEFFICIENT
from wganbench.losses.constraints import Cost, Critic, interpolate, perturbed, slope_cost

Coefficients = Mapping[str, float | Tensor]
Penalty = Callable[[Critic, Tensor, Tensor, Tensor, Coefficients], Tensor]
"""A function (critic, x, x_fake, eps, coefficients) whose value the critic's loss adds."""


class Points(Enum):
    """The points where a penalty takes slopes; the value is their name in formulas."""

    INTERPOLATES = "x_hat"
    REALS = "x"
    FAKES = "G(z)"
    PERTURBED = "x + delta"


PLACES = {
    Points.INTERPOLATES: "at interpolates",
    Points.REALS: "at reals",
    Points.FAKES: "at fakes",
    Points.PERTURBED: "around reals",
}
"""These points in sentences."""


@dataclass(frozen=True)
class SlopePenalty:
    """The term scale c E cost(|grad D|) at some points, where ``coefficient`` names c.

    ``power`` names the coefficient that is p of `Cost.POWER`. The term is a `Penalty` that also
    takes the noise of perturbed reals.
    """

    coefficient: str
    points: Points
    cost: Cost
    scale: float = 1.0
    power: str | None = None

    def __call__(
        self,
        critic: Critic,
        x: Tensor,
        x_fake: Tensor,
        eps: Tensor,
        coefficients: Coefficients,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Return the term. Reals and fakes are detached; raises ValueError as `slope_cost`."""
        at = self._at(x.detach(), x_fake.detach(), eps, noise)
        power = 2.0 if self.power is None else coefficients[self.power]
        mean = slope_cost(self.cost, critic, at, power)
        return coefficients[self.coefficient] * self.scale * mean

    def _at(self, x: Tensor, x_fake: Tensor, eps: Tensor, noise: Tensor | None) -> Tensor:
        if self.points is Points.INTERPOLATES:
            return interpolate(x, x_fake, eps)
        if self.points is Points.PERTURBED:
            if noise is None:
                raise ValueError("a penalty at perturbed reals needs noise of their shape")
            return perturbed(x, noise)
        return x if self.points is Points.REALS else x_fake

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its coefficients."""
        return (self.coefficient,) if self.power is None else (self.coefficient, self.power)

    @property
    def formula(self) -> str:
        """The term in letters, such as ``gp_lambda E (|grad D(x_hat)| - 1)^2``."""
        divided = "" if self.scale == 1 else f"/{1 / self.scale:g}"
        cost = self.cost.value.replace("grad D", f"grad D({self.points.value})")
        cost = cost.replace("^p", f"^{self.power}")
        return f"{self.coefficient}{divided} E {cost}"


# fmt: off
TERMS: dict[str, SlopePenalty] = {
    "gp": SlopePenalty("gp_lambda", Points.INTERPOLATES, Cost.FROM_ONE),
    "lp": SlopePenalty("gp_lambda", Points.INTERPOLATES, Cost.ABOVE_ONE),
    "gp0": SlopePenalty("gp_lambda", Points.INTERPOLATES, Cost.SQUARED),
    "r1": SlopePenalty("r1_gamma", Points.REALS, Cost.SQUARED, scale=1 / 2),
    "r2": SlopePenalty("r2_gamma", Points.FAKES, Cost.SQUARED, scale=1 / 2),
    "dragan": SlopePenalty("gp_lambda", Points.PERTURBED, Cost.FROM_ONE),
    "div": SlopePenalty("div_k", Points.INTERPOLATES, Cost.POWER, power="div_p"),
}
# fmt: on
"""The terms by their names in ``loss.penalties``.

Sources: gp arXiv:1704.00028, lp arXiv:1709.08894, gp0 arXiv:1902.03984, r1 and r2
arXiv:1801.04406, dragan arXiv:1705.07215, div arXiv:1712.01026.
"""

WEIGHT = {"least": 0, "most": COEFFICIENT}
RANGES: dict[str, dict[str, float]] = {
    "clip_value": {"above": 0, "least": 1 / COEFFICIENT},
    "gp_lambda": WEIGHT,
    "r1_gamma": WEIGHT,
    "r2_gamma": WEIGHT,
    "div_k": WEIGHT,
    "div_p": {"above": 1, "most": 100},
}
"""Ranges of our coefficients. A clip value of inf clips nothing."""
