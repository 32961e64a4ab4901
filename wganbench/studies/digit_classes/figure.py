"""The figure of `digit_classes`: classes lost, the KL, and how sure the judge is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure

from wganbench.reports.drawing import LOSS_COLOURS, MARKERS, new_figure, style_axes


class Known(Protocol):
    """A run by its judge."""

    @property
    def coverage(self) -> float: ...

    @property
    def kl(self) -> float: ...

    @property
    def sure(self) -> float: ...


PANELS = {
    "coverage": ("Classes with a fair share", "share of ten classes"),
    "kl": ("KL of the classes' shares", "nats"),
    "sure": ("Samples that the judge is sure of", "share"),
}


def draw(found: Mapping[str, Sequence[Known]]) -> Figure:
    """Draw a dot per seed and the mean of each arm."""
    figure = new_figure(12, 4.4, "Do classes of digits collapse?")
    panels = figure.subplots(1, 3)
    for axes, (name, (title, label)) in zip(panels, PANELS.items(), strict=True):
        for x, (arm, own) in enumerate(found.items()):
            values = [float(getattr(each, name)) for each in own]
            color = LOSS_COLOURS[arm]
            axes.plot(x + np.linspace(-0.16, 0.16, len(values)), values, MARKERS[x], color=color,
                      alpha=0.6, markersize=5)  # fmt: skip
            axes.plot(x, np.mean(values), MARKERS[x], color=color, markersize=10,
                      markeredgecolor="#222222")  # fmt: skip
        axes.set_xticks(range(len(found)), list(found), fontsize=9)
        axes.set_ylim(bottom=-0.03)
        if name != "kl":
            axes.set_ylim(top=1.05)
        style_axes(axes, title, "", label)
    return figure
