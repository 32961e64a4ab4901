"""What every seed came to: the ranking of groups and their performance profiles."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from wganbench.records.tags import tag_for
from wganbench.records.text import literal
from wganbench.reports.comparison import Comparison
from wganbench.reports.drawing import (
    Drawing,
    Look,
    axis_label,
    by_rank,
    common_bounds,
    key_below,
    left_out_text,
    looks,
    new_figure,
    plain,
    ranked_metric,
    runs_text,
    sample_of,
    sensible_limits,
    shown_groups,
    words,
)
from wganbench.reports.rows import Cell, Row

MOST_RANKED = 40
LONGEST = 40
"""Characters of a group's name beside the axis."""
BELOW, APART, STACKED = 0.2, 0.085, 4
"""Where the dots of seeds lie, in rows: under the mean, equal ones under each other."""


def draw_ranking(comparison: Comparison) -> Drawing | None:
    """Groups from best to worst mean, with intervals, every seed, and how many diverged."""
    metric = ranked_metric(comparison)
    if metric is None or not any(row.cells[metric].mean.n for row in comparison.rows):
        return None
    rows = [row for row in by_rank(comparison, metric) if row.group.finished][:MOST_RANKED]
    styles = looks(comparison)
    title = f"Groups by {words(metric)}"
    figure = new_figure(7.4, 1.7 + 0.5 * len(rows), title)
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        draw_row(axes, place, row, row.cells[metric], styles[row.group.label])
    plain(axes, "", axis_label(metric))
    axes.set_yticks(range(len(rows)), [literal(row.group.label, LONGEST) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    finite = [v for row in rows for v in row.cells[metric].values if math.isfinite(v)]
    if limits := sensible_limits(finite, common_bounds(rows, metric)):
        edge = 0.03 * (limits[1] - limits[0])  # half a dot
        axes.set_xlim(limits[0] - edge, limits[1] + edge)
    better = "higher" if tag_for(metric).direction == "up" else "lower"
    groups = [row.group for row in rows]
    caption = (
        f"Groups from best to worst by the mean of {words(metric)} ({better} is better): the large "
        "marker is the mean of the runs that did not diverge, the bar its 95 % Student-t "
        f"interval, each small dot one seed ({runs_text(groups)})"
        + left_out_text(comparison, groups)
        + "."
    )
    return Drawing("ranking", title, caption, figure)


def draw_row(axes: Axes, place: int, row: Row, cell: Cell, look: Look) -> None:
    """One group: its seeds below its mean, the diverged in words at the right."""
    finite = [value for value in cell.values if math.isfinite(value)]
    across = [place + BELOW + APART * level for level in stack(finite)]
    axes.plot(finite, across, marker="o", linestyle="", markersize=4, color=look.color, alpha=0.65,
              markeredgewidth=0, gid="seeds")  # fmt: skip
    mean = cell.mean
    if mean.n:
        if math.isfinite(mean.low):
            axes.plot([mean.low, mean.high], [place, place], color=look.color, linewidth=2.2,
                      solid_capstyle="butt", gid="interval")  # fmt: skip
        axes.plot([mean.value], [place], marker=look.marker, color=look.color, markersize=8,
                  linestyle="", gid="mean")  # fmt: skip
    notes = [f"{row.diverged} of {len(row.group.finished)} diverged"] * bool(row.diverged)
    notes += ["no value"] * (not mean.n and not row.diverged)
    if notes:
        axes.text(1.01, place, notes[0], transform=axes.get_yaxis_transform(), va="center",
                  fontsize=9.5)  # fmt: skip


def stack(values: Sequence[float]) -> list[int]:
    """For each value how many earlier ones are equal to it.

    >>> stack([8.0, 7.0, 8.0, 8.0])
    [0, 0, 1, 2]
    """
    seen: Counter[float] = Counter()
    found = []
    for value in values:
        found.append(seen[value] % STACKED)
        seen[value] += 1
    return found


def draw_profile(comparison: Comparison) -> Drawing | None:
    """For each threshold the share of a group's runs that reach it."""
    metric = ranked_metric(comparison)
    if metric is None:
        return None
    groups = [
        group for group in shown_groups(comparison)
        if comparison.by_label[group.label].cells[metric].values
    ]  # fmt: skip
    cells = {group.label: comparison.by_label[group.label].cells[metric] for group in groups}
    finite = [v for cell in cells.values() for v in cell.values if math.isfinite(v)]
    if not finite:
        return None
    up = tag_for(metric).direction == "up"
    edge = 0.05 * (max(finite) - min(finite)) or 0.05 * abs(max(finite)) or 1.0
    window = min(finite) - edge, max(finite) + edge
    shown = [comparison.by_label[group.label] for group in groups]
    if limits := sensible_limits(finite, common_bounds(shown, metric)):
        edge = 0.05 * (limits[1] - limits[0])
        window = limits[0] - edge, limits[1] + edge
    styles = looks(comparison)
    title = f"How many runs get how far: {words(metric)}"
    figure = new_figure(7.6, 4.9, title)
    axes = figure.add_subplot()
    for group in groups:
        look = styles[group.label]
        x, share = profile(cells[group.label].values, up, window)
        axes.plot(x, share, color=look.color, linestyle=look.line, linewidth=2,
                  drawstyle="steps-pre" if up else "steps-post", marker=look.marker, markersize=5,
                  markevery=slice(1, len(x) - 1), label=group.label)  # fmt: skip
    word = "at least" if up else "at most"
    plain(axes, "", f"threshold: {axis_label(metric)}", f"share of runs with {word} this")
    axes.set(xlim=window, ylim=(-0.03, 1.05))
    labels = []
    for group in groups:
        values = cells[group.label].values
        lost = sum(map(math.isnan, values))
        labels.append(
            f"{literal(group.label)} (n = {len(values)}" + f", {lost} diverged" * bool(lost) + ")"
        )
    key_below(figure, [sample_of(styles[group.label]) for group in groups], labels)
    caption = (
        f"For each value of {words(metric)} the share of a group's runs that come to {word} it "
        f"({runs_text(groups)}, one a seed; diverged ones never do): the higher line is "
        "better, and no band is drawn because every run is in the line"
        + left_out_text(comparison, groups)
        + "."
    )
    return Drawing("profile", title, caption, figure)


def profile(
    values: tuple[float, ...], up: bool, window: tuple[float, float]
) -> tuple[list[float], list[float]]:
    """Corners of the step curve: the share of values at least (``up``) or at most each one.

    A value that is nan is one of a diverged run, which reaches nothing.

    >>> profile((1.0, 3.0, 3.0, math.nan), True, (0.0, 4.0))
    ([0.0, 1.0, 3.0, 4.0], [0.75, 0.75, 0.5, 0.0])
    """
    corners = sorted({window[0], *(v for v in values if math.isfinite(v)), window[1]})
    ordered = np.sort([v if up else -v for v in values if math.isfinite(v)])
    edges = [x if up else -x for x in corners]
    reached = ordered.size - np.searchsorted(ordered, edges, side="left")
    return corners, [float(count) / len(values) for count in reached]
