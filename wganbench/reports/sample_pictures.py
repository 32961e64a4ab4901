"""What the generators of image runs made: a small grid of pictures a run."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes

from wganbench.records.image_grid import CHANNELS
from wganbench.records.image_panel import draw_grid
from wganbench.records.stored_samples import read_arrays
from wganbench.reports.drawing import Look
from wganbench.reports.records import RunRecord

SIDE = 5
"""Pictures of a run, a side of its grid."""


def read_pictures(run: RunRecord) -> UInt8[np.ndarray, "n c h w"] | None:
    """The first pictures in a run's samples.npz; None where there are none to be read."""
    fakes = read_arrays(run.path, "fakes").get("fakes")
    if fakes is None:
        return None
    return fakes[: SIDE * SIDE].transpose(0, 3, 1, 2) if are_stored_pictures(fakes) else None


def are_stored_pictures(points: np.ndarray) -> bool:
    """Whether these are the bytes (n, h, w, c) of pictures, as image runs leave them."""
    pictured = points.dtype == np.uint8 and points.ndim == 4 and points.shape[3] in CHANNELS
    return bool(pictured and points.size)


def draw_picture_cell(
    axes: Axes,
    run: RunRecord,
    pictures: UInt8[np.ndarray, "n c h w"],
    look: Look,
    mode_count: int | None,
) -> None:
    """One run's pictures, underlined in the colour of its loss."""
    draw_grid(axes, pictures, SIDE)
    axes.spines["bottom"].set(visible=True, color=look.color, linewidth=2.5)
    covered = run.final.get("modes/covered")
    found = "" if covered is None or not mode_count else f", {covered:.4g}/{mode_count} modes"
    axes.set_title(f"seed {run.seed}{found}", fontsize=9.5)
