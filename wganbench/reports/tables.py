"""The comparison's tables in the report: groups, duels, settings."""

from __future__ import annotations

from collections.abc import Sequence

from wganbench.reports.comparison import Comparison
from wganbench.reports.groups import Group
from wganbench.reports.page import (
    Column,
    Entry,
    Line,
    Markup,
    count,
    element,
    folded,
    fragment,
    stacked,
    table,
)
from wganbench.reports.pairwise import Duel, family_text, seeds_text
from wganbench.reports.rows import Row
from wganbench.reports.summary import SHOWN_DUELS, duel_id, group_id, name, named
from wganbench.reports.wording import estimate_text, p_text, share_text
from wganbench.runs.record import Value
from wganbench.tags.lookup import BETTER, tag_for

BEST = "\N{BLACK STAR} best"


# Groups.
def groups_table(comparison: Comparison) -> Markup:
    """A line a group: its runs, every metric's mean and interquartile mean.

    What is shortest and asked for first stands first: a wide table scrolls.
    """
    modes = any(row.all_modes is not None for row in comparison.rows)
    counts = ["runs", "completed", "diverged"]
    counts += ["unfinished"] * any(row.unfinished for row in comparison.rows)
    columns = [
        Column("group"),
        *(Column(word, number=True) for word in counts),
        *([Column("every mode covered", number=True)] if modes else []),
        *(Column(metric_title(metric), number=True) for metric in comparison.metrics),
    ]
    lines = [
        group_line(row, comparison.metrics, modes, len(counts), group_id(position))
        for position, row in enumerate(comparison.rows)
    ]
    return table("Groups: mean and interquartile mean (IQM) [95 % interval]", columns, lines)


def metric_title(metric: str) -> str:
    better = {"up": ", higher is better", "down": ", lower is better"}
    return metric + better.get(tag_for(metric).direction, "")


def group_line(row: Row, metrics: Sequence[str], modes: bool, counts: int, anchor: str) -> Line:
    group = row.group
    runs = (len(group.runs), len(group.survivors), row.diverged, row.unfinished)[:counts]
    cells = [metric_entry(row, metric) for metric in metrics]
    share = []
    if modes:
        known = row.all_modes
        share = [Entry(estimate_text(known), known.value) if known else Entry("-", float("nan"))]
    return Line(name(row), [*map(count, runs), *share, *cells], anchor)


def metric_entry(row: Row, metric: str) -> Entry:
    """Mean and IQM, one above the other; what is best beyond doubt says so."""
    cell = row.cells[metric]
    mean = element("span", estimate_text(cell.mean), class_="mean")
    some = [element("small", f"{share} runs")] if (share := share_text(cell)) else []
    iqm = element("span", estimate_text(cell.iqm), class_="iqm")
    star = [element("strong", BEST, class_="best")] if metric in row.best else []
    return Entry(stacked(mean, element("small", "IQM ", iqm), *some, *star), cell.mean.value)


# Duels.
def duels_table(duels: Sequence[Duel]) -> Markup:
    """How probable it is that a run of the first group is better than one of the second."""
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
            duel.metric,
            [
                Entry(family_text(duel)),
                Entry(named(duel.first)),
                Entry(named(duel.second)),
                Entry(estimate_text(duel.estimate), duel.estimate.value),
                p_entry(duel),
                Entry(seeds_text(duel)),
            ],
            duel_id(position),
        )
        for position, duel in enumerate(duels[:SHOWN_DUELS])
    ]
    return table("Probability that a run of the first group is better", columns, lines)


def p_entry(duel: Duel) -> Entry:
    """The adjusted p; where it could not pass, how many seeds would do."""
    if duel.enough is None:
        return Entry(p_text(duel.p), duel.p)
    more = element("small", f"could not pass; {duel.enough} seeds would do")
    return Entry(stacked(p_text(duel.p), more), duel.p)


# Settings.
def settings_tables(groups: Sequence[Group]) -> Markup:
    """The keys that differ between groups, a column a group; what all share, folded."""
    keys = sorted({key for group in groups for run in group.runs for key in run.settings})
    cells = {key: [values(group, key) for group in groups] for key in keys}
    unlike = [key for key in keys if len(set(cells[key])) > 1]
    shared = [key for key in keys if key not in set(unlike)]
    if unlike:
        columns = [Column("setting"), *(Column(named(group.label)) for group in groups)]
        lines = [Line(key, [Entry(text) for text in cells[key]]) for key in unlike]
        told = table("Settings that differ between groups", columns, lines, sortable=False)
    else:
        told = element("p", "No setting differs between the groups.")
    lines = [Line(key, [Entry(cells[key][0])]) for key in shared]
    same = table(
        "Settings that are the same in all groups",
        [Column("setting"), Column("value")],
        lines,
        sortable=False,
    )
    return fragment([told, folded(f"{len(shared)} settings that all share", same)])


def values(group: Group, key: str) -> str:
    """All values that a group's runs have for a key; "-" where a run has none."""
    return ", ".join(dict.fromkeys(value_text(run.settings.get(key)) for run in group.runs))


def value_text(value: Value | None) -> str:
    """Enough digits to tell unlike values apart.

    >>> value_text(10.0), value_text(5e-05), value_text(True), value_text(None)
    ('10', '5e-05', 'true', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


# Metrics.
def metric_meanings(metrics: Sequence[str]) -> Markup:
    """What each metric is, and how not to misread it."""
    told: list[str] = []
    for metric in metrics:
        tag = tag_for(metric)
        words = f"{tag.meaning} ({tag.unit}); {BETTER[tag.direction]} is better."
        told.append(element("dt", element("code", metric)))
        told.append(element("dd", " ".join(filter(None, [words, tag.caveat]))))
    return element("dl", *told)
