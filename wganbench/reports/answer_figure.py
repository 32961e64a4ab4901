"""The first figure of a report: the groups with intervals, and samples beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from wganbench.drawing.canvas import literal
from wganbench.reports.comparison import Comparison
from wganbench.reports.drawing import (
    Drawing,
    GroupStyle,
    axis_label,
    by_rank,
    common_bounds,
    figure_label,
    group_styles,
    left_out_text,
    new_figure,
    runs_text,
    sensible_limits,
    style_axes,
)
from wganbench.reports.matrix import letters_of
from wganbench.reports.reproduce import seeds_text
from wganbench.reports.rows import Cell, Row
from wganbench.reports.samples_figure import Stored, common_seeds, draw_place, read_stored
from wganbench.reports.setting_figure import varied_setting
from wganbench.tags.lookup import BETTER, tag_for

MOST, WITH_SAMPLES, SEEDS = 40, 8, 3
"""The most groups; the most with samples beside them; the seeds whose samples are shown."""
LONGEST = 40
"""Characters of a group's name beside the axis."""
BELOW, APART, STACKED = 0.2, 0.085, 4
"""Positions of seeds' dots in rows: offset below the mean, step between equal dots, most steps."""
ROW, PLAIN_ROW = 1.3, 0.5
"""Height of a row with and without samples, in inches."""


def draw_answer(comparison: Comparison) -> Drawing | None:
    """Draw the groups with intervals, every seed, letters, and samples of the first seeds.

    The groups stand in the order of a varied number, else from best to worst.
    """
    metric = comparison.primary
    if metric is None or not any(row.cells[metric].mean.n for row in comparison.rows):
        return None
    rows = ordered(comparison, metric)
    groups = [row.group for row in rows]
    seeds = common_seeds(groups)[:SEEDS] if len(rows) <= WITH_SAMPLES else []
    stored = read_stored(groups, seeds)
    shown = seeds if stored.any else []
    title = f"Groups by {figure_label(metric)}"
    height = 1.1 + (ROW if shown else PLAIN_ROW) * len(rows)
    figure = new_figure(7.4 if not shown else 5.6 + ROW * len(shown), height, title)
    widths = [5.0 / ROW, *[1.0] * len(shown)] if shown else [1.0]
    grid = GridSpec(len(rows), len(widths), figure, width_ratios=widths)
    axes = figure.add_subplot(grid[:, 0])
    draw_groups(axes, comparison, rows, metric)
    draw_samples(figure, grid, comparison, stored, shown)
    return Drawing("answer", title, caption(comparison, rows, metric, shown), figure)


def ordered(comparison: Comparison, metric: str) -> list[Row]:
    """Return the rows of finished runs: by a varied number, else from best to worst."""
    best = [row for row in by_rank(comparison, metric) if row.group.finished][:MOST]
    if varied_setting(comparison) is None:
        return best
    return [row for row in comparison.rows if row in best]


def draw_groups(axes: Axes, comparison: Comparison, rows: Sequence[Row], metric: str) -> None:
    """Draw a line a group, with its letters at the right."""
    styles, letters = group_styles(comparison), letters_of(comparison, metric)
    for place, row in enumerate(rows):
        draw_row(axes, place, row, row.cells[metric], styles[row.group.label])
        axes.text(
            *(1.01, place, letters.get(row.group.label, "")),
            transform=axes.get_yaxis_transform(),
            va="bottom",
            fontsize=11,
            fontweight="bold",
            gid="letters",
        )
    style_axes(axes, "", axis_label(metric))
    axes.set_yticks(range(len(rows)), [literal(row.group.title, LONGEST) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    finite = [v for row in rows for v in row.cells[metric].values if math.isfinite(v)]
    if limits := sensible_limits(finite, common_bounds(rows, metric)):
        edge = 0.03 * (limits[1] - limits[0])  # half a dot
        axes.set_xlim(limits[0] - edge, limits[1] + edge)


def draw_samples(
    figure: Figure, grid: GridSpec, comparison: Comparison, stored: Stored, seeds: Sequence[int]
) -> None:
    styles = group_styles(comparison)
    for row, group in enumerate(stored.groups if seeds else ()):
        for column in range(len(seeds)):
            axes = figure.add_subplot(grid[row, column + 1])
            draw_place(axes, stored, row, column, styles[group.label])
            axes.title.set_fontsize(8.5)


def caption(comparison: Comparison, rows: Sequence[Row], metric: str, seeds: Sequence[int]) -> str:
    better = BETTER[tag_for(metric).direction]
    order = (
        "in the order of the varied setting" if varied_setting(comparison) else "from best to worst"
    )
    groups = [row.group for row in rows]
    numbers = f"{'seed' if len(seeds) == 1 else 'seeds'} {seeds_text(seeds)}"
    return (
        f"Groups {order}, by {figure_label(metric)} ({better} is better): the large marker is "
        "the mean of "
        "the runs that did not diverge, the bar its 95 % Student-t interval, each small dot one "
        f"seed ({runs_text(groups)}); more than {STACKED} equal ones are {STACKED} dots and their "
        "number"
        + (
            "; no difference was shown between groups that share a letter"
            if letters_of(comparison, metric)
            else ""
        )
        + (f"; beside them what {numbers} generated at the end" if seeds else "")
        + left_out_text(comparison, groups)
        + "."
    )


def draw_row(axes: Axes, place: int, row: Row, cell: Cell, style: GroupStyle) -> None:
    """Draw one group: its mean, the seeds below it, and a note on diverged runs at the right."""
    finite = [value for value in cell.values if math.isfinite(value)]
    across = [place + BELOW + APART * level for level in stack(finite)]
    axes.plot(finite, across, marker="o", linestyle="", markersize=4, color=style.color, alpha=0.65,
              markeredgewidth=0, gid="seeds")  # fmt: skip
    for value, count in Counter(finite).items():
        if count > STACKED:
            middle = place + BELOW + APART * (STACKED - 1) / 2
            axes.annotate(f"{count} x", (value, middle), (-5, 0), textcoords="offset points",
                          ha="right", va="center", fontsize=8, color=style.color,
                          gid="count")  # fmt: skip
    mean = cell.mean
    if mean.n:
        if math.isfinite(mean.low):
            axes.plot([mean.low, mean.high], [place, place], color=style.color, linewidth=2.2,
                      solid_capstyle="butt", gid="interval")  # fmt: skip
        axes.plot([mean.value], [place], marker=style.marker, color=style.color, markersize=8,
                  linestyle="", gid="mean")  # fmt: skip
    notes = [f"{row.diverged} of {len(row.group.finished)} diverged"] * bool(row.diverged)
    notes += ["no value"] * (not mean.n and not row.diverged)
    if notes:
        axes.text(1.01, place, notes[0], transform=axes.get_yaxis_transform(), va="center",
                  fontsize=9.5)  # fmt: skip


def stack(values: Sequence[float]) -> list[int]:
    """Return for each value how many earlier ones are equal to it, modulo `STACKED`.

    >>> stack([8.0, 7.0, 8.0, 8.0])
    [0, 0, 1, 2]
    """
    seen: Counter[float] = Counter()
    found = []
    for value in values:
        found.append(seen[value] % STACKED)
        seen[value] += 1
    return found
