"""The figure of the metrics against the one number that was varied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from wganbench.drawing.canvas import literal, panel_place
from wganbench.reports.comparison import Comparison
from wganbench.reports.drawing import (
    MARKERS,
    Drawing,
    GroupStyle,
    axis_label,
    group_styles,
    hues,
    key_below,
    new_figure,
    runs_text,
    style_axes,
)
from wganbench.reports.groups import FIRST, last_part
from wganbench.reports.rows import Row

ASIDE = 0.015
"""Shift of seeds and further losses beside their value, as a share of the axis."""
MOST_TICKS = 9
"""Up to this number of values, each has a tick on the axis."""


@dataclass(frozen=True)
class Series:
    """The groups that differ only in the setting, in the order of its values."""

    label: str
    style: GroupStyle
    values: tuple[float, ...]
    rows: tuple[Row, ...]


def varied_setting(comparison: Comparison) -> str | None:
    """Return the only key that varies besides loss and data, if it is a number, else None."""
    values: dict[str, set[object]] = {}
    for row in comparison.rows:
        for key, value in row.group.values:
            if key not in FIRST and value is not None:
                values.setdefault(key, set()).add(value)
    varied = {key for key, found in values.items() if len(found) > 1}
    if len(varied) != 1:
        return None
    (key,) = varied
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values[key])
    return key if numbers else None


def draw_setting(comparison: Comparison) -> Drawing | None:
    """Draw each metric against the setting: mean, interval, seeds, diverged."""
    key = varied_setting(comparison)
    metrics = [m for m in comparison.metrics if any(r.cells[m].mean.n for r in comparison.rows)]
    if key is None or not metrics:
        return None
    lines, without = series_of(comparison, key)
    columns = min(2, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    name = last_part(key)
    title = f"What {literal(name)} does"
    width = max(4.6 * columns, 6.0)
    figure = new_figure(width, 3.6 * rows + 0.9, title)
    for i, metric in enumerate(metrics):
        axes = figure.add_subplot(*panel_place(i, len(metrics), columns))
        draw_metric(axes, metric, key, lines, without)
    handles = [
        Line2D([], [], color=line.style.color, linestyle=line.style.line,
               marker=line.style.marker if line.values else "")
        for line in [*lines, *without]
    ]  # fmt: skip
    labels = [literal(line.label) for line in lines] + [
        without_text(line, name) for line in without
    ]
    key_below(figure, handles, labels)
    groups = [row.group for line in [*lines, *without] for row in line.rows]
    caption = (
        f"Each metric against {key}{axis_words(lines)}: the mean over the runs that did not "
        f"diverge with its 95 % Student-t interval, a small dot a seed ({runs_text(groups)})"
        + ("; the share of runs that diverged stands on top" if any_lost(lines) else "")
        + "."
    )
    return Drawing("setting", title, caption, figure)


def axis_words(lines: Sequence[Series]) -> str:
    """Return in words how the settings are spaced."""
    scale = scale_of([value for line in lines for value in line.values])
    return {"log": " on a logarithmic axis", "symlog": " on a logarithmic axis with 0"}.get(
        scale, ""
    )


def scale_of(values: Sequence[float]) -> str:
    """Return matplotlib's name of the axis for these settings."""
    positive = [value for value in values if value > 0]
    if not positive:
        return "linear"
    return "log" if len(positive) == len(values) else "symlog"


def without_text(line: Series, name: str) -> str:
    """Return the legend label of a group without the setting."""
    lost, runs = line.rows[0].diverged, len(line.rows[0].group.finished)
    return (
        f"{literal(line.label)} (has no {literal(name)}"
        + f"; {lost} of {runs} diverged" * bool(lost)
        + ")"
    )


def any_lost(lines: Sequence[Series]) -> bool:
    return any(row.diverged for line in lines for row in line.rows)


def series_of(comparison: Comparison, key: str) -> tuple[list[Series], list[Series]]:
    """Return one series per loss and data with the setting, then the groups without the setting."""
    styles, colors = group_styles(comparison), hues(comparison)
    members: dict[str, list[tuple[float | None, Row]]] = {}
    for row in comparison.rows:
        if not row.group.finished:
            continue
        value = dict(row.group.values).get(key)
        rest = " ".join(
            str(v) for k, v in row.group.values if k in FIRST and v is not None
        )  # fmt: skip
        number = float(value) if isinstance(value, int | float) else None
        members.setdefault(rest or row.group.loss or "all runs", []).append((number, row))
    lines: list[Series] = []
    without: list[Series] = []
    for label, own in members.items():
        known = sorted(((v, row) for v, row in own if v is not None), key=lambda pair: pair[0])
        rows = tuple(row for _, row in known or own)
        first = rows[0].group
        marker = MARKERS[len(lines) % len(MARKERS)]
        style = GroupStyle(colors[first.loss], styles[first.label].line, marker)
        if known:
            lines.append(Series(label, style, tuple(v for v, _ in known), rows))
        else:
            without.append(Series(label, style, (), rows))
    return lines, without


def draw_metric(
    axes: Axes, metric: str, key: str, lines: Sequence[Series], without: Sequence[Series]
) -> None:
    values = sorted({value for line in lines for value in line.values})
    for i, line in enumerate(lines):
        draw_line(axes, metric, line, shift(values, i - (len(lines) - 1) / 2))
    for line in without:
        mean = line.rows[0].cells[metric].mean
        if mean.n:
            style = line.style
            axes.axhline(mean.value, color=style.color, linestyle=style.line, linewidth=1.6,
                         gid="without")  # fmt: skip
    style_axes(axes, "", literal(key), axis_label(metric))
    axes.update_datalim([(value, 0) for value in values], updatey=False)
    scale = scale_of(values)
    if scale == "log":
        axes.set_xscale("log")
    elif scale == "symlog":
        axes.set_xscale("symlog", linthresh=min(value for value in values if value > 0))
    if len(values) <= MOST_TICKS:
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())
    lost = lost_text(lines, values)
    for value, text in lost.items():
        axes.annotate(text, (value, 1.0), xycoords=axes.get_xaxis_transform(), ha="center",
                      va="bottom", fontsize=8.5, xytext=(0, 3), textcoords="offset points",
                      gid="lost")  # fmt: skip
    most = max((text.count("\n") + 1 for text in lost.values()), default=0)
    axes.set_title(" ", pad=12 * most)


def shift(values: Sequence[float], places: float) -> float:
    """Return the factor that moves marks slightly beside their value on a logarithmic axis.

    >>> shift([1.0, 100.0], 0.0), round(shift([1.0, 100.0], 1.0), 3)
    (1.0, 1.072)
    """
    positive = [value for value in values if value > 0]
    return float((max(positive) / min(positive)) ** (ASIDE * places)) if positive else 1.0


def draw_line(axes: Axes, metric: str, line: Series, factor: float) -> None:
    """Draw the connected means, their intervals, and the seeds beside them."""
    cells = [row.cells[metric] for row in line.rows]
    style, places = line.style, [value * factor for value in line.values]
    beside = shift(line.values, 0.5)
    for x, cell in zip(places, cells, strict=True):
        finite = [value for value in cell.values if math.isfinite(value)]
        axes.plot([x * beside] * len(finite), finite, marker="o", linestyle="", markersize=4,
                  alpha=0.6, color=style.color, markeredgewidth=0, gid="seeds")  # fmt: skip
        if math.isfinite(cell.mean.low):
            axes.plot([x, x], [cell.mean.low, cell.mean.high], color=style.color, linewidth=2,
                      gid="interval")  # fmt: skip
    means = np.array([cell.mean.value for cell in cells])
    axes.plot(places, means, color=style.color, linestyle=style.line, marker=style.marker,
              markersize=7, linewidth=1.6, markeredgecolor="white", gid="mean")  # fmt: skip


def lost_text(lines: Sequence[Series], values: Sequence[float]) -> dict[float, str]:
    """Return, by value of the setting, the share of runs that diverged, if any did."""
    found: dict[float, list[str]] = {value: [] for value in values}
    for line in lines:
        for value, row in zip(line.values, line.rows, strict=True):
            if row.diverged:
                name = f"{literal(line.label)} " if len(lines) > 1 else ""
                share = row.diverged / len(row.group.finished)
                found[value].append(f"{name}{share:.0%} diverged")
    return {value: "\n".join(texts) for value, texts in found.items() if texts}
