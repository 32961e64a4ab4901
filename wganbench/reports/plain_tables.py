"""The table of a comparison as plain records, as HTML for a notebook, as Markdown or LaTeX."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wganbench.errors import printable
from wganbench.reports.page import render
from wganbench.reports.rows import Row
from wganbench.reports.wording import estimate_text
from wganbench.tags.lookup import tag_for, which_is_better

if TYPE_CHECKING:
    from wganbench.reports.comparison import Comparison

FORMATS = ("markdown", "latex")

ESCAPED = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def as_text(comparison: Comparison, form: str) -> str:
    """Return the means with 95 % intervals, a line for each group, in one of `FORMATS`."""
    titles = [metric + which_is_better(metric, " ({})") for metric in comparison.metrics]
    head = ["group", "runs", *titles]
    body = [_cells(row, comparison.metrics) for row in comparison.rows]
    return _markdown(head, body) if form == "markdown" else _latex(head, body)


def notes_text(notes: Sequence[str], form: str) -> str:
    """Return the notes below a table of `as_text`: a list in Markdown, comments in LaTeX."""
    before, mark = ("\n", "- ") if form == "markdown" else ("", "% ")
    written = [printable(note) for note in notes]
    if form == "markdown":
        written = [html.escape(note, quote=False) for note in written]
    return before + "\n".join(f"{mark}{note}" for note in written)


def _cells(row: Row, metrics: Sequence[str]) -> list[str]:
    values = [estimate_text(row.cells[metric].mean) for metric in metrics]
    return [row.group.title or "-", str(len(row.group.finished)), *values]


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines)


def _plain(cell: str) -> str:
    """Return a cell of Markdown without HTML: names come from anywhere."""
    return html.escape(cell, quote=False).replace("|", "\\|")


def _latex(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [" & ".join(map(_escaped, line)) + r" \\" for line in (head, *body)]
    columns = "l" + "r" * (len(head) - 1)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", rows[0], r"\hline", *rows[1:]]
    return "\n".join([*lines, r"\hline", r"\end{tabular}"])


def _escaped(text: str) -> str:
    return "".join(ESCAPED.get(character, character) for character in text)


def records(rows: Sequence[Row], metrics: Sequence[str]) -> list[dict[str, object]]:
    """Return a record for each group and metric: the mean over seeds with its interval.

    ``iqm`` is the interquartile mean; ``lost`` counts the seeds that diverged or have no value,
    which the means leave out.
    """
    return [
        {
            "group": row.group.label,
            "metric": metric,
            "mean": cell.mean.value,
            "low": cell.mean.low,
            "high": cell.mean.high,
            "iqm": cell.iqm.value,
            "seeds": len(cell.values),
            "lost": cell.lost,
        }
        for row in rows
        for metric in metrics
        for cell in [row.cells[metric]]
    ]


def groups_html(rows: Sequence[Row], metrics: Sequence[str], answer: Sequence[str] = ()) -> str:
    """Return sentences and a table of groups with each metric's mean and interval, all escaped."""
    return render(
        "groups.html.j2",
        answer=list(map(printable, answer)),
        heads=[tag_for(metric).title for metric in metrics],
        rows=[
            (
                printable(row.group.title or "-"),
                [estimate_text(row.cells[metric].mean) for metric in metrics],
            )
            for row in rows
        ],
    )
