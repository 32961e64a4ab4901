"""Panels that show pictures: fakes, and reals beside them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from wganbench.records.image_grid import image_grid, to_bytes
from wganbench.records.palette import GREY

FAKES_DRAWN, FAKE_COLUMNS = 64, 8
REALS_DRAWN, REAL_COLUMNS = 24, 3


def draw_grid(axes: Axes, pictures: UInt8[np.ndarray, "n c h w"], columns: int) -> None:
    """Pictures row by row, pixel for pixel: nothing is smoothed, no ticks, no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(pictures) == 0:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center",
                  color=GREY)  # fmt: skip
        return
    axes.imshow(image_grid(pictures, min(columns, len(pictures))), interpolation="nearest")
    axes.set_anchor("N")


def draw_pictures(
    figure: Figure | SubFigure,
    reals: Float[np.ndarray, "n c h w"],
    fakes: Float[np.ndarray, "m c h w"],
) -> None:
    """The first fakes in a large grid, the first reals in a narrow one beside it.

    A picture with a value that is not finite is left out and counted in the title.
    """
    finite = np.isfinite(fakes).all((1, 2, 3))
    shown, real = fakes[finite][:FAKES_DRAWN], reals[:REALS_DRAWN]
    gap = 1 / fakes.shape[3]
    widths = [columns * (1 + gap) - gap for columns in (FAKE_COLUMNS, REAL_COLUMNS)]
    left, right = figure.subplots(1, 2, width_ratios=widths)
    draw_grid(left, to_bytes(shown), FAKE_COLUMNS)
    draw_grid(right, to_bytes(real), REAL_COLUMNS)
    lost = len(fakes) - int(finite.sum())
    note = f"\n{lost} of {len(fakes)} are not finite" if lost else ""
    left.set_title(f"generated{note}", fontsize=11)
    right.set_title("real", fontsize=11)
