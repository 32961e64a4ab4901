"""The figures of a search: expected best, success profile, sensitivity to each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from wganbench.reports.drawing import LINES, LOSS_COLOURS, OTHERS, colours_of
from wganbench.reports.significance import SIGNIFICANT
from wganbench.tuning.analysis import Curve, Sensitivity


def curves_figure(
    curves: Mapping[str, Curve], xlabel: str, ylabel: str, logarithmic: bool = False
) -> Figure:
    """Return one line for each loss, with its interval as a band."""
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    colour = colours_of(curves)
    for i, (loss, curve) in enumerate(curves.items()):
        line = LINES[i // len(OTHERS) % len(LINES)] if loss not in LOSS_COLOURS else "-"
        axes.plot(curve.x, curve.value, color=colour[loss], linestyle=line, label=loss)
        axes.fill_between(curve.x, curve.low, curve.high, color=colour[loss], alpha=0.12, lw=0)
    if logarithmic:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def sensitivity_figure(found: Mapping[str, Sequence[Sensitivity]]) -> Figure:
    """Return a table of colours: losses by settings, the share of variance that a setting explains.

    An asterisk marks shares that chance exceeds in fewer than one of twenty permutations; an
    empty cell is a setting that the loss does not have.
    """
    keys = list(dict.fromkeys(one.key for own in found.values() for one in own))
    shares = np.full((len(found), len(keys)), np.nan)
    figure = Figure(figsize=(2.2 + 1.0 * len(keys), 2.4 + 0.35 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    for i, own in enumerate(found.values()):
        for one in own:
            j = keys.index(one.key)
            shares[i, j] = one.share
            mark = "*" if one.p_value < SIGNIFICANT else ""
            colour = "white" if one.share > 0.4 else "black"
            axes.text(j, i, f"{one.share:.2f}{mark}", ha="center", va="center", color=colour,
                      fontsize=8)  # fmt: skip
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=0.6, aspect="auto")
    axes.set_xticks(range(len(keys)), [key.partition(".")[2] for key in keys], rotation=30,
                    ha="right")  # fmt: skip
    axes.set_yticks(range(len(found)), list(found))
    figure.colorbar(image, ax=axes, label="share of variance")
    return figure
