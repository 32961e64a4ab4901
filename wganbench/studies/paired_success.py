"""Successes of two methods in the same settings: McNemar's test and Newcombe's interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import optimize, stats

from wganbench.studies.claim import Evidence
from wganbench.studies.law import LEVEL

SURE = 1e-12
"""Levels nearer to 1 than this are not looked for."""


@dataclass(frozen=True)
class Pairs:
    """In how many settings both succeed, only the first, only the second, neither."""

    both: int
    first: int
    second: int
    neither: int

    @property
    def n(self) -> int:
        return self.both + self.first + self.second + self.neither

    @property
    def difference(self) -> float:
        """Success rate of the first less that of the second."""
        return (self.first - self.second) / self.n


def pairs(first: Sequence[bool], second: Sequence[bool]) -> Pairs:
    """Counted setting by setting. Raises ValueError for unequal numbers or none."""
    if len(first) != len(second) or not first:
        raise ValueError(f"pairs need the same settings, got {len(first)} and {len(second)}")
    found = list(zip(first, second, strict=True))
    return Pairs(*(found.count(case) for case in
                   ((True, True), (True, False), (False, True), (False, False))))  # fmt: skip


def mcnemar(counted: Pairs) -> float:
    """Exact two-sided p-value of "equal success rates": McNemar's test, binomial on the pairs
    that differ.

    >>> mcnemar(Pairs(42, 0, 6, 11))
    0.03125
    """
    discordant = counted.first + counted.second
    return float(stats.binomtest(counted.first, discordant).pvalue) if discordant else 1.0


def newcombe(counted: Pairs, level: float = LEVEL) -> tuple[float, float]:
    """Interval for the difference of two success rates in the same settings.

    Wilson's interval of either rate, joined with the correlation phi of the pairs (continuity
    corrected): low = d - sqrt(a^2 - 2 phi a b + b^2), a = p_1 - l_1, b = u_2 - p_2, and high
    likewise with u_1 - p_1 and p_2 - l_2: method 10 of Newcombe, Statistics in Medicine 17
    (1998) 2635-2650.
    """
    n, phi = counted.n, correlation(counted)
    one, two = (counted.both + counted.first), (counted.both + counted.second)
    (low_1, high_1), (low_2, high_2) = (wilson(k, n, level) for k in (one, two))
    down, up = (one / n - low_1, high_2 - two / n), (high_1 - one / n, two / n - low_2)
    return counted.difference - joined(*down, phi), counted.difference + joined(*up, phi)


def joined(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def wilson(successes: int, n: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    found = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def correlation(counted: Pairs) -> float:
    """Phi of the two by two table, its numerator taken towards 0 by n / 2 where it is above 0."""
    a, b, c, d = counted.both, counted.first, counted.second, counted.neither
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if not margins:
        return 0.0
    numerator = float(a * d - b * c)
    if numerator > 0:
        numerator = max(0.0, numerator - counted.n / 2)
    return numerator / math.sqrt(margins)


def p_against(counted: Pairs, difference: float) -> float:
    """The level at which Newcombe's interval just ends at a larger ``difference``, as a p-value."""

    def above(level: float) -> float:
        return newcombe(counted, level)[1] - difference

    if above(SURE) >= 0:
        return 1.0
    return 1 - float(optimize.brentq(above, SURE, 1 - SURE)) if above(1 - SURE) > 0 else SURE


def paired_evidence(
    first: Sequence[bool], second: Sequence[bool], smallest: float, note: str = ""
) -> Evidence:
    """Evidence that the first succeeds more often; one value a setting: 1, 0 or -1.

    The p-value is McNemar's; where all of the interval lies under ``smallest``, that of a
    difference as large.
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
