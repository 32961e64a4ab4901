"""The figure of the stability study: profiles, areas, differences, and the two rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wganbench.reports.drawing import LINES, LOSS_COLOURS, colours_of, new_figure, style_axes
from wganbench.studies.evidence import effect_interval
from wganbench.studies.stability.measure import Measured, Setting, band

Ended = Mapping[str, Sequence[Measured]]
Compared = Mapping[str, Sequence[tuple[str, str]]]


def stability_figure(settings: Sequence[Setting], ended: Ended, compared: Compared) -> Figure:
    """Draw profiles and areas above, differences and their dependence on the rates below."""
    title = f"{len(settings)} settings that nobody tuned: how well does a loss train?"
    figure = new_figure(12.5, 9.2, title)
    panels = figure.subplots(2, 2)
    draw_profiles(panels[0, 0], ended)
    draw_areas(panels[0, 1], ended)
    draw_differences(panels[1, 0], ended, compared)
    draw_rates(panels[1, 1], settings, ended)
    return figure


def draw_profiles(axes: Axes, ended: Ended) -> None:
    """Draw the share of settings that reach a score, for each loss, and the width of the band."""
    colors = colours_of(ended)
    for i, (loss, own) in enumerate(ended.items()):
        scores, share = shares_at_least([each.score for each in own])
        axes.step(scores, share, where="post", color=colors[loss], linestyle=LINES[i % len(LINES)],
                  linewidth=1.7, label=loss)  # fmt: skip
    half = band(len(next(iter(ended.values()))))
    axes.errorbar([1.03], [0.34], yerr=[half], color="#444444", capsize=3, linewidth=1.2)
    axes.text(1.06, 0.34, "95 % band\nof a profile", fontsize=8, va="center")
    axes.set(xlim=(0, 1.26), ylim=(0, 1.04))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.legend(frameon=False, fontsize=8.5, ncols=2, loc="upper right")
    style_axes(axes, "Profile of success", "score: coverage × share of high quality",
          "share of settings at least as good")  # fmt: skip


def shares_at_least(
    scores: Sequence[float],
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Return corners of the share of settings that score at least x, from x = 1 down to 0.

    The share of each corner holds until the next.

    >>> shares_at_least([0.25, 0.75])
    (array([1.  , 0.75, 0.25, 0.  ]), array([0. , 0.5, 1. , 1. ]))
    """
    falling = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    share = np.arange(1, len(falling) + 1) / len(falling)
    return np.r_[1.0, falling, 0.0], np.r_[0.0, share, 1.0]


def draw_areas(axes: Axes, ended: Ended) -> None:
    """Draw the area under each profile with its interval."""
    colors = colours_of(ended)
    for y, (loss, own) in enumerate(reversed(list(ended.items()))):
        draw_interval(axes, y, [each.score for each in own], (0.0, 1.0), colors[loss])
    axes.set_yticks(range(len(ended)), list(ended)[::-1], fontsize=9)
    axes.set_xlim(left=0)
    style_axes(axes, "Area under the profile, 95 % of each loss alone", "mean score", "")


def draw_differences(axes: Axes, ended: Ended, compared: Compared) -> None:
    """Draw the differences of each pair: a dot per setting, the mean and its interval."""
    pairs = list(dict.fromkeys(pair for own in compared.values() for pair in own))
    known = [(a, b) for a, b in pairs if a in ended and b in ended][::-1]
    for y, (one, other) in enumerate(known):
        values = [
            a.score - b.score for a, b in zip(ended[one], ended[other], strict=True)
        ]  # fmt: skip
        axes.plot(values, np.full(len(values), y - 0.22), "|", color="#999999", markersize=7)
        draw_interval(axes, y, values, (-1.0, 1.0), "#222222")
    axes.axvline(0, color="#444444", linewidth=0.9)
    axes.set_yticks(range(len(known)), [f"{one} − {other}" for one, other in known], fontsize=9)
    style_axes(axes, "Setting by setting: mean, 95 % and every setting", "difference of scores", "")


def draw_interval(
    axes: Axes, y: float, values: Sequence[float], bounds: tuple[float, float], color: str
) -> None:
    found = effect_interval(values, bounds)
    if np.isfinite(found.low):
        axes.plot([found.low, found.high], [y, y], color=color, linewidth=2.2)
    axes.plot(found.value, y, "o", color=color, markersize=7)


def draw_rates(axes: Axes, settings: Sequence[Setting], ended: Ended) -> None:
    """Draw the score of gp less that of bce against the decades between the two rates."""
    if not {"gp", "bce"} <= ended.keys():
        axes.set_axis_off()
        return
    x = [setting.imbalance for setting in settings]
    y = [a.score - b.score for a, b in zip(ended["gp"], ended["bce"], strict=True)]
    axes.plot(x, y, "o", color=LOSS_COLOURS["gp"], markersize=6, alpha=0.8)
    if len(set(x)) > 1:
        ends = np.array([min(x), max(x)])
        axes.plot(ends, np.polyval(np.polyfit(x, y, 1), ends), color="#222222", linewidth=1.5)
    axes.axhline(0, color="#444444", linewidth=0.9)
    style_axes(axes, "gp − bce, by the balance of the rates",
          "decades between the two networks' rates", "difference of scores")  # fmt: skip
