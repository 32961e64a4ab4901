"""Unrolled GANs: the generator's loss against a critic that is K steps ahead.

The generator's gradient passes through these steps: dL_G(theta, phi_K(theta)) / dtheta, where
phi_0 are the critic's parameters and phi_(k+1) = phi_k + rate direction(dL_D(theta, phi_k) / dphi).
The batch is one for all K steps. The steps follow the run's own rule from its own moments, as the
paper does ("we unroll Adam"), and are forgotten: training changes the critic by its own steps.
In a zero-sum game L_G is the paper's f(theta, phi_K(theta)) = -L_D, with the term of reals: phi_K
depends on theta. The paper knows this game alone; in others the generator keeps its own loss.
Source: Metz et al., arXiv:1611.02163, eqs. 3 to 8, and their code for the single batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wganbench.networks import Parameters
from wganbench.training.optimizers import Moments
from wganbench.training.step import Algorithm, Scalars, clipped

Moment = dict[str, Tensor]
"""The moments of one parameter by name."""

Rule = Callable[[Tensor, Moment, Tensor, list[float]], tuple[Tensor, Moment]]
"""From (gradient, moments, number of this step, betas) to the step at rate 1, and new moments."""


def _root(squares: Tensor) -> Tensor:
    """Return the square root, with the derivative 0 at 0 in place of inf."""
    seen = squares > 0
    return torch.where(seen, torch.where(seen, squares, 1).sqrt(), 0)


def _adam(
    gradient: Tensor, moments: Moment, step: Tensor, betas: list[float]
) -> tuple[Tensor, Moment]:
    mean = betas[0] * moments["exp_avg"] + (1 - betas[0]) * gradient
    square = betas[1] * moments["exp_avg_sq"] + (1 - betas[1]) * gradient.square()
    scale = _root(square) / (1 - betas[1] ** step).sqrt() + 1e-8
    return -mean / (1 - betas[0] ** step) / scale, {"exp_avg": mean, "exp_avg_sq": square}


def _rmsprop(
    gradient: Tensor, moments: Moment, step: Tensor, betas: list[float]
) -> tuple[Tensor, Moment]:
    square = betas[1] * moments["square_avg"] + (1 - betas[1]) * gradient.square()
    scaled = gradient / (_root(square) + 1e-8)
    buffer = betas[0] * moments["momentum_buffer"] + scaled
    return -buffer, {"square_avg": square, "momentum_buffer": buffer}


def _sgd(
    gradient: Tensor, moments: Moment, step: Tensor, betas: list[float]
) -> tuple[Tensor, Moment]:
    buffer = betas[0] * moments["momentum_buffer"] + gradient
    return -buffer, {"momentum_buffer": buffer}


def _optimistic(rule: Rule) -> Rule:
    def optimistic(
        gradient: Tensor, moments: Moment, step: Tensor, betas: list[float]
    ) -> tuple[Tensor, Moment]:
        direction, later = rule(gradient, moments, step, betas)
        previous = torch.where(step > 1, moments["previous_step"], direction)
        return 2 * direction - previous, {**later, "previous_step": direction}

    return optimistic


RULES: dict[str, Rule] = {
    "adam": _adam,
    "rmsprop": _rmsprop,
    "sgd": _sgd,
    "optimistic_adam": _optimistic(_adam),
    "optimistic_sgd": _optimistic(_sgd),
}
"""The rules of `optimizers.OPTIMIZERS`, written so that derivatives pass through them."""


@dataclass(frozen=True)
class Unrolled:
    """The generator's loss ``steps`` critic steps ahead, for one run.

    ``optimizer`` and ``betas`` are those of the critic's own steps.
    """

    algorithm: Algorithm
    steps: int
    optimizer: str
    betas: list[float]

    def generator_loss(
        self,
        generator_parameters: Parameters,
        critic_parameters: Parameters,
        z: Tensor,
        x: Tensor,
        moments: Moments,
        taken: Tensor,
        rate: Tensor,
        coefficients: Mapping[str, Tensor],
    ) -> tuple[Tensor, Scalars]:
        """Return the generator's loss and the scalars to log, as `Algorithm.generator_loss`.

        Reals x and latents z are those of all steps. ``moments``, the number of steps ``taken`` so
        far, ``rate`` and the clip value among the ``coefficients`` are the critic's.
        """
        algorithm = self.algorithm
        fakes = algorithm.generator(generator_parameters)(z)
        critic = critic_parameters
        for number in range(1, self.steps + 1):
            gradients = torch.func.grad(self._critic_loss)(critic, x, fakes)
            critic, moments = self._moved(critic, gradients, moments, taken + number, rate)
            if algorithm.recipe.clips:
                critic = clipped(critic, coefficients["clip_value"])
        if algorithm.recipe.objective.zero_sum:
            loss = -self._critic_loss(critic, x, fakes)
            return loss, {"loss/generator": loss}
        reals = x if algorithm.recipe.objective.paired else None
        return algorithm.loss_of_fakes(fakes, critic, reals)

    def _critic_loss(self, critic_parameters: Parameters, x: Tensor, fakes: Tensor) -> Tensor:
        """Return the critic's objective; its derivative with respect to the fakes counts here."""
        algorithm = self.algorithm
        critic = algorithm.critic(critic_parameters)
        scores = algorithm.scores(critic, algorithm.pack(x), algorithm.pack(fakes))
        return algorithm.recipe.objective.critic(*scores)

    def _moved(
        self,
        parameters: Parameters,
        gradients: Parameters,
        moments: Moments,
        step: Tensor,
        rate: Tensor,
    ) -> tuple[Parameters, Moments]:
        rule, moved = RULES[self.optimizer], {}
        later: Moments = {kind: {} for kind in moments}
        for name, gradient in gradients.items():
            own = {kind: values[name] for kind, values in moments.items()}
            direction, following = rule(gradient, own, step, self.betas)
            moved[name] = parameters[name] + rate * direction
            for kind, value in following.items():
                later[kind][name] = value
        return moved, later
