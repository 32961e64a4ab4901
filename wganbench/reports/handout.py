"""The handout of a comparison: one HTML page that prints on one sheet."""

from __future__ import annotations

from pathlib import Path

from wganbench.files import write_atomic
from wganbench.reports.comparison import Comparison
from wganbench.reports.page import embedded, render
from wganbench.reports.report import title_of
from wganbench.reports.reproduce import seeds_text
from wganbench.reports.wording import estimate_text
from wganbench.tags.lookup import BETTER, tag_for

MOST_METRICS = 3


def write_handout(comparison: Comparison, folder: Path) -> Path:
    """Write folder/handout.html atomically; raises OSError.

    It shows the samples of all groups, their means with intervals, and what each metric means.
    The figure is that of the report, which must have been written to ``folder`` before.
    """
    metrics = comparison.metrics[:MOST_METRICS]
    figure = folder / "figures" / "samples.png"
    page = render(
        "handout.html.j2",
        title=title_of(comparison),
        figure=embedded(figure) if figure.is_file() else "",
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
