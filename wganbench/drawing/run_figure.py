"""The figures of one run: its samples at a step, and the final figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from wganbench.drawing.canvas import (
    CURVES,
    DPI,
    GREY,
    ORANGE,
    REFERENCE,
    heading,
    panel_place,
)
from wganbench.drawing.images import are_images, draw_images
from wganbench.drawing.samples import Arrows, CriticGrid, draw_samples
from wganbench.runs.table import STEP, Cell, series

# Panels of a run's measurements over training.
Columns = Mapping[str, Sequence[Cell]]
FEW = 3
"""Curves of at most this many points get markers, because a line of one point is invisible."""


FAR = 10
"""From this many floors on FID is far: a judge may be confident there about noise."""
FID = {"fidelity/fid": "fakes", "fidelity/fid_floor": "floor (real, real')"}


@dataclass(frozen=True)
class CurveNotes:
    """Reference values of the curves; None when they do not apply.

    ``mode_count`` is K, ``floor_sd`` the standard deviation of the exact distance between
    two samples of reals, ``slope_target`` the loss's target for the slope, and ``slope_label``
    its label, such as 1 and "target 1 (gp)".
    """

    mode_count: int | None = None
    floor_sd: float | None = None
    slope_target: float | None = None
    slope_label: str = "target"


def has_values(table: Columns, tags: Sequence[str]) -> bool:
    """Return whether any of the tags has a finite value to draw."""
    return any(np.isfinite(series(table, tag)[1]).any() for tag in tags)


def draw_modes(axes: Axes, table: Columns, notes: CurveNotes) -> None:
    """Draw modes covered and high quality, both as shares.

    For images, both are the judge's words, and high quality its confidence. They mean little where
    FID is far from its floor, because a judge finds classes in noise, too; they are grey there.
    """
    images = has_values(table, list(FID))
    near = near_floor(table) if images else None
    if notes.mode_count and has_values(table, ["modes/covered"]):
        steps, covered = series(table, "modes/covered")
        share = [value / notes.mode_count for value in covered]
        # Four entries of a legend for images leave room for short words only.
        label = "covered" if images else f"of {notes.mode_count} modes: covered"
    else:
        steps, share = series(table, "modes/coverage")
        label = "of modes: fair share"
    _curve_near(axes, steps, share, near, 0, label)
    label = "judge confident" if images else "of samples: high quality"
    _curve_near(axes, *series(table, "modes/high_quality"), near, 1, label)
    if notes.mode_count and has_values(table, ["modes/ceiling"]):
        ceiling = series(table, "modes/ceiling")[1][-1] / notes.mode_count
        axes.axhline(ceiling, **REFERENCE, label="ceiling")
    of = f" (of {notes.mode_count} modes)" if images and notes.mode_count else ""
    axes.set(ylim=(-0.03, 1.05), ylabel=f"share{of}")
    _finish(axes, "Modes")


def _curve_near(
    axes: Axes,
    steps: list[int],
    values: list[float],
    near: set[int] | None,
    i: int,
    name: str,
) -> None:
    """Draw a curve, in grey at the steps that are not ``near``; None: all are."""
    if near is not None and not near.issuperset(steps):
        told = any(line.get_gid() == "far" for line in axes.lines)
        axes.plot(steps, values, color=GREY, linewidth=1, alpha=0.6, gid="far",
                  label="_" if told else "FID far")  # fmt: skip
    pairs = zip(steps, values, strict=True)
    known = [value if near is None or step in near else np.nan for step, value in pairs]
    _curve(axes, steps, known, i, name)


def near_floor(table: Columns) -> set[int]:
    """Return the steps at which FID lies within `FAR` floors."""
    values, floors = (dict(zip(*series(table, tag), strict=True)) for tag in FID)
    floor = next((value for value in reversed(floors.values()) if np.isfinite(value)), np.nan)
    return {step for step, value in values.items() if value <= FAR * floor}


def draw_distance(axes: Axes, table: Columns, notes: CurveNotes) -> None:
    """Draw exact W1 and its floor."""
    _curve(axes, *series(table, "wasserstein/exact"), 0, "exact $W_1$")
    floors = [value for value in series(table, "wasserstein/floor")[1] if np.isfinite(value)]
    if floors:
        floor = floors[-1]
        axes.axhline(floor, **REFERENCE, label="floor (real, real')")
        if notes.floor_sd is not None and np.isfinite(notes.floor_sd):
            axes.axhspan(floor - notes.floor_sd, floor + notes.floor_sd, color=GREY, alpha=0.25,
                         linewidth=0, label="± 1 sd")  # fmt: skip
    axes.set_ylabel("distance (data units)")
    axes.set_ylim(bottom=0)
    _finish(axes, "Exact earth mover's distance")


def draw_energy(axes: Axes, table: Columns, notes: CurveNotes) -> None:
    """Draw the energy distance, and its floor with the spread around it."""
    _curve(axes, *series(table, "energy/distance"), 0, "energy distance")
    floors, spreads = (
        [value for value in series(table, tag)[1] if np.isfinite(value)]
        for tag in ("energy/floor", "energy/spread")
    )
    if floors and spreads:
        low, high = floors[-1] - spreads[-1], floors[-1] + spreads[-1]
        axes.axhline(floors[-1], **REFERENCE, label="floor (real, real')")
        axes.axhspan(low, high, color=GREY, alpha=0.25, linewidth=0, label="± 1 sd")
    axes.set_ylabel("distance (data units)")
    _finish(axes, "Energy distance")


def draw_fid(axes: Axes, table: Columns, notes: CurveNotes) -> None:
    """Draw the FID of fakes and of real images, on a logarithmic axis."""
    for i, (tag, name) in enumerate(FID.items()):
        steps, values = series(table, tag)
        _curve(axes, steps, [value if value > 0 else np.nan for value in values], i, name)
    axes.set_yscale("log")
    axes.set_ylabel("squared feature unit")
    _finish(axes, "FID")


def draw_slope(axes: Axes, table: Columns, notes: CurveNotes) -> None:
    """Draw the critic's slope and the loss's target for it."""
    steps, mean = series(table, "critic/slope_mean")
    _curve(axes, steps, mean, 0, "mean")
    spread_steps, spread = series(table, "critic/slope_std")
    if steps and steps == spread_steps:
        low, high = np.subtract(mean, spread), np.add(mean, spread)
        axes.fill_between(steps, np.maximum(low, 0), high, color=CURVES[0][0], alpha=0.15,
                          linewidth=0)  # fmt: skip
    _curve(axes, *series(table, "critic/lipschitz"), 1, "largest seen")
    if notes.slope_target is not None:
        axes.axhline(notes.slope_target, **REFERENCE,
                     label=notes.slope_label)  # fmt: skip
    axes.set_ylabel("score per data unit")
    axes.set_ylim(bottom=0)
    _finish(axes, "Critic's slope")


def draw_gradients(axes: Axes, table: Columns, notes: CurveNotes) -> None:
    """Draw gradient norms on a logarithmic axis; zeros are left out."""
    names = {
        "grad_norm/critic": "critic",
        "grad_norm/generator": "generator",
        "grad_norm/sample": "one sample",
    }
    for i, (tag, name) in enumerate(names.items()):
        steps, norms = series(table, tag)
        _curve(axes, steps, [norm if norm > 0 else np.nan for norm in norms], i, name)
    axes.set_yscale("log")
    axes.set_ylabel("norm (loss per unit)")
    _finish(axes, "Gradient norms")


PANELS = (
    (("modes/covered", "modes/coverage", "modes/high_quality"), draw_modes),
    (("wasserstein/exact",), draw_distance),
    (("energy/distance",), draw_energy),
    (("fidelity/fid",), draw_fid),
    (("critic/slope_mean", "critic/lipschitz"), draw_slope),
    (("grad_norm/critic", "grad_norm/generator", "grad_norm/sample"), draw_gradients),
)
"""The panels of curves, with tags; a panel needs at least one of its tags."""


def _curve(axes: Axes, steps: list[int], values: list[float], i: int, name: str) -> None:
    if np.isfinite(values).any():
        color, style = CURVES[i]
        marker = "o" if np.isfinite(values).sum() <= FEW else None
        finite = np.where(np.isfinite(values), values, np.nan)
        axes.plot(steps, finite, color=color, linestyle=style, marker=marker, linewidth=1.5,
                  label=name)  # fmt: skip
    lost = [step for step, value in zip(steps, values, strict=True) if np.isinf(value)]
    if lost:
        axes.axvline(lost[0], color=ORANGE, linewidth=1.2, label=f"{name}: infinite")


def _finish(axes: Axes, title: str) -> None:
    """Add the title, and the legend below it outside the axes, where it hides no curve."""
    axes.set_title(title, fontsize=11, loc="left", pad=22, y=1.0)
    axes.set_xlabel("generator step")
    axes.locator_params(axis="x", nbins=5)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=4, frameon=False,
                fontsize=9, handlelength=1.9, columnspacing=1.2, handletextpad=0.5)  # fmt: skip


class Margins(NamedTuple):
    """The margins around the axes of a figure, in inches."""

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
    """Return a figure of reals and fakes, with the critic's scores for planar points.

    It shows a histogram for d = 1, points over the critic's contours with modes and arrows for
    d = 2, and the first two principal axes of the reals for d > 2. Grey and RGB images
    (n, c, h, w) are shown in grids; points of any other shape are flattened.
    """
    if are_images(fakes):
        figure = Figure(figsize=(6.4, 5.3), dpi=DPI)
        figure.suptitle(heading(title), fontsize=12)
        _set_margins(figure, 6.4, 5.3, PICTURE_MARGINS)
        draw_images(figure, reals, fakes)
        return figure
    figure = Figure(figsize=(6.4, 6.2), dpi=DPI)
    _set_margins(figure, 6.4, 6.2, SAMPLE_MARGINS)
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
    """Return a figure with samples on the left and measurements over training on the right.

    The panels on the right are those of `PANELS`. A panel without values is left out.
    """
    notes = notes or CurveNotes(mode_count=None if modes is None else len(modes))
    drawn = [draw for tags, draw in PANELS if has_values(table, tags)]
    columns = 0 if not drawn else 1 if len(drawn) <= 2 else 2
    widths = [6.4, 4.4 * columns] if drawn else [6.4]
    height = 5.6 if are_images(fakes) else 6.6
    figure = Figure(figsize=(sum(widths), height), dpi=DPI)
    figure.suptitle(heading(title), fontsize=13)
    grid = figure.add_gridspec(1, 2 if drawn else 1, width_ratios=widths)
    left = figure.add_subfigure(grid[0, 0])
    if are_images(fakes):
        _set_margins(left, widths[0], height, PICTURE_MARGINS)
        draw_images(left, reals, fakes)
    else:
        _set_margins(left, widths[0], height, SAMPLE_MARGINS)
        axes = left.add_subplot()
        draw_samples(axes, reals, fakes, modes, critic_grid, arrows)
        axes.set_title("Samples", fontsize=11, y=1.0)
    if not drawn:
        return figure
    right = figure.add_subfigure(grid[0, 1])
    _set_margins(right, widths[1], height, CURVE_MARGINS)
    right.subplots_adjust(wspace=0.28, hspace=0.55)
    for i, draw in enumerate(drawn):
        panel = right.add_subplot(*panel_place(i, len(drawn), columns))
        draw(panel, table, notes)
        panel.set_xlim(left=0, right=max(int(table[STEP][-1] or 0), 1))
    return figure


def _set_margins(figure: Figure | SubFigure, width: float, height: float, margins: Margins) -> None:
    """Set the margins, in inches.

    A layout engine would draw every text of a figure twice to find them. For the same reason
    titles have a fixed height.
    """
    figure.subplots_adjust(
        left=margins.left / width,
        right=1 - margins.right / width,
        bottom=margins.bottom / height,
        top=1 - margins.top / height,
    )
