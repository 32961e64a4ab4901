"""The figures of the study of value surfaces: contours, and the numbers measured on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import REAL, SCORES
from wganbench.reports.drawing import (
    LOSS_COLOURS,
    MARKERS,
    key_below,
    new_figure,
    shade,
    style_axes,
)
from wganbench.studies.value_surfaces.measure import DATA, GRID, REACH, target_of
from wganbench.training.streams import stream_generator

Rows = Sequence[Mapping[str, Any]]

TITLES = {"ring8": "8 Gaussians", "grid25": "25 Gaussians", "swiss_roll": "Swiss roll"}
LEVELS = 14
"""Contours of a surface, evenly spaced between its lowest and highest value."""
SHOWN_POINTS = 400
PANELS = {
    "higher_moments": "Not explained by a quadratic",
    "beyond_gaussian": "Owed to moments above the second",
    "attainment": "Dual attainment",
}
UNITS = {
    "higher_moments": "share of D's variance",
    "beyond_gaussian": "share of the estimate",
    "attainment": "estimate / (slope × $W_1$)",
}


def arm_label(name: str) -> str:
    """Return an arm's name in words: ``clip 0.01`` is "clipping, c = 0.01"."""
    loss, number = name.split(" ")
    return f"clipping, c = {number}" if loss == "clip" else f"GP, λ = {number}"


def surfaces_figure(rows: Rows, names: Sequence[str]) -> Figure:
    """Draw contours of the first seed's critic: one row per data set, one column per arm."""
    title = "Value surfaces D(x), generator fixed at the data plus N(0, I)"
    figure = new_figure(3.1 * len(names) + 0.6, 10.2, title)
    panels = figure.subplots(len(DATA), len(names), squeeze=False)
    for i, data in enumerate(DATA):
        points = target_of(data).sample(SHOWN_POINTS, stream_generator(0, "figure", 0)).numpy()
        for j, name in enumerate(names):
            title = f"{TITLES[data]}: {arm_label(name)}"
            draw_surface(panels[i, j], surface_of(rows, name, data), points, title)
    figure.supxlabel("x₁ (data units); light where the critic is high; dots: data", fontsize=10)
    return figure


def surface_of(rows: Rows, name: str, data: str) -> np.ndarray | None:
    """Return the kept surface of one arm on one data set; None if its run diverged."""
    for row in rows:
        if (row["arm"], row["data"]) == (name, data) and row["surface"] is not None:
            return np.asarray(row["surface"]).reshape(GRID, GRID)
    return None


def draw_surface(axes: Axes, surface: np.ndarray | None, points: np.ndarray, title: str) -> None:
    style_axes(axes, title, "", "x₂ (data units)")
    axes.grid(False)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    axes.title.set_fontsize(9.5)
    if surface is None:
        axes.text(0, 0, "no finite critic", ha="center")
        return
    line = np.linspace(-REACH, REACH, GRID)
    axes.imshow(surface, cmap=SCORES, origin="lower", extent=(-REACH, REACH, -REACH, REACH))
    axes.contour(line, line, surface, LEVELS, colors="#3b5b7a", linewidths=0.7, linestyles="-")
    axes.plot(points[:, 0], points[:, 1], ".", color=REAL, markersize=1.8)


def numbers_figure(rows: Rows, names: Sequence[str]) -> Figure:
    """Draw the three numbers, one point per critic."""
    figure = new_figure(12.5, 4.4, "What is in the surfaces, one point a seed")
    panels = figure.subplots(1, len(PANELS))
    looks = {name: look_of(name, names, i) for i, name in enumerate(names)}
    for axes, (key, title) in zip(panels, PANELS.items(), strict=True):
        for i, name in enumerate(names):
            shift = 0.16 * (i - (len(names) - 1) / 2)
            for column, data in enumerate(DATA):
                own = [r[key] for r in rows if (r["arm"], r["data"]) == (name, data)]
                known = [value for value in own if value is not None]
                color, marker = looks[name]
                axes.plot([column + shift] * len(known), known, marker, color=color, markersize=6,
                          markeredgecolor="w", markeredgewidth=0.5)  # fmt: skip
        axes.set_xticks(range(len(DATA)), [TITLES[data] for data in DATA])
        style_axes(axes, title, "", UNITS[key])
        axes.axhline(0, color="#999999", linewidth=0.8)
    handles = [Line2D([], [], color=color, marker=marker, linestyle="")
               for color, marker in looks.values()]  # fmt: skip
    key_below(figure, handles, [arm_label(name) for name in names])
    return figure


def look_of(name: str, names: Sequence[str], i: int) -> tuple[str, str]:
    """Return the loss's colour, lighter for its second coefficient, and a marker."""
    loss = name.split(" ")[0]
    same = [other for other in names if other.split(" ")[0] == loss]
    return shade(LOSS_COLOURS[loss], 0.35 * (same.index(name) > 0)), MARKERS[i % len(MARKERS)]
