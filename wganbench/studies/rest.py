"""The rule of rest: when critics that are trained against a fixed target count as trained.

The rates are constant. A statistic is read at T/2 and at T, each time as the mean of `LOOKS`
readings over the last quarter of the steps. Critics that differ in their seed alone are a group. A
group is at rest when its mean statistic moved by less than `MOVED` of its size, or by less than
an absolute tolerance, between T/2 and T, and none of its critics by `SINGLE` times that: the mean
of critics that move apart may stand still. The size of a logarithm means nothing, so it has a
tolerance alone. T doubles until all groups are at rest, up to a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from wganbench.config.schema import RunConfig

MOVED = 0.02
"""The largest relative movement of a statistic at rest between T/2 and T."""
SINGLE = 5.0
"""How many times as far as the mean of its group a single critic may move."""
LOG = "log "
"""The beginning of the name of a statistic that is a logarithm."""
LOOKS = 8
"""Readings over the last quarter of T whose mean is the statistic at T."""
NOT_TRAINED = "critic not trained"
"""The beginning of the reason that a claim is undecided for."""
RIGHT = 0.99
"""A discriminator with this accuracy counts as trained, even if its logits still grow."""


class Trained(Protocol):
    """What is trained: a `FrozenStack`."""

    config: RunConfig
    steps_done: int

    def advance(self, steps: int = 1) -> None: ...


Reading = Mapping[str, Sequence[float]]
"""Statistics by name, one value per critic."""


@dataclass(frozen=True)
class Rest:
    """The state of one critic after training.

    ``values`` are its statistics at T = ``steps``. ``moved`` is the movement of each statistic of
    its group between T/2 and T, in units of what is allowed: below 1 it is at rest. It is infinite
    without a finite value.
    """

    steps: int
    values: Mapping[str, float]
    moved: Mapping[str, float]

    def at_rest(self) -> bool:
        """Return whether all statistics are at rest."""
        return all(moved < 1 for moved in self.moved.values())

    def of(self, *names: str) -> Rest:
        """Return the state as some of its statistics tell it."""
        return Rest(self.steps, *({name: part[name] for name in names}
                                  for part in (self.values, self.moved)))  # fmt: skip

    def row(self) -> dict[str, float | int | bool]:
        """Return the cells of a table's row; a movement is given in units of what is allowed."""
        return {
            "steps": self.steps,
            "moved": shown(max(self.moved.values())),
            "at_rest": self.at_rest(),
        }

    def by_statistic(self) -> dict[str, float]:
        """Return further cells of the row: the movement of each statistic, see `column`."""
        return {column(name): shown(moved) for name, moved in self.moved.items()}


def shown(moved: float) -> float:
    return moved if math.isfinite(moved) else 1e9


def column(name: str) -> str:
    """Return the column that holds the movement of a statistic.

    >>> column("log norm")
    'moved_log_norm'
    """
    return f"moved_{name.replace(' ', '_')}"


def train_to_rest(
    stack: Trained,
    read: Callable[[], Reading],
    groups: Sequence[Hashable],
    first: int,
    most: int,
    tolerances: Mapping[str, float] | None = None,
    mark: Callable[[], None] | None = None,
) -> list[Rest]:
    """Train until all groups are at rest, for at most ``most`` steps; return each critic's rest.

    ``groups`` holds the group of each critic. ``first`` is the first T that is judged, and T
    doubles while 2 T <= ``most``. ``tolerances`` are absolute movements that count as none, by
    statistic; one whose name begins with `LOG` needs one. ``mark`` is called at every power of two
    and at T. Raises ValueError for rates that decay and for a ``most`` below ``first``.
    """
    if stack.config.train.decay != "none":
        decay = stack.config.train.decay
        raise ValueError(f"rest is judged at constant rates, not at train.decay={decay}")
    if not 2 <= first <= most:
        raise ValueError(f"the first look at rest is between 2 and {most} steps, got {first}")
    before, total = reading_at(stack, read, first // 2, mark), first
    while True:
        now = reading_at(stack, read, total, mark)
        found = movements(before, now, groups, tolerances or {})
        rests = [
            Rest(total, {name: float(now[name][r]) for name in now}, found[group])
            for r, group in enumerate(groups)
        ]
        if all(rest.at_rest() for rest in rests) or 2 * total > most:
            return rests
        before, total = now, 2 * total


def reading_at(
    stack: Trained,
    read: Callable[[], Reading],
    total: int,
    mark: Callable[[], None] | None = None,
) -> dict[str, np.ndarray]:
    """Return the statistics at ``total`` steps, each (critics,), averaged over the readings."""
    at = sorted({total - round(k * total / (4 * LOOKS)) for k in range(LOOKS)})
    readings: list[Reading] = []
    stops = sorted({*at, *(marks_between(stack.steps_done, total) if mark else ())})
    for stop in stops:
        stack.advance(stop - stack.steps_done)
        if mark and (stop == total or stop & (stop - 1) == 0):
            mark()
        if stop in at:
            readings.append(read())
    return {
        name: np.mean([np.asarray(reading[name], dtype=np.float64) for reading in readings], axis=0)
        for name in readings[0]
    }


def marks_between(start: int, end: int) -> list[int]:
    """Return the powers of two above ``start`` and up to ``end``.

    >>> marks_between(2, 20)
    [4, 8, 16]
    """
    return [2**k for k in range(end.bit_length()) if start < 2**k <= end]


def movements(
    before: Mapping[str, np.ndarray],
    now: Mapping[str, np.ndarray],
    groups: Sequence[Hashable],
    tolerances: Mapping[str, float],
) -> dict[Hashable, dict[str, float]]:
    """Return by group and statistic the movement / what is allowed, see the module.

    >>> one = {"a": np.array([1.0, 3.0])}
    >>> movements(one, {"a": np.array([1.5, 3.5])}, ["g", "g"], {})["g"]["a"]
    10.0
    """
    found: dict[Hashable, dict[str, float]] = {}
    for group in dict.fromkeys(groups):
        own = np.array([other == group for other in groups])
        found[group] = {}
        for name in now:
            old, new = before[name][own], now[name][own]
            size = 0.0 if name.startswith(LOG) else abs(float(new.mean()))
            allowed = max(MOVED * size, tolerances.get(name, 0.0))
            moved = max(abs(float((new - old).mean())), float(np.abs(new - old).max()) / SINGLE)
            known = allowed > 0 and math.isfinite(moved)
            found[group][name] = moved / allowed if known else math.inf
    return found


def untrained_rows(rows: Sequence[Mapping[str, Any]], *names: str) -> str:
    """Return why a claim on these critics is undecided; empty if all of them are at rest.

    The rows hold the cells of `Rest.row`. With the ``names`` of statistics, those of
    `Rest.by_statistic` too: then these alone must rest.
    """
    moves = [max(float(row[column(n)] or 0.0) for n in names) if names else
             float(row["moved"] or 0.0) for row in rows]  # fmt: skip
    still = [moved < 1 if names else bool(row["at_rest"])
             for row, moved in zip(rows, moves, strict=True)]  # fmt: skip
    if all(still):
        return ""
    worst = max(moved for moved, rests in zip(moves, still, strict=True) if not rests)
    steps = max(int(row["steps"] or 0) for row in rows)
    size = f"up to {worst:.3g} times what is allowed" if worst < 1e3 else "without end"
    return (
        f"{NOT_TRAINED}: {still.count(False)} of {len(rows)} critics still moved, {size}, between "
        f"{steps // 2} and {steps} steps"
    )
