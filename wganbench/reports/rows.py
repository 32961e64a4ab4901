"""A line of the comparison: what a group of runs came to, metric by metric."""

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
    """A metric of a group: the seeds for which it was looked at, their values, their sum.

    A value is nan where a run diverged, or ended without one: it is worse than all others
    where runs are compared one by one. ``mean`` and ``iqm`` are those of the others.
    """

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: Estimate
    iqm: Estimate
    undefined: int = 0
    """How many runs completed without a value."""

    @property
    def lost(self) -> int:
        return sum(map(math.isnan, self.values))


@dataclass(frozen=True)
class Row:
    """A group in the table. ``best`` names the metrics in which it is best beyond doubt."""

    group: Group
    cells: Mapping[str, Cell]
    all_modes: Estimate | None
    best: frozenset[str] = frozenset()
    broken: int = 0
    """In how many files of runs lines were left out, where files were read."""

    @property
    def diverged(self) -> int:
        return sum(run.diverged for run in self.group.runs)

    @property
    def unfinished(self) -> int:
        return len(self.group.runs) - len(self.group.finished)


Found = Sequence[tuple[RunRecord, Mapping[str, float | None]]]
"""The finished runs of a group, with what each of them came to."""
COVERED = "modes/covered"


def make_row(group: Group, metrics: Sequence[str], at: At | None) -> Row:
    """What the finished runs of a group came to, at their end or at a budget."""
    read = [(run, *values_at(run, (*metrics, COVERED), at)) for run in group.finished]
    found = [(run, values) for run, values, _ in read]
    cells = {metric: make_cell(group, found, metric, at) for metric in metrics}
    broken = sum(dropped for _, _, dropped in read)
    return Row(group, cells, all_modes_share(group, found), broken=broken)


def make_cell(group: Group, runs: Found, metric: str, at: At | None) -> Cell:
    """A metric of a group.

    Where no run that completed has a value, the metric does not belong to the group's loss or
    data; where some have, a run that completed without one is undefined, and so is one that
    lacks it beside the tag that is measured with it (`Tag.beside`).
    """
    found = [(run, math.nan if run.diverged else values[metric]) for run, values in runs]
    completed = [value for run, value in found if not run.diverged]
    if completed and all(value is None for value in completed):
        found = []
    elif at is None:
        found = [(run, math.nan if value is None else value) for run, value in found]
    known = [(run, value) for run, value in found if value is not None]
    values = tuple(value for _, value in known)
    bounds = bounds_of(metric, group)
    return Cell(
        tuple(run.seed for run, _ in known),
        values,
        mean_interval(values, bounds=bounds),
        iqm_interval(values),
        sum(math.isnan(value) for run, value in known if not run.diverged),
    )


def bounds_of(metric: str, group: Group) -> Bounds:
    """The range that the table of tags states; of modes up to as many as the data have."""
    tag = tag_for(metric)
    low, high = tag.bounds
    if tag.unit == "modes" and group.mode_count:
        high = min(high, float(group.mode_count))
    return low, high


def all_modes_share(group: Group, runs: Found) -> Estimate | None:
    """Share of the finished runs that cover every mode of their data; diverged ones do not.

    At a budget, of those that have spent it.
    """
    modes = group.mode_count
    covered = [0 if run.diverged else values[COVERED] for run, values in runs]
    known = [count for count in covered if count is not None]
    if modes is None or not known:
        return None
    return share_interval(sum(count >= modes for count in known), len(known))


def mark_best(rows: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    """Mark a group in a metric only where its interval lies beyond all others', and no other
    group lost fewer runs, diverged or without a value."""
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
    """Whether a larger share of the runs of ``row`` diverged or ended without the metric."""

    def lost(side: Row) -> int:
        return side.diverged + side.cells[metric].undefined

    return lost(row) * len(other.group.runs) > lost(other) * len(row.group.runs)
