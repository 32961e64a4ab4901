"""Outcomes of runs, and evidence from bounded numbers, signs and pairs.

A run that diverged is a failure: it counts as the worst case and is never left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from wganbench.errors import ConfigError
from wganbench.reports.statistics import Estimate, mean_interval, share_interval
from wganbench.studies.verdicts import LEVEL, Evidence
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


def sign_test(signs: Sequence[float], against: float = 0.0) -> float:
    """Return the exact two-sided p of "share of + minus share of - is ``against``", without zeros.

    >>> sign_test([1.0] * 6 + [0.0])
    0.03125
    """
    wins, losses = sum(s > 0 for s in signs), sum(s < 0 for s in signs)
    if not wins + losses:
        return 1.0
    return float(stats.binomtest(wins, wins + losses, (1 + against) / 2).pvalue)


def sign_evidence(signs: Sequence[float], smallest: float, note: str = "") -> Evidence:
    """Return evidence from one sign per seed, +1, -1 or 0 (a tie, left out): exact sign test.

    Value: share of + minus share of -, with the Clopper-Pearson interval.
    """
    known = [sign for sign in signs if sign]
    if not known:
        return Evidence([], note=note)
    share = share_interval(sum(sign > 0 for sign in known), len(known))
    low, high = 2 * share.low - 1, 2 * share.high - 1
    return Evidence(
        known,
        value=2 * share.value - 1,
        interval=(low, high),
        p_value=sign_test(known, smallest if high < smallest else 0.0),
        method="exact sign test, Clopper-Pearson",
        note=note,
    )


# Comparison of two methods' successes in the same settings: McNemar's test, Newcombe's interval.
SURE = 1e-12
"""Levels closer to 0 or 1 than this are not searched."""


@dataclass(frozen=True)
class Pairs:
    """Numbers of settings in which both, only the first, only the second, or neither succeed."""

    both: int
    first: int
    second: int
    neither: int

    @property
    def n(self) -> int:
        return self.both + self.first + self.second + self.neither

    @property
    def difference(self) -> float:
        """Success rate of the first minus that of the second."""
        return (self.first - self.second) / self.n


def pairs(first: Sequence[bool], second: Sequence[bool]) -> Pairs:
    """Return the counts over settings. Raises ValueError for different numbers or none."""
    if len(first) != len(second) or not first:
        raise ValueError(f"pairs need the same settings, got {len(first)} and {len(second)}")
    found = list(zip(first, second, strict=True))
    return Pairs(*(found.count(case) for case in
                   ((True, True), (True, False), (False, True), (False, False))))  # fmt: skip


def mcnemar(counted: Pairs) -> float:
    """Return the exact two-sided p of "equal success rates": McNemar's test on differing pairs.

    >>> mcnemar(Pairs(42, 0, 6, 11))
    0.03125
    """
    discordant = counted.first + counted.second
    return float(stats.binomtest(counted.first, discordant).pvalue) if discordant else 1.0


def newcombe(counted: Pairs, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval for the difference of two success rates in the same settings.

    Wilson's intervals of both rates are joined with the correlation phi of the pairs (continuity
    corrected): low = d - sqrt(a^2 - 2 phi a b + b^2) with a = p_1 - l_1, b = u_2 - p_2;
    high = d + sqrt(a^2 - 2 phi a b + b^2) with a = u_1 - p_1, b = p_2 - l_2. Source: method 10 of
    Newcombe, Statistics in Medicine 17 (1998) 2635-2650.
    """
    n, phi = counted.n, correlation(counted)
    one, two = (counted.both + counted.first), (counted.both + counted.second)
    (low_1, high_1), (low_2, high_2) = (wilson(k, n, level) for k in (one, two))
    down, up = (one / n - low_1, high_2 - two / n), (high_1 - one / n, two / n - low_2)
    return counted.difference - joined(*down, phi), counted.difference + joined(*up, phi)


def joined(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def wilson(successes: int, n: int, level: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share."""
    found = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def correlation(counted: Pairs) -> float:
    """Return phi of the 2 x 2 table; a positive numerator is reduced by n / 2, not below 0."""
    a, b, c, d = counted.both, counted.first, counted.second, counted.neither
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if not margins:
        return 0.0
    numerator = float(a * d - b * c)
    if numerator > 0:
        numerator = max(0.0, numerator - counted.n / 2)
    return numerator / math.sqrt(margins)


def p_against(counted: Pairs, difference: float) -> float:
    """Return p such that Newcombe's interval of level 1 - p ends at a larger ``difference``."""

    def above(level: float) -> float:
        return newcombe(counted, level)[1] - difference

    if above(SURE) >= 0:
        return 1.0
    return 1 - float(optimize.brentq(above, SURE, 1 - SURE)) if above(1 - SURE) > 0 else SURE


def paired_evidence(
    first: Sequence[bool], second: Sequence[bool], smallest: float, note: str = ""
) -> Evidence:
    """Return evidence that the first succeeds more often, with one value per setting: 1, 0, -1.

    The p-value is McNemar's. If the whole interval lies below ``smallest``, it is the p-value of
    a difference of ``smallest``.
    """
    counted = pairs(first, second)
    low, high = newcombe(counted)
    return Evidence(
        [float(a) - float(b) for a, b in zip(first, second, strict=True)],
        value=counted.difference,
        interval=(low, high),
        p_value=p_against(counted, smallest) if high < smallest else mcnemar(counted),
        method="exact McNemar test, Newcombe's interval",
        note=note,
    )
