"""A row of the comparison: the results of a group of runs, metric by metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wganbench.reports.groups import At, Group, values_at
from wganbench.reports.statistics import (
    Bounds,
    Estimate,
    iqm_interval,
    mean_interval,
    share_interval,
)
from wganbench.runs.record import RunRecord
from wganbench.tags.lookup import tag_for


@dataclass(frozen=True)
class Cell:
    """A metric of a group: the seeds, their values, and the estimates over them.

    The value of a run that diverged, or ended without a value, is nan; in run-by-run comparisons
    it is worse than all others. ``mean`` and ``iqm`` are those of the other runs.
    """

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: Estimate
    iqm: Estimate
    undefined: int = 0
    """The number of runs that completed without a value."""

    @property
    def lost(self) -> int:
        return sum(map(math.isnan, self.values))


@dataclass(frozen=True)
class Row:
    """A group in the table; ``best`` names the metrics in which it is clearly best."""

    group: Group
    cells: Mapping[str, Cell]
    all_modes: Estimate | None
    best: frozenset[str] = frozenset()
    broken: int = 0
    """The number of metrics.csv files in which lines were left out."""

    @property
    def diverged(self) -> int:
        return sum(run.diverged for run in self.group.runs)

    @property
    def unfinished(self) -> int:
        return len(self.group.runs) - len(self.group.finished)


Found = Sequence[tuple[RunRecord, Mapping[str, float | None]]]
"""The finished runs of a group, each with its values by metric."""
COVERED = "modes/covered"


def make_row(group: Group, metrics: Sequence[str], at: At | None) -> Row:
    """Return the row of a group from its finished runs, at their end or at a budget."""
    read = [(run, *values_at(run, (*metrics, COVERED), at)) for run in group.finished]
    found = [(run, values) for run, values, _ in read]
    cells = {metric: make_cell(group, found, metric, at) for metric in metrics}
    broken = sum(dropped for _, _, dropped in read)
    return Row(group, cells, all_modes_share(group, found), broken=broken)


def make_cell(group: Group, runs: Found, metric: str, at: At | None) -> Cell:
    """Return the cell of a metric for a group.

    If no completed run has a value, the metric does not apply to the group's loss or data. If
    some have one, a run that completed without it is undefined. A run is undefined too if it
    lacks the value but has the tag that is measured with it (`Tag.beside`).
    """
    found = [(run, math.nan if run.diverged else values[metric]) for run, values in runs]
    completed = [value for run, value in found if not run.diverged]
    if completed and all(value is None for value in completed):
        found = []
    elif at is None:
        found = [(run, math.nan if value is None else value) for run, value in found]
    known = [(run, value) for run, value in found if value is not None]
    values = tuple(value for _, value in known)
    bounds = bounds_of(metric, group.mode_count)
    return Cell(
        tuple(run.seed for run, _ in known),
        values,
        mean_interval(values, bounds=bounds),
        iqm_interval(values),
        sum(math.isnan(value) for run, value in known if not run.diverged),
    )


def bounds_of(metric: str, mode_count: int | None) -> Bounds:
    """Return the range in the table of tags; for modes, at most the number in the data."""
    tag = tag_for(metric)
    low, high = tag.bounds
    if tag.unit == "modes" and mode_count:
        high = min(high, float(mode_count))
    return low, high


def all_modes_share(group: Group, runs: Found) -> Estimate | None:
    """Return the share of finished runs that cover every mode; diverged runs count as failures.

    At a budget, only runs that have spent it count. Returns None without modes or values.
    """
    modes = group.mode_count
    covered = [0 if run.diverged else values[COVERED] for run, values in runs]
    known = [count for count in covered if count is not None]
    if modes is None or not known:
        return None
    return share_interval(sum(count >= modes for count in known), len(known))


def mark_best(rows: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    """Return the rows with the metrics in which each is best.

    A group is best only if its interval lies beyond all others', and no other group lost a
    smaller share of its runs (diverged or without a value).
    """
    best: dict[str, set[str]] = {row.group.label: set() for row in rows}
    for metric in metrics:
        sign = {"up": 1, "down": -1}.get(tag_for(metric).direction)
        if sign is None or len(rows) < 2:
            continue
        for row in rows:
            others = [other for other in rows if other is not row]
            if all(beyond(row, other, metric, sign) for other in others):
                best[row.group.label].add(metric)
    return [replace(row, best=frozenset(best[row.group.label])) for row in rows]


def beyond(row: Row, other: Row, metric: str, sign: int) -> bool:
    ours, theirs = row.cells[metric].mean, other.cells[metric].mean
    near, far = (ours.low, theirs.high) if sign > 0 else (-ours.high, -theirs.low)
    return near > far and not loses_more(row, other, metric)


def loses_more(row: Row, other: Row, metric: str) -> bool:
    """Return whether ``row`` lost a larger share of its runs (diverged or without a value)."""

    def lost(side: Row) -> int:
        return side.diverged + side.cells[metric].undefined

    return lost(row) * len(other.group.runs) > lost(other) * len(row.group.runs)
