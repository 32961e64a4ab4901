"""Comparison of groups of runs: every metric with its interval over seeds.

The last checkpoint counts, never the best. A diverged run stays in every count: each mean of the
completed runs is shown with the share that diverged. If groups are compared run by run, a
diverged run is worse than every completed one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from wganbench.errors import ConfigError, printable, shortened
from wganbench.files import from_here
from wganbench.output import numbered
from wganbench.plugin_files import UNREGISTERED
from wganbench.reports.groups import (
    At,
    Group,
    Repeated,
    budget_reached,
    counted_once,
    group_runs,
    measured_otherwise,
)
from wganbench.reports.pairwise import Contrast, families_text, make_contrasts, unpaired_text
from wganbench.reports.plain_tables import groups_html, records
from wganbench.reports.rows import Row, make_row, mark_best
from wganbench.reports.statistics import FEW_SEEDS
from wganbench.runs.record import DIGITS, RunRecord, Runs
from wganbench.runs.table import pandas
from wganbench.tags.lookup import ENERGY, bias_text, fallback_text, first_of, tag_for

if TYPE_CHECKING:
    import pandas as pd

NAMED = 2
"""The number of folders that a note names; further ones are only counted."""
LONGEST_LINE = 300
"""Characters of a line within a note."""


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`, from which tables, figures and the report are made."""

    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    at: At | None
    notes: tuple[str, ...] = ()
    paths: tuple[str, ...] = field(default=())
    baseline: str | None = None
    """Label of the group with which all others are compared; None if all pairs are."""

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        return tuple(run for row in self.rows for run in row.group.runs)

    def frame(self) -> pd.DataFrame:
        """Return the groups as a pandas frame, a row for each group and metric.

        Raises ConfigError without pandas.
        """
        return pandas().DataFrame(records(self.rows, self.metrics)).set_index(["group", "metric"])

    def _repr_html_(self) -> str:
        from wganbench.reports.answer import answer

        return groups_html(self.rows, self.metrics, answer(self))

    def __repr__(self) -> str:
        groups = [(row.group.phrase, numbered(len(row.group.runs), "run")) for row in self.rows]
        return f"<Comparison of {few_of([': '.join(group) for group in groups])}>"

    @property
    def primary(self) -> str | None:
        """The first metric in which groups can be better or worse; None without any."""
        known = (m for m in self.metrics if tag_for(m).direction in ("up", "down"))
        return next(known, None)

    def contrasts_of(self, metric: str) -> list[Contrast]:
        return [contrast for contrast in self.contrasts if contrast.metric == metric]

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
    baseline: str | None = None,
) -> Comparison:
    """Return the comparison of runs; ``missing`` jobs of their sweeps have not begun.

    With ``baseline``, the label of a group or a unique part of it, the other groups are compared
    with this group only. Raises ConfigError for an unknown tag, key or group, for different data,
    and if no run has finished.
    """
    for metric in metrics:
        check_metric(metric, runs)
    if not any(run.finished for run in runs):
        raise ConfigError(f"no run of {len(runs)} has finished yet: nothing to compare")
    unreadable = left_out(runs)
    runs, repeated = counted_once(runs, by)
    groups, mixed = group_runs(runs, by)
    chosen = tuple(dict.fromkeys(metrics)) or usual_metrics(runs)
    rows = mark_best([make_row(group, chosen, at) for group in groups], chosen)
    base = None if baseline is None else find_label([row.group for row in rows], baseline)
    contrasts = make_contrasts(rows, chosen, base)
    replaced = () if metrics else sorted({fallback_text(*had) for had in _measured(runs)} - {""})
    shapes = dict.fromkeys(run.shape for run in runs)
    biased = [text for metric in metrics for shape in shapes if (text := bias_text(metric, shape))]
    notes = (
        *unreadable,
        *repeated_text(repeated),
        *replaced,
        *(f"{text}: {ENERGY} decides there" for text in dict.fromkeys(biased)),
        *make_notes(rows, chosen, contrasts, mixed, missing, at),
    )
    found = tuple(rows), chosen, tuple(contrasts), at, notes, tuple(paths)
    return Comparison(*found, baseline=base)


def check_metric(metric: str, runs: Sequence[RunRecord]) -> None:
    """Raise ConfigError for a tag that has no row, as that of a plugin that was not named."""
    try:
        tag_for(metric)
    except ValueError as error:
        if any(metric in run.final for run in runs):
            raise ConfigError(f"--metric: the runs have {metric}, {UNREGISTERED}") from error
        raise ConfigError(f"--metric: {error}") from error


def usual_metrics(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Return the default metrics of a comparison: the headline tags that any run has.

    Of the distances it is that which decides on the runs' data.
    """
    return tuple(tag.name for tag in first_of(_measured(runs), "headline"))


def _measured(
    runs: Sequence[RunRecord],
) -> list[tuple[tuple[int, ...] | None, Mapping[str, float]]]:
    return [(run.shape, run.final) for run in runs]


def left_out(runs: Sequence[RunRecord]) -> list[str]:
    """Return at most one line, which counts and names the unreadable runs."""
    reasons = runs.unreadable if isinstance(runs, Runs) else ()
    return [f"{runs_are(reasons)} left out, unreadable: {few_of(reasons)}"] if reasons else []


def repeated_text(repeated: Sequence[Repeated]) -> list[str]:
    """Return at most one line, which counts and names the runs that repeat one that counts."""
    if not repeated:
        return []
    names = [f"{run_path(run)} repeats {run_path(first)}" for run, first in repeated]
    ways = sorted({key for pair in repeated for key in measured_otherwise(pair)})
    other = f" (measured with another {', '.join(ways)}: --by {ways[0]} shows both)" if ways else ""
    return [
        f"{runs_are(names)} left out, with the seed and settings of a run that counts{other}: "
        f"{few_of(names)}"
    ]


def run_path(run: RunRecord) -> str:
    return printable(str(from_here(run.path)))


def runs_are(named: Sequence[str]) -> str:
    return f"{len(named)} runs are" if len(named) > 1 else "1 run is"


def few_of(lines: Sequence[str]) -> str:
    """Return the first few lines as one, and how many there are more."""
    more = f"; and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return "; ".join(shortened(line, LONGEST_LINE) for line in lines[:NAMED]) + more


def find_label(groups: Sequence[Group], text: str) -> str:
    """Return the label of the group that is called so, or of the only one that contains the text.

    A group is called by its label or its title. Raises ConfigError, which lists the labels.
    """
    names = {group.label: (group.label.casefold(), group.title.casefold()) for group in groups}
    wanted = text.casefold()
    found = [label for label in names if text == label or wanted == names[label][1]] or [
        label for label, known in names.items() if any(wanted in name for name in known)
    ]
    if len(found) == 1 and text:
        return found[0]
    problem = f"fits {len(found)} groups" if found and text else "no group is called so"
    raise ConfigError(
        f"--baseline {text}: {problem}; give one of: {', '.join(label or '-' for label in names)}"
    )


def make_notes(
    rows: Sequence[Row],
    metrics: Sequence[str],
    contrasts: Sequence[Contrast],
    mixed: Sequence[str],
    missing: int,
    at: At | None,
) -> list[str]:
    """Return the notes that a reader needs to judge the numbers."""
    runs = [run for row in rows for run in row.group.runs]
    notes = []
    going = sum(row.unfinished for row in rows) + missing
    if going:
        notes.append(f"{going} of {len(runs) + missing} runs have not finished: not in the figures")
    fewest = min(len(row.group.finished) for row in rows)
    if fewest < FEW_SEEDS:
        weak = f"weak: fewer than {FEW_SEEDS} seeds in a group; too few for useful intervals"
        notes.append(weak)
    if mixed:
        notes.append(f"pooled, although they differ: {', '.join(mixed)}")
    apart = {key for key, _ in rows[0].group.values}
    ways = [key for key in measured_otherwise(runs) if key not in apart and key not in mixed]
    if ways:
        notes.append(f"the groups are measured with other values of {', '.join(ways)}")
    notes += [*judges_text(rows), *plugins_text(runs)]
    broken = sum(row.broken for row in rows)
    if broken:
        notes.append(f"{broken} metrics.csv end in a broken line, which is left out")
    for metric in metrics:
        without = [row.group.phrase for row in rows if row.cells[metric].mean.n == 0]
        if without:
            notes.append(f"{metric}: no value in {', '.join(without)}")
        notes += undefined_text(rows, metric)
    notes += filter(None, (families_text(contrasts), unpaired_text(contrasts)))
    notes.append(at.sentence() if at else budget_sentence(rows))
    return notes


def judges_text(rows: Sequence[Row]) -> list[str]:
    """Return at most one line, on the groups whose images were judged by different networks."""
    groups: dict[str, dict[str, None]] = {}
    for row in rows:
        for run in row.group.runs:
            if isinstance(sha256 := (run.judge or {}).get("sha256"), str):
                groups.setdefault(sha256, {})[row.group.phrase] = None
    if len(groups) < 2:
        return []
    named = [f"{printable(sha256[:DIGITS])} of {', '.join(of)}" for sha256, of in groups.items()]
    return [
        f"the runs have {len(groups)} judges ({few_of(named)}): fidelity and modes are comparable "
        "only with the same judge"
    ]


def plugins_text(runs: Sequence[RunRecord]) -> list[str]:
    """Return a line on each plugin file of which the runs had several versions."""
    versions: dict[str, Counter[str]] = {}
    for run in runs:
        for file, digest in (run.plugins or {}).items():
            versions.setdefault(file, Counter())[digest] += 1
    return [
        f"{printable(Path(file).name)} changed between the runs: {len(counts)} versions of it "
        f"trained {', '.join(map(str, counts.values()))} of them"
        for file, counts in versions.items()
        if len(counts) > 1
    ]


def undefined_text(rows: Sequence[Row], metric: str) -> list[str]:
    """Return a line on completed runs without a value: their number and their treatment."""
    cells = [(row.group.phrase, row.cells[metric]) for row in rows]
    parts = [
        f"{cell.undefined} of {len(cell.values)} runs of {label or '(no name)'}"
        for label, cell in cells
        if cell.undefined
    ]
    if not parts:
        return []
    return [
        f"{metric} is undefined in {', '.join(parts)}: not in the means, and ranked last where "
        "runs are compared"
    ]


def budget_sentence(rows: Sequence[Row]) -> str:
    """Return which budgets are equal at the ends of all runs, and the range of the others."""
    equal, unequal = [], []
    for name in ("generator_steps", "critic_steps", "examples", "passes"):
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
