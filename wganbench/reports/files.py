"""A comparison on disk: tables, figures, the report."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from wganbench.errors import ConfigError
from wganbench.records.pictures import optional
from wganbench.reports.animation import draw_animation
from wganbench.reports.comparison import Comparison
from wganbench.reports.export import write_files
from wganbench.reports.figures import draw_figures
from wganbench.reports.html import write_report


class Written(NamedTuple):
    """What there is for a person, and where; notes on what is not there."""

    files: dict[str, Path]
    notes: list[str]


def write_all(comparison: Comparison, folder: Path, animate: bool = False) -> Written:
    """Write all files of a comparison.

    Raises ConfigError where the folder cannot be written, or an animation is asked for of
    runs that left no frames.
    """
    try:
        write_files(comparison, folder)
        pictures, notes = draw_figures(comparison, folder)
        found = {"report": write_report(comparison, pictures, folder, notes)}
        if animate:
            with optional("The animation", notes.append):
                found |= animated(comparison, folder)
    except OSError as error:
        raise ConfigError(
            f"the comparison cannot be written: {error}; give another --out"
        ) from error
    places = {"figures": folder / "figures", "tables": folder / "comparison.csv"}
    return Written(found | places, notes)


def animated(comparison: Comparison, folder: Path) -> dict[str, Path]:
    moving = draw_animation(comparison, folder)
    if moving is None:
        raise ConfigError("--animate: no run has frames; train with log.animation=true")
    return {"animation": moving.file(folder, "gif")}
