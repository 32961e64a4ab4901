"""The figure of the Dirac-GAN study: trajectories in the plane, distances over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import GREY
from wganbench.reports.drawing import LINES, LOSS_COLOURS, key_below, new_figure, shade, style_axes
from wganbench.studies.dirac.game import SIMULTANEOUS, Method, radius

SHOWN = (1e-2, 8.0)
"""Limits of the distance axis; linear convergence soon falls below them."""


def dirac_figure(
    chosen: Sequence[Method], paths: Mapping[tuple[str, int], np.ndarray], early: int
) -> Figure:
    """Draw the plane of each method above its distance under both schedules."""
    figure = new_figure(11.5, 9.6, "Dirac-GAN: the data at 0, the generator at θ, D(x) = ψ x")
    grid = figure.add_gridspec(3, 6, height_ratios=[1, 1, 1.1])
    for i, method in enumerate(chosen):
        axes = figure.add_subplot(grid[i // 3, 2 * (i % 3) : 2 * (i % 3) + 2])
        draw_plane(axes, method, paths, early)
    for column, n_critic in enumerate((SIMULTANEOUS, 1)):
        axes = figure.add_subplot(grid[2, 3 * column : 3 * column + 3])
        draw_distances(axes, chosen, paths, n_critic)
    handles = [Line2D([], [], color=LOSS_COLOURS[m.colour], linestyle=LINES[i], linewidth=1.8)
               for i, m in enumerate(chosen)]  # fmt: skip
    labels = [method.label for method in chosen]
    handles += [Line2D([], [], color=GREY, linewidth=1), Line2D([], [], color="k", linewidth=1.6)]
    labels += ["planes: simultaneous steps", "planes: alternating steps"]
    key_below(figure, handles, labels)
    return figure


def draw_plane(
    axes: Axes, method: Method, paths: Mapping[tuple[str, int], np.ndarray], early: int
) -> None:
    """Draw the first steps of both schedules: simultaneous pale and thin, alternating dark."""
    color = LOSS_COLOURS[method.colour]
    styles = {SIMULTANEOUS: (shade(color, 0.35), 0.8), 1: (shade(color, -0.45), 1.4)}
    for n_critic, (own, width) in styles.items():
        path = paths[method.name, n_critic][: early + 1]
        axes.plot(path[:, 0], path[:, 1], color=own, linewidth=width)
    start = paths[method.name, 1][0]
    axes.plot(*start, "o", color="k", markersize=5)
    axes.plot(0, 0, "P", color="k", markersize=8, markeredgecolor="w", zorder=5)
    style_axes(axes, method.label, "generator θ (data units)", "critic's slope ψ")
    axes.set_aspect("equal", adjustable="datalim")


def draw_distances(
    axes: Axes,
    chosen: Sequence[Method],
    paths: Mapping[tuple[str, int], np.ndarray],
    n_critic: int,
) -> None:
    for i, method in enumerate(chosen):
        distances = radius(paths[method.name, n_critic])
        steps = np.arange(1, len(distances))
        axes.plot(steps, distances[1:], color=LOSS_COLOURS[method.colour], linestyle=LINES[i],
                  linewidth=1.8)  # fmt: skip
    axes.set(xscale="log", yscale="log")
    axes.set_ylim(SHOWN)
    word = "simultaneous steps" if n_critic == SIMULTANEOUS else "alternating, 1 critic step"
    style_axes(axes, f"Distance from the equilibrium: {word}", "generator steps",
          "sqrt(θ² + ψ²)")  # fmt: skip
