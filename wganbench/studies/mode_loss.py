"""When a run loses modes for good, and whether the generator's signal had dropped before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wganbench.records.table import Cell, series

LASTING = 3
"""Evaluations, the last of the run among them, that must show a loss before it is one."""

HISTORY = 3
"""Evaluations behind a running median before a drop below it can be seen."""

DROP = 0.5
"""Part of its running median under which a signal has dropped."""

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Order:
    """Steps of the first lasting loss of a mode, and of the first drop of each signal.

    None where there was none. ``best`` is the largest coverage before the loss.
    """

    loss: int | None
    feedback: int | None
    gradient: int | None
    best: float


def order_of(table: Mapping[str, Sequence[Cell]], modes: int) -> Order:
    """What came when, at the cadence of the run's evaluations."""
    steps, coverage = series(table, "modes/coverage")
    loss = first_lasting_loss(steps, coverage, modes)
    before = [c for s, c in zip(steps, coverage, strict=True) if loss is None or s < loss]
    return Order(
        loss=loss,
        feedback=first_drop(*series(table, "critic/feedback")),
        gradient=first_drop(*series(table, "grad_norm/sample")),
        best=max(before, default=0.0),
    )


def first_lasting_loss(steps: Sequence[int], coverage: Sequence[float], modes: int) -> int | None:
    """The first evaluation from which coverage stays at least one mode under its best before.

    t = min {t : max_{u >= t} coverage_u <= max_{s < t} coverage_s - 1/K}, with at least
    `LASTING` evaluations from t on; None where modes were never lost, or never had.

    >>> first_lasting_loss([0, 1, 2, 3, 4], [0.5, 1.0, 0.5, 0.5, 0.25], 4)
    2
    >>> first_lasting_loss([0, 1, 2, 3, 4], [0.5, 1.0, 0.5, 0.5, 1.0], 4) is None
    True
    """
    values = np.asarray(coverage, dtype=np.float64)
    for t in range(1, len(values) - LASTING + 1):
        if values[t:].max() <= values[:t].max() - 1 / modes + TOLERANCE:
            return steps[t]
    return None


def first_drop(steps: Sequence[int], signal: Sequence[float]) -> int | None:
    """The first evaluation with a signal under `DROP` of the median of all before it.

    >>> first_drop([1, 2, 3, 4, 5], [1.0, 1.2, 0.9, 0.7, 0.3])
    5
    """
    for t in range(HISTORY, len(signal)):
        if signal[t] < DROP * float(np.median(signal[:t])):
            return steps[t]
    return None


def precedence(loss: int | None, drop: int | None) -> float | None:
    """1 if the signal dropped before modes were lost, -1 if not, 0 at the same evaluation.

    None where no mode was lost: there is no order.
    """
    if loss is None:
        return None
    if drop is None or drop > loss:
        return -1.0
    return 1.0 if drop < loss else 0.0
