"""Numbers as text, the same in the terminal and in the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wganbench.reports.rows import Cell
    from wganbench.reports.statistics import Estimate

BEST_END = {"up": "highest", "down": "lowest"}
"""The end at which the best values of a metric are, by the direction of its tag."""


def estimate_text(estimate: Estimate) -> str:
    """Return a value with its interval, or with a remark that it has none.

    The number of decimals follows from the width of the interval.
    """
    if not math.isfinite(estimate.value):
        return "-"
    if not has_interval(estimate):
        return f"{estimate.value + 0.0:.4g} (no interval)"
    value, low, high = fixed_or_small(estimate)
    return f"{value} [{low}, {high}]"


def has_interval(estimate: Estimate) -> bool:
    return math.isfinite(estimate.low) and math.isfinite(estimate.high)


def bounds_text(estimate: Estimate) -> str:
    """Return the interval alone, as part of a sentence."""
    if not has_interval(estimate):
        return "no interval"
    _, low, high = fixed_or_small(estimate)
    return f"95 % interval {low} to {high}"


def fixed_or_small(estimate: Estimate) -> list[str]:
    """Return value and ends of an interval as text; very small numbers in powers of ten."""
    width = estimate.high - estimate.low
    small = 0 < width < 1e-5 and max(abs(estimate.low), abs(estimate.high)) < 1e-3
    numbers = (estimate.value, estimate.low, estimate.high)
    if small:
        return [f"{number:.3g}" for number in numbers]
    digits = decimals(width)
    return [f"{round(number, digits) + 0.0:.{digits}f}" for number in numbers]  # -0.0 becomes 0


def decimals(width: float) -> int:
    """Return the number of decimals that shows two digits of an interval's width.

    >>> decimals(0.034), decimals(3.2), decimals(250.0)
    (3, 1, 0)
    """
    return min(6, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 4


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def share_text(cell: Cell) -> str:
    """Return how many values are in a mean, as "7 of 8"; empty if no value is undefined.

    Diverged runs, which have a column of their own, count among the 8.
    """
    return f"{cell.mean.n} of {len(cell.values)}" if cell.undefined else ""


def listed(names: Sequence[str]) -> str:
    """Return names joined for a sentence.

    >>> listed(["bce", "clip", "gp"])
    'bce, clip and gp'
    """
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def named(title: str) -> str:
    """Return the title of a group; of a group without one, a remark."""
    return title or "(no name)"
