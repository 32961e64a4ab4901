"""Drawing and saving all figures of a comparison, as PNG and SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from PIL import ImageOps

from wganbench.drawing.canvas import animation, figure_to_rgb, literal, optional, save_png, save_svg
from wganbench.files import inside
from wganbench.reports.comparison import Comparison
from wganbench.reports.curve_figures import draw_curves, thinned
from wganbench.reports.drawing import (
    Drawing,
    GroupStyle,
    axis_label,
    by_rank,
    common_bounds,
    figure_label,
    group_styles,
    left_out_text,
    new_figure,
    runs_text,
    sensible_limits,
    shown_groups,
    style_axes,
)
from wganbench.reports.groups import Group
from wganbench.reports.matrix import letters_of
from wganbench.reports.reproduce import seeds_text
from wganbench.reports.rows import Cell, Row
from wganbench.reports.samples_figure import (
    Stored,
    common_seeds,
    draw_place,
    draw_samples_figure,
    read_stored,
)
from wganbench.reports.seed_figures import draw_estimate, draw_profile
from wganbench.reports.setting_figure import draw_setting, varied_setting
from wganbench.runs.record import RunRecord
from wganbench.runs.samples import find_frames, read_frame
from wganbench.tags.lookup import which_is_better


# A saved figure with its title and caption.
@dataclass(frozen=True)
class FigureFile:
    """A saved figure: ``figures/<name>.png`` and ``.svg`` in the comparison's folder."""

    name: str
    title: str
    caption: str

    def path(self, folder: Path, kind: str) -> Path:
        return inside(folder, f"figures/{self.name}.{kind}")


# The figure of the answer.
MOST, WITH_SAMPLES, SEEDS = 40, 8, 3
"""The most groups; the most with samples beside them; the seeds whose samples are shown."""
LONGEST = 40
"""Characters of a group's name beside the axis."""
BELOW, APART, STACKED = 0.2, 0.085, 4
"""Positions of seeds' dots in rows: offset below the mean, step between equal dots, most steps."""
ROW, PLAIN_ROW = 1.3, 0.5
"""Height of a row with and without samples, in inches."""


def draw_answer(comparison: Comparison) -> Drawing | None:
    """Draw the groups with intervals, every seed, letters, and samples of the first seeds.

    The groups stand in the order of a varied number, else from best to worst.
    """
    metric = comparison.primary
    if metric is None or not any(row.cells[metric].mean.n for row in comparison.rows):
        return None
    rows = ordered(comparison, metric)
    groups = [row.group for row in rows]
    seeds = common_seeds(groups)[:SEEDS] if len(rows) <= WITH_SAMPLES else []
    stored = read_stored(groups, seeds)
    shown = seeds if stored.any else []
    title = f"Groups by {figure_label(metric)}"
    height = 1.1 + (ROW if shown else PLAIN_ROW) * len(rows)
    figure = new_figure(7.4 if not shown else 5.6 + ROW * len(shown), height, title)
    widths = [5.0 / ROW, *[1.0] * len(shown)] if shown else [1.0]
    grid = GridSpec(len(rows), len(widths), figure, width_ratios=widths)
    axes = figure.add_subplot(grid[:, 0])
    draw_groups(axes, comparison, rows, metric)
    draw_samples(figure, grid, comparison, stored, shown)
    return Drawing("answer", title, answer_caption(comparison, rows, metric, shown), figure)


def ordered(comparison: Comparison, metric: str) -> list[Row]:
    """Return the rows of finished runs: by a varied number, else from best to worst."""
    best = [row for row in by_rank(comparison, metric) if row.group.finished][:MOST]
    if varied_setting(comparison) is None:
        return best
    return [row for row in comparison.rows if row in best]


def draw_groups(axes: Axes, comparison: Comparison, rows: Sequence[Row], metric: str) -> None:
    """Draw a line a group, with its letters at the right."""
    styles, letters = group_styles(comparison), letters_of(comparison, metric)
    for place, row in enumerate(rows):
        draw_row(axes, place, row, row.cells[metric], styles[row.group.label])
        axes.text(
            *(1.01, place, letters.get(row.group.label, "")),
            transform=axes.get_yaxis_transform(),
            va="bottom",
            fontsize=11,
            fontweight="bold",
            gid="letters",
        )
    style_axes(axes, "", axis_label(metric))
    axes.set_yticks(range(len(rows)), [literal(row.group.title, LONGEST) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    finite = [v for row in rows for v in row.cells[metric].values if math.isfinite(v)]
    if limits := sensible_limits(finite, common_bounds(rows, metric)):
        edge = 0.03 * (limits[1] - limits[0])  # half a dot
        axes.set_xlim(limits[0] - edge, limits[1] + edge)


def draw_samples(
    figure: Figure, grid: GridSpec, comparison: Comparison, stored: Stored, seeds: Sequence[int]
) -> None:
    styles = group_styles(comparison)
    for row, group in enumerate(stored.groups if seeds else ()):
        for column in range(len(seeds)):
            axes = figure.add_subplot(grid[row, column + 1])
            draw_place(axes, stored, row, column, styles[group.label])
            axes.title.set_fontsize(8.5)


def answer_caption(
    comparison: Comparison, rows: Sequence[Row], metric: str, seeds: Sequence[int]
) -> str:
    order = (
        "in the order of the varied setting" if varied_setting(comparison) else "from best to worst"
    )
    groups = [row.group for row in rows]
    numbers = f"{'seed' if len(seeds) == 1 else 'seeds'} {seeds_text(seeds)}"
    return (
        f"Groups {order}, by {figure_label(metric)}{which_is_better(metric, ' ({})')}: "
        "the large marker is the mean of "
        "the runs that did not diverge, the bar its 95 % Student-t interval, each small dot one "
        f"seed ({runs_text(groups)}); more than {STACKED} equal ones are {STACKED} dots and their "
        "number"
        + (
            "; no difference was shown between groups that share a letter"
            if letters_of(comparison, metric)
            else ""
        )
        + (f"; beside them what {numbers} generated at the end" if seeds else "")
        + left_out_text(comparison, groups)
        + "."
    )


def draw_row(axes: Axes, place: int, row: Row, cell: Cell, style: GroupStyle) -> None:
    """Draw one group: its mean, the seeds below it, and a note on diverged runs at the right."""
    finite = [value for value in cell.values if math.isfinite(value)]
    across = [place + BELOW + APART * level for level in stack(finite)]
    axes.plot(finite, across, marker="o", linestyle="", markersize=4, color=style.color, alpha=0.65,
              markeredgewidth=0, gid="seeds")  # fmt: skip
    for value, count in Counter(finite).items():
        if count > STACKED:
            middle = place + BELOW + APART * (STACKED - 1) / 2
            axes.annotate(f"{count} x", (value, middle), (-5, 0), textcoords="offset points",
                          ha="right", va="center", fontsize=8, color=style.color,
                          gid="count")  # fmt: skip
    mean = cell.mean
    if mean.n:
        if math.isfinite(mean.low):
            axes.plot([mean.low, mean.high], [place, place], color=style.color, linewidth=2.2,
                      solid_capstyle="butt", gid="interval")  # fmt: skip
        axes.plot([mean.value], [place], marker=style.marker, color=style.color, markersize=8,
                  linestyle="", gid="mean")  # fmt: skip
    notes = [f"{row.diverged} of {len(row.group.finished)} diverged"] * bool(row.diverged)
    notes += ["no value"] * (not mean.n and not row.diverged)
    if notes:
        axes.text(1.01, place, notes[0], transform=axes.get_yaxis_transform(), va="top",
                  fontsize=9.5)  # fmt: skip


def stack(values: Sequence[float]) -> list[int]:
    """Return for each value how many earlier ones are equal to it, modulo `STACKED`.

    >>> stack([8.0, 7.0, 8.0, 8.0])
    [0, 0, 1, 2]
    """
    seen: Counter[float] = Counter()
    found = []
    for value in values:
        found.append(seen[value] % STACKED)
        seen[value] += 1
    return found


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
MOST_MOVING, COLUMNS = 8, 4
"""The most groups of the animation, and how many of them stand in a row."""
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
    chosen = choose_runs(shown_groups(comparison, MOST_MOVING))
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
