"""The figure of `critic_strength`: each measure against n_critic, a curve a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.reports.drawing import (
    LINES,
    LOSS_COLOURS,
    MARKERS,
    key_below,
    new_figure,
    style_axes,
)

PANELS = {
    "critic/feedback": ("Feedback", "mean |dL_G/dscore|", True),
    "grad_norm/sample": ("Gradient per sample", "mean |dL_G/dx| (1 / data unit)", True),
    "critic/direction": ("Direction", "cosine with the transport plan", False),
    "modes/high_quality": ("Quality", "share of high quality", False),
    "modes/coverage": ("Coverage", "share of modes with a fair share", False),
    "wasserstein/exact": ("Distance", "exact $W_1$ (data units)", False),
}
"""By tag: title, axis label, and whether the value is a log10."""

Values = Mapping[tuple[str, int], Sequence[Mapping[str, float | None]]]


def draw(values: Values, names: Mapping[str, str]) -> Figure:
    """Draw the mean over seeds as a line, and each seed as a dot."""
    figure = new_figure(12, 7, "A stronger critic: n_critic from weak to strong")
    axes = figure.subplots(2, 3, sharex=True)
    n_critics = sorted({n for _, n in values})
    for panel, (tag, (title, label, is_log)) in zip(axes.flat, PANELS.items(), strict=True):
        style_axes(panel, title, "n_critic" if panel in axes[1] else "", label)
        panel.set_xscale("log", base=2)
        panel.set_xticks(n_critics, [str(n) for n in n_critics])
        panel.minorticks_off()
        if is_log:
            panel.set_yscale("log")
        for i, loss in enumerate(names):
            curve(panel, i, loss, n_critics, values, tag, is_log)
    handles = [
        Line2D([], [], color=LOSS_COLOURS[loss], linestyle=LINES[i], marker=MARKERS[i],
               markersize=5.5, linewidth=1.8)
        for i, loss in enumerate(names)
    ]  # fmt: skip
    key_below(figure, handles, list(names.values()))
    return figure


def curve(
    axes: Axes,
    i: int,
    loss: str,
    n_critics: Sequence[int],
    values: Values,
    tag: str,
    is_log: bool,
) -> None:
    color, shift = LOSS_COLOURS[loss], 2 ** (0.05 * (i - 1.5))
    found = np.array([[entry[tag] for entry in values[loss, n]] for n in n_critics], dtype=float)
    shown = 10**found if is_log else found
    at = np.array(n_critics) * shift
    known = ~np.isnan(found).all(axis=1)
    centre = np.array([np.nanmean(row) if row_known else np.nan
                       for row, row_known in zip(found, known, strict=True)])  # fmt: skip
    axes.plot(at, 10**centre if is_log else centre, color=color, linestyle=LINES[i],
              marker=MARKERS[i], markersize=5.5, linewidth=1.8)  # fmt: skip
    axes.plot(at, shown, linestyle="", marker=".", markersize=3.5, color=color, alpha=0.6)
