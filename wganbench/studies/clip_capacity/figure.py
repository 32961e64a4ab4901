"""The figure of the clipping study: quality, coverage and gradients against the setting."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wganbench.drawing.canvas import REFERENCE
from wganbench.reports.drawing import LINES, LOSS_COLOURS, MARKERS, new_figure, style_axes
from wganbench.reports.statistics import mean_interval

if TYPE_CHECKING:
    from wganbench.studies.clip_capacity.study import Search

WITHOUT = 4.0
"""Position of "no clipping" on the axis, as a multiple of the largest finite value."""

WORDS = {
    "grad_norm/sample": "generator's signal at a sample (1 / data unit)",
    "grad_norm/critic": "critic's parameter gradient",
    "critic/slope_mean": "critic's slope at interpolates (1 / data unit)",
}
PARTS = ("score", "coverage", "high_quality")
LABELS = ("coverage × high quality", "coverage", "high quality")


def capacity_figure(clip: Search, gp: Search) -> Figure:
    """Draw the generator's quality above the gradients, for clipping (left) and penalty (right)."""
    figure = new_figure(11.5, 8.4, "Weight clipping over four decades, beside the gradient penalty")
    panels = figure.subplots(2, 2, sharey="row")
    for column, (found, name) in enumerate(((clip, "clip value c"), (gp, "gp_lambda"))):
        draw_quality(panels[0, column], found, name)
        draw_gradients(panels[1, column], found, name)
    best = gp.quantity("score").mean(axis=0)[gp.best]
    panels[0, 0].axhline(best, **REFERENCE)
    panels[0, 0].text(places(clip)[0], best + 0.015, "best penalty", fontsize=8.5)
    return figure


def places(found: Search) -> list[float]:
    """Return the values' positions on the axis; "no clipping" comes after the last."""
    largest = max(value for value in found.values if math.isfinite(value))
    return [min(value, WITHOUT * largest) for value in found.values]


def draw_quality(axes: Axes, found: Search, name: str) -> None:
    """Draw means over seeds at each value's best rates, with the product's 95 % interval."""
    x, color = places(found), LOSS_COLOURS[found.loss]
    for i, (part, label) in enumerate(zip(PARTS, LABELS, strict=True)):
        values = found.quantity(part)[:, range(len(x)), found.best_rates].T
        axes.plot(x, values.mean(axis=1), color=color if i == 0 else "#555555", linestyle=LINES[i],
                  marker=MARKERS[i], markersize=5, linewidth=2.2 if i == 0 else 1.3,
                  label=label)  # fmt: skip
        if i == 0:
            bounds = [mean_interval(list(own)) for own in values]
            axes.vlines(x, [b.low if math.isfinite(b.low) else b.value for b in bounds],
                        [b.high if math.isfinite(b.high) else b.value for b in bounds],
                        color=color, linewidth=2)  # fmt: skip
    axes.set_ylim(-0.05, 1.09)
    finish(axes, found, f"loss={found.loss}: at the end of training", name, "share")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def draw_gradients(axes: Axes, found: Search, name: str) -> None:
    """Draw geometric means over run and seeds, at the rates of the best setting."""
    x = places(found)
    for i, (tag, label) in enumerate(WORDS.items()):
        logs: Float64[np.ndarray, "n k"] = found.gradients[tag][:, :, found.best[1]]
        axes.plot(x, 10 ** logs.mean(axis=0), color=("#0072B2", "#D55E00", "#009E73")[i],
                  linestyle=LINES[i], marker=MARKERS[i], markersize=5, label=label)  # fmt: skip
    axes.set_yscale("log")
    finish(axes, found, "Gradients, mean of the logarithm over the run", name, "size")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def finish(axes: Axes, found: Search, title: str, name: str, unit: str) -> None:
    axes.set_xscale("log")
    style_axes(axes, title, name, unit)
    if math.isinf(found.values[-1]):
        ticks = [v for v in found.values if math.isfinite(v)][::2]
        axes.set_xticks([*ticks, places(found)[-1]], [*(f"{t:g}" for t in ticks), "none"])
        axes.minorticks_off()
