"""Drawing and saving all figures of a comparison, as PNG and SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import ImageOps

from wganbench.drawing.canvas import animation, figure_to_rgb, literal, optional, save_png, save_svg
from wganbench.files import inside
from wganbench.reports.answer_figure import draw_answer
from wganbench.reports.comparison import Comparison
from wganbench.reports.curve_figures import draw_curves, thinned
from wganbench.reports.drawing import Drawing, GroupStyle, group_styles, left_out_text, shown_groups
from wganbench.reports.groups import Group
from wganbench.reports.samples_figure import draw_samples_figure
from wganbench.reports.seed_figures import draw_estimate, draw_profile
from wganbench.reports.setting_figure import draw_setting
from wganbench.runs.record import RunRecord
from wganbench.runs.samples import find_frames, read_frame


# A saved figure with its title and caption.
@dataclass(frozen=True)
class FigureFile:
    """A saved figure: ``figures/<name>.png`` and ``.svg`` in the comparison's folder."""

    name: str
    title: str
    caption: str

    def path(self, folder: Path, kind: str) -> Path:
        return inside(folder, f"figures/{self.name}.{kind}")


FIGURES: dict[str, Callable[[Comparison], Drawing | None]] = {
    "answer": draw_answer,
    "curves": draw_curves,
    "samples": draw_samples_figure,
    "setting": draw_setting,
    "estimate": draw_estimate,
    "profile": draw_profile,
}
"""By name, in the order of the report; a function returns None if its data are missing."""


def draw_figures(comparison: Comparison, folder: Path) -> tuple[list[FigureFile], list[str]]:
    """Draw all possible figures into ``folder/figures``; return them, and notes on failures.

    A figure that cannot be drawn is left out, and a note gives the reason. An old figure that
    is not drawn again is removed. Raises OSError if the folder cannot be written.
    """
    inside(folder, "figures").mkdir(parents=True, exist_ok=True)
    drawn: list[FigureFile] = []
    notes: list[str] = []
    for name, draw in FIGURES.items():
        # Sums of values near the largest float overflow to inf, which is drawn without a warning.
        note = optional(f"The figure {name!r}", notes.append, but=OSError)
        with note, np.errstate(all="ignore"):
            drawing = draw(comparison)
            if drawing is not None:
                save(drawing, folder)
                drawn.append(FigureFile(name, drawing.title, drawing.caption))
        if name not in [file.name for file in drawn]:
            for kind in ("png", "svg"):
                FigureFile(name, "", "").path(folder, kind).unlink(missing_ok=True)
    return drawn, notes


def save(drawing: Drawing, folder: Path) -> None:
    """Write a figure as PNG and SVG. Raises OSError."""
    one = FigureFile(drawing.name, drawing.title, drawing.caption)
    save_png(drawing.figure, one.path(folder, "png"))
    # The layout is final now; solving it again for the SVG would take as long as drawing.
    drawing.figure.set_layout_engine("none")
    save_svg(drawing.figure, one.path(folder, "svg"))


# The animation: all groups side by side during training, as one GIF.
NAME = "learning"
MOST, COLUMNS = 8, 4
CELL = (420, 410)
STRIP = 34
"""Height in pixels of the line with the group's name above each image."""
SECONDS_PER_FRAME = 0.2
MOST_FRAMES = 100


def draw_animation(comparison: Comparison, folder: Path) -> FigureFile | None:
    """Write ``figures/learning.gif``: one run per group, all at the same generator step.

    It uses the frames of runs with log.animation=true: those of the seed for which most groups
    have frames, and of these seeds the smallest. Returns None without frames. Raises OSError if
    the folder cannot be written.
    """
    chosen = choose_runs(shown_groups(comparison, MOST))
    found = {group.label: frames for group, run in chosen if (frames := read_frames(run))}
    one = FigureFile(NAME, "Learning side by side", caption(comparison, chosen))
    target = one.path(folder, "gif")
    if not found:
        target.unlink(missing_ok=True)
        return None
    steps = sorted(set().union(*found.values()))
    kept = thinned(steps, MOST_FRAMES)
    styles = group_styles(comparison)
    seeds = {group.label: run.seed for group, run in chosen}
    titles = {group.label: literal(group.title) for group, _ in chosen}
    strips = {
        label: strip(f"{titles[label]}, seed {seeds[label]}", styles[label]) for label in found
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    images = [side_by_side([(strips[g], at(f, step)) for g, f in found.items()]) for step in kept]
    animation(images, target, SECONDS_PER_FRAME)
    return one


def choose_runs(groups: Sequence[Group]) -> list[tuple[Group, RunRecord]]:
    """Return one run with frames per group, of the seed (the smallest) that most groups have."""
    with_frames = {
        group.label: {run.seed: run for run in reversed(group.finished) if read_frames(run)}
        for group in groups
    }
    counts = Counter(seed for runs in with_frames.values() for seed in runs)
    order = sorted(counts, key=lambda seed: (-counts[seed], seed))
    return [
        (group, next(runs[seed] for seed in order if seed in runs))
        for group in groups
        if (runs := with_frames[group.label])
    ]


def read_frames(run: RunRecord) -> dict[int, Path]:
    """Return the frames of a run by step."""
    return find_frames(run.path)


def at(frames: dict[int, Path], step: int) -> Path:
    """Return the last frame up to a step, or the first frame."""
    return frames[max((s for s in frames if s <= step), default=min(frames))]


def strip(text: str, style: GroupStyle) -> np.ndarray:
    """Return the pixels of a group's name, underlined in its colour."""
    figure = Figure(figsize=(CELL[0] / 100, STRIP / 100), dpi=100)
    figure.text(0.5, 0.55, text, ha="center", va="center", fontsize=11)
    pixels = figure_to_rgb(figure)
    pixels[-4:, 10:-10] = [int(style.color[i : i + 2], 16) for i in (1, 3, 5)]
    return pixels


def side_by_side(cells: Sequence[tuple[np.ndarray, Path]]) -> np.ndarray:
    """Return one frame with the groups in rows; an unreadable image stays white."""
    width, height = CELL[0], CELL[1] + STRIP
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    frame = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for i, (name, path) in enumerate(cells):
        top, left = i // columns * height, i % columns * width
        frame[top : top + STRIP, left : left + width] = name
        image = read_frame(path)
        if image is None:
            continue
        shown = ImageOps.pad(image, CELL, color="white")
        frame[top + STRIP : top + height, left : left + width] = np.asarray(shown)
    return frame


def caption(comparison: Comparison, chosen: Sequence[tuple[Group, RunRecord]]) -> str:
    seeds = sorted({run.seed for _, run in chosen})
    which = f"seed {seeds[0]}" if len(seeds) == 1 else "the smallest seed that left images"
    return (
        f"One run of each group ({which}; n = 1, so nothing is said of other seeds), all at the "
        "same generator step; a run that has ended shows its last image"
        + left_out_text(comparison, [group for group, _ in chosen])
        + "."
    )
