"""The gradient that a frozen generator receives while a critic is trained against it.

g(t) = ||grad_theta L_G(theta, D_t)||_2 is read on a fixed set of latents, with theta and D_t in
float64. D_t is the critic after t steps from scratch (arXiv:1701.04862, Figure 2).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wganbench.config import RunConfig, compose
from wganbench.losses.recipes import RECIPES
from wganbench.metrics.gradients import SATURATED_SCORE, js_estimate
from wganbench.networks import Latent, Parameters
from wganbench.studies.frozen import FrozenStack, fitting_threads
from wganbench.studies.rest import LOG, Reading, train_to_rest
from wganbench.studies.study import log10
from wganbench.training.device import fitting_cpu
from wganbench.training.stack import Stack
from wganbench.training.streams import Draw, stream_generator

Record = dict[str, Any]
"""One critic's training against one generator, for one objective: a list by statistic, with one
value per mark, and under ``rest`` and ``pushed_rest`` the cells of `Rest.row`: as the gradient
tells it, and as the share of outputs near 0 and 1 does."""

READ = {"bce": ("bce_saturating", "bce")}
"""Generator objectives read from one critic; both of BCE share the discriminator's loss."""


@dataclass(frozen=True)
class Frozen:
    """A fixed generator, and the reals for its critics."""

    generator: Callable[[Parameters, Tensor], Tensor]
    parameters: Parameters
    latent: Latent
    reals: Draw

    def fakes(self, n: int, source: torch.Generator) -> Tensor:
        """The distribution of the fakes, on the device of ``source``."""
        own = {name: p.to(source.device) for name, p in self.parameters.items()}
        with torch.no_grad():
            return self.generator(own, self.latent.sample(n, source))


def settings(loss: str, batch_size: int, *more: str) -> RunConfig:
    """Return the configuration of a loss with constant rates."""
    fixed = ("train.decay=none", f"train.batch_size={batch_size}")
    return compose([f"loss={loss}", *fixed, *more])


def faster(config: RunConfig, factor: float) -> RunConfig:
    """Return the same configuration with the critic's rate multiplied by ``factor``."""
    train = dataclasses.replace(config.train, critic_lr=factor * config.train.critic_lr)
    return dataclasses.replace(config, train=train)


def of_seeds(config: RunConfig, seeds: Sequence[int]) -> list[RunConfig]:
    return [dataclasses.replace(config, seed=seed) for seed in seeds]


def trained_generators(
    config: RunConfig, stages: Sequence[int], seeds: Sequence[int], device: torch.device
) -> list[list[Frozen]]:
    """Return the generators of ordinary runs after given numbers of steps, by stage and seed."""
    stack = Stack(of_seeds(config, seeds), device)
    pair, algorithm = stack.exact_algorithm.pair, stack.exact_algorithm

    def forward(parameters: Parameters, z: Tensor) -> Tensor:
        return algorithm.generator(parameters)(z)

    found = []
    for stage in stages:
        with fitting_cpu(stack):
            while stack.steps_done < stage:
                stack.iterate()
        parameters = [stack.run_parameters(r, "generator") for r in range(len(seeds))]
        found.append([Frozen(forward, p, pair.latent, stack.target.sample) for p in parameters])
    return found


def skew_lines(dimensions: int, seed: int, device: torch.device) -> Frozen:
    """Return reals on a line through 0 and fakes on an orthogonal line at distance 1.

    t a against b + s c, t and s ~ U[-1, 1], with orthonormal a, b, c drawn from the seed; the
    generator is affine, its parameters are b and c. The supports have no point in common
    (arXiv:1701.04862, Theorem 2.1; as arXiv:1701.07875, Example 1).
    """
    draw = torch.randn(dimensions, 3, generator=stream_generator(seed, "skew_lines", 0))
    frame = torch.linalg.qr(draw.double())[0].T.float().to(device)
    latent = Latent("uniform", (1,))

    def reals(n: int, source: torch.Generator) -> Tensor:
        points: Tensor = latent.sample(n, source) * frame[0]
        return points

    def forward(parameters: Parameters, z: Tensor) -> Tensor:
        return parameters["offset"] + z * parameters["direction"]

    return Frozen(forward, {"offset": frame[1], "direction": frame[2]}, latent, reals)


def line_settings(loss: str, batch_size: int, dimensions: int) -> RunConfig:
    """Return a run's configuration in a given dimension; its own data are never drawn."""
    centres = [[float(k)] * dimensions for k in (0, 1)]
    data = ("data=mixture", f"data.centres={centres}", "data.weights=null")
    return settings(loss, batch_size, "tuned=none", *data, "evaluate.protocol=chi2")


def follow(
    config: RunConfig,
    frozen: Sequence[Frozen],
    seeds: Sequence[int],
    bounds: tuple[int, int],
    points: int,
    device: torch.device,
) -> list[dict[str, Record]]:
    """Train a critic from scratch per generator to rest; return records by objective.

    The generators differ in their seed alone; ``seeds[r]`` is the seed of critic r. ``bounds`` are
    the steps at which rest is judged first and last. The marks are the powers of two and the end.
    The latents and reals of measurements are drawn once.
    """
    stack = FrozenStack(
        of_seeds(config, seeds), device, [f.fakes for f in frozen], [f.reals for f in frozen]
    )
    names = READ.get(config.loss.name, (config.loss.name,))
    fixed = [fixed_points(f, seed, points, device) for f, seed in zip(frozen, seeds, strict=True)]
    found: list[dict[str, Record]] = [{name: {} for name in names} for _ in frozen]

    def critic(run: int) -> Callable[[Tensor], Tensor]:
        return stack.exact_algorithm.critic(widened(stack.run_parameters(run, "critic")))

    def mark() -> None:
        for r, generator in enumerate(frozen):
            for name in names:
                values = measured(name, critic(r), generator, *fixed[r])
                for key, value in (values | {"step": stack.steps_done}).items():
                    found[r][name].setdefault(key, []).append(value)

    def read() -> Reading:
        every = range(len(frozen))
        norms = {
            LOG + name: [log10(measured(name, critic(r), frozen[r], *fixed[r])["norm"])
                         for r in every]
            for name in names
        }  # fmt: skip
        scores = [scored(critic(r), frozen[r], *fixed[r]) for r in every]
        if not RECIPES[names[0]].objective.bce:
            return norms | {ESTIMATE: [float(real.mean() - fake.mean()) for real, fake in scores]}
        return norms | {
            JS: [js_estimate(real, fake) for real, fake in scores],
            PUSHED: [min(saturated(real, fake).values()) for real, fake in scores],
        }

    tolerances = {JS: NATS, PUSHED: SHARE} | {LOG + name: DECADES for name in names}
    with fitting_threads(stack):
        rests = train_to_rest(stack, read, [0] * len(seeds), *bounds, tolerances, mark)
    for r, rest in enumerate(rests):
        for name in names:
            read_of = [key for key in rest.moved if key in (JS, ESTIMATE, LOG + name)]
            found[r][name]["rest"] = rest.of(*read_of).row()
            if PUSHED in rest.moved:
                found[r][name]["pushed_rest"] = rest.of(PUSHED).row()
    return found


JS, ESTIMATE, PUSHED = "js", "estimate", "pushed"
NATS, DECADES, SHARE = 0.005, 0.04, 0.02
"""Movements that count as none: nats of at most 0.69, 2 % of the two decades that decide, and a
share of the points."""


def scored(
    critic: Callable[[Tensor], Tensor], frozen: Frozen, z: Tensor, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the scores of the reals and of the fakes, (n,) each."""
    with torch.no_grad():
        return critic(x), critic(frozen.generator(widened(frozen.parameters), z))


def saturated(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Return the shares of fakes with a probability under 1 % and of reals with one over 99 %."""
    return {
        "saturation": float((fake < SATURATED_SCORE).double().mean()),
        "saturation_real": float((real > -SATURATED_SCORE).double().mean()),
    }


def fixed_points(
    frozen: Frozen, seed: int, points: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return latents and reals that stay fixed during a training, in float64."""
    z = frozen.latent.sample(points, stream_generator(seed, "fixed_latent", 0, device))
    x = frozen.reals(points, stream_generator(seed, "fixed_real", 0, device))
    return z.double(), x.double()


def widened(parameters: Parameters) -> Parameters:
    return {name: p.double() for name, p in parameters.items()}


def measured(
    loss: str, critic: Callable[[Tensor], Tensor], frozen: Frozen, z: Tensor, x: Tensor
) -> dict[str, float]:
    """Return the norm of the generator's gradient and statistics of the critic.

    ``norm`` is ||grad_theta L_G||; ``accuracy``, ``saturation`` and ``feedback`` are as in the
    table of tags. ``saturation_real`` is the share of reals with a probability above 99 %, as
    ``saturation`` is that of fakes below 1 %. These shares are meaningful for BCE only.
    """
    objective = RECIPES[loss].objective

    def generator_loss(parameters: Parameters) -> tuple[Tensor, Tensor]:
        score = critic(frozen.generator(parameters, z))
        return objective.generator(None, score), score.detach()

    gradient = torch.func.grad(generator_loss, has_aux=True)
    gradients, score = gradient(widened(frozen.parameters))
    squares = torch.stack([g.square().sum() for g in gradients.values()])
    feedback = torch.func.grad(objective.generator, argnums=1)(None, score).abs().sum()
    with torch.no_grad():
        real = critic(x)
        right = (real > 0).double().mean() + (score < 0).double().mean()
    return {
        "norm": float(squares.sum().sqrt()),
        "accuracy": float(right) / 2,
        **saturated(real, score),
        "feedback": float(feedback),
    }


def decades_fallen(norms: Sequence[float]) -> float | None:
    """Return log10(largest before the last / last) of gradient norms, negative while it grows.

    Returns None if a norm is not finite.

    >>> decades_fallen([1.0, 10.0, 0.1]), decades_fallen([1.0, 100.0])
    (2.0, -2.0)
    """
    if not all(math.isfinite(norm) for norm in norms):
        return None
    return log10(max(norms[:-1])) - log10(norms[-1])
