"""The figures of `vanishing_gradient`: norms above, the discriminator's statistics below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import BLACK, GREY
from wganbench.reports.drawing import (
    LINES,
    LOSS_COLOURS,
    MARKERS,
    key_below,
    new_figure,
    style_axes,
)

Records = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]

BELOW: dict[str, tuple[str, Any, str]] = {
    "accuracy": (BLACK, "-", "D"),
    "saturation": (GREY, "--", "v"),
}
"""Colour, line and marker of the lower panels' curves."""


def draw(records: Records, stages: Sequence[str]) -> dict[str, Figure]:
    """Return ``figure`` (generators trained by BCE, and the lines) and ``trained_by_gp``."""
    titles = {f"{by}_{stage}": f"ring8, {stage} training" for by in ("bce", "gp")
              for stage in stages}  # fmt: skip
    first = {f"bce_{stage}": titles[f"bce_{stage}"] for stage in stages}
    second = {f"gp_{stage}": titles[f"gp_{stage}"] for stage in stages}
    return {
        "figure": panels(records, first | {"line": "two skew lines in 10-D"},
                         "A frozen generator (trained by BCE) and critics from scratch"),
        "trained_by_gp": panels(records, second,
                                "A frozen generator (trained by GP) and critics from scratch"),
    }  # fmt: skip


def panels(records: Records, cases: Mapping[str, str], title: str) -> Figure:
    """Draw one column per case: the median seed as a line, all seeds as a band.

    The feedback below is that of the first two losses, both of BCE; a W-loss's is always 1.
    """
    figure = new_figure(3.4 * len(cases), 6.6, title)
    axes = figure.subplots(2, len(cases), sharex=True, sharey="row", squeeze=False)
    losses = list(dict.fromkeys(loss for loss, _ in records))
    for column, (case, name) in enumerate(cases.items()):
        top, bottom = axes[0, column], axes[1, column]
        left = column == 0
        style_axes(top, name, "", "norm of the generator's gradient" if left else "")
        style_axes(bottom, "", "critic steps", "share of points, or feedback" if left else "")
        top.set(xscale="log", yscale="log")
        for i, loss in enumerate(losses):
            curve(top, records[loss, case], "norm", loss_style(loss, i))
        for key, (color, line, marker) in BELOW.items():
            style = {"color": color, "linestyle": line, "marker": marker}
            curve(bottom, records["bce", case], key, style)
        for i, loss in enumerate(losses[:2]):
            curve(bottom, records[loss, case], "feedback", loss_style(loss, i))
        bottom.set_ylim(-0.03, 1.03)
    handles = [Line2D([], [], markersize=5, **loss_style(loss, i)) for i, loss in enumerate(losses)]
    handles += [
        Line2D([], [], color=color, linestyle=line, marker=marker, markersize=5)
        for color, line, marker in BELOW.values()
    ]
    names = [f"{loss} (below: feedback)" if i < 2 else loss for i, loss in enumerate(losses)]
    key_below(
        figure, handles, [*names, "accuracy of D (bce)", "share of fakes with sigmoid(D) < 0.01"]
    )
    return figure


def loss_style(loss: str, i: int) -> dict[str, Any]:
    return {
        "color": LOSS_COLOURS[loss],
        "linestyle": LINES[i % len(LINES)],
        "marker": MARKERS[i % len(MARKERS)],
    }


def curve(
    axes: Axes,
    records: Sequence[Mapping[str, Any]],
    key: str,
    style: Mapping[str, Any],
) -> None:
    """Draw the median over seeds and the range of all."""
    at = records[0]["step"]
    values = np.array([record[key] for record in records], dtype=np.float64)
    axes.plot(at, np.median(values, axis=0), linewidth=1.7, markersize=4, **style)
    axes.fill_between(at, values.min(axis=0), values.max(axis=0), color=style["color"],
                      alpha=0.15, linewidth=0)  # fmt: skip
