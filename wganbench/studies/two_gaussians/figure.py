"""The figure of the study of two Gaussians: exact curves with the trained points on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import BLACK, BLUE, GREY, REFERENCE, VERMILION
from wganbench.reports.drawing import LINES, LOSS_COLOURS, key_below, new_figure, style_axes
from wganbench.studies.two_gaussians import exact

Rows = Sequence[Mapping[str, Any]]

COLOURS = {
    "saturating": LOSS_COLOURS["bce_saturating"],
    "non_saturating": LOSS_COLOURS["bce"],
    "wasserstein": LOSS_COLOURS["wasserstein"],
    "clip": LOSS_COLOURS["clip"],
    "gp": LOSS_COLOURS["gp"],
    "lp": LOSS_COLOURS["lp"],
}
TRAINED = {
    "saturating": ("o", "saturating"),
    "non_saturating": ("s", "non-saturating"),
    "clip": ("^", "clip"),
    "gp": ("D", "gp"),
    "lp": ("v", "lp"),
}
"""Markers and labels of trained points."""
CURVES = {"saturating": LINES[0], "non_saturating": LINES[1], "wasserstein": LINES[3]}
SMALLEST_GRADIENT = 1e-5
SIDE_BY_SIDE = {"gp": -0.12, "lp": 0.12}
"""Shifts along the axis, in standard deviations, of points that would hide each other."""
MASSES = ((1.0, "-"), (2.0, "--"), (4.0, "-."))
"""Distances of the mass p in the panel on amount, and their lines."""


def two_gaussians_figure(rows: Rows, largest: float, gp_lambda: float) -> Figure:
    """Distances, divergence, gradients; ratio of estimate and distance, amount, continuity."""
    figure = new_figure(13, 8, "N(0, 1) against N(μ, 1): exact (lines) and trained (points)")
    panels = figure.subplots(2, 3)
    mus = np.linspace(0, largest, 401)
    draw_estimates(panels[0, 0], rows, mus)
    draw_divergence(panels[0, 1], rows, mus)
    draw_gradients(panels[0, 2], rows, mus)
    draw_ratios(panels[1, 0], rows, mus, gp_lambda)
    draw_amount(panels[1, 1])
    draw_continuity(panels[1, 2])
    handles = [
        Line2D([], [], color=COLOURS[name], linestyle=style, linewidth=1.8)
        for name, style in CURVES.items()
    ]
    labels = ["optimal, saturating", "optimal, non-saturating", "optimal, Wasserstein"]
    handles += [
        Line2D([], [], color=COLOURS[name], marker=marker, linestyle="")
        for name, (marker, _) in TRAINED.items()
    ]
    labels += [f"trained, {label}" for _, label in TRAINED.values()]
    handles.append(Line2D([], [], color=GREY, marker="o", linestyle="", markerfacecolor="none"))
    key_below(figure, handles, [*labels, "hollow: not converged, does not count"])
    return figure


def scatter(axes: Axes, rows: Rows, method: str, key: str) -> None:
    """Draw a method's points, one per seed: filled if converged, else hollow."""
    own = [row for row in rows if row["method"] == method and row[key] is not None]
    color, marker = COLOURS[method], TRAINED[method][0]
    for row in own:
        axes.plot(row["mu"] + SIDE_BY_SIDE.get(method, 0.0), row[key], marker, color=color,
                  markerfacecolor=color if row["converged"] else "none", markersize=4.5,
                  zorder=3)  # fmt: skip


def draw_estimates(axes: Axes, rows: Rows, mus: np.ndarray) -> None:
    axes.plot(mus, mus, color=COLOURS["wasserstein"], linestyle=CURVES["wasserstein"],
              linewidth=1.8)  # fmt: skip
    for method in ("clip", "gp", "lp"):
        scatter(axes, rows, method, "estimate")
    style_axes(axes, "Earth mover's distance and raw estimates", "μ (standard deviations)",
          "distance (standard deviations)")  # fmt: skip


def draw_divergence(axes: Axes, rows: Rows, mus: np.ndarray) -> None:
    axes.plot(mus, [exact.jensen_shannon(mu) for mu in mus], color=BLACK, linewidth=1.8)
    axes.axhline(math.log(2), **REFERENCE)
    axes.text(mus[-1], math.log(2) * 0.985, "ln 2", ha="right", va="top", color="#444444")
    estimates = [
        dict(row, js=math.log(2) - row["loss"] / 2)
        for row in rows
        if row["method"] == "saturating" and row["loss"] is not None
    ]
    scatter(axes, estimates, "saturating", "js")
    style_axes(axes, "Jensen-Shannon divergence", "μ (standard deviations)", "divergence (nats)")


def draw_gradients(axes: Axes, rows: Rows, mus: np.ndarray) -> None:
    for name, style in CURVES.items():
        logs = [exact.GRADIENTS[name](mu) for mu in mus[1:]]
        axes.plot(mus[1:], np.exp(logs), color=COLOURS[name], linestyle=style, linewidth=1.8)
    for method in TRAINED:
        scatter(axes, rows, method, "gradient")
    axes.set(yscale="log", ylim=(SMALLEST_GRADIENT, 40))
    style_axes(axes, "Gradient that the fakes' mean receives", "μ (standard deviations)",
          "|dL/dμ| (score per standard deviation)")  # fmt: skip


def draw_ratios(axes: Axes, rows: Rows, mus: np.ndarray, gp_lambda: float) -> None:
    axes.axhline(1, **REFERENCE)
    axes.plot(mus, 1 + mus / (2 * gp_lambda), color=COLOURS["gp"], linewidth=1)
    axes.text(mus[-1], 1.15 * (1 + mus[-1] / (2 * gp_lambda)), "1 + μ / 2λ", ha="right")
    shares = [dict(row, ratio=row["estimate"] / row["mu"]) for row in rows
              if row["estimate"] is not None]  # fmt: skip
    for method in ("clip", "gp", "lp"):
        scatter(axes, shares, method, "ratio")
    axes.set(yscale="log")
    axes.set_ylim(top=6)
    style_axes(axes, "Raw estimate / earth mover's distance", "μ (standard deviations)", "ratio")


def draw_amount(axes: Axes) -> None:
    shares = np.linspace(0, 1, 201)
    for distance, style in MASSES:
        moved = [exact.earth_mover_of(*exact.moved_share(p, distance)) for p in shares]
        axes.plot(shares, moved, color=BLUE, linestyle=style,
                   label=f"earth mover's, L = {distance:g}")  # fmt: skip
    js = [exact.jensen_shannon_of(*exact.moved_share(p, 1.0)) for p in shares]
    axes.plot(shares, js, color=VERMILION, linewidth=2.4, label="JS (nats), every L")  # fmt: skip
    axes.legend(frameon=False, fontsize=9)
    style_axes(axes, "Amount: a mass p at a distance L", "p", "distance (units of L)")


def draw_continuity(axes: Axes) -> None:
    thetas = np.linspace(-1, 1, 201)
    axes.plot(thetas, np.abs(thetas), color=BLUE, label="earth mover's")
    for side in (thetas[thetas < 0], thetas[thetas > 0]):
        axes.plot(side, [exact.lines_jensen_shannon(theta) for theta in side], color=VERMILION,
                  linestyle="--", label="JS (nats)" if side[0] < 0 else None)  # fmt: skip
    axes.plot(0, math.log(2), "o", color=VERMILION, markerfacecolor="w")
    axes.plot(0, 0, "o", color=VERMILION)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    style_axes(axes, "Continuity: parallel lines θ apart", "θ", "distance (units of θ)")
