"""The figure of the mode collapse study: simple effects, every arm at its best, the twins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wganbench.reports.drawing import LINES, LOSS_COLOURS, OTHERS, new_figure, style_axes
from wganbench.studies.evidence import effect_interval
from wganbench.studies.mode_collapse.intervention import Branch
from wganbench.studies.mode_collapse.measure import (
    COVERAGE,
    LOST,
    OBJECTIVE,
    PENALTY,
    Ended,
    simple_effects,
)

QUANTITIES = {COVERAGE: ("coverage", "#222222", "o", 0.16), LOST: ("1 − lost mass", "#D55E00", "s",
                                                                 -0.16)}  # fmt: skip
SHORT = {"bce": "NS", "bce_saturating": "saturating", "wasserstein": "W", "bce_gp": "NS + gp",
         "bce_saturating_gp": "saturating + gp", "gp": "W + gp", "clip": "W + clip"}  # fmt: skip
"""The names of arms by objective and constraint."""


def collapse_figure(drawn: Ended, tuned: Ended, branches: Sequence[Branch]) -> Figure:
    """Draw effects at drawn and at best settings above, arms at their best and twins below."""
    figure = new_figure(13, 9.6, "What prevents lost modes, the objective or the penalty?")
    panels = figure.subplots(2, 2)
    draw_effects(panels[0, 0], drawn, "Drawn settings, equal for all: simple effects")
    draw_effects(panels[0, 1], tuned, "Each arm at its best: simple effects")
    draw_arms(panels[1, 0], tuned)
    draw_twins(panels[1, 1], branches)
    return figure


def draw_effects(axes: Axes, found: Ended, title: str) -> None:
    """Draw each simple effect with its interval, by coverage and by the lost mass."""
    names: list[str] = []
    for quantity, (label, color, marker, shift) in QUANTITIES.items():
        effects = simple_effects(found, (*PENALTY, *OBJECTIVE), quantity)
        names = list(effects)
        for place, values in enumerate(effects.values()):
            y = len(effects) - 1 - place + shift
            interval = effect_interval(values, (-1.0, 1.0))
            if np.isfinite(interval.low):
                axes.plot([interval.low, interval.high], [y, y], color=color, linewidth=1.8)
            axes.plot(interval.value, y, marker, color=color, markersize=6,
                      label=label if place == 0 else None)  # fmt: skip
    shown = [" − ".join(SHORT[arm] for arm in name.split(" less ")) for name in names]
    axes.set_yticks(range(len(shown)), shown[::-1], fontsize=9)
    axes.axvline(0, color="#444444", linewidth=0.9)
    if names:
        axes.legend(frameon=False, fontsize=8.5, loc="best")
    style_axes(axes, title, "more modes kept, share (95 %)", "")


def draw_arms(axes: Axes, tuned: Ended) -> None:
    """Draw the modes that each arm lost at its best, a dot per seed, by data set."""
    arms = list(dict.fromkeys(arm for own in tuned.outcomes.values() for arm in own))
    for i, data in enumerate(tuned.outcomes):
        shift = (i - (len(tuned.outcomes) - 1) / 2) * 0.3
        for x, arm in enumerate(arms):
            if arm not in tuned.outcomes[data]:
                continue
            values = [tuned.modes[data] * (1 - c) for c in tuned.values(data, arm, COVERAGE)]
            spread = np.linspace(-0.08, 0.08, len(values))
            axes.plot(x + shift + spread, values, "o^sD"[i % 4], markersize=5, alpha=0.75,
                      color=LOSS_COLOURS.get(arm, OTHERS[0]))  # fmt: skip
        axes.plot([], [], "o^sD"[i % 4], color="#444444", linestyle="", label=data)
    axes.set_xticks(range(len(arms)), [SHORT[arm] for arm in arms], fontsize=8.5)
    axes.axhline(0.5, color="#444444", linestyle=":", linewidth=1)
    axes.set_ylim(bottom=-0.3)
    if tuned.outcomes:
        axes.legend(frameon=False, fontsize=8.5)
    style_axes(axes, "Each arm at its best: a dot per seed", "", "modes not covered")


def draw_twins(axes: Axes, branches: Sequence[Branch]) -> None:
    """Draw the mean coverage of the twins from the swap on, with a thin line per seed."""
    styles: Mapping[str, str] = {"bce": LOSS_COLOURS["bce"],
                                 "bce_saturating": LOSS_COLOURS["bce_saturating"]}  # fmt: skip
    for branch in branches:
        color = styles[branch.after]
        line = LINES[0] if branch.before == "bce" else LINES[1]
        for own in branch.coverage:
            axes.plot(branch.steps, own, color=color, linestyle=line, linewidth=0.6, alpha=0.35)
        axes.plot(branch.steps, np.mean(branch.coverage, axis=0), color=color, linestyle=line,
                  linewidth=2.2,
                  label=f"{SHORT[branch.before]}, then {SHORT[branch.after]}")  # fmt: skip
    if branches:
        axes.legend(frameon=False, fontsize=8.5, loc="best")
    axes.set_ylim(-0.03, 1.05)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    style_axes(axes, "Intervention: the generator's loss is swapped", "generator steps",
          "modes with a fair share (share)")  # fmt: skip
