"""The figure of `estimate_vs_distance`: through training, at the ends, at known distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import REFERENCE
from wganbench.reports.drawing import LOSS_COLOURS, key_below, new_figure, shade, style_axes
from wganbench.studies.estimate_vs_distance.measure import Row

LOSSES: dict[str, tuple[str, str, str, Any]] = {"gp": ("GP, E D(x) - E D(G(z))", "raw", "o", "-"),
          "clip": ("clip, E D(x) - E D(G(z))", "raw", "s", (0, (5, 1.5))),
          "bce": ("BCE, JS estimate", "js", "^", (0, (5, 1.5, 1, 1.5))),
          "bce_saturating": ("saturating BCE, JS estimate", "js", "D", ":")}  # fmt: skip
FAMILIES = {
    "points": "points\n$L$ =",
    "gaussians": "Gaussians\n$\\mu$ =",
    "ring8": "ring8\nnoise",
    "funnels": "funnels\n$K$ =",
}


def draw(rows: Sequence[Row]) -> Figure:
    figure = new_figure(13.4, 4.9, "Does the critic's estimate follow the earth mover's distance?")
    changes, ends, known = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    style_axes(changes, "Changes between evaluations, all runs",
          "change of exact $W_1$ (rank in its run)",
          "change of the estimate (rank in its run)")  # fmt: skip
    style_axes(ends, "Ends of runs", "exact $W_1$ (data units)", "estimate / its mean over runs")
    style_axes(known, "Known distances, ratio to $W_1$", "", "estimate / exact $W_1$")
    training = [row for row in rows if row["part"] == "training" and row["exact"] is not None]
    for loss, (_, key, marker, line) in LOSSES.items():
        own = [row for row in training if row["loss"] == loss]
        style: dict[str, Any] = {"color": LOSS_COLOURS[loss], "marker": marker, "markersize": 5}
        draw_changes(changes, own, key, style | {"linestyle": line})
        last = max((row["step"] for row in own), default=0)
        pairs = [(r["exact"], r[key]) for r in own if r["step"] == last and r[key] is not None]
        if pairs:
            x, y = np.array(pairs).T
            ends.plot(x, y / abs(y.mean()), linestyle="", alpha=0.8, **style)
    draw_known(known, [row for row in rows if row["part"] == "known"])
    handles = [
        Line2D([], [], color=LOSS_COLOURS[loss], marker=marker, linestyle=line, markersize=5)
        for loss, (_, _, marker, line) in LOSSES.items()
    ]
    labels = [words for words, _, _, _ in LOSSES.values()]
    key_below(figure, [*handles, Line2D([], [], **REFERENCE)],
              [*labels, "what a perfect estimate would give"])  # fmt: skip
    return figure


def draw_changes(axes: Axes, rows: Sequence[Row], key: str, style: dict[str, Any]) -> None:
    """Draw the mean rank of the estimate's change in five bins of the distance's change."""
    found = []
    for which in dict.fromkeys((row["seed"], row["generator_lr"]) for row in rows):
        own = [r for r in rows if (r["seed"], r["generator_lr"]) == which and r[key] is not None]
        if len(own) > 2:
            ranks = [np.diff([r[k] for r in own]).argsort().argsort() for k in ("exact", key)]
            found.append(np.array(ranks) / (len(own) - 2))
    if found:
        x, y = np.concatenate(found, axis=1)
        bins = np.minimum((x * 5).astype(int), 4)
        present = [b for b in range(5) if (bins == b).any()]
        means = [[v[bins == b].mean() for b in present] for v in (x, y)]
        axes.plot(means[0], means[1], linewidth=1.6, **style)
    axes.plot([0, 1], [0, 1], **REFERENCE)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def draw_known(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw raw estimates filled and normalised ones hollow, one column per distribution."""
    shown = list(dict.fromkeys((row["distribution"], row["size"]) for row in rows))
    kinds = [k for k in dict.fromkeys((r["loss"], r["coefficient"]) for r in rows) if k[0] != "bce"]
    for i, (loss, value) in enumerate(kinds):
        color = shade(LOSS_COLOURS[loss], -0.35 if i % 2 else 0.1)
        for key, face in (("raw", color), ("normalised", "white")):
            groups = [[r[key] / r["exact"] for r in rows if (r["distribution"], r["size"]) == one
                       and (r["loss"], r["coefficient"]) == (loss, value) and r[key] is not None]
                      for one in shown]  # fmt: skip
            middle = [np.mean(group) if group else np.nan for group in groups]
            setting = r"$\lambda$" if loss == "gp" else "$c$"
            places = np.arange(len(shown)) + 0.16 * (i - (len(kinds) - 1) / 2)
            label = f"{loss}, {setting} = {value:g}" if key == "raw" else None
            axes.plot(places, middle, linestyle="", marker=("o", "P", "s", "X")[i % 4],
                      color=color, markerfacecolor=face, markersize=6.5, label=label)  # fmt: skip
    axes.axhline(1, **REFERENCE)
    axes.set_yscale("log")
    axes.set_xticks(range(len(shown)), [f"{FAMILIES[name]} {size:g}" for name, size in shown],
                    fontsize=8)  # fmt: skip
    axes.legend(frameon=False, fontsize=8.5, title="filled: raw; hollow: / largest slope",
                title_fontsize=8.5)  # fmt: skip
