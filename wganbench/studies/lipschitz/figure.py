"""The figure of `lipschitz`: slopes against lambda and c, and through training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import REFERENCE
from wganbench.reports.drawing import LOSS_COLOURS, key_below, new_figure, shade, style_axes
from wganbench.studies.lipschitz.measure import Row

CURVES: tuple[tuple[str, str, Any, str, float], ...] = (
    ("spectral_product", "product of spectral norms (upper bound)", (0, (1.5, 1.2)), "", -0.5),
    ("largest", "largest slope found (lower bound)", "-", "^", -0.25),
    ("interpolates", "mean at interpolates", "-", "o", 0.0),
    ("reals", "mean at reals", (0, (5, 1.5)), "s", 0.1),
    ("fakes", "mean at fakes", (0, (5, 1.5, 1, 1.5)), "D", 0.2),
    ("between", "mean half-way between reals", (0, (3, 3)), "v", 0.3),
    ("outside", "mean far outside", (0, (8, 2, 1, 2)), "X", 0.4),
)
"""Key, words, line, marker, and how much lighter (or darker) than the loss's colour."""
TITLES = {"gp": "GP", "lp": "LP, one-sided", "clip": "Weight clipping"}
COURSES = (("clip", math.inf, "no constraint", "-"), ("clip", 0.1, "clip, c = 0.1", "--"),
           ("gp", 0.1, "GP, $\\lambda$ = 0.1", (0, (5, 1.5, 1, 1.5))),
           ("gp", 10.0, "GP, $\\lambda$ = 10", "-"),
           ("lp", 10.0, "LP, $\\lambda$ = 10", ":"))  # fmt: skip


def draw(rows: Sequence[Row]) -> Figure:
    """Draw slopes by coefficient in three panels, and courses in the fourth.

    The panel of lp has the vertical axis of gp's.
    """
    figure = new_figure(
        13.4, 5.2, "How steep critics are, where the constraint looks and elsewhere"
    )
    panels = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.15])
    for axes, loss in zip(panels, TITLES, strict=False):
        symbol = "clip value $c$" if loss == "clip" else r"penalty weight $\lambda$"
        style_axes(axes, TITLES[loss], symbol, r"slope $\|\nabla_x D\|$ (score per data unit)"
              if loss == "gp" else "")  # fmt: skip
        by_coefficient(axes, [row for row in rows if row["loss"] == loss])
        if loss == "lp":
            axes.sharey(panels[0])
    style_axes(panels[3], "Through training", "critic steps", "largest slope at the points seen")
    through_training(panels[3], rows)
    handles = [
        Line2D([], [], color=shade("#555555", shift), linestyle=line, marker=marker, markersize=5)
        for _, _, line, marker, shift in CURVES
    ]
    labels = [words for _, words, _, _, _ in CURVES]
    key_below(figure, [*handles, Line2D([], [], **REFERENCE)], [*labels, "slope 1"])
    return figure


def by_coefficient(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw medians over seeds, and a band of all seeds around the largest slope."""
    values = sorted({row["coefficient"] for row in rows})
    places = np.arange(len(values))
    for key, _, line, marker, shift in CURVES:
        groups = [[row[key] for row in rows if row["coefficient"] == value] for value in values]
        color = shade(LOSS_COLOURS[rows[0]["loss"]], shift)
        axes.plot(places, [middle(group) for group in groups], color=color, linestyle=line,
                  marker=marker, markersize=4.5, linewidth=1.5)  # fmt: skip
        if key == "largest":
            low, high = ([end(group) for group in map(known, groups)] for end in (least, most))
            axes.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
    axes.axhline(1, **REFERENCE)
    axes.set_yscale("log")
    axes.set_xticks(places, ["$\\infty$" if math.isinf(v) else f"{v:g}" for v in values])


def through_training(axes: Axes, rows: Sequence[Row]) -> None:
    for loss, value, label, line in COURSES:
        own = [r for r in rows if r["loss"] == loss and r["coefficient"] == value]
        if not own:
            continue
        color = LOSS_COLOURS["wasserstein" if math.isinf(value) else loss]
        color = shade(color, -0.4) if value == 10 and loss == "gp" else color
        steps = [step for step, _ in own[0]["course"]]
        columns = zip(*([slope for _, slope in row["course"]] for row in own), strict=True)
        groups = [known(list(column)) for column in columns]
        axes.plot(steps, [middle(group) for group in groups], color=color, linestyle=line,
                  linewidth=1.8, label=label)  # fmt: skip
        axes.fill_between(steps, [least(g) for g in groups], [most(g) for g in groups],
                          color=color, alpha=0.2, linewidth=0)  # fmt: skip
    axes.axhline(1, **REFERENCE)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8.5, handlelength=3)


def known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def middle(values: Sequence[float | None]) -> float:
    finite = known(values)
    return float(np.median(finite)) if finite else math.nan


def least(values: Sequence[float]) -> float:
    return min(values, default=math.nan)


def most(values: Sequence[float]) -> float:
    return max(values, default=math.nan)
