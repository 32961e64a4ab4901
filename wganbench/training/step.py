"""Algorithm 1 for one run: pure functions of parameters, batch, noise and coefficients.

Source: arXiv:1701.07875 and arXiv:1704.00028, Algorithm 1. The functions here have no run
axis; `stack.py` lifts them over the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from wganbench.losses.constraints import Coefficients, input_slopes, interpolate
from wganbench.losses.recipes import Recipe, Wrapper
from wganbench.networks import Pair, Parameters
from wganbench.networks.pair import gradient_normalised, packed, spectrally_normalised, spread
from wganbench.training.optimizers import Moments

Scalars = dict[str, Tensor]


@dataclass(frozen=True)
class Algorithm:
    """The static part of a run: its networks, its loss, and how many points the critic sees.

    With ``packing`` m the critic's points are packs of m: a batch of n points has n / m scores.
    """

    pair: Pair
    recipe: Recipe
    packing: int = 1

    def critic(self, parameters: Parameters) -> Callable[[Tensor], Tensor]:
        """Return D, a function from points or packs (n, ...) to fp32 scores (n,)."""
        if self.recipe.wrapper is Wrapper.SPECTRAL:
            parameters = spectrally_normalised(parameters)
        critic = _bound(self.pair.critic, parameters)
        return gradient_normalised(critic) if self.recipe.wrapper is Wrapper.GRADIENT else critic

    def pack(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "k ..."]:
        """Return what the critic sees of these points."""
        return packed(x, self.packing)

    def alone(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Return what the critic sees of each point alone: a pack of its copies."""
        m = self.packing
        return x if m == 1 else packed(x.repeat_interleave(m, 0), m)

    def generator(self, parameters: Parameters) -> Callable[[Tensor], Tensor]:
        """Return G, a function from z (n, *latent) to points (n, *shape)."""
        return _bound(self.pair.generator, parameters)

    def critic_loss(
        self,
        critic_parameters: Parameters,
        generator_parameters: Parameters,
        x: Float[Tensor, "n ..."],
        z: Float[Tensor, "n ..."],
        eps: Float[Tensor, " n"],
        coefficients: Coefficients,
        noise: Float[Tensor, "n ..."] | None = None,
    ) -> tuple[Tensor, Scalars]:
        """Return the critic's loss, penalty included, and the scalars to log.

        ``noise`` is needed by a recipe that takes slopes at perturbed reals.
        """
        critic = self.critic(critic_parameters)
        x_fake = self.pack(self.generator(generator_parameters)(z).detach())
        if self.packing > 1:
            x, eps = self.pack(x), eps[: len(x_fake)]
            noise = None if noise is None else self.pack(noise)
        score_real, score_fake = self.scores(critic, x, x_fake)
        objective = self.recipe.objective.critic(score_real, score_fake)
        scalars = {
            "wasserstein/estimate": score_real.mean() - score_fake.mean(),
            "critic/score_real": score_real.mean(),
            "critic/score_fake": score_fake.mean(),
        }
        loss = objective
        if self.recipe.penalties:
            penalty = self.recipe.penalty(critic, x, x_fake, eps, coefficients, noise)
            scalars["loss/penalty"] = penalty
            loss = objective + penalty
        return loss, {"loss/critic": loss, **scalars}

    def generator_loss(
        self,
        generator_parameters: Parameters,
        critic_parameters: Parameters,
        z: Float[Tensor, "n ..."],
        x: Float[Tensor, "n ..."] | None = None,
    ) -> tuple[Tensor, Scalars]:
        """Return the generator's loss and the scalars to log.

        ``x`` holds the reals of a paired objective; others do not look at any.
        """
        return self.loss_of_fakes(self.generator(generator_parameters)(z), critic_parameters, x)

    def loss_of_fakes(
        self,
        fakes: Float[Tensor, "n ..."],
        critic_parameters: Parameters,
        x: Float[Tensor, "n ..."] | None = None,
    ) -> tuple[Tensor, Scalars]:
        """Return what `generator_loss` does, of its fakes."""
        critic, x_fake = self.critic(critic_parameters), self.pack(fakes)
        if x is None:
            score_real, score_fake = None, critic(x_fake)
        else:
            score_real, score_fake = self.scores(critic, self.pack(x), x_fake)
        loss = self.recipe.objective.generator(score_real, score_fake)
        return loss, {"loss/generator": loss}

    def scores(
        self, critic: Callable[[Tensor], Tensor], x: Tensor, x_fake: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return D(x) and D(G(z)), in one pass when the critic scores each point alone."""
        if not self.pair.critic_is_pointwise:
            return critic(x), critic(x_fake)
        scores = critic(torch.cat([x, x_fake]))
        return scores[: len(x)], scores[len(x) :]

    def probe(
        self,
        critic_parameters: Parameters,
        generator_parameters: Parameters,
        x: Float[Tensor, "n ..."],
        z: Float[Tensor, "n ..."],
        eps: Float[Tensor, " n"],
    ) -> dict[str, Tensor]:
        """Return the networks' values that the metrics need, point by point.

        ``fake_gradients`` is dL_G/dx_i, ``feedback`` is n |dL_G/dscore_i|. A paired objective
        gets the reals x. Each point has the score and the slope of its pack.
        """
        critic, n, m = self.critic(critic_parameters), len(z), self.packing
        x_fake = self.generator(generator_parameters)(z)
        real, fake = self.pack(x), self.pack(x_fake)
        score_real, score_fake = critic(real), critic(fake)
        objective = self.recipe.objective
        generator_loss = partial(objective.generator, score_real if objective.paired else None)
        per_score = torch.func.grad(generator_loss)(score_fake)
        return {
            "fakes": x_fake,
            "score_real": spread(score_real, m, n),
            "score_fake": spread(score_fake, m, n),
            "slopes_hat": spread(
                input_slopes(critic, interpolate(real, fake, eps[: len(fake)])), m, n
            ),
            "slopes_real": spread(input_slopes(critic, real), m, n),
            "slopes_fake": spread(input_slopes(critic, fake), m, n),
            "fake_gradients": torch.func.grad(
                lambda points: generator_loss(critic(self.pack(points)))
            )(x_fake),
            "feedback": spread(per_score.abs() * len(per_score), m, n),
        }


def _bound(module: nn.Module, parameters: Parameters) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        output: Tensor = functional_call(module, parameters, (x,))
        return output

    return function


def layers(module: nn.Module) -> list[list[str]]:
    """Return parameter names by layer: a linear layer or convolution and its normalization."""
    groups: list[list[str]] = []
    for prefix, layer in module.named_modules():
        names = [name for name, _ in layer.named_parameters(prefix=prefix, recurse=False)]
        if names and (isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) or not groups):
            groups.append(names)
        elif names:
            groups[-1].extend(names)
    return groups


def gradient_norms(network: str, gradients: Parameters, groups: list[list[str]]) -> Scalars:
    """Return the Euclidean norms of a gradient, total and by layer: grad_norm/<network>..."""
    # Squares are summed by rows, and the parameters' sums one by one. The order of addition in a
    # longer compiled sum depends on the number of runs; with one run, threads would divide it.
    squares = [
        reduce(torch.add, [gradients[name].square().sum(-1).sum() for name in g]) for g in groups
    ]
    total = {f"grad_norm/{network}": reduce(torch.add, squares).sqrt()}
    by_layer = {f"grad_norm/{network}_layer_{i}": square.sqrt() for i, square in enumerate(squares)}
    return {**total, **by_layer}


def clipped(parameters: Parameters, clip_value: Tensor) -> Parameters:
    """Return parameters clamped to [-c, c]; c = inf changes nothing.

    Source: arXiv:1701.07875, Algorithm 1, line 7.
    """
    return {name: torch.clamp(p, -clip_value, clip_value) for name, p in parameters.items()}


# Unrolled GANs: the generator's loss against a critic that is K steps ahead.
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
