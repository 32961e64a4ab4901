"""A comparison on disk: tables, figures, the report."""

from __future__ import annotations

from pathlib import Path

from wganbench.errors import ConfigError
from wganbench.reports.animation import draw_animation
from wganbench.reports.comparison import Comparison
from wganbench.reports.export import write_files
from wganbench.reports.figures import draw_figures
from wganbench.reports.html import write_report


def write_all(comparison: Comparison, folder: Path, animate: bool = False) -> dict[str, Path]:
    """Write all files of a comparison; what there is for a person, and where.

    Raises ConfigError where the folder cannot be written, or an animation is asked for of
    runs that left no frames.
    """
    try:
        write_files(comparison, folder)
        pictures = draw_figures(comparison, folder)
        found = {"report": write_report(comparison, pictures, folder)}
        if animate:
            moving = draw_animation(comparison, folder)
            if moving is None:
                raise ConfigError("--animate: no run has frames; train with log.animation=true")
            found["animation"] = moving.file(folder, "gif")
    except OSError as error:
        raise ConfigError(
            f"the comparison cannot be written: {error}; give another --out"
        ) from error
    return found | {"figures": folder / "figures", "tables": folder / "comparison.csv"}
