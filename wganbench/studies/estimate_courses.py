"""How far an estimate follows the distance: rank correlations through training and at its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wganbench.reports.statistics import spearman
from wganbench.training.inspect import Run

Row = dict[str, Any]


def course(run: Run) -> list[Row]:
    """A run's evaluations: exact W1 and the estimates on the same held-out reals and fakes.

    The raw estimate is normalised estimate times largest slope, both from the evaluation:
    the column wasserstein/estimate is that of a training batch. Step 0 is left out, of every
    loss: a critic that has not been trained estimates nothing.
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
    """From one evaluation to the next; nan where either has no value."""
    return [float(value) for value in np.diff(numbers(values))]


def numbers(values: Sequence[float | None]) -> list[float]:
    """nan where there is no value."""
    return [math.nan if value is None else value for value in values]


def change_correlation(rows: Sequence[Row], key: str) -> float | None:
    """Spearman correlation of the estimate's changes with those of the exact distance.

    Changes: two curves that both fall correlate whatever they measure. None without enough.
    """
    exact = differences([row["exact"] for row in rows])
    return known(spearman(differences([row[key] for row in rows]), exact))


def level_correlation(rows: Sequence[Row], key: str) -> float | None:
    """Spearman correlation of the values themselves, within one run."""
    estimates, exact = (numbers([row[column] for row in rows]) for column in (key, "exact"))
    return known(spearman(estimates, exact))


def step_correlation(rows: Sequence[Row]) -> float | None:
    """What the step's number alone tells: the correlation of -step with the distance."""
    exact = numbers([row["exact"] for row in rows])
    return known(spearman([-float(row["step"]) for row in rows], exact))


def jackknife(
    by_seed: Mapping[int, Sequence[Row]], statistic: Callable[[Sequence[Row]], float | None]
) -> list[float | None]:
    """One pseudo-value a seed of a statistic that needs them all: n T - (n - 1) T without it.

    Their mean is the statistic with its bias removed, their spread its standard error's
    (Tukey 1958). None for all where the statistic has no value.
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
