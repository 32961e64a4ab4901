"""The HTML report of a comparison, and its handout: one page that prints on one sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from wganbench.errors import printable
from wganbench.files import write_atomic
from wganbench.reports.answer import answer
from wganbench.reports.comparison import Comparison
from wganbench.reports.figures import FigureFile
from wganbench.reports.groups import Group, key_word, text
from wganbench.reports.matrix import matrices
from wganbench.reports.page import embedded, render
from wganbench.reports.reproduce import compare_command, seeds_text, sweep_commands, train_commands
from wganbench.reports.samples_figure import samples_caption
from wganbench.reports.summary import Sentence, figure_id, summarise
from wganbench.reports.tables import (
    contrasts_table,
    groups_table,
    meanings,
    runs_table,
    seeds_table,
    settings_tables,
    versions_table,
)
from wganbench.reports.wording import estimate_text, listed, named
from wganbench.tags.lookup import BETTER, tag_for

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
                seeds_text([run.seed for run in row.group.runs]),
                [estimate_text(row.cells[metric].mean) for metric in metrics],
            )
            for row in comparison.rows
        ],
        meanings=[
            (tag.title, f"{tag.meaning.rstrip('.')}; {BETTER[tag.direction]} is better.")
            for tag in map(tag_for, metrics)
        ],
        notes=comparison.notes,
    )
    file = folder / "handout.html"
    write_atomic(file, page.encode())
    return file
