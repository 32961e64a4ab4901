"""Outcomes of runs, and evidence from bounded numbers.

A run that diverged is a failure: it counts as the worst case and is never left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wganbench.errors import ConfigError
from wganbench.reports.statistics import Estimate, mean_interval, share_interval
from wganbench.studies.verdicts import Evidence
from wganbench.training.run import Run

NO_SPREAD = 1e-9
"""Values that differ by less count as equal."""


@dataclass(frozen=True)
class Outcome:
    """The final values of a run: shares of modes and of samples, KL in nats, W1 in data units.

    A run that diverged has coverage and high quality 0, the largest possible ``kl``, and the
    largest ``w1`` among the other runs. A finished run without any high-quality sample has no
    KL; it gets the largest possible ``kl`` too.
    """

    coverage: float
    high_quality: float
    kl: float
    w1: float
    diverged: bool

    @property
    def score(self) -> float:
        """Coverage times the high-quality share: 0 for a run that failed, 0.989 at best."""
        return self.coverage * self.high_quality


def outcomes(runs: Sequence[Run], worst_kl: float, worst_w1: float) -> list[Outcome]:
    """Return the outcomes of the runs, with the worst case for those that diverged."""
    return [outcome(run, worst_kl, worst_w1) for run in runs]


def outcome(run: Run, worst_kl: float, worst_w1: float) -> Outcome:
    if run.status == "diverged":
        return Outcome(0.0, 0.0, worst_kl, worst_w1, True)
    values = run.metrics
    return Outcome(
        coverage=values["modes/coverage"],
        high_quality=values["modes/high_quality"],
        kl=values.get("modes/kl", worst_kl),
        w1=values["wasserstein/exact"],
        diverged=False,
    )


def mode_weights(run: Run) -> list[float]:
    """Return the weights of the modes of a run's data. Raises ConfigError if it has none."""
    weights = run.stack.target.weights
    if weights is None:
        raise ConfigError(f"data={run.config.data.name} has no modes: choose a mixture")
    return [float(weight) for weight in weights if weight > 0]


def largest_kl(weights: Sequence[float]) -> float:
    """Return the largest KL of samples of a mixture: all of them are in its rarest mode.

    >>> round(largest_kl([0.125] * 8), 4)
    2.0794
    """
    return -math.log(min(weights))


def largest_w1(runs: Sequence[Run]) -> float:
    """Return the largest final W1 of the runs that did not diverge; nan if all diverged."""
    finished = [run.metrics["wasserstein/exact"] for run in runs if run.status != "diverged"]
    return max(finished, default=math.nan)


def bounded_interval(values: Sequence[float], low: float, high: float) -> Estimate:
    """Return the mean over seeds of numbers in [low, high], with an interval of positive width.

    Different values: Student's t. If all n values equal v, at least a share p of new seeds gives
    v again (Clopper-Pearson, n of n), and the other seeds give at worst a bound:
    [p v + (1 - p) low, p v + (1 - p) high].

    >>> answer = bounded_interval([1.0] * 10, -1.0, 1.0)
    >>> round(answer.low, 3), answer.high
    (0.383, 1.0)
    """
    n = len(values)
    if n < 2 or float(np.ptp(values)) > NO_SPREAD:
        return mean_interval(values)
    value, again = float(np.mean(values)), share_interval(n, n).low
    ends = (again * value + (1 - again) * low, again * value + (1 - again) * high)
    return Estimate(value, *ends, n, "Clopper-Pearson on equal values", "all values are equal")


def bounded_evidence(
    values: Sequence[float], low: float, high: float, smallest: float, note: str = ""
) -> Evidence:
    """Return evidence for a comparative claim from numbers in [low, high].

    The interval is that of `bounded_interval`. If all n values are equal, p is chosen so that the
    interval of level 1 - p ends at the value that the verdict denies (``smallest`` or 0):
    p = 2 q^n, where q is the share of equal seeds that gives this end.
    """
    found = bounded_interval(values, low, high)
    if not found.method.startswith("Clopper"):
        return Evidence(list(values), note=note)
    if found.high < smallest:
        share = (high - smallest) / (high - found.value)
    else:
        share = low / (low - found.value) if found.value > max(low, 0.0) else 1.0
    return Evidence(
        list(values),
        value=found.value,
        interval=(found.low, found.high),
        p_value=min(1.0, 2 * share**found.n),
        method=found.method,
        note=note,
    )
