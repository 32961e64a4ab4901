"""Constraints on a critic's slope: gradient penalties and weight clipping.

A critic is a callable from a batch (n, ...) to scores (n,). The functions return the mean of a
penalty without a coefficient; the terms below them apply lambda and gamma / 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.bounds import COEFFICIENT

Critic = Callable[[Tensor], Tensor]


def input_gradients(critic: Critic, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Return grad_x D(x) for each point, differentiable in the critic's parameters.

    It is the gradient of the sum of scores, which is right for critics that score each point
    alone. A penalised critic therefore has no batch norm.

    Raises ValueError when the critic's scores are not of shape (n,).
    """

    def total(points: Tensor) -> Tensor:
        scores = critic(points)
        if scores.shape != points.shape[:1]:
            raise ValueError(f"a critic returns scores of shape (n,); got {tuple(scores.shape)}")
        return scores.sum()

    gradients: Tensor = torch.func.grad(total)(x)
    return gradients


def input_slopes(critic: Critic, x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Return |grad_x D(x)|_2, one norm for each point over all its dimensions."""
    slopes: Tensor = torch.linalg.vector_norm(input_gradients(critic, x).flatten(1), dim=1)
    return slopes


def interpolate(
    x: Float[Tensor, "n ..."], x_fake: Float[Tensor, "n ..."], eps: Float[Tensor, "n ..."]
) -> Float[Tensor, "n ..."]:
    """Return x_hat = eps x + (1 - eps) x_fake, with one eps for each point.

    Raises ValueError when the batches differ in shape or eps has more than one value
    a point. Source: Gulrajani et al., arXiv:1704.00028, Algorithm 1, line 5.
    """
    if x.shape != x_fake.shape:
        raise ValueError(f"reals {tuple(x.shape)} and fakes {tuple(x_fake.shape)} differ in shape")
    if eps.shape[:1] != x.shape[:1] or eps.numel() != x.shape[0]:
        raise ValueError(
            f"eps has one value a point, shape (n,) or (n, 1, ...); got {tuple(eps.shape)}"
        )
    eps = eps.reshape(-1, *[1] * (x.ndim - 1))
    return eps * x + (1 - eps) * x_fake


class Cost(Enum):
    """What a penalty makes of a slope s = |grad D|_2 at a point; the value is its formula."""

    FROM_ONE = "(|grad D| - 1)^2"
    ABOVE_ONE = "max(0, |grad D| - 1)^2"
    SQUARED = "|grad D|^2"
    POWER = "|grad D|^p"


def slope_cost(
    cost: Cost, critic: Critic, points: Float[Tensor, "n ..."], power: float | Tensor = 2.0
) -> Tensor:
    """Return the mean cost of the critic's slopes at points; ``power`` is p of `Cost.POWER`.

    Raises ValueError when the critic's scores are not of shape (n,).
    """
    if cost is Cost.SQUARED:
        return input_gradients(critic, points).flatten(start_dim=1).square().sum(dim=1).mean()
    slopes = input_slopes(critic, points)
    if cost is Cost.POWER:
        return slopes.pow(power).mean()
    excess = slopes - 1
    if cost is Cost.ABOVE_ONE:
        excess = excess.clamp(min=0)
    return excess.square().mean()


def gradient_penalty(
    critic: Critic,
    x: Float[Tensor, "n ..."],
    x_fake: Float[Tensor, "n ..."],
    eps: Float[Tensor, "n ..."],
    one_sided: bool = False,
) -> Tensor:
    """Return the penalty on the critic's slope at interpolates, without lambda.

    Two-sided: E (|grad D(x_hat)|_2 - 1)^2. One-sided: E max(0, |grad D(x_hat)|_2 - 1)^2,
    which does not penalise slopes below 1 ("at most 1").

    ``eps`` holds one weight a point, drawn from U[0, 1], shape (n,) or (n, 1, ...).
    Reals and fakes are detached. Works under vmap and before a plain ``.backward()``.
    Raises ValueError when shapes disagree.
    Source: arXiv:1704.00028, Algorithm 1, line 6; one-sided: arXiv:1709.08894.

    >>> weight = torch.tensor([3.0, 4.0])
    >>> float(gradient_penalty(lambda x: x @ weight, torch.ones(2, 2), torch.zeros(2, 2),
    ...                        torch.tensor([0.2, 0.7])))
    16.0
    """
    cost = Cost.ABOVE_ONE if one_sided else Cost.FROM_ONE
    return slope_cost(cost, critic, interpolate(x.detach(), x_fake.detach(), eps))


def r1_penalty(critic: Critic, x: Float[Tensor, "n ..."]) -> Tensor:
    """Return E |grad_x D(x)|_2^2 on reals; the loss adds gamma / 2 times this.

    Raises ValueError when the critic's scores are not of shape (n,).
    Source: Mescheder et al., arXiv:1801.04406, eq. 9.

    >>> float(r1_penalty(lambda x: x @ torch.tensor([3.0, 4.0]), torch.ones(5, 2)))
    25.0
    """
    return slope_cost(Cost.SQUARED, critic, x.detach())


def perturbed(x: Float[Tensor, "n ..."], noise: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Return x + delta with delta = std(x) / 2 times ``noise``, drawn from U[0, 1].

    std(x) is one number: that of all coordinates of the batch, divided by their count.
    Source: the code of Kodali et al., arXiv:1705.07215.

    >>> perturbed(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [1.0]])).tolist()
    [[1.0], [3.5]]
    """
    return x + x.std(correction=0) / 2 * noise


def clip_weights(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Clamp every parameter to [-clip_value, clip_value], in place.

    Call it after the critic's optimizer step. Raises ValueError unless clip_value > 0.
    Source: Arjovsky et al., arXiv:1701.07875, Algorithm 1, line 7.

    >>> weight = torch.tensor([-3.0, 0.005])
    >>> clip_weights([weight], 0.01)
    >>> weight
    tensor([-0.0100,  0.0050])
    """
    if not clip_value > 0:
        raise ValueError(f"clip_value must be above 0; got {clip_value}")
    with torch.no_grad():
        for parameter in parameters:
            parameter.clamp_(-clip_value, clip_value)


# The terms of penalties: a coefficient, the points where slopes are taken, and their cost.
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
