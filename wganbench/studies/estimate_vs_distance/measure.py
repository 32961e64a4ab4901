"""Estimates of critics trained on distributions with a known earth mover's distance."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wganbench.config import RunConfig, compose
from wganbench.data import Target
from wganbench.data.target import KnownPair
from wganbench.losses.constraints import input_gradients
from wganbench.metrics import wasserstein_exact
from wganbench.metrics.gradients import js_estimate, slopes
from wganbench.reports.statistics import spearman
from wganbench.studies.frozen import (
    FrozenStack,
    critic_of,
    fitting_threads,
    gaussian,
    noisy,
    optimal_slope,
    target_of,
)
from wganbench.studies.rest import Reading, Rest, column, train_to_rest
from wganbench.studies.study import Context
from wganbench.training.device import pick_device
from wganbench.training.run import Run
from wganbench.training.streams import Draw, stream_generator

POINTS, GAUSSIANS, RING, FUNNELS = "points", "gaussians", "ring8", "funnels"
Row = dict[str, Any]
SMALL_STEP = 0.05
"""The largest step under clipping, in units of c; larger ones jump between -c and c."""


@dataclass(frozen=True)
class Known:
    """Reals and fakes; ``distance`` is their W1, None if it is only known from samples."""

    family: str
    size: float
    reals: Draw
    fakes: Draw
    distance: float | None


def optimal_gp_estimate(distance: float, gp_lambda: float) -> float:
    """Return E D(x) - E D(y) of the best GP critic of two point masses: L + L^2 / (2 lambda).

    It has the `optimal_slope` on the segment between them.

    >>> optimal_gp_estimate(1.0, 10.0)
    1.05
    """
    return distance * optimal_slope(distance, gp_lambda)


def known_distributions(context: Context, config: RunConfig) -> dict[str, list[Known]]:
    """Return by family: two point masses, two Gaussians of variance 1, a ring with its noisy copy,
    and funnels, whose W1 and potential are known."""
    ring, funnels = target_of(config).sample, funnels_target(context)
    assert funnels.pair is not None
    return {
        **{family: [Known(family, L, gaussian(L / 2, sigma), gaussian(-L / 2, sigma), L)
                    for L in context[family]]
           for family, sigma in ((POINTS, 0.0), (GAUSSIANS, 1.0))},
        RING: [Known(RING, s, ring, noisy(ring, s), None) for s in context["noises"]],
        FUNNELS: [Known(FUNNELS, float(context["funnels"]), funnels.sample, funnels.pair.source,
                        funnels.pair.distance.value)],
    }  # fmt: skip


def funnels_target(context: Context) -> Target:
    """Return the pair of distributions with a known potential, in two dimensions."""
    return target_of(
        compose(["data=funnels", "data.dimension=2", f"data.clusters={context['funnels']}"])
    )


def trained_on_known(context: Context, loss: str, setting: str, value: float) -> list[Row]:
    """Train a critic per distribution and seed to rest; return estimates and distances.

    Each family of distributions is a stack of its own, which stops when its critics are at rest.
    """
    base = compose(settings(context, loss))
    rows = []
    for group in known_distributions(context, base).values():
        cases = [(known, configuration(context, base, seed, setting, value))
                 for known in group for seed in context.seeds]  # fmt: skip
        stack = FrozenStack(
            [config for _, config in cases],
            pick_device(context.settings.device),
            [known.fakes for known, _ in cases],
            [known.reals for known, _ in cases],
        )
        points = [Points.draw(known, c.seed, context["known_n"]) for known, c in cases]
        gradient = funnels_target(context).pair if group[0].family == FUNNELS else None
        groups = [known.size for known, _ in cases]

        def read(
            stack: FrozenStack = stack,
            points: Sequence[Points] = points,
            pair: KnownPair | None = gradient,
        ) -> Reading:
            found = [read_critic(critic_of(stack, r), p, loss, pair) for r, p in enumerate(points)]
            return {name: [one[name] for one in found] for name in found[0]}

        with fitting_threads(stack):
            rests = train_to_rest(stack, read, groups, context["known_first"],
                                  context["known_most"], TOLERANCES)  # fmt: skip
        diverged = stack.diverged_at()
        rows += [
            entry(loss, value, known, config.seed, rest, p.distance, diverged[r] >= 0)
            for r, ((known, config), rest, p) in enumerate(zip(cases, rests, points, strict=True))
        ]
    return rows


def settings(context: Context, loss: str) -> list[str]:
    return [
        f"loss={loss}", "data=ring8", "tuned=none", "train.decay=none",
        "train.optimizer=adam", "train.betas=[0.5,0.9]",
        f"train.batch_size={context['batch_size']}", f"train.critic_lr={context['critic_lr']!r}",
        f"network.width={context['width']}", f"network.depth={context['depth']}",
    ]  # fmt: skip


def configuration(
    context: Context, base: RunConfig, seed: int, setting: str, value: float
) -> RunConfig:
    config = copy.deepcopy(base)
    config.seed = seed
    if setting:
        config.loss.coefficients[setting] = value
    if setting == "clip_value":
        config.train.critic_lr = min(context["critic_lr"], SMALL_STEP * value)
    return config


STATISTICS = ("raw", "normalised", "js", "cosine")
"""What must come to rest, as far as a critic has it."""
NOT_KNOWN: Row = {
    "cosine": None, "steps": None, "moved": None, "at_rest": None,
    **dict.fromkeys(map(column, STATISTICS)),
}  # fmt: skip
"""The cells of a row on known distances that an evaluation of an ordinary run does not have."""
TOLERANCES = {"js": 0.005, "cosine": 0.01}
"""Movements that count as none: nats of a divergence of at most 0.69, and of a cosine."""


@dataclass(frozen=True)
class Points:
    """The fixed points on which a critic is read, and the exact W1 of the two distributions.

    Where the W1 of the distributions is not known, it is that of the points.
    """

    reals: Tensor
    fakes: Tensor
    between: Tensor
    distance: float

    @classmethod
    def draw(cls, known: Known, seed: int, n: int) -> Points:
        x, y = (draw(n, stream_generator(seed, f"known_{name}", 0))
                for name, draw in (("real", known.reals), ("fake", known.fakes)))  # fmt: skip
        share = torch.rand(n, 1, generator=stream_generator(seed, "known_mixing", 0))
        distance = wasserstein_exact(x, y) if known.distance is None else known.distance
        return cls(x, y, x + share * (y - x), distance)


def read_critic(
    critic: Callable[[Tensor], Tensor], points: Points, loss: str, pair: KnownPair | None
) -> dict[str, float]:
    """Return the statistics that must come to rest: JS of BCE; else the estimate, raw and divided
    by the largest slope, and where the potential is known the cosine with its gradient."""
    with torch.no_grad():
        real, fake = critic(points.reals).double(), critic(points.fakes).double()
    if loss == "bce":
        return {"js": js_estimate(real, fake)}
    raw = float(real.mean() - fake.mean())
    places = torch.cat([points.reals, points.fakes, points.between])
    slope = float(slopes(critic, places).max())
    found = {"raw": raw, "normalised": raw / slope if slope else math.nan}
    if pair is not None:
        at = points.fakes
        both = input_gradients(critic, at), pair.potential_gradient(at)
        found["cosine"] = float(torch.nn.functional.cosine_similarity(*both).mean())
    return found


def entry(
    loss: str, value: float, known: Known, seed: int, rest: Rest, distance: float, lost: bool
) -> Row:
    """Return the row of one critic; estimates are None for one that diverged."""
    numbers = {key: rest.values.get(key) for key in STATISTICS}
    bad = lost or any(v is not None and not math.isfinite(v) for v in numbers.values())
    cells = rest.row() | dict.fromkeys(map(column, STATISTICS)) | rest.by_statistic()
    return {
        "part": "known", "loss": loss, "coefficient": value, "distribution": known.family,
        "size": known.size, "generator_lr": None, "seed": seed, "step": rest.steps,
        "exact": distance, **(dict.fromkeys(numbers) if bad else numbers), **cells,
    }  # fmt: skip


# Rank correlations between estimate and distance, during training and at its end.
def course(run: Run) -> list[Row]:
    """Return a run's evaluations: exact W1 and estimates on the same held-out reals and fakes.

    The raw estimate is the normalised estimate times the largest slope, both from the evaluation,
    because the column wasserstein/estimate is from a training batch. Step 0 is left out for every
    loss, because an untrained critic estimates nothing.
    """
    table = run.table
    steps = table["step"]
    columns = {
        tag: table.get(tag, [None] * len(steps))
        for tag in (
            "wasserstein/exact", "wasserstein/estimate_normalized", "critic/lipschitz",
            "divergence/js_estimate",
        )
    }  # fmt: skip
    rows = []
    for step, exact, normal, slope, js in zip(steps, *columns.values(), strict=True):
        if exact is not None and step:
            raw = None if normal is None or slope is None else normal * slope
            rows.append({"step": step, "exact": exact, "raw": raw, "normalised": normal, "js": js,
                         **NOT_KNOWN})  # fmt: skip
    return rows


def differences(values: Sequence[float | None]) -> list[float]:
    """Return the changes between evaluations; nan if either has no value."""
    return [float(value) for value in np.diff(numbers(values))]


def numbers(values: Sequence[float | None]) -> list[float]:
    """Return an array with nan for missing values."""
    return [math.nan if value is None else value for value in values]


def change_correlation(rows: Sequence[Row], key: str) -> float | None:
    """Return the Spearman correlation of the estimate's changes with those of the exact W1.

    It uses changes, because any two falling curves correlate. Returns None for too few values.
    """
    exact = differences([row["exact"] for row in rows])
    return known(spearman(differences([row[key] for row in rows]), exact))


def level_correlation(rows: Sequence[Row], key: str) -> float | None:
    """Return the Spearman correlation of the values themselves, within one run."""
    estimates, exact = (numbers([row[column] for row in rows]) for column in (key, "exact"))
    return known(spearman(estimates, exact))


def step_correlation(rows: Sequence[Row]) -> float | None:
    """Return the correlation of -step with the distance, a baseline without any estimate."""
    exact = numbers([row["exact"] for row in rows])
    return known(spearman([-float(row["step"]) for row in rows], exact))


def known(value: float) -> float | None:
    return None if math.isnan(value) else value
