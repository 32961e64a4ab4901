"""Groups of runs against each other: every metric with its interval over seeds.

The last checkpoint counts, never the best. A diverged run stays in every count: beside each
mean of the survivors stands the share that diverged, and where groups are compared run by
run a diverged one is worse than every finished one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from wganbench.errors import ConfigError, shortened
from wganbench.records.tags import tag_for
from wganbench.reports.budgets import At, budget_reached, value_at
from wganbench.reports.groups import Group, group_runs
from wganbench.reports.records import RunRecord, Runs
from wganbench.reports.statistics import (
    Estimate,
    holm,
    improvement_interval,
    improvement_p_value,
    iqm_interval,
    mean_interval,
    share_interval,
)

DEFAULT_METRICS = (
    "modes/covered",
    "modes/high_quality",
    "wasserstein/exact",
    "modes/kl",
    "fidelity/fid",
)


NAMED = 2
"""Folders that a note names; the others are counted."""


@dataclass(frozen=True)
class Cell:
    """A metric of a group: the seeds that have it, their values, and what they come to.

    A value is nan where a run diverged; ``mean`` and ``iqm`` are those of the others.
    """

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: Estimate
    iqm: Estimate


@dataclass(frozen=True)
class Row:
    """A group in the table. ``best`` names the metrics in which it is best beyond doubt."""

    group: Group
    cells: Mapping[str, Cell]
    all_modes: Estimate | None
    best: frozenset[str] = frozenset()

    @property
    def diverged(self) -> int:
        return sum(run.diverged for run in self.group.runs)

    @property
    def unfinished(self) -> int:
        return len(self.group.runs) - len(self.group.finished)


@dataclass(frozen=True)
class Duel:
    """How probable it is that a run of ``first`` beats one of ``second`` in a metric.

    ``p`` is adjusted for all duels of the comparison (Holm).
    """

    metric: str
    first: str
    second: str
    paired: bool
    estimate: Estimate
    p: float


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; tables, figures and the report are made of it."""

    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    duels: tuple[Duel, ...]
    at: At | None
    mixed: tuple[str, ...]
    notes: tuple[str, ...] = ()
    paths: tuple[str, ...] = field(default=())

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        return tuple(run for row in self.rows for run in row.group.runs)

    @cached_property
    def by_label(self) -> dict[str, Row]:
        return {row.group.label: row for row in self.rows}


def compare(
    runs: Sequence[RunRecord],
    by: Sequence[str] = (),
    metrics: Sequence[str] = (),
    at: At | None = None,
    missing: int = 0,
    paths: Sequence[str] = (),
) -> Comparison:
    """Compare runs; ``missing`` jobs of their sweeps have not begun.

    Raises ConfigError for an unknown tag or key, for unlike data, and where no run has
    finished.
    """
    for metric in metrics:
        try:
            tag_for(metric)
        except ValueError as error:
            raise ConfigError(f"--metric: {error}") from error
    if not any(run.finished for run in runs):
        raise ConfigError(f"none of these {len(runs)} runs has finished yet: nothing to compare")
    groups, mixed = group_runs(runs, by)
    chosen = tuple(metrics) or tuple(
        tag for tag in DEFAULT_METRICS if any(tag in run.final for run in runs)
    )
    rows = mark_best([make_row(group, chosen, at) for group in groups], chosen)
    duels = make_duels(rows, chosen)
    notes = (*left_out(runs), *make_notes(rows, chosen, mixed, missing, at))
    return Comparison(tuple(rows), chosen, tuple(duels), at, tuple(mixed), notes, tuple(paths))


def left_out(runs: Sequence[RunRecord]) -> list[str]:
    """What could not be read, counted and named, in a line."""
    reasons = runs.unreadable if isinstance(runs, Runs) else ()
    if not reasons:
        return []
    named = "; ".join(shortened(reason, 150) for reason in reasons[:NAMED])
    more = f"; and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    count = f"{len(reasons)} runs are" if len(reasons) > 1 else "1 run is"
    return [f"{count} left out, unreadable: {named}{more}"]


def make_row(group: Group, metrics: Sequence[str], at: At | None) -> Row:
    cells = {}
    for metric in metrics:
        found = [
            (run.seed, math.nan if run.diverged else value_at(run, metric, at))
            for run in group.finished
        ]
        known = [(seed, value) for seed, value in found if value is not None]
        finite = [value for _, value in known if math.isfinite(value)]
        cells[metric] = Cell(
            tuple(seed for seed, _ in known),
            tuple(value for _, value in known),
            mean_interval(finite),
            iqm_interval(finite),
        )
    return Row(group, cells, all_modes_share(group, at))


def all_modes_share(group: Group, at: At | None = None) -> Estimate | None:
    """Share of the finished runs that cover every mode of their data; diverged ones do not.

    At a budget, of those that have spent it.
    """
    modes = group.mode_count
    covered = [0 if run.diverged else value_at(run, "modes/covered", at) for run in group.finished]
    known = [count for count in covered if count is not None]
    if modes is None or not known:
        return None
    return share_interval(sum(count >= modes for count in known), len(known))


def mark_best(rows: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    """Mark a group in a metric only where its interval lies beyond all others', and no other
    group had fewer runs diverge."""
    best: dict[str, set[str]] = {row.group.label: set() for row in rows}
    for metric in metrics:
        sign = {"up": 1, "down": -1}.get(tag_for(metric).direction)
        if sign is None or len(rows) < 2:
            continue
        for row in rows:
            others = [other for other in rows if other is not row]
            if all(beyond(row, other, metric, sign) for other in others):
                best[row.group.label].add(metric)
    return [
        Row(row.group, row.cells, row.all_modes, frozenset(best[row.group.label])) for row in rows
    ]


def beyond(row: Row, other: Row, metric: str, sign: int) -> bool:
    ours, theirs = row.cells[metric].mean, other.cells[metric].mean
    near, far = (ours.low, theirs.high) if sign > 0 else (-ours.high, -theirs.low)
    fewer_lost = row.diverged * len(other.group.runs) <= other.diverged * len(row.group.runs)
    return near > far and fewer_lost


def make_duels(rows: Sequence[Row], metrics: Sequence[str]) -> list[Duel]:
    """All pairs of groups in every metric that ranks, p-values adjusted over all of them."""
    duels: list[Duel] = []
    for metric in metrics:
        direction = tag_for(metric).direction
        if direction not in ("up", "down"):
            continue
        for first, second in itertools.combinations(rows, 2):
            ours, theirs = first.cells[metric], second.cells[metric]
            a, b = ours.values, theirs.values
            if not a or not b:
                continue
            # A seed that occurs twice makes no pairs.
            paired = ours.seeds == theirs.seeds and len(set(ours.seeds)) == len(ours.seeds)
            higher = direction == "up"
            estimate = improvement_interval(a, b, higher_is_better=higher, paired=paired)
            p = improvement_p_value(a, b, higher_is_better=higher, paired=paired)
            labels = first.group.label, second.group.label
            duels.append(Duel(metric, *labels, paired, estimate, p))
    adjusted = holm([duel.p for duel in duels])
    return [
        Duel(d.metric, d.first, d.second, d.paired, d.estimate, p)
        for d, p in zip(duels, adjusted, strict=True)
    ]


def make_notes(
    rows: Sequence[Row], metrics: Sequence[str], mixed: Sequence[str], missing: int, at: At | None
) -> list[str]:
    """What a reader has to know beside the figures."""
    runs = [run for row in rows for run in row.group.runs]
    notes = []
    going = sum(row.unfinished for row in rows) + missing
    if going:
        notes.append(f"{going} of {len(runs) + missing} runs have not finished: not in the figures")
    fewest = min(len(row.group.finished) for row in rows)
    if fewest < 5:
        notes.append("weak: fewer than 5 seeds in a group; its intervals are wide or cannot be had")
    if mixed:
        notes.append(f"pooled, although they differ: {', '.join(mixed)}")
    broken = sum(bool(run.table.dropped) for run in runs) if at else 0
    if broken:
        notes.append(f"{broken} metrics.csv end in a broken line, which is left out")
    for metric in metrics:
        without = [row.group.label for row in rows if row.cells[metric].mean.n == 0]
        if without:
            notes.append(f"{metric}: no value in {', '.join(without)}")
    notes.append(at.sentence() if at else budget_sentence(rows))
    return notes


def budget_sentence(rows: Sequence[Row]) -> str:
    """Which budgets the groups' ends have in common, and by how much the others differ."""
    equal, unequal = [], []
    for name in ("generator_steps", "critic_steps", "examples", "gradient_evaluations"):
        spent = [budget_reached(run, name) for row in rows for run in row.group.survivors]
        known = [value for value in spent if value]
        words = name.replace("_", " ")
        if known and max(known) <= min(known) * 1.001:
            equal.append(words)
        elif known:
            unequal.append(f"{words} {min(known):.0f} to {max(known):.0f}")
    same = f"equal {', '.join(equal)}" if equal else "no equal budget"
    other = f"; {', '.join(unequal)} (--at compares at an equal one)" if unequal else ""
    return f"at the end of each run: {same}{other}"
