"""The figures of one run: its samples at a step, and the run at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure, SubFigure

from wganbench.records.curves_panel import PANELS, CurveNotes, has_values
from wganbench.records.image_grid import are_pictures
from wganbench.records.image_panel import draw_pictures
from wganbench.records.pictures import animation, figure_to_rgb, save_png
from wganbench.records.samples_panel import Arrows, CriticGrid, draw_samples
from wganbench.records.table import STEP, Cell
from wganbench.records.text import heading

__all__ = [
    "Arrows",
    "CriticGrid",
    "CurveNotes",
    "animation",
    "figure_to_rgb",
    "final_figure",
    "sample_figure",
    "save_png",
]

DPI = 110


class Margins(NamedTuple):
    """Room around the axes of a figure, in inches."""

    left: float
    right: float
    bottom: float
    top: float


SAMPLE_MARGINS = Margins(0.75, 0.95, 0.95, 0.75)
CURVE_MARGINS = Margins(0.75, 0.2, 0.6, 1.05)
PICTURE_MARGINS = Margins(0.15, 0.15, 0.15, 0.85)


def sample_figure(
    reals: Float[np.ndarray, "n ..."],
    fakes: Float[np.ndarray, "m ..."],
    *,
    title: str,
    modes: Float[np.ndarray, "K d"] | None = None,
    critic_grid: CriticGrid | None = None,
    arrows: Arrows | None = None,
) -> Figure:
    """Reals and fakes in one picture, with the critic where points are planar.

    d = 1 is a histogram, d = 2 points over the critic's contours with modes and arrows,
    d > 2 the first two principal axes of the reals. Grey and RGB pictures (n, c, h, w)
    are shown in grids; points of any other shape are flattened.
    """
    if are_pictures(fakes):
        figure = Figure(figsize=(6.4, 5.3), dpi=DPI)
        figure.suptitle(heading(title), fontsize=12)
        _leave(figure, 6.4, 5.3, PICTURE_MARGINS)
        draw_pictures(figure, reals, fakes)
        return figure
    figure = Figure(figsize=(6.4, 6.2), dpi=DPI)
    _leave(figure, 6.4, 6.2, SAMPLE_MARGINS)
    axes = figure.add_subplot()
    draw_samples(axes, reals, fakes, modes, critic_grid, arrows)
    axes.set_title(heading(title), fontsize=12, y=1.0)
    return figure


def final_figure(
    table: Mapping[str, Sequence[Cell]],
    reals: Float[np.ndarray, "n ..."],
    fakes: Float[np.ndarray, "m ..."],
    *,
    title: str,
    modes: Float[np.ndarray, "K d"] | None = None,
    critic_grid: CriticGrid | None = None,
    arrows: Arrows | None = None,
    notes: CurveNotes | None = None,
) -> Figure:
    """The run at a glance: samples on the left, measurements over training on the right.

    Panels: modes covered and high quality, exact W1 with its floor, FID, the critic's
    slope against its target, gradient norms. A panel whose columns are missing is left out.
    """
    notes = notes or CurveNotes(mode_count=None if modes is None else len(modes))
    drawn = [draw for tags, draw in PANELS if has_values(table, tags)]
    columns = 0 if not drawn else 1 if len(drawn) <= 2 else 2
    widths = [6.4, 4.4 * columns] if drawn else [6.4]
    height = 5.6 if are_pictures(fakes) else 6.6
    figure = Figure(figsize=(sum(widths), height), dpi=DPI)
    figure.suptitle(heading(title), fontsize=13)
    grid = figure.add_gridspec(1, 2 if drawn else 1, width_ratios=widths)
    left = figure.add_subfigure(grid[0, 0])
    if are_pictures(fakes):
        _leave(left, widths[0], height, PICTURE_MARGINS)
        draw_pictures(left, reals, fakes)
    else:
        _leave(left, widths[0], height, SAMPLE_MARGINS)
        axes = left.add_subplot()
        draw_samples(axes, reals, fakes, modes, critic_grid, arrows)
        axes.set_title("Samples", fontsize=11, y=1.0)
    if not drawn:
        return figure
    right = figure.add_subfigure(grid[0, 1])
    rows = -(-len(drawn) // columns)
    _leave(right, widths[1], height, CURVE_MARGINS)
    right.subplots_adjust(wspace=0.28, hspace=0.55)
    for i, draw in enumerate(drawn):
        panel = right.add_subplot(rows, columns, i + 1)
        draw(panel, table, notes)
        panel.set_xlim(left=0, right=max(int(table[STEP][-1] or 0), 1))
    return figure


def _leave(figure: Figure | SubFigure, width: float, height: float, margins: Margins) -> None:
    """Margins in inches. A layout engine finds them by drawing every text of a figure twice.

    For the same reason titles have their height given.
    """
    figure.subplots_adjust(
        left=margins.left / width,
        right=1 - margins.right / width,
        bottom=margins.bottom / height,
        top=1 - margins.top / height,
    )
