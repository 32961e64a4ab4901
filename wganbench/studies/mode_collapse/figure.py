"""The figure of the mode collapse study: four arms, their course, every loss, what came first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wganbench.reports.drawing import (
    LINES,
    LOSS_COLOURS,
    MARKERS,
    Look,
    key_below,
    new_figure,
    plain,
    sample_of,
)
from wganbench.reports.statistics import mean_interval
from wganbench.runs.table import series
from wganbench.studies.evidence import Outcome
from wganbench.studies.mode_collapse.measure import Order
from wganbench.training.run import Run

LOSSES = tuple(LOSS_COLOURS)
COVERAGE = "modes with a fair share (share of all)"
OBJECTIVES = {"BCE": ("bce", "bce_gp"), "W": ("wasserstein", "gp")}
SPREAD = 0.12
"""Distance between the seeds of an arm, in steps of the axis."""

EVENTS = "What came first? (seeds that lost modes)"


def look(loss: str) -> Look:
    """Return the loss's colour, as everywhere, and a line style and marker for grey print."""
    i = LOSSES.index(loss)
    return Look(LOSS_COLOURS[loss], LINES[i % len(LINES)], MARKERS[i % len(MARKERS)])


def collapse_figure(
    common: Mapping[str, Sequence[Outcome]],
    tuned: Mapping[str, Sequence[Outcome]],
    orders: Mapping[str, Sequence[Order]],
    runs: Mapping[str, Sequence[Run]],
) -> Figure:
    """Draw interaction, course, every loss as tuned, and the order of events."""
    figure = new_figure(11.5, 8.8, "Which part prevents lost modes, the objective or the penalty?")
    panels = figure.subplots(2, 2)
    draw_interaction(panels[0, 0], common)
    draw_course(panels[0, 1], runs)
    draw_tuned(panels[1, 0], tuned)
    draw_events(panels[1, 1], orders)
    shown = [loss for loss in LOSSES if loss in common or loss in tuned]
    key_below(figure, [sample_of(look(loss)) for loss in shown], shown)
    return figure


def draw_interaction(axes: Axes, common: Mapping[str, Sequence[Outcome]]) -> None:
    """Draw a line per objective, from without to with the penalty, and a dot per seed."""
    lines = {name: [np.mean([o.coverage for o in common[arm]]) for arm in arms]
             for name, arms in OBJECTIVES.items()}  # fmt: skip
    upper = max(lines, key=lambda name: sum(lines[name]))
    for place, (objective, arms) in enumerate(OBJECTIVES.items()):
        means, above = lines[objective], objective == upper
        axes.plot([0, 1], means, color="#222222", linestyle=LINES[place], linewidth=1.4, zorder=2)
        axes.annotate(objective, (0.5, sum(means) / 2), xytext=(-6, 6) if above else (6, -6),
                      textcoords="offset points", ha="right" if above else "left",
                      va="bottom" if above else "top", fontsize=10)  # fmt: skip
        for x, arm in enumerate(arms):
            draw_seeds(axes, x + (place - 0.5) * 0.16, arm, common[arm])
    axes.set_xticks([0, 1], ["no penalty", "gradient penalty"])
    axes.set(xlim=(-0.4, 1.4), ylim=(-0.05, 1.09))
    plain(axes, "Four arms, all else equal: at the end", "", COVERAGE)


def draw_seeds(axes: Axes, x: float, loss: str, ended: Sequence[Outcome]) -> None:
    """Draw a small dot per seed, open if it diverged, and the mean with its interval."""
    style = look(loss)
    for outcome, shift in zip(ended, np.linspace(-SPREAD, SPREAD, len(ended)) / 2, strict=True):
        axes.plot(x + shift, outcome.coverage, style.marker, color=style.color, markersize=4,
                  fillstyle="none" if outcome.diverged else "full", alpha=0.6)  # fmt: skip
    found = mean_interval([outcome.coverage for outcome in ended])
    if np.isfinite(found.low):
        axes.plot([x, x], [found.low, found.high], color=style.color, linewidth=2.2)
    axes.plot(x, found.value, style.marker, color=style.color, markersize=9,
              markeredgecolor="#222222", zorder=3)  # fmt: skip


def draw_course(axes: Axes, runs: Mapping[str, Sequence[Run]]) -> None:
    """Draw the mean coverage over generator steps, with its interval over seeds."""
    for loss in [loss for loss in LOSSES if loss in runs]:
        style, courses = look(loss), [series(run.table, "modes/coverage") for run in runs[loss]]
        steps = sorted(set.intersection(*[set(own) for own, _ in courses]))
        if not steps:
            continue
        values = np.array([[dict(zip(*own, strict=True))[s] for s in steps] for own in courses])
        axes.plot(steps, values.mean(axis=0), color=style.color, linestyle=style.line,
                  marker=style.marker, markersize=4, linewidth=1.8)  # fmt: skip
        bounds = [mean_interval(list(column)) for column in values.T]
        low = [b.low if np.isfinite(b.low) else b.value for b in bounds]
        high = [b.high if np.isfinite(b.high) else b.value for b in bounds]
        axes.fill_between(steps, low, high, color=style.color, alpha=0.15, linewidth=0)
    axes.set_ylim(-0.05, 1.09)
    plain(axes, "Equal settings: mean and 95 % over seeds", "generator steps", COVERAGE)


def draw_tuned(axes: Axes, tuned: Mapping[str, Sequence[Outcome]]) -> None:
    """Draw every loss as tuned, with the KL of its modes below."""
    for x, (loss, ended) in enumerate(tuned.items()):
        draw_seeds(axes, x, loss, ended)
    names = [
        f"{loss}\nKL {np.mean([outcome.kl for outcome in ended]):.2f}".replace("_", "\n")
        for loss, ended in tuned.items()
    ]
    axes.set_xticks(range(len(names)), names, fontsize=8.5)
    axes.set_ylim(-0.05, 1.09)
    plain(axes, "Every loss as tuned, equal compute", "", COVERAGE)
    if not tuned:
        axes.text(0.5, 0.5, "not run: tuned_share=0", transform=axes.transAxes, ha="center")


def draw_events(axes: Axes, orders: Mapping[str, Sequence[Order]]) -> None:
    """Draw the step of the first lasting loss against that of the feedback's first drop.

    Seeds whose feedback never dropped are at the right end.
    """
    counts = [f"{loss}: {sum(o.loss is not None for o in own)} of {len(own)}"
              for loss, own in orders.items()]  # fmt: skip
    seen = [(o.feedback, o.loss) for own in orders.values() for o in own if o.loss is not None]
    if not seen:
        text = "no seed lost a mode that it had held\n\n" + "\n".join(counts)
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
        plain(axes, EVENTS, "", "")
        axes.set_axis_off()
        return
    last = max(step for pair in seen for step in pair if step is not None)
    never = 1.15 * last
    for loss in [loss for loss in LOSSES if loss in orders]:
        style = look(loss)
        known = [(o.feedback, o.loss) for o in orders[loss] if o.loss is not None]
        x = [never if drop is None else drop for drop, _ in known]
        axes.plot(x, [lost for _, lost in known], style.marker, color=style.color,
                  markersize=6.5, alpha=0.7)  # fmt: skip
    axes.plot([0, last], [0, last], color="#444444", linestyle=":", linewidth=1.4)
    axes.axvline(1.08 * last, color="#444444", linewidth=0.8)
    axes.set(xlim=(0, 1.22 * last), ylim=(0, 1.12 * last))
    axes.text(0.02, 0.97, "above the line: the drop came first", transform=axes.transAxes,
              va="top", fontsize=8.5)  # fmt: skip
    axes.text(0.03, 0.9, "seeds that lost a mode\n" + "\n".join(counts), va="top", fontsize=8.5,
              transform=axes.transAxes)  # fmt: skip
    axes.text(0.99, 0.03, "never\ndropped", transform=axes.transAxes, ha="right", fontsize=8.5)
    plain(axes, EVENTS, "step at which feedback drops", "step of the first lasting loss")
