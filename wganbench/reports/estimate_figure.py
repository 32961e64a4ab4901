"""The critic's estimate of the distance against the exact one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from wganbench.records.palette import REFERENCE
from wganbench.records.text import literal
from wganbench.reports.comparison import Comparison
from wganbench.reports.curve_figures import thinned
from wganbench.reports.drawing import (
    Drawing,
    Look,
    axis_label,
    left_out_text,
    looks,
    new_figure,
    plain,
    runs_text,
    shown_groups,
    some_runs_text,
    with_some_runs,
)
from wganbench.reports.groups import Group
from wganbench.reports.records import RunRecord
from wganbench.reports.statistics import spearman

EXACT = "wasserstein/exact"
FEW = 20
"""Of fewer values none is called far away."""
LARGEST = 1e100
"""Values beyond are no distances any more, and their differences no numbers."""
ESTIMATES = ("wasserstein/estimate_normalized", "wasserstein/estimate")
"""The first that a group has is drawn: the two are in unlike units and never share a panel."""

FEWEST = 8
"""Of fewer points a rank correlation is chance: it is not told."""


def draw_estimate(comparison: Comparison) -> Drawing | None:
    """Every evaluation of every run as a point, a panel for each kind of estimate."""
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
    styles = looks(comparison)
    for i, (tag, groups) in enumerate(panels.items()):
        draw_panel(figure.add_subplot(1, len(panels), i + 1), tag, groups, styles)
    drawn = [group for groups in panels.values() for group in groups]
    caption = (
        "Each point is one evaluation of one run; the rank correlation (Spearman's rho) is taken "
        f"within each run of {FEWEST} points or more, and the key gives its median and range over "
        f"seeds ({runs_text(drawn)}, no band); within a run both quantities follow the step, so a "
        "correlation alone proves little"
        + some_runs_text(shown, whole)
        + left_out_text(comparison, shown)
        + "."
    )
    return Drawing("estimate", title, caption, figure)


def pairs(run: RunRecord, tag: str) -> tuple[list[float], list[float]]:
    """Exact distances and estimates at the steps that have both."""
    exact = dict(zip(*run.curve(EXACT), strict=True))
    estimate = dict(zip(*run.curve(tag), strict=True))
    steps = [step for step in exact if step in estimate]
    return [exact[step] for step in steps], [estimate[step] for step in steps]


def draw_panel(axes: Axes, tag: str, groups: Sequence[Group], styles: dict[str, Look]) -> None:
    handles, labels, all_exact, all_estimates = [], [], [], []
    for group in groups:
        look, correlations = styles[group.label], []
        for run in group.finished:
            exact, estimate = pairs(run, tag)
            correlations.append(spearman(exact, estimate) if len(exact) >= FEWEST else math.nan)
            kept = thinned(range(len(exact)))
            exact, estimate = [exact[i] for i in kept], [estimate[i] for i in kept]
            shown = [pair for pair in zip(exact, estimate, strict=True) if sound(*pair)]
            axes.plot(*np.array(shown).reshape(-1, 2).T, marker=look.marker, linestyle="",
                      markersize=4.5, alpha=0.55, color=look.color, markeredgewidth=0,
                      rasterized=True, gid=group.label)  # fmt: skip
            all_exact += exact
            all_estimates += estimate
        handles.append(Line2D([], [], color=look.color, marker=look.marker, linestyle="",
                              markersize=6))  # fmt: skip
        labels.append(f"{literal(group.label)}: {correlation_text(correlations)}")
    plain(axes, "", "exact $W_1$ (data units)", axis_label(tag))
    widen(axes, all_exact, all_estimates)
    if tag == ESTIMATES[0]:
        top = min(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.plot([0, top], [0, top], **REFERENCE, scalex=False, scaley=False, gid="equal")
        handles.append(Line2D([], [], **REFERENCE))
        labels.append("estimate = exact")
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(-0.02, -0.15), frameon=False,
                fontsize=9.5)  # fmt: skip


def correlation_text(correlations: Sequence[float]) -> str:
    """Median and range over seeds of the correlations that exist.

    >>> correlation_text([0.5, 0.9, math.nan, 0.7])
    'rho .70 (.50 to .90), 3 runs'
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
    """Two decimals, and no zero before the point."""
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.0f}"


def widen(axes: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """Show nearly all points; the few that lie far away are counted in a note."""
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
    """Whether values can be drawn: to others matplotlib's arithmetic comes to no number."""
    return all(abs(value) <= LARGEST for value in values)


def window(values: Sequence[float]) -> tuple[float, float]:
    """Limits that show nearly all values, from 0 where none is below; of few values all.

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
    # Limits that are one number to a computer cannot be drawn.
    edge = max(0.06 * (high - low), 1e-3 * abs(high), 1e-9)
    return min(0.0, low - edge), high + edge
