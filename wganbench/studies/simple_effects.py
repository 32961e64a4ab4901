"""Claims that hold for every one of several effects: the smallest effect decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wganbench.reports.statistics import Estimate, mean_interval, share_interval
from wganbench.studies.evidence import NO_SPREAD
from wganbench.studies.verdicts import LEVEL, Evidence, t_test

METHOD = "intersection-union over simple effects"


def smallest_effect(
    effects: Mapping[str, Sequence[float]],
    bounds: tuple[float, float],
    smallest: float,
    note: str = "",
) -> Evidence:
    """Return evidence on "all effects lie above 0", each effect with one number per seed.

    The union of the null hypotheses is rejected when each of them is, at the same level (Berger,
    Technometrics 24 (1982) 295-300): the lower end is the least of the lower ends, and p is the
    largest p. That the smallest effect lies below ``smallest`` is shown by any of the m effects,
    so the upper end is the least of the upper ends at level 1 - 0.05 / m, and p is m times the
    least p. ``bounds`` hold every number. Without effects, or with fewer than 2 seeds, the
    evidence is empty.
    """
    if not effects or min(len(values) for values in effects.values()) < 2:
        return Evidence([], note=note)
    m = len(effects)
    means = {name: float(np.mean(values)) for name, values in effects.items()}
    least = min(means, key=lambda name: means[name])
    low = min(effect_interval(values, bounds, LEVEL).low for values in effects.values())
    level = 1 - (1 - LEVEL) / m
    high = min(effect_interval(values, bounds, level).high for values in effects.values())
    if high < smallest:
        p_value = min(1.0, m * min(p_below(v, bounds, smallest) for v in effects.values()))
    else:
        p_value = max(p_above(values, bounds) for values in effects.values())
    named = f"the smallest of {m} effects is {least}" if m > 1 else ""
    return Evidence(
        list(effects[least]),
        value=means[least],
        interval=(low, high),
        p_value=p_value,
        method=METHOD if m > 1 else "Student's t over seeds",
        note="; ".join(part for part in (named, note) if part),
    )


def effect_interval(
    values: Sequence[float], bounds: tuple[float, float], level: float = LEVEL
) -> Estimate:
    """Return the mean with Student's interval, or for equal values as `bounded_interval` does."""
    if float(np.ptp(values)) > NO_SPREAD:
        return mean_interval(values, level, bounds)
    n, value = len(values), float(np.mean(values))
    again = share_interval(n, n, level).low
    low, high = (again * value + (1 - again) * bound for bound in bounds)
    return Estimate(value, low, high, n, "Clopper-Pearson on equal values", "all values are equal")


def p_above(values: Sequence[float], bounds: tuple[float, float]) -> float:
    """Return the two-sided p of "the mean is at most 0"; 1 for a mean that is not above 0."""
    mean = float(np.mean(values))
    if mean <= 0:
        return 1.0
    if float(np.ptp(values)) > NO_SPREAD:
        return t_test(values, 0.0)
    low = min(bounds[0], 0.0)
    return min(1.0, 2 * (low / (low - mean)) ** len(values))


def p_below(values: Sequence[float], bounds: tuple[float, float], smallest: float) -> float:
    """Return the two-sided p of "the mean is at least ``smallest``"; 1 for a mean that is."""
    mean, high = float(np.mean(values)), bounds[1]
    if mean >= smallest:
        return 1.0
    if float(np.ptp(values)) > NO_SPREAD:
        return t_test(values, smallest)
    return min(1.0, 2 * ((high - smallest) / (high - mean)) ** len(values))
