"""Evidence from one rank correlation for each seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wganbench.reports.statistics import mean_interval
from wganbench.studies.verdicts import LEVEL, Evidence, t_test

LARGEST = 0.999
"""A correlation nearer to 1 or -1 counts as this one: Fisher's z of 1 is infinite."""


def rank_evidence(
    correlations: Sequence[float | None], smallest: float, note: str = ""
) -> Evidence:
    """Return evidence that a rank correlation is above 0, from Fisher's z = atanh(r) by seed.

    Value and interval are tanh of the mean of z and of its Student's interval. z is nearer to a
    normal distribution than r, which is bounded. None stands for a seed without a correlation,
    which leaves the claim undecided.

    >>> found = rank_evidence([0.5, 0.6, 0.7], 0.3)
    >>> round(found.value, 3), [round(end, 3) for end in found.interval]
    (0.606, [0.298, 0.8])
    """
    known = [fisher(value) for value in correlations if value is not None]
    if len(known) < 2 or not np.ptp(known) > 0:
        return Evidence(list(correlations), note=note)
    found = mean_interval(known, LEVEL)
    value, low, high = (float(np.tanh(z)) for z in (found.value, found.low, found.high))
    return Evidence(
        list(correlations),
        value=value,
        interval=(low, high),
        p_value=t_test(known, fisher(smallest) if high < smallest else 0.0),
        method="Student's t over seeds, of Fisher's z",
        note=note,
    )


def fisher(value: float) -> float:
    return float(np.arctanh(np.clip(value, -LARGEST, LARGEST)))
