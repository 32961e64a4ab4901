"""All figures of a comparison, on disk as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from wganbench.files import inside
from wganbench.records.pictures import optional, save_png, save_svg
from wganbench.reports.comparison import Comparison
from wganbench.reports.curve_figures import draw_curves
from wganbench.reports.drawing import Drawing
from wganbench.reports.estimate_figure import draw_estimate
from wganbench.reports.knob_figure import draw_knob
from wganbench.reports.picture import Picture
from wganbench.reports.sample_figure import draw_samples_figure
from wganbench.reports.seed_figures import draw_profile, draw_ranking

FIGURES: dict[str, Callable[[Comparison], Drawing | None]] = {
    "ranking": draw_ranking,
    "curves": draw_curves,
    "samples": draw_samples_figure,
    "knob": draw_knob,
    "estimate": draw_estimate,
    "profile": draw_profile,
}
"""By name, in the order of a report; each returns None where the data do not allow it."""


def draw_figures(comparison: Comparison, folder: Path) -> tuple[list[Picture], list[str]]:
    """Draw every figure that the data allow into ``folder/figures``; what they are, and notes.

    A figure that cannot be drawn is left out, and a note says why. One that an earlier
    comparison left there and that is not drawn now is removed. Raises OSError where the
    folder cannot be written.
    """
    inside(folder, "figures").mkdir(parents=True, exist_ok=True)
    pictures: list[Picture] = []
    notes: list[str] = []
    for name, draw in FIGURES.items():
        # Sums of values near the largest number there is are infinite, and drawn as such.
        note = optional(f"The figure {name!r}", notes.append, but=OSError)
        with note, np.errstate(all="ignore"):
            drawing = draw(comparison)
            if drawing is not None:
                save(drawing, folder)
                pictures.append(Picture(name, drawing.title, drawing.caption))
        if name not in [picture.name for picture in pictures]:
            for kind in ("png", "svg"):
                Picture(name, "", "").file(folder, kind).unlink(missing_ok=True)
    return pictures, notes


def save(drawing: Drawing, folder: Path) -> None:
    """Write a figure as PNG and SVG. Raises OSError."""
    picture = Picture(drawing.name, drawing.title, drawing.caption)
    save_png(drawing.figure, picture.file(folder, "png"))
    # The layout stands now; to solve it once more for the SVG takes as long as to draw it.
    drawing.figure.set_layout_engine("none")
    save_svg(drawing.figure, picture.file(folder, "svg"))
