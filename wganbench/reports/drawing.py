"""Shared parts of a comparison's figures: colours of losses, axis labels, sizes, legends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import BLUE, DPI, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from wganbench.reports.comparison import Comparison
from wganbench.reports.groups import Group
from wganbench.reports.rows import Row, bounds_of
from wganbench.reports.statistics import Bounds
from wganbench.tags import Tag
from wganbench.tags.lookup import label_of, tag_for

CHARACTERS, LINE_HEIGHT = 12.5, 0.2
"""Size of a legend: characters per inch, and the height of a line in inches."""
LOSS_COLOURS = {
    "bce": BLUE,
    "clip": ORANGE,
    "gp": GREEN,
    "lp": SKY,
    "bce_saturating": PURPLE,
    "bce_gp": VERMILION,
    "bce_r1": "#8A6D00",
    "wasserstein": GREY,
}
"""A loss has the same colour in every figure of every comparison."""
OTHERS = ("#222222", "#7A4FA3", "#A0522D", "#4D6A6D")
"""Colours of all other losses, in the order of their names, and of groups of mixed losses."""
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.5, 1.2)),
                          (0, (8, 2, 1, 2, 1, 2)), (0, (3, 3)))  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
DARKEST, LIGHTEST = -0.45, 0.4
"""How far a loss's hue is mixed with black and white if several groups share it."""
SCALE, SCALE_END = "viridis", 0.9
"""Colour scale for groups of one loss, without its pale end, which is invisible on white."""
MOST_GROUPS = 12
"""The most groups in one panel; of more, which the eye cannot tell apart, the best are drawn."""
MOST_RUNS, FEWEST_RUNS = 400, 20
"""The most runs drawn over training in all groups together, and the fewest in each group."""


@dataclass(frozen=True)
class Drawing:
    """A figure that has not been saved yet."""

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class GroupStyle:
    """A group's style: the hue of its loss, and line and marker, which survive grey print."""

    color: str
    line: Any
    marker: str


def colours_of(losses: Iterable[str]) -> dict[str, str]:
    """Return the colour of every loss: its own, or one of `OTHERS` in the order of their names."""
    return {loss: colour for loss, (colour, _) in loss_styles(losses).items()}


def loss_styles(losses: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """Return colour and line of every loss; losses that share one of `OTHERS` have other lines."""
    foreign = sorted(set(losses) - LOSS_COLOURS.keys())
    return {loss: (colour, LINES[0]) for loss, colour in LOSS_COLOURS.items()} | {
        loss: (OTHERS[i % len(OTHERS)], LINES[i // len(OTHERS) % len(LINES)])
        for i, loss in enumerate(foreign)
    }


def hues(comparison: Comparison) -> dict[str, str]:
    """Return the colour of every loss of a comparison."""
    return colours_of(row.group.loss for row in comparison.rows)


def group_styles(comparison: Comparison) -> dict[str, GroupStyle]:
    """Return the style of every group by label: hue by loss, lightness within a loss.

    If all groups have the same loss, the colours come from a scale of several hues instead. It
    goes from dark to light in the order of the groups, which is that of the varied values.
    """
    groups, colors = [row.group for row in comparison.rows], hues(comparison)
    alone = len(groups) > 1 and len({group.loss for group in groups}) == 1
    found = {}
    for i, group in enumerate(groups):
        same = [other.label for other in groups if other.loss == group.loss]
        shift = np.linspace(DARKEST, LIGHTEST, len(same))[same.index(group.label)]
        color = shade(colors[group.loss], float(shift) if len(same) > 1 else 0.0)
        if alone:
            color = to_hex(colormaps[SCALE](SCALE_END * i / (len(groups) - 1)))
        found[group.label] = GroupStyle(color, LINES[i % len(LINES)], MARKERS[i % len(MARKERS)])
    return found


def shade(color: str, shift: float) -> str:
    """Return the colour mixed with white (shift above 0) or black (below 0).

    >>> shade("#808080", 1.0), shade("#808080", 0.0), shade("#808080", -1.0)
    ('#ffffff', '#808080', '#000000')
    """
    end = 1.0 if shift > 0 else 0.0
    red, green, blue = (part + (end - part) * abs(shift) for part in to_rgb(color))
    return to_hex((red, green, blue))


def by_rank(comparison: Comparison, metric: str) -> list[Row]:
    """Return the rows from best to worst mean; groups without any value come last."""
    sign = -1 if tag_for(metric).direction == "up" else 1
    return sorted(comparison.rows, key=lambda row: row.cells[metric].mean.place(sign))


def shown_groups(comparison: Comparison, most: int = MOST_GROUPS) -> list[Group]:
    """Return the groups with finished runs, in order; at most ``most``, the best ones."""
    groups = [row.group for row in comparison.rows if row.group.finished]
    metric = comparison.primary
    if len(groups) > most and metric:
        best = [row.group for row in by_rank(comparison, metric) if row.group.finished][:most]
        return [group for group in groups if group in best]
    return groups[:most]


def with_some_runs(groups: Sequence[Group]) -> list[Group]:
    """Return the groups with only as many finished runs, by seed, as can be drawn."""
    most = max(FEWEST_RUNS, MOST_RUNS // max(1, len(groups)))
    return [replace(group, runs=group.finished[:most]) for group in groups]


def some_runs_text(drawn: Sequence[Group], groups: Sequence[Group]) -> str:
    """Return the remark that only some runs are drawn; empty if all are."""
    pairs = zip(drawn, groups, strict=True)
    if all(len(some.runs) == len(group.finished) for some, group in pairs):
        return ""
    most = max(len(some.runs) for some in drawn)
    whole = max(len(group.finished) for group in groups)
    return f"; drawn are the first {most} runs of a group, by seed, of up to {whole}"


def figure_label(tag: str) -> str:
    """Return a tag's label for figures: ``wasserstein/exact`` is "exact $W_1$"."""
    return label_of(tag).replace("W1", "$W_1$")


def unit_text(tag: Tag) -> str:
    """Return a tag's unit for an axis."""
    return tag.unit.replace("data unit", "data units")


def axis_label(tag: str) -> str:
    """Return a tag's label with its unit."""
    unit = unit_text(tag_for(tag))
    return figure_label(tag) if unit == "modes" else f"{figure_label(tag)} ({unit})"


def runs_text(groups: Iterable[Group]) -> str:
    """Return the number of finished runs per group, for a caption."""
    numbers = [len(group.finished) for group in groups]
    low, high = min(numbers), max(numbers)
    each = f"{low}" if low == high else f"{low} to {high}"
    return f"n = {each} {'runs' if high > 1 else 'run'} a group"


def left_out_text(comparison: Comparison, groups: Sequence[Group]) -> str:
    """Return the remark that only some groups are drawn; empty if all are."""
    total = sum(bool(row.group.finished) for row in comparison.rows)
    return f"; {len(groups)} of {total} groups are drawn" if len(groups) < total else ""


def new_figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(
        figsize=(width, height),
        dpi=DPI,
        layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08),
    )
    figure.suptitle(title, fontsize=13)
    return figure


def sensible_limits(values: Sequence[float], bounds: Bounds) -> tuple[float, float] | None:
    """Return axis limits for values without spread: their bounds, or down or up to 0; else None.

    >>> sensible_limits([7.0, 7.0], (0.0, 8.0)), sensible_limits([0.0], (0.0, math.inf))
    ((0.0, 8.0), (0.0, 1.0))
    """
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    if not values or high - low > 0.05 * max(abs(low), abs(high)):
        return None
    bottom = bounds[0] if math.isfinite(bounds[0]) else min(0.0, 1.25 * low)
    top = bounds[1] if math.isfinite(bounds[1]) else max(0.0, 1.25 * high)
    return bottom, top if top > bottom else bottom + 1.0


def common_bounds(rows: Sequence[Row], metric: str) -> Bounds:
    """Return the possible range of a metric over all groups."""
    every = [bounds_of(metric, row.group.mode_count) for row in rows]
    return min(low for low, _ in every), max(high for _, high in every)


def style_axes(axes: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Set the titles, and draw a pale grid below the data and no box."""
    axes.set_title(title, fontsize=11, loc="left")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def key_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Draw one legend below all panels, with as many columns as fit."""
    room = figure.get_figwidth() * CHARACTERS
    widths = [len(label) + 8 for label in labels]
    columns = len(labels) if sum(widths) <= room else max(1, int(room / max(widths)))
    figure.set_figheight(figure.get_figheight() + LINE_HEIGHT * (-(-len(labels) // columns) - 1))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False,
                  fontsize=9.5, handlelength=3.2)  # fmt: skip


def sample_of(style: GroupStyle) -> Line2D:
    """Return the legend handle of a group."""
    return Line2D([], [], color=style.color, linestyle=style.line, marker=style.marker,
                  markersize=5.5, linewidth=1.8)  # fmt: skip


def keep_in_view(axes: Axes, values: Iterable[float], extremes: Iterable[float] = ()) -> None:
    """Limit the y axis so that a few exploded values do not flatten the others; note it there.

    The axis shows ``values``, from 0 if none is negative; ``extremes`` may lie outside.
    """
    finite = np.array([value for value in values if np.isfinite(value)])
    if not finite.size:
        return
    usual, top = float(np.quantile(finite, 0.9, method="lower")), float(finite.max())
    largest = max([top, *extremes])
    if usual > 0 and top > 2.5 * usual:
        top = 1.5 * usual
    if finite.min() >= 0 and top > 0:
        axes.set_ylim(0, 1.12 * top)
    if largest > 2.5 * top > 0:
        axes.set_ylim(top=1.12 * top)
        axes.text(0.99, 0.98, f"cut: values reach {largest:.2g}", transform=axes.transAxes,
                  ha="right", va="top", fontsize=8.5, color="#444444")  # fmt: skip
