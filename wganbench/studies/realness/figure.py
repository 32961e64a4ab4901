"""The figure of `realness`: both rank correlations over training, a thin line per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from wganbench.reports.drawing import LINES, LOSS_COLOURS, new_figure, style_axes

Course = tuple[list[int], list[float]]


def draw(
    courses: Mapping[str, Mapping[str, Sequence[Course]]], kinds: Mapping[str, tuple[str, str]]
) -> Figure:
    """Draw a panel for each kind of realness: correlation against the share of training."""
    figure = new_figure(11, 4.8, "Is the score the realness of a single sample?")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (kind, (_, words)) in zip(panels, kinds.items(), strict=True):
        for place, (loss, own) in enumerate(courses.items()):
            color = LOSS_COLOURS[loss]
            for steps, values in own[kind]:
                axes.plot(shares(steps), values, color=color, linewidth=0.7, alpha=0.4)
            means = mean_course(own[kind])
            axes.plot(*means, color=color, linestyle=LINES[place], linewidth=2.3, label=loss)
        axes.axhline(0, color="#444444", linewidth=0.9)
        axes.axhline(0.5, color="#444444", linestyle=":", linewidth=1)
        axes.set_ylim(-1.05, 1.05)
        style_axes(axes, f"D(x) against {words}", "share of training", "Spearman")
    panels[0].legend(frameon=False, fontsize=9, loc="lower left")
    return figure


def shares(steps: Sequence[int]) -> list[float]:
    last = max(steps, default=1) or 1
    return [step / last for step in steps]


def mean_course(courses: Sequence[Course]) -> tuple[list[float], list[float]]:
    """Return the mean over seeds at the steps that all of them have."""
    common = sorted(set.intersection(*[set(steps) for steps, _ in courses])) if courses else []
    tables = [dict(zip(steps, values, strict=True)) for steps, values in courses]
    means = [float(np.mean([table[step] for table in tables])) for step in common]
    return shares(common), means
