"""All figures of a comparison, on disk as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wganbench.files import inside
from wganbench.records.pictures import save_png, save_svg
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


def draw_figures(comparison: Comparison, folder: Path) -> list[Picture]:
    """Draw every figure that the data allow into ``folder/figures``; what they are.

    A figure that an earlier comparison left there and that is not drawn now is removed.
    Raises OSError where the folder cannot be written.
    """
    inside(folder, "figures").mkdir(parents=True, exist_ok=True)
    pictures = []
    for name, draw in FIGURES.items():
        drawing = draw(comparison)
        picture = Picture(
            name, drawing.title if drawing else "", drawing.caption if drawing else ""
        )
        if drawing is None:
            for kind in ("png", "svg"):
                picture.file(folder, kind).unlink(missing_ok=True)
            continue
        save_png(drawing.figure, picture.file(folder, "png"))
        # The layout stands now; to solve it once more for the SVG takes as long as to draw it.
        drawing.figure.set_layout_engine("none")
        save_svg(drawing.figure, picture.file(folder, "svg"))
        pictures.append(picture)
    return pictures
