"""Figures of training curves: means over seeds with their bands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import GREY, REFERENCE, literal, panel_place
from wganbench.reports.comparison import Comparison
from wganbench.reports.drawing import (
    Drawing,
    GroupStyle,
    figure_label,
    group_styles,
    keep_in_view,
    key_below,
    left_out_text,
    new_figure,
    runs_text,
    sample_of,
    shown_groups,
    some_runs_text,
    style_axes,
    unit_text,
    with_some_runs,
)
from wganbench.reports.groups import BUDGETS, Group
from wganbench.reports.rows import bounds_of
from wganbench.reports.statistics import UNBOUNDED, Bounds, mean_interval
from wganbench.runs.record import RunRecord
from wganbench.runs.table import STEP
from wganbench.tags import Tag
from wganbench.tags.lookup import first_of, label_of, shown_in

Points = dict[int, tuple[float, float]]
"""By step: the budget that was spent, and a value."""
POINTS = 200
"""Longer curves are thinned to this number of steps."""
FEW_RUNS = 3
"""Up to this number of runs in a group, each run is drawn too."""


@dataclass(frozen=True)
class MeanCurve:
    """A group's mean over seeds; low and high are nan at steps without an interval."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def draw_curves(comparison: Comparison) -> Drawing | None:
    """Draw the tags of the view "curves" over training, with one line per group."""
    shown = shown_groups(comparison)
    groups = with_some_runs(shown)
    finished = [run for group in groups for run in group.finished]
    panels = first_of(((run.shape, with_curve(run)) for run in finished), "curves")
    if not panels:
        return None
    budget = comparison.at.budget if comparison.at else "generator_steps"
    columns = min(len(panels), 3 if len(panels) > 4 else 2)
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(4.3 * columns, 3.3 * rows + 0.9, "Over training")
    styles = group_styles(comparison)
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(*panel_place(i, len(panels), columns))
        draw_panel(axes, panel, groups, styles, budget)
        if comparison.at:
            axes.axvline(comparison.at.amount, color=GREY, linewidth=1)
    handles = [sample_of(styles[group.label]) for group in groups]
    labels = [literal(group.title) for group in groups]
    if any(panel.floor == FLOOR for panel in panels) and floors(groups):
        handles.append(Line2D([], [], **REFERENCE))
        labels.append("floor (reals against reals)")
    if any(run.diverged for group in groups for run in group.finished):
        handles.append(Line2D([], [], color="black", marker="x", linestyle="", markersize=7))
        labels.append("a run diverged")
    key_below(figure, handles, labels)
    return Drawing("curves", "Over training", caption(comparison, shown, groups, panels), figure)


def with_curve(run: RunRecord) -> set[str]:
    """Return the tags of the view that a run has finite values of."""
    return {
        tag.name
        for tag in shown_in("curves")
        if any(cell is not None and math.isfinite(cell) for cell in run.table.get(tag.name, ()))
    }


def caption(
    comparison: Comparison,
    shown: Sequence[Group],
    groups: Sequence[Group],
    panels: Sequence[Tag],
) -> str:
    few = any(len(group.finished) <= FEW_RUNS for group in groups)
    parts = [
        "Each line is the mean over the seeds of a group and each band its 95 % Student-t "
        f"interval ({runs_text(groups)}), where they differ at all"
    ]
    if any(panel.log_scale for panel in panels):
        parts.append("on logarithmic axes the geometric mean")
    if few:
        parts.append(f"thin lines are single runs where a group has {FEW_RUNS} or fewer")
    if any(run.diverged for group in groups for run in group.finished):
        parts.append("a run that diverged counts until it did")
    if comparison.at:
        parts.append("the upright line is the budget at which the runs are compared")
    left_out = some_runs_text(groups, shown) + left_out_text(comparison, groups)
    return "; ".join(parts) + left_out + "."


def draw_panel(
    axes: Axes, panel: Tag, groups: Sequence[Group], styles: dict[str, GroupStyle], budget: str
) -> None:
    counts = {group.mode_count for group in groups} if panel.unit == "modes" else {None}
    as_share = None not in counts
    unit = "share of modes" if as_share else unit_text(panel)
    title = figure_label(panel.name)
    title = title[:1].upper() + title[1:]
    if as_share and len(counts) == 1:
        title += f" (of {next(iter(counts))})"
    drawn: list[float] = []
    extremes: list[float] = []
    alpha = 0.18 if len(groups) <= 4 else 0.1
    for group in groups:
        divisor = float(group.mode_count or 1) if as_share else 1.0
        curves = [points(run, panel.name, budget, divisor) for run in group.finished]
        low, high = bounds_of(panel.name, group.mode_count)
        bounds = low / divisor, high / divisor
        drawn += draw_group(axes, panel, group, curves, bounds, styles[group.label], alpha)
        extremes += [value for curve in curves for _, value in curve.values()]
    style_axes(axes, title, axis_of(budget), unit)
    if panel.log_scale:
        axes.set_yscale("log")
        keep_decades(axes, drawn)
    elif unit.startswith("share"):
        axes.set_ylim(-0.03, 1.05)
    else:
        keep_in_view(axes, drawn, extremes)
    if panel.floor == FLOOR:
        draw_floors(axes, groups, styles)
    axes.set_xlim(left=0)


def axis_of(budget: str) -> str:
    """Return the label of a budget's axis."""
    column = BUDGETS[budget]
    return "generator steps" if column == STEP else label_of(column)


def draw_group(
    axes: Axes,
    panel: Tag,
    group: Group,
    curves: Sequence[Points],
    bounds: Bounds,
    style: GroupStyle,
    alpha: float,
) -> list[float]:
    """Draw a group's band, mean and, if it has few runs, each run; return the means."""
    curve = mean_curve(curves, log=panel.log_scale, bounds=bounds)
    if not curve.x.size:
        return []
    if len(group.finished) <= FEW_RUNS:
        alpha /= 2  # few runs give wide bands, and single runs must stay visible in them
    axes.fill_between(curve.x, curve.low, curve.high, color=style.color, alpha=alpha, linewidth=0)
    if 1 < len(group.finished) <= FEW_RUNS:
        for single in curves:
            if single:
                x, y = np.array(list(single.values())).T
                axes.plot(x, y, color=style.color, linewidth=0.7, alpha=0.6, gid="single")
    spacing = max(1, len(curve.x) // 6)
    axes.plot(curve.x, curve.mean, color=style.color, linestyle=style.line, linewidth=1.8,
              marker=style.marker, markersize=4.5, markevery=spacing, label=group.label,
              gid="mean")  # fmt: skip
    for run, single in zip(group.finished, curves, strict=True):
        if run.diverged and single:
            x, y = single[max(single)]
            axes.plot([x], [y], color=style.color, marker="x", markersize=7, markeredgewidth=2,
                      linestyle="", gid="diverged")  # fmt: skip
    return [float(value) for value in curve.mean]


def points(run: RunRecord, tag: str, budget: str, divisor: float) -> Points:
    """Return, by step, the spent budget and the value of a tag, if both are known."""
    spent = dict(zip(*run.curve(BUDGETS[budget]), strict=True))
    values = zip(*run.curve(tag), strict=True)
    return {step: (spent[step], value / divisor) for step, value in values if step in spent}


def mean_curve(
    curves: Sequence[Points], log: bool = False, bounds: Bounds = UNBOUNDED
) -> MeanCurve:
    """Return mean and interval at each step at which all runs that have not ended have a value.

    If there is no such step, as on grids without common steps, each step uses the runs that have
    it. With ``log`` it is the geometric mean of the positive values, and its interval is positive
    too; without it intervals are cut at ``bounds``.
    """
    if log:
        curves = [{s: p for s, p in curve.items() if p[1] > 0} for curve in curves]
    known = [curve for curve in curves if curve]
    steps = sorted(set().union(*known))
    going = [step for step in steps if all(step in curve or step > max(curve) for curve in known)]
    chosen = thinned(going if len(going) > 1 else steps)
    table = []
    with np.errstate(over="ignore", invalid="ignore"):
        for step in chosen:
            here = np.array([curve[step] for curve in known if step in curve])
            found = (
                mean_interval(np.log(here[:, 1]))
                if log
                else mean_interval(here[:, 1], bounds=bounds)
            )
            table.append([here[:, 0].mean(), found.value, found.low, found.high])
        x, *estimate = np.array(table, dtype=float).reshape(-1, 4).T
        mean, low, high = np.exp(estimate) if log else estimate
    return MeanCurve(x, mean, low, high)


def thinned(steps: Sequence[int], most: int = POINTS) -> list[int]:
    """Return at most ``most`` evenly spaced steps, including the first and the last."""
    if len(steps) <= most:
        return list(steps)
    return [steps[i] for i in np.linspace(0, len(steps) - 1, most).round().astype(int)]


def keep_decades(axes: Axes, values: Sequence[float]) -> None:
    """Limit a logarithmic axis to the means, so that wide bands do not stretch it."""
    if values:
        axes.set_ylim(min(values) / 4, max(values) * 4)


def floors(groups: Sequence[Group]) -> dict[str, float]:
    """Return the mean floor, by label, of each group that has one."""
    found = {}
    for group in groups:
        last = [values[-1] for run in group.finished if (values := run.curve(FLOOR)[1])]
        if last:
            found[group.label] = float(np.mean(last))
    return found


FLOOR = "wasserstein/floor"
ALIKE = 1.05
"""Floors within this ratio differ only by the drawn points and share one line."""


def draw_floors(axes: Axes, groups: Sequence[Group], styles: dict[str, GroupStyle]) -> None:
    """Draw one dotted line if all groups have about the same floor, else one per group."""
    found = floors(groups)
    if not found:
        return
    if max(found.values()) <= ALIKE * min(found.values()):
        axes.axhline(float(np.mean(list(found.values()))), **REFERENCE, gid="floor")
        return
    for label, floor in found.items():
        axes.axhline(floor, **REFERENCE | {"color": styles[label].color}, gid="floor")
