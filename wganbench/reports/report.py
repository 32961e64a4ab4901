"""The HTML report of a comparison, and its handout: one page that prints on one sheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from wganbench.errors import printable
from wganbench.files import write_atomic
from wganbench.reports.answer import answer
from wganbench.reports.comparison import Comparison
from wganbench.reports.figures import FigureFile
from wganbench.reports.groups import Group, key_word, text
from wganbench.reports.matrix import letters_of, matrices
from wganbench.reports.page import Column, Entry, Line, Table, count, embedded, render
from wganbench.reports.pairwise import Contrast, family_text, seeds_text
from wganbench.reports.reproduce import (
    compare_command,
    sweep_commands,
    train_commands,
    versions_of,
)
from wganbench.reports.reproduce import (
    seeds_text as spans_text,
)
from wganbench.reports.rows import Row
from wganbench.reports.samples_figure import samples_caption
from wganbench.reports.summary import (
    SHOWN_CONTRASTS,
    Sentence,
    contrast_id,
    figure_id,
    group_id,
    name,
    summarise,
)
from wganbench.reports.wording import estimate_text, listed, named, p_text, share_text
from wganbench.runs.folder import status_now, step_now
from wganbench.runs.record import Value
from wganbench.tags.lookup import tag_for, which_is_better

# The report's tables: groups, pairwise contrasts, settings, and how the runs were made.
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
        *(Column(metric + which_is_better(metric), number=True) for metric in comparison.metrics),
    ]
    lines = [
        group_line(row, comparison.metrics, modes, len(counts), group_id(position), letters)
        for position, row in enumerate(comparison.rows)
    ]
    return Table("Groups: mean and interquartile mean (IQM) [95 % interval]", columns, lines)


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
            [Entry(name(row)), count(run.seed), Entry(str(status_now(run))), count(step_now(run))],
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
        words = f"{tag.meaning} ({tag.unit}){which_is_better(metric, '; {}')}."
        described[metric] = " ".join(filter(None, [words, tag.caveat]))
    return described


SHOWN_COMMANDS, SHOWN_GROUPS = 3, 6


def write_report(
    comparison: Comparison, files: Sequence[FigureFile], folder: Path, notes: Sequence[str] = ()
) -> Path:
    """Write folder/report.html atomically, with the images in ``folder/figures``.

    ``notes`` name the missing figures. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "report.html"
    moment = datetime.now(timezone.utc)
    write_atomic(file, report(comparison, files, folder, moment, notes).encode())
    return file


def report(
    comparison: Comparison,
    files: Sequence[FigureFile],
    folder: Path,
    moment: datetime,
    notes: Sequence[str] = (),
) -> str:
    """Return the whole HTML file; an image that is not on disk is left out."""
    drawn = [one for one in files if one.path(folder, "png").is_file()]
    figures = [figure(one, folder) for one in drawn]
    unlike, alike = settings_tables([row.group for row in comparison.rows])
    sweeps = sweep_commands(comparison.runs, comparison.paths)
    return render(
        "report.html.j2",
        title=title_of(comparison),
        keys=[key for key, _ in comparison.rows[0].group.values],
        metrics=comparison.metrics,
        moment=f"{moment:%d %B %Y, %H:%M}",
        paths=list(map(printable, comparison.paths)),
        answer=answer(comparison),
        topics=by_topic(summarise(comparison, drawn)),
        matrices=matrices(comparison),
        groups=groups_table(comparison),
        starred=any(row.best for row in comparison.rows),
        contrasts=contrasts_table(comparison.contrasts),
        first=next((shown for shown in figures if shown.anchor == "figure-answer"), None),
        figures=[shown for shown in figures if shown.anchor != "figure-answer"],
        notes=notes,
        unlike=unlike,
        alike=alike,
        sweeps=[printable(str(path)) for path in sweeps],
        swept=few(list(sweeps.values())),
        trained=few(train_commands(comparison.runs, sweeps)),
        compare=compare_command(comparison),
        seeds=seeds_table(comparison),
        versions=versions_table(comparison),
        runs=runs_table(comparison),
        meanings=meanings(comparison.metrics),
    )


def title_of(comparison: Comparison) -> str:
    """Return a one-line title: the losses, the varied settings of each, and the data."""
    data = sorted({str(run.settings.get("data.name", "")) for run in comparison.runs} - {""})
    parts: dict[str, list[Group]] = {}
    for row in comparison.rows:
        parts.setdefault(row.group.loss, []).append(row.group)
    groups_text = f"{len(comparison.rows)} groups of runs"
    if len(comparison.rows) <= SHOWN_GROUPS:
        groups_text = listed([loss_and_settings(loss, groups) for loss, groups in parts.items()])
    elif len(parts) == 1 and (loss := next(iter(parts))):
        groups_text = f"{loss}, {groups_text}"
    return f"{groups_text} on {listed(data)}" if data else groups_text


def loss_and_settings(loss: str, groups: Sequence[Group]) -> str:
    """Return a loss with its groups; a single key is named once: ``gp (lambda 1 and 10)``."""
    rest = [
        [(key, value) for key, value in group.values if key != "loss.name" and value is not None]
        for group in groups
    ]
    keys = {key for pairs in rest for key, _ in pairs}
    if not keys:
        return loss or listed([named(group.title) for group in groups])
    if len(keys) == 1 and all(rest) and not keys & {"data.name"}:
        (key,) = keys
        settings = f"{key_word(key)} {listed([text(pairs[0][1]) for pairs in rest])}"
        return f"{loss} ({settings})" if loss else settings
    labels = listed([named(group.title) for group in groups])
    inside = any(key == "loss.name" for group in groups for key, _ in group.values)
    return labels if inside or not loss else f"{loss} ({labels})"


def by_topic(sentences: Iterable[Sentence]) -> dict[str, list[Sentence]]:
    """Return the sentences by heading; headings other than metrics begin with a capital."""
    found: dict[str, list[Sentence]] = {}
    for sentence in sentences:
        topic = sentence.topic
        found.setdefault(topic if "/" in topic else topic.capitalize(), []).append(sentence)
    return found


@dataclass(frozen=True)
class Figure:
    """An image in the page: ``source`` is its data URL, ``anchor`` the id for links."""

    anchor: str
    title: str
    heading: str
    caption: str
    source: str


def figure(one: FigureFile, folder: Path) -> Figure:
    return Figure(
        figure_id(one),
        one.title,
        f"{one.title.rstrip('.')}.",
        one.caption,
        embedded(one.path(folder, "png")),
    )


@dataclass(frozen=True)
class Few:
    """The first commands, and the number of further ones."""

    shown: Sequence[str]
    left: int


def few(commands: Sequence[str]) -> Few:
    return Few(commands[:SHOWN_COMMANDS], len(commands[SHOWN_COMMANDS:]))


# The handout.
MOST_METRICS = 3


def write_handout(comparison: Comparison, folder: Path) -> Path:
    """Write folder/handout.html atomically; raises OSError.

    It shows the answer, the samples of all groups, their means with intervals, and what each
    metric means. The figure is that of the report, which must have been written to ``folder``
    before.
    """
    metrics = comparison.metrics[:MOST_METRICS]
    figure = folder / "figures" / "samples.png"
    page = render(
        "handout.html.j2",
        title=title_of(comparison),
        answer=answer(comparison),
        figure=embedded(figure) if figure.is_file() else "",
        caption=samples_caption(comparison) if figure.is_file() else "",
        heads=[tag_for(metric).title for metric in metrics],
        rows=[
            (
                row.group.title,
                spans_text([run.seed for run in row.group.runs]),
                [estimate_text(row.cells[metric].mean) for metric in metrics],
            )
            for row in comparison.rows
        ],
        meanings=[
            (tag.title, f"{tag.meaning.rstrip('.')}{which_is_better(metric, '; {}')}.")
            for metric in metrics
            for tag in [tag_for(metric)]
        ],
        notes=comparison.notes,
    )
    file = folder / "handout.html"
    write_atomic(file, page.encode())
    return file
