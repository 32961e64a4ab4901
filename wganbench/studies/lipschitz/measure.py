"""Critics with penalties or clipping, trained against fixed fakes, and their slopes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wganbench.config import RunConfig, compose
from wganbench.losses.constraints import input_gradients
from wganbench.metrics.gradients import slopes
from wganbench.studies.frozen import (
    FrozenStack,
    clip_bound,
    critic_of,
    fitting_threads,
    noisy,
    spectral_product,
    steepest,
    target_of,
)
from wganbench.studies.rest import LOG, Reading, Rest, train_to_rest
from wganbench.studies.study import Context, finite, log10
from wganbench.training.device import pick_device
from wganbench.training.streams import Draw, stream_generator

COEFFICIENT = {"gp": "gp_lambda", "lp": "gp_lambda", "clip": "clip_value", "bce": ""}

Row = dict[str, Any]
"""The measurements of one critic; None for a non-finite one."""

Course = list[tuple[int, float | None]]
"""Pairs of critic step and largest slope at the fixed points."""

Critic = Callable[[Tensor], Tensor]

INTERPOLATES, LARGEST, ESTIMATE = "interpolates", "largest", "estimate"
LOG_LARGEST, LOG_ROUGHNESS = f"{LOG}largest", f"{LOG}roughness"
"""The mean slope at interpolates, the largest slope, the estimate, and in decades the largest slope
and the roughness. Slopes of a penalised critic rest long before its estimate."""
STATISTICS = (INTERPOLATES, LARGEST, LOG_LARGEST, LOG_ROUGHNESS, ESTIMATE)
"""What is watched for rest; a claim waits for its own."""
EXCESS = 0.05
"""What claims on the largest slope allow beyond what is granted."""
TOLERANCES = {LARGEST: EXCESS, LOG_LARGEST: 0.05, LOG_ROUGHNESS: 0.02}
"""What counts as no movement. The logarithms are in decades, for claims on half a decade or more,
and on a tenth."""


@dataclass(frozen=True)
class Places:
    """The fixed points at which a critic's slopes are read: (n, 2) each."""

    interpolates: Tensor
    reals: Tensor
    fakes: Tensor
    between: Tensor
    outside: Tensor

    @classmethod
    def draw(cls, context: Context, reals: Draw, fakes: Draw, seed: int) -> Places:
        """Return the points of a seed: "between" is half-way between reals."""
        n = context["points"]
        x = reals(n, stream_generator(seed, "place_real", 0))
        y = fakes(n, stream_generator(seed, "place_fake", 0))
        share = torch.rand(n, 1, generator=stream_generator(seed, "place_mixing", 0))
        return cls(x + share * (y - x), x, y, (x + x.roll(1, 0)) / 2, context["far"] * x)

    def slopes(self, critic: Critic) -> dict[str, Tensor]:
        return {name: slopes(critic, x) for name, x in vars(self).items()}


def critics(context: Context, loss: str, value: float) -> list[Row]:
    """Train one critic per seed with a loss and a coefficient until they are at rest."""
    configs = list(configurations(context, loss, value))
    device = pick_device(context.settings.device)
    reals = target_of(configs[0]).sample
    fakes = noisy(reals, context["noise"])
    stack = FrozenStack(configs, device, [fakes] * len(configs))
    places = [Places.draw(context, reals, fakes, config.seed) for config in configs]
    courses: list[Course] = [[] for _ in configs]

    def read() -> Reading:
        own = [critic_of(stack, r) for r in range(len(configs))]
        found = [place.slopes(critic) for place, critic in zip(places, own, strict=True)]
        steepest_found = [largest(slope) for slope in found]
        rough = [roughness(critic, place.fakes, context["nearby"], config.seed)
                 for critic, place, config in zip(own, places, configs, strict=True)]  # fmt: skip
        return {
            INTERPOLATES: [mean(slope["interpolates"]) for slope in found],
            LARGEST: steepest_found,
            LOG_LARGEST: [log10(slope) for slope in steepest_found],
            LOG_ROUGHNESS: [log10(value) for value in rough],
            ESTIMATE: [estimated(critic, at) for critic, at in zip(own, places, strict=True)],
        }

    def mark() -> None:
        for course, r in zip(courses, range(len(configs)), strict=True):
            slope = largest(places[r].slopes(critic_of(stack, r)))
            course.append((stack.steps_done, finite(slope)))

    bounds = context["first"], context["most"]
    with fitting_threads(stack):
        rests = train_to_rest(stack, read, [loss] * len(configs), *bounds, TOLERANCES, mark)
    common = places[0].fakes
    return [
        look(context, stack, r, places[r], courses[r], rests[r], common)
        for r in range(len(configs))
    ]


def estimated(critic: Critic, places: Places) -> float:
    """Return E D(x) - E D(y) at the fixed points."""
    with torch.no_grad():
        return float(critic(places.reals).mean() - critic(places.fakes).mean())


def largest(found: dict[str, Tensor]) -> float:
    return float(torch.cat(list(found.values())).max())


def configurations(context: Context, loss: str, value: float) -> Iterator[RunConfig]:
    base = compose([
        f"loss={loss}", "data=ring8", "tuned=none", "train.decay=none", "train.optimizer=adam",
        f"train.batch_size={context['batch_size']}", f"network.width={context['width']}",
        f"network.depth={context['depth']}", "train.betas=[0.0,0.9]",
    ])  # fmt: skip
    for seed in context.seeds:
        config = copy.deepcopy(base)
        config.seed = seed
        if COEFFICIENT[loss]:
            config.loss.coefficients[COEFFICIENT[loss]] = value
        # Long steps would make every weight jump between -c and c.
        most = context["clip_rate"] * value if loss == "clip" else math.inf
        config.train.critic_lr = min(context["critic_lr"], most)
        yield config


def look(
    context: Context,
    stack: FrozenStack,
    run: int,
    places: Places,
    course: Course,
    rest: Rest,
    common: Tensor,
) -> Row:
    """Return one critic's slopes, where the constraint acts and where it does not.

    ``common`` are points at which the critics of all seeds give their direction.
    """
    config, parameters = stack.configs[run], stack.run_parameters(run, "critic")
    loss, critic = config.loss.name, critic_of(stack, run)
    value = config.loss.coefficients.get(COEFFICIENT[loss], 0.0)
    found = places.slopes(critic)
    starts = torch.cat([places.reals, places.fakes, places.between, places.outside])
    source = stream_generator(config.seed, "climb", 0)
    steep = steepest(critic, starts, source, context["climbers"], context["rounds"], 1.0)
    steep = max(steep, largest(found))
    estimate = estimated(critic, places)
    diverged = stack.diverged_at()[run] >= 0 or not math.isfinite(steep)
    return {
        "loss": loss, "coefficient": "inf" if math.isinf(value) else value, "seed": config.seed,
        "status": "diverged" if diverged else "completed",
        **{name: finite(number) for name, number in {
            **{name: mean(slope) for name, slope in found.items()},
            "interpolates_sd": float(found["interpolates"].std(correction=0)),
            "largest": steep,
            "spectral_product": spectral_product(parameters),
            "clip_bound": clip_bound(parameters, value) if loss == "clip" else math.nan,
            "estimate": estimate,
            "reach": float(torch.cdist(places.reals, places.fakes).max()),
            "estimate_by_largest": estimate / steep if steep else math.nan,
            "roughness": roughness(critic, places.fakes, context["nearby"], config.seed),
        }.items()},
        **rest.row(), **rest.by_statistic(), "course": course,
        "directions": gradients_at(critic, common),
    }  # fmt: skip


def mean(values: Tensor) -> float:
    return float(values.double().mean())


def roughness(critic: Critic, x: Tensor, nearby: float, seed: int) -> float:
    """Return E ||g(x + h) - g(x)|| / ||h|| / E ||g(x)||, with g the gradient of D at x, (n, d).

    h is Gaussian with the standard deviation ``nearby``. The unit is 1 / data unit. Division by
    the mean slope makes critics of any scale comparable: the scale of a W-loss is free. The result
    is 0 for a linear critic and nan for a flat one.

    >>> roughness(lambda x: x.square().sum(dim=1) / 2, torch.tensor([[3.0, 4.0]]), 0.1, 0)
    0.2
    """
    h = nearby * torch.randn(x.shape, generator=stream_generator(seed, "nearby", 0))
    here, there = (input_gradients(critic, at.double()) for at in (x, x + h))
    change = (there - here).norm(dim=1) / h.norm(dim=1)
    size = float(here.norm(dim=1).mean())
    return round(float(change.mean()) / size, 6) if size else math.nan


DIRECTIONS = 200
"""Points at which directions are kept."""


def gradients_at(critic: Critic, x: Tensor) -> list[list[float]]:
    """Return the gradient's direction at the first `DIRECTIONS` points, 0 where D is flat."""
    found = torch.nn.functional.normalize(input_gradients(critic, x[:DIRECTIONS]), dim=1)
    return [[round(value, 4) for value in point] for point in found.tolist()]


def agreement(directions: Sequence[Sequence[Sequence[float]]]) -> list[float | None]:
    """Return one jackknife pseudo-value per critic of the mean cosine between pairs of critics.

    ``directions`` has the shape (critics, points, d). With U the mean over pairs and c_i the mean
    over the pairs of critic i, the pseudo-value n U - (n - 1) U_(-i) is
    (2 (n - 1) c_i - n U) / (n - 2) (Tukey 1958). None for fewer than three critics.

    >>> agreement([[[1.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]])
    [1.0, 1.0, 1.0]
    """
    n = len(directions)
    if n < 3:
        return [None] * n
    g = np.asarray(directions, dtype=np.float64)
    cosines = np.einsum("ipd,jpd->ij", g, g) / g.shape[1]
    np.fill_diagonal(cosines, 0.0)
    own = cosines.sum(axis=1) / (n - 1)
    values = (2 * (n - 1) * own - n * own.mean()) / (n - 2)
    return [round(float(value), 12) for value in values]
