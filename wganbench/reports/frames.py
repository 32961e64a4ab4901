"""The groups of a comparison as plain records, and as HTML for a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wganbench.errors import printable
from wganbench.reports.page import render
from wganbench.reports.rows import Row
from wganbench.tags.lookup import tag_for


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


def groups_html(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """Return a table of groups with the mean and interval of each metric; texts are escaped."""
    return render(
        "groups.html.j2",
        heads=[tag_for(metric).title for metric in metrics],
        rows=[
            (printable(row.group.title or "-"), [_interval(row, metric) for metric in metrics])
            for row in rows
        ],
    )


def _interval(row: Row, metric: str) -> str:
    cell = row.cells.get(metric)
    if cell is None or not cell.values:
        return ""
    mean = cell.mean
    if math.isnan(mean.low):
        return f"{mean.value:.4g}"
    return f"{mean.value:.4g} [{mean.low:.4g}, {mean.high:.4g}]"
