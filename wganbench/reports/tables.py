"""The report's tables: groups, pairwise contrasts, settings, and how the runs were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wganbench.reports.comparison import Comparison
from wganbench.reports.groups import Group
from wganbench.reports.matrix import letters_of
from wganbench.reports.page import Column, Entry, Line, Table, count
from wganbench.reports.pairwise import Contrast, family_text, seeds_text
from wganbench.reports.reproduce import seeds_text as spans_text
from wganbench.reports.reproduce import versions_of
from wganbench.reports.rows import Row
from wganbench.reports.summary import SHOWN_CONTRASTS, contrast_id, group_id, name
from wganbench.reports.wording import estimate_text, named, p_text, share_text
from wganbench.runs.folder import status_now
from wganbench.runs.record import Value
from wganbench.tags.lookup import BETTER, tag_for

SHOWN_RUNS = 200


# Groups.
def groups_table(comparison: Comparison) -> Table:
    """Return one line per group: its runs, and each metric's mean and interquartile mean.

    The short and most wanted columns come first, because a wide table scrolls.
    """
    modes = any(row.all_modes is not None for row in comparison.rows)
    counts = ["runs", "completed", "diverged"]
    counts += ["unfinished"] * any(row.unfinished for row in comparison.rows)
    letters = letters_of(comparison, comparison.primary) if comparison.primary else {}
    columns = [
        Column("group"),
        *([Column("letters")] if letters else []),
        *(Column(word, number=True) for word in counts),
        *([Column("every mode covered", number=True)] if modes else []),
        *(Column(metric_title(metric), number=True) for metric in comparison.metrics),
    ]
    lines = [
        group_line(row, comparison.metrics, modes, len(counts), group_id(position), letters)
        for position, row in enumerate(comparison.rows)
    ]
    return Table("Groups: mean and interquartile mean (IQM) [95 % interval]", columns, lines)


def metric_title(metric: str) -> str:
    direction = tag_for(metric).direction
    return f"{metric}, {BETTER[direction]} is better" if direction in ("up", "down") else metric


def group_line(
    row: Row,
    metrics: Sequence[str],
    modes: bool,
    counts: int,
    anchor: str,
    letters: Mapping[str, str],
) -> Line:
    group = row.group
    runs = (len(group.runs), len(group.survivors), row.diverged, row.unfinished)[:counts]
    cells = [metric_entry(row, metric) for metric in metrics]
    share = []
    if modes:
        known = row.all_modes
        share = [Entry(estimate_text(known), known.value) if known else Entry("-", float("nan"))]
    lettered = [Entry(letters.get(group.label, "-"))] if letters else []
    return Line(name(row), [*lettered, *map(count, runs), *share, *cells], anchor)


def metric_entry(row: Row, metric: str) -> Entry:
    """Return the cell of a metric: mean and IQM below each other, and whether it is best."""
    cell = row.cells[metric]
    share = share_text(cell)
    return Entry(
        estimate_text(cell.mean),
        cell.mean.value,
        iqm=estimate_text(cell.iqm),
        notes=[f"{share} runs"] if share else [],
        best=metric in row.best,
    )


# Contrasts.
def contrasts_table(contrasts: Sequence[Contrast]) -> Table:
    """Return one line per contrast: the probability that a run of the first group is better."""
    columns = [
        Column("metric"),
        Column("family"),
        Column("first"),
        Column("second"),
        Column("first is better [95 %]", number=True),
        Column("p (Holm)", number=True),
        Column("seeds"),
    ]
    lines = [
        Line(
            contrast.metric,
            [
                Entry(family_text(contrast)),
                *map(Entry, contrast.names),
                Entry(estimate_text(contrast.estimate), contrast.estimate.value),
                p_entry(contrast),
                Entry(seeds_text(contrast)),
            ],
            contrast_id(position),
        )
        for position, contrast in enumerate(contrasts[:SHOWN_CONTRASTS])
    ]
    caption = "Probability that a run of the first group is better"
    return Table(caption, columns, lines, left=len(contrasts) - len(lines))


def p_entry(contrast: Contrast) -> Entry:
    """Return the adjusted p; if no outcome could pass, also how many seeds would suffice."""
    reach = [] if contrast.enough is None else [f"could not pass; {contrast.enough} seeds would do"]
    return Entry(p_text(contrast.p), contrast.p, notes=reach)


# Settings.
def settings_tables(groups: Sequence[Group]) -> tuple[Table, Table]:
    """Return two tables: the keys that differ, with one column per group, and the shared keys."""
    keys = sorted({key for group in groups for run in group.runs for key in run.settings})
    cells = {key: [values(group, key) for group in groups] for key in keys}
    unlike = [Line(key, list(map(Entry, c))) for key, c in cells.items() if len(set(c)) > 1]
    alike = [Line(key, [Entry(c[0])]) for key, c in cells.items() if len(set(c)) == 1]
    columns = [Column("setting"), *(Column(named(group.title)) for group in groups)]
    return (
        Table("Settings that differ between groups", columns, unlike, sortable=False),
        Table(
            "Settings that are the same in all groups",
            [Column("setting"), Column("value")],
            alike,
            sortable=False,
        ),
    )


def values(group: Group, key: str) -> str:
    """Return all values of a key in a group's runs; "-" for a run without it."""
    return ", ".join(dict.fromkeys(value_text(run.settings.get(key)) for run in group.runs))


def value_text(value: Value | None) -> str:
    """Return a value with enough digits to tell different values apart.

    >>> value_text(10.0), value_text(5e-05), value_text(True), value_text(None)
    ('10', '5e-05', 'true', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


# How the runs were made.
def seeds_table(comparison: Comparison) -> Table:
    seeds = [(name(row), [run.seed for run in row.group.runs]) for row in comparison.rows]
    lines = [Line(label, [Entry(spans_text(own)), count(len(own))]) for label, own in seeds]
    columns = [Column("group"), Column("seeds"), Column("runs", number=True)]
    return Table("Seeds of every group", columns, lines, sortable=False)


def versions_table(comparison: Comparison) -> Table:
    """Return one line per package with its versions; no lines if no run states any."""
    found = versions_of(comparison.runs)
    lines = [Line(package, [Entry(", ".join(known))]) for package, known in found.items()]
    columns = [Column("package"), Column("versions")]
    return Table("Versions in the runs' run.json", columns, lines, sortable=False)


def runs_table(comparison: Comparison) -> Table:
    """Return one line per run with its folder and status."""
    lines = [
        Line(
            run.name,
            [Entry(name(row)), count(run.seed), Entry(str(status_now(run))), count(run.step)],
        )
        for row in comparison.rows
        for run in row.group.runs
    ]
    columns = [
        Column("run"), Column("group"), Column("seed", number=True), Column("status"),
        Column("step", number=True),
    ]  # fmt: skip
    return Table("Runs", columns, lines[:SHOWN_RUNS], left=len(lines[SHOWN_RUNS:]))


# Metrics.
def meanings(metrics: Sequence[str]) -> dict[str, str]:
    """Return the meaning of each metric, with its caveat."""
    described = {}
    for metric in metrics:
        tag = tag_for(metric)
        words = f"{tag.meaning} ({tag.unit}); {BETTER[tag.direction]} is better."
        described[metric] = " ".join(filter(None, [words, tag.caveat]))
    return described
