"""The figure of the stability study: success rates, scores, pairs, and learning rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from wganbench.reports.drawing import LINES, LOSS_COLOURS, new_figure, plain
from wganbench.reports.statistics import share_interval
from wganbench.studies.evidence import Outcome, pairs
from wganbench.studies.stability.settings import Setting

PARTS = (("both", "#555555", ""), ("only the first", "#0072B2", "//"),
         ("only the second", "#E69F00", ".."), ("neither", "#eeeeee", ""))  # fmt: skip


def stability_figure(
    settings: Sequence[Setting],
    ended: Mapping[str, Sequence[Outcome]],
    succeeded: Mapping[str, Sequence[bool]],
    compared: Iterable[tuple[str, str]],
    threshold: float,
) -> Figure:
    """Draw success rates and sorted scores above, pairs and learning rates of two losses below."""
    figure = new_figure(11.5, 8.4, f"{len(settings)} random settings: how often does a loss train?")
    panels = figure.subplots(2, 2)
    draw_rates(panels[0, 0], succeeded)
    draw_scores(panels[0, 1], ended, threshold)
    draw_pairs(panels[1, 0], succeeded, compared)
    draw_where(panels[1, 1], settings, succeeded)
    return figure


def draw_rates(axes: Axes, succeeded: Mapping[str, Sequence[bool]]) -> None:
    """Draw the share of settings in which a loss succeeds."""
    for x, (loss, own) in enumerate(succeeded.items()):
        share = share_interval(sum(own), len(own))
        axes.bar(x, share.value, color=LOSS_COLOURS[loss], width=0.62)
        axes.plot([x, x], [share.low, share.high], color="#222222", linewidth=1.8)
        axes.text(x + 0.06, min(share.high, 0.98), f"{sum(own)}/{len(own)}", fontsize=9)
    axes.set_xticks(range(len(succeeded)), list(succeeded))
    axes.set_ylim(0, 1.06)
    plain(axes, "Success rate, 95 % (Clopper-Pearson)", "", "share of the settings")


def draw_scores(axes: Axes, ended: Mapping[str, Sequence[Outcome]], threshold: float) -> None:
    """Draw scores in falling order, which shows the counts at other thresholds."""
    for i, (loss, own) in enumerate(ended.items()):
        scores, share = shares_at_least([outcome.score for outcome in own])
        axes.step(scores, share, where="post", color=LOSS_COLOURS[loss], linestyle=LINES[i],
                  linewidth=1.8, label=loss)  # fmt: skip
    axes.axvline(threshold, color="#444444", linestyle=":", linewidth=1.6)
    axes.text(threshold, 1.02, " success", fontsize=8.5)
    axes.set(xlim=(-0.02, 1.0), ylim=(0, 1.08))
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    plain(axes, "Any threshold", "coverage × share of high quality",
          "share of settings at least as good")  # fmt: skip


def shares_at_least(
    scores: Sequence[float],
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Corners of the share of settings that score at least x, from x = 1 down to 0: the share
    of each holds until the next.

    >>> shares_at_least([0.25, 0.75])
    (array([1.  , 0.75, 0.25, 0.  ]), array([0. , 0.5, 1. , 1. ]))
    """
    falling = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    share = np.arange(1, len(falling) + 1) / len(falling)
    return np.r_[1.0, falling, 0.0], np.r_[0.0, share, 1.0]


def draw_pairs(
    axes: Axes, succeeded: Mapping[str, Sequence[bool]], compared: Iterable[tuple[str, str]]
) -> None:
    """Draw Table 2 as bars: both, only one, only the other, neither."""
    names = []
    for y, (one, other) in enumerate(compared):
        counted, left = pairs(succeeded[one], succeeded[other]), 0
        numbers = (counted.both, counted.first, counted.second, counted.neither)
        for (label, color, hatch), number in zip(PARTS, numbers, strict=True):
            axes.barh(y, number, left=left, color=color, hatch=hatch, edgecolor="white",
                      height=0.6, label=label if y == 0 else None)  # fmt: skip
            if number:
                axes.text(left + number / 2, y, str(number), ha="center", va="center", fontsize=9,
                          bbox={"color": "white", "pad": 1.2})  # fmt: skip
            left += number
        names.append(f"{one}\nagainst\n{other}")
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.set_ylim(-0.6, len(names) - 0.1)
    axes.legend(frameon=False, fontsize=8.5, ncols=4, loc="upper center")
    plain(axes, "Setting by setting", "settings", "")


def draw_where(
    axes: Axes, settings: Sequence[Setting], succeeded: Mapping[str, Sequence[bool]]
) -> None:
    """Draw the learning rates of every setting, marked by the outcomes of bce and gp."""
    marks = {(True, True): ("o", "both"), (True, False): ("s", "only bce"),
             (False, True): ("^", "only gp"), (False, False): ("x", "neither")}  # fmt: skip
    colors = {"o": "#555555", "s": LOSS_COLOURS["bce"], "^": LOSS_COLOURS["gp"], "x": "#999999"}
    cases = list(zip(succeeded["bce"], succeeded["gp"], strict=True))
    for case, (marker, label) in marks.items():
        own = [s for s, found in zip(settings, cases, strict=True) if found == case]
        axes.plot([s.critic_lr for s in own], [s.generator_lr for s in own], marker, linestyle="",
                  color=colors[marker], markersize=6.5, label=f"{label} ({len(own)})")  # fmt: skip
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")
    plain(axes, "Where, of bce and gp", "critic's learning rate", "generator's learning rate")
