"""The figure of `estimate_quality`: attainment against quality, and the correlations by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wganbench.reports.drawing import LOSS_COLOURS, MARKERS, new_figure, style_axes


class Known(Protocol):
    """A run: attainment and final W1, None where it has none."""

    @property
    def attainment(self) -> float | None: ...

    @property
    def w1(self) -> float | None: ...


def draw(
    points: Mapping[str, Sequence[Known]], correlations: Mapping[str, Sequence[float | None]]
) -> Figure:
    """Draw the runs of each loss, with a marker for each n_critic, and the correlations."""
    figure = new_figure(13, 4.6, "Does a better estimate give a better generator?")
    panels = figure.subplots(1, 3)
    for axes, loss in zip(panels, ("gp", "clip"), strict=False):
        draw_runs(axes, loss, {k: own for k, own in points.items() if k.startswith(f"{loss}/")})
    draw_correlations(panels[2], correlations)
    return figure


def draw_runs(axes: Axes, loss: str, points: Mapping[str, Sequence[Known]]) -> None:
    """Draw a dot per run: darker for larger coefficients, the marker by n_critic."""
    coefficients = sorted({float(name.split("/")[1]) for name in points})
    n_critics = sorted({int(name.split("/")[2]) for name in points})
    for name, own in points.items():
        _, coefficient, n_critic = name.split("/")
        place = coefficients.index(float(coefficient)) / max(len(coefficients) - 1, 1)
        marker = MARKERS[n_critics.index(int(n_critic)) % len(MARKERS)]
        known = [(p.attainment, p.w1) for p in own
                 if p.attainment is not None and p.w1 is not None]  # fmt: skip
        for reached, w1 in known:
            axes.plot(reached, w1, marker, color=LOSS_COLOURS[loss], alpha=0.25 + 0.7 * place,
                      markersize=5)  # fmt: skip
    for i, steps in enumerate(n_critics):
        axes.plot([], [], MARKERS[i % len(MARKERS)], color="#555555", linestyle="",
                  label=f"n_critic {steps}")  # fmt: skip
    if n_critics:
        axes.legend(frameon=False, fontsize=8.5)
    words = "λ" if loss == "gp" else "c"
    style_axes(axes, f"{loss}: darker for larger {words}",
               "attainment: estimate / slope / exact $W_1$",
          "exact $W_1$ at the end (data units)")  # fmt: skip


def draw_correlations(axes: Axes, correlations: Mapping[str, Sequence[float | None]]) -> None:
    """Draw a dot per seed and the mean, for each claim."""
    for x, values in enumerate(correlations.values()):
        known = [value for value in values if value is not None]
        axes.plot(x + np.linspace(-0.15, 0.15, len(known)), known, "o", color="#0072B2",
                  alpha=0.6, markersize=5)  # fmt: skip
        if known:
            axes.plot(x, np.mean(known), "D", color="#222222", markersize=8)
    axes.set_xticks(range(len(correlations)), list(correlations))
    axes.axhline(0, color="#444444", linewidth=0.9)
    axes.set_ylim(-1.05, 1.05)
    style_axes(axes, "Rank correlation with minus $W_1$, a dot per seed", "", "Spearman")
