"""Estimates of critics trained on distributions with a known earth mover's distance."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from wganbench.config import RunConfig, compose
from wganbench.metrics import wasserstein_exact
from wganbench.reports.statistics import spearman
from wganbench.studies.frozen import FrozenStack, gaussian, noisy, target_of
from wganbench.studies.study import Context
from wganbench.training.device import fitting_cpu, pick_device
from wganbench.training.run import Run
from wganbench.training.streams import Draw

POINTS, GAUSSIANS, RING = "points", "gaussians", "ring8"
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

    On the segment, -L s + lambda (s - 1)^2 is minimal at the slope s = 1 + L / (2 lambda).

    >>> optimal_gp_estimate(1.0, 10.0)
    1.05
    """
    return distance * (1 + distance / (2 * gp_lambda))


def known_distributions(context: Context, config: RunConfig) -> list[Known]:
    """Return two point masses, two Gaussians of variance 1, and a ring with its noisy copy."""
    ring = target_of(config).sample
    apart = [(POINTS, 0.0, L) for L in context["points"]]
    apart += [(GAUSSIANS, 1.0, L) for L in context["gaussians"]]
    distributions = [
        Known(family, L, gaussian(L / 2, sigma), gaussian(-L / 2, sigma), L)
        for family, sigma, L in apart
    ]
    return distributions + [Known(RING, s, ring, noisy(ring, s), None) for s in context["noises"]]


def trained_on_known(context: Context, loss: str, knob: str, values: Sequence[float]) -> Any:
    """Train a critic per distribution, coefficient and seed; return estimates and distances."""
    base = compose(settings(context, loss))
    cases = [
        (known, configuration(context, base, seed, knob, value), value)
        for known in known_distributions(context, base)
        for seed in context.seeds
        for value in values
    ]
    stack = FrozenStack(
        [config for _, config, _ in cases],
        pick_device(context.settings.device),
        [known.fakes for known, _, _ in cases],
        [known.reals for known, _, _ in cases],
    )
    with fitting_cpu(stack):
        stack.advance(context["known_steps"])
        return list(entries(context, stack, loss, cases))


def settings(context: Context, loss: str) -> list[str]:
    return [
        f"loss={loss}", "data=ring8", "tuned=none", "compile=false", "train.decay=none",
        "train.optimizer=adam", "train.betas=[0.5,0.9]",
        f"train.batch_size={context['batch_size']}", f"train.critic_lr={context['critic_lr']!r}",
        f"train.steps={max(1, context['known_steps'])}",
        f"network.width={context['width']}", f"network.depth={context['depth']}",
    ]  # fmt: skip


def configuration(
    context: Context, base: RunConfig, seed: int, knob: str, value: float
) -> RunConfig:
    config = copy.deepcopy(base)
    config.seed = seed
    if knob:
        config.loss.coefficients[knob] = value
    if knob == "clip_value":
        config.train.critic_lr = min(context["critic_lr"], SMALL_STEP * value)
    return config


def entries(
    context: Context, stack: FrozenStack, loss: str, cases: Sequence[Any]
) -> Iterator[dict[str, Any]]:
    points = stack.probe(context["known_n"])
    diverged = stack.diverged_at()
    for r, (known, config, value) in enumerate(cases):
        seen = points[r]
        real, fake = seen["score_real"].double(), seen["score_fake"].double()
        slope = float(torch.cat([seen[f"slopes_{k}"] for k in ("hat", "real", "fake")]).max())
        raw = float(real.mean() - fake.mean())
        bad = diverged[r] >= 0 or not math.isfinite(raw + slope)
        softplus = torch.nn.functional.softplus
        js = math.log(2) - float(softplus(-real).mean() + softplus(fake).mean()) / 2
        yield {
            "part": "known", "loss": loss, "coefficient": value, "distribution": known.family,
            "size": known.size, "generator_lr": None, "seed": config.seed, "step": stack.steps_done,
            "exact": known.distance or wasserstein_exact(seen["reals"], seen["fakes"]),
            "raw": None if bad else raw,
            "normalised": None if bad or slope == 0 else raw / slope,
            "js": js if loss == "bce" and not bad else None,
        }  # fmt: skip


# Rank correlations between estimate and distance, during training and at its end.
Row = dict[str, Any]


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
            rows.append({"step": step, "exact": exact, "raw": raw, "normalised": normal, "js": js})
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


def jackknife(
    by_seed: Mapping[int, Sequence[Row]], statistic: Callable[[Sequence[Row]], float | None]
) -> list[float | None]:
    """Return one pseudo-value per seed of a statistic T: n T(all) - (n - 1) T(without the seed).

    Their mean is the bias-corrected statistic, and their spread gives its standard error (Tukey
    1958). All are None if the statistic has no value.
    """
    seeds, n = list(by_seed), len(by_seed)

    def over(chosen: Sequence[int]) -> float | None:
        return statistic([row for seed in chosen for row in by_seed[seed]])

    whole = over(seeds)
    without = [over([other for other in seeds if other != seed]) for seed in seeds]
    if whole is None or any(value is None for value in without):
        return [None] * n
    return [n * whole - (n - 1) * value for value in without if value is not None]


def known(value: float) -> float | None:
    return None if math.isnan(value) else value
