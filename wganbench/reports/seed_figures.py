"""Figures with every seed: performance profiles, and the estimate against exact W1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import REFERENCE, literal
from wganbench.reports.comparison import Comparison
from wganbench.reports.curve_figures import thinned
from wganbench.reports.drawing import (
    Drawing,
    GroupStyle,
    axis_label,
    common_bounds,
    figure_label,
    group_styles,
    key_below,
    left_out_text,
    new_figure,
    runs_text,
    sample_of,
    sensible_limits,
    shown_groups,
    some_runs_text,
    style_axes,
    with_some_runs,
)
from wganbench.reports.groups import Group
from wganbench.reports.rows import Row
from wganbench.reports.statistics import spearman
from wganbench.runs.record import RunRecord
from wganbench.tags.lookup import EXACT, bias_text, tag_for


def draw_profile(comparison: Comparison) -> Drawing | None:
    """Draw, for each threshold, the share of a group's runs that reach it."""
    metric = comparison.primary
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
    styles = group_styles(comparison)
    title = f"How many runs get how far: {figure_label(metric)}"
    figure = new_figure(7.6, 4.9, title)
    axes = figure.add_subplot()
    for group in groups:
        style = styles[group.label]
        x, share = profile(cells[group.label].values, up, window)
        axes.plot(x, share, color=style.color, linestyle=style.line, linewidth=2,
                  drawstyle="steps-pre" if up else "steps-post", marker=style.marker, markersize=5,
                  markevery=slice(1, len(x) - 1), label=group.label)  # fmt: skip
    word = "at least" if up else "at most"
    style_axes(axes, "", f"threshold: {axis_label(metric)}", f"share of runs with {word} this")
    axes.set(xlim=window, ylim=(-0.03, 1.05))
    labels = [f"{literal(row.group.title)} (n = {runs_of(row, metric)})" for row in shown]
    key_below(figure, [sample_of(styles[group.label]) for group in groups], labels)
    caption = (
        f"For each value of {figure_label(metric)} the share of a group's runs that come to "
        f"{word} it "
        f"({runs_text(groups)}, one a seed; those without a value never do): the higher line is "
        "better, and no band is drawn because every run is in the line"
        + left_out_text(comparison, groups)
        + "."
    )
    return Drawing("profile", title, caption, figure)


def runs_of(row: Row, metric: str) -> str:
    """Return the number of a group's runs, and of those without a value by cause."""
    cell = row.cells[metric]
    lost = [(row.diverged, "diverged"), (cell.undefined, "without a value")]
    return ", ".join([str(len(cell.values)), *(f"{n} {cause}" for n, cause in lost if n)])


def profile(
    values: tuple[float, ...], up: bool, window: tuple[float, float]
) -> tuple[list[float], list[float]]:
    """Return corners of the step curve: the share of values at least (``up``) or at most each.

    A nan is the value of a diverged run, which reaches no threshold.

    >>> profile((1.0, 3.0, 3.0, math.nan), True, (0.0, 4.0))
    ([0.0, 1.0, 3.0, 4.0], [0.75, 0.75, 0.5, 0.0])
    """
    corners = sorted({window[0], *(v for v in values if math.isfinite(v)), window[1]})
    ordered = np.sort([v if up else -v for v in values if math.isfinite(v)])
    edges = [x if up else -x for x in corners]
    reached = ordered.size - np.searchsorted(ordered, edges, side="left")
    return corners, [float(count) / len(values) for count in reached]


# The critic's estimate of W1 against the exact one.
FEW = 20
"""With fewer values no value counts as an outlier."""
LARGEST = 1e100
"""Larger values are not drawn, because their differences overflow."""
ESTIMATES = ("wasserstein/estimate_normalized", "wasserstein/estimate")
"""The first one that a group has is drawn; they differ in units and never share a panel."""

FEWEST = 8
"""With fewer points a rank correlation is chance and is not shown."""


def draw_estimate(comparison: Comparison) -> Drawing | None:
    """Draw every evaluation of every run as a point, with a panel per kind of estimate."""
    whole = shown_groups(comparison)
    shown = with_some_runs(whole)
    panels: dict[str, list[Group]] = {}
    for tag in ESTIMATES:
        for group in shown:
            placed = any(group in groups for groups in panels.values())
            if not placed and any(pairs(run, tag)[0] for run in group.finished):
                panels.setdefault(tag, []).append(group)
    if not panels:
        return None
    title = "The critic's estimate against the exact distance"
    longest = max(map(len, panels.values()))
    figure = new_figure(5.4 * len(panels) + 0.6, 4.7 + 0.22 * longest, title)
    styles = group_styles(comparison)
    for i, (tag, groups) in enumerate(panels.items()):
        draw_panel(figure.add_subplot(1, len(panels), i + 1), tag, groups, styles)
    drawn = [group for groups in panels.values() for group in groups]
    shapes = dict.fromkeys(run.shape for group in drawn for run in group.runs)
    biased = [text for shape in shapes if (text := bias_text(EXACT, shape))]
    caption = (
        "Each point is one evaluation of one run; the rank correlation (Spearman's rho) is taken "
        f"within each run of {FEWEST} points or more, and the key gives its median and range over "
        f"seeds ({runs_text(drawn)}, no band); within a run both quantities follow the step, so a "
        "correlation alone proves little"
        + "".join(f"; {text}" for text in biased)
        + some_runs_text(shown, whole)
        + left_out_text(comparison, shown)
        + "."
    )
    return Drawing("estimate", title, caption, figure)


def pairs(run: RunRecord, tag: str) -> tuple[list[float], list[float]]:
    """Return the exact distances and the estimates at the steps that have both."""
    exact = dict(zip(*run.curve(EXACT), strict=True))
    estimate = dict(zip(*run.curve(tag), strict=True))
    steps = [step for step in exact if step in estimate]
    return [exact[step] for step in steps], [estimate[step] for step in steps]


def draw_panel(
    axes: Axes, tag: str, groups: Sequence[Group], styles: dict[str, GroupStyle]
) -> None:
    handles, labels, all_exact, all_estimates = [], [], [], []
    for group in groups:
        style, correlations = styles[group.label], []
        for run in group.finished:
            exact, estimate = pairs(run, tag)
            correlations.append(spearman(exact, estimate) if len(exact) >= FEWEST else math.nan)
            kept = thinned(range(len(exact)))
            exact, estimate = [exact[i] for i in kept], [estimate[i] for i in kept]
            shown = [pair for pair in zip(exact, estimate, strict=True) if sound(*pair)]
            axes.plot(*np.array(shown).reshape(-1, 2).T, marker=style.marker, linestyle="",
                      markersize=4.5, alpha=0.55, color=style.color, markeredgewidth=0,
                      rasterized=True, gid=group.label)  # fmt: skip
            all_exact += exact
            all_estimates += estimate
        handles.append(Line2D([], [], color=style.color, marker=style.marker, linestyle="",
                              markersize=6))  # fmt: skip
        labels.append(f"{literal(group.title)}: {correlation_text(correlations)}")
    style_axes(axes, "", "exact $W_1$ (data units)", axis_label(tag))
    widen(axes, all_exact, all_estimates)
    if tag == ESTIMATES[0]:
        top = min(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.plot([0, top], [0, top], **REFERENCE, scalex=False, scaley=False, gid="equal")
        handles.append(Line2D([], [], **REFERENCE))
        labels.append("estimate = exact")
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(-0.02, -0.15), frameon=False,
                fontsize=9.5)  # fmt: skip


def correlation_text(correlations: Sequence[float]) -> str:
    """Return the median and range over seeds of the known correlations, as text.

    >>> correlation_text([0.5, 0.9, math.nan, 0.7])
    'rho 0.70 (0.50 to 0.90), 3 runs'
    >>> correlation_text([math.nan])
    'rho not known'
    """
    known = [value for value in correlations if math.isfinite(value)]
    if not known:
        return "rho not known"
    middle = short(float(np.median(known)))
    if len(known) == 1:
        return f"rho {middle}, 1 run"
    return f"rho {middle} ({short(min(known))} to {short(max(known))}), {len(known)} runs"


def short(value: float) -> str:
    """Return a correlation with two decimals; 1 and -1 without decimals."""
    return f"{value:.2f}" if abs(value) < 0.995 else f"{value:.0f}"


def widen(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Set limits that show nearly all points, and note how many lie outside."""
    bounds = [window(values) for values in (x, y)]
    axes.set(xlim=bounds[0], ylim=bounds[1])
    outside = sum(
        not (bounds[0][0] <= a <= bounds[0][1] and bounds[1][0] <= b <= bounds[1][1])
        for a, b in zip(x, y, strict=True)
    )
    if outside:
        axes.text(0.99, 0.01, f"{outside} of {len(x)} points lie outside",
                  transform=axes.transAxes, ha="right", va="bottom", fontsize=8.5)  # fmt: skip


def sound(*values: float) -> bool:
    """Return whether matplotlib can draw the values without an overflow."""
    return all(abs(value) <= LARGEST for value in values)


def window(values: Sequence[float]) -> tuple[float, float]:
    """Return limits that show nearly all values (all of few), from 0 if none is negative.

    >>> window([]), window([2.0])
    ((0.0, 1.0), (0.0, 2.002))
    """
    known = np.array([value for value in values if sound(value)])
    if not known.size:
        return 0.0, 1.0
    if known.size >= FEW:
        low = float(np.quantile(known, 0.05, method="higher"))
        high = float(np.quantile(known, 0.95, method="lower"))
        room = max(1.5 * (high - low), 1e-9)
        known = known[(known >= low - room) & (known <= high + room)]
    low, high = float(known.min()), float(known.max())
    # Limits that are equal in floating point cannot be drawn.
    edge = max(0.06 * (high - low), 1e-3 * abs(high), 1e-9)
    return min(0.0, low - edge), high + edge
