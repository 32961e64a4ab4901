"""The figure of `layer_gradients`: norms by layer, and where the weights lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import REFERENCE
from wganbench.reports.drawing import (
    LINES,
    LOSS_COLOURS,
    MARKERS,
    key_below,
    new_figure,
    shade,
    style_axes,
)

BINS = 61
GP_REACH = 0.8
"""Range of the histogram of unclipped weights: [-GP_REACH, GP_REACH]."""


def draw(
    norms: Mapping[str, Sequence[Sequence[float]]],
    histograms: Mapping[str, Sequence[Sequence[float]]],
    expected: Mapping[str, float],
) -> Figure:
    """Draw ``norms`` and ``histograms`` (by arm, one list per seed) with ``expected`` slopes."""
    figure = new_figure(12.6, 4.9, "Gradients through a deep critic, and its weights")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
    style_axes(left, "Gradient by layer", "hidden layer (1: next to the data)",
          "norm of the critic loss's gradient\nwith respect to its activations")  # fmt: skip
    style_axes(middle, "Weights under clipping", "weight / c", "share of the weights in a bin")
    style_axes(right, "Weights under GP", "weight", "share of the weights in a bin")
    left.set_yscale("log")
    handles: list[Any] = []
    for i, (name, group) in enumerate(norms.items()):
        style = arm_style(name, i, len(norms))
        handles.append(Line2D([], [], markersize=5, **style))
        if not group:
            continue
        values = np.array(group)
        layers, centre = np.arange(1, values.shape[1] + 1), np.median(values, axis=0)
        left.plot(layers, centre, linewidth=1.8, markersize=5, **style)
        left.fill_between(layers, values.min(axis=0), values.max(axis=0), color=style["color"],
                          alpha=0.2, linewidth=0)  # fmt: skip
        if name in expected:
            left.plot(layers, centre[-1] * 10 ** (expected[name] * (layers[-1] - layers)),
                      **REFERENCE)  # fmt: skip
        reach, axes = (1.0, middle) if name in expected else (GP_REACH, right)
        shares = np.mean(np.array(histograms[name]), axis=0)
        at = (np.arange(BINS) + 0.5) / BINS * 2 * reach - reach
        axes.plot(at, shares, linewidth=1.6, color=style["color"], linestyle=style["linestyle"])
        axes.set_yscale("log")
    labels = [f"clip, {name}" if name in expected else name for name in norms]
    handles.append(Line2D([], [], **REFERENCE))
    key_below(figure, handles, [*labels, "expected of random signs: c sqrt(width/2) a layer"])
    return figure


def arm_style(name: str, i: int, arms: int) -> dict[str, Any]:
    """Return an arm's style: shades of clip's colour for its arms, and GP's own colour."""
    clip = name != "gp"
    shift = np.linspace(-0.45, 0.35, max(arms - 1, 1))[min(i, max(arms - 2, 0))]
    return {
        "color": shade(LOSS_COLOURS["clip"], float(shift)) if clip else LOSS_COLOURS["gp"],
        "linestyle": LINES[i % len(LINES)],
        "marker": MARKERS[i % len(MARKERS)],
    }
