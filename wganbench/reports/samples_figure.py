"""The figure of generated samples: one row per group, one column per seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import BLACK, GREY, literal
from wganbench.drawing.images import CHANNELS, draw_grid
from wganbench.output import numbered
from wganbench.reports.comparison import Comparison
from wganbench.reports.drawing import (
    Drawing,
    GroupStyle,
    group_styles,
    key_below,
    left_out_text,
    new_figure,
    shown_groups,
)
from wganbench.reports.groups import Group
from wganbench.reports.reproduce import seeds_text
from wganbench.runs.record import RunRecord
from wganbench.runs.samples import read_arrays

# Samples of image runs: a small grid of images per run.
SIDE = 5
"""Images along a side of a run's grid."""


def read_images(run: RunRecord) -> UInt8[np.ndarray, "n c h w"] | None:
    """Return the first images in a run's samples.npz; None if there are none."""
    fakes = read_arrays(run.path, "fakes").get("fakes")
    if fakes is None:
        return None
    return fakes[: SIDE * SIDE].transpose(0, 3, 1, 2) if are_stored_images(fakes) else None


def are_stored_images(points: np.ndarray) -> bool:
    """Return whether these are images of bytes, (n, h, w, c), as image runs store them."""
    pictured = points.dtype == np.uint8 and points.ndim == 4 and points.shape[3] in CHANNELS
    return bool(pictured and points.size)


def draw_image_cell(
    axes: Axes,
    run: RunRecord,
    images: UInt8[np.ndarray, "n c h w"],
    style: GroupStyle,
    mode_count: int | None,
) -> None:
    """Draw one run's images, underlined in the colour of its loss."""
    draw_grid(axes, images, SIDE)
    axes.spines["bottom"].set(visible=True, color=style.color, linewidth=2.5)
    covered = run.final.get("modes/covered")
    found = "" if covered is None or not mode_count else f", {covered:.4g}/{mode_count} modes"
    axes.set_title(f"seed {run.seed}{found}", fontsize=9.5)


ROWS, COLUMNS = 8, 5
LONGEST_WORD, MOST_WORDS = 22, 6
"""Characters of a word and words in a group's name beside its row; each word is a line."""
OVER_MODES = (
    ", over the modes of the data; a cross marks a mode that none of the run's stored points hits"
)
POINTS_DRAWN = 1500
MARGIN = 0.2
DOT: dict[str, Any] = {"marker": "o", "linestyle": "", "markeredgewidth": 0, "rasterized": True}
RING: dict[str, Any] = {"marker": "o", "linestyle": "", "fillstyle": "none", "color": "#444444",
                        "markersize": 9, "markeredgewidth": 0.9}  # fmt: skip
MISSED: dict[str, Any] = {"marker": "x", "linestyle": "", "color": BLACK, "markersize": 8,
                          "markeredgewidth": 2.2}  # fmt: skip


class Modes(NamedTuple):
    """The modes of a run's data, and the high-quality stored points at each."""

    centres: np.ndarray
    counts: np.ndarray


class Samples(NamedTuple):
    """The stored points of a run, each flattened to a vector, and the modes of a mixture."""

    reals: np.ndarray
    fakes: np.ndarray
    modes: Modes | None = None


class Plane(NamedTuple):
    """The projection of points into the figure: two axes through a centre, and a window."""

    centre: np.ndarray
    axes: np.ndarray
    low: np.ndarray
    high: np.ndarray
    labels: tuple[str, str]

    def of(self, points: np.ndarray) -> np.ndarray:
        return np.asarray((points - self.centre) @ self.axes)


def read_samples(run: RunRecord) -> Samples | None:
    """Return the points in a run's samples.npz; None for images and unreadable files."""
    stored = read_arrays(run.path, "reals", "fakes")
    if len(stored) < 2 or are_stored_images(stored["fakes"]):
        return None
    try:
        points = [np.asarray(stored[name], dtype=float) for name in ("reals", "fakes")]
        reals, fakes = (part.reshape(len(part), -1) for part in points)
    except (ValueError, TypeError):
        return None
    if not len(reals) or not len(fakes) or reals.shape[1] != fakes.shape[1]:
        return None
    if reals.shape[1] < 2 or not np.isfinite(reals).all():
        return None
    return Samples(reals, fakes, read_modes(run, reals.shape[1]))


def read_modes(run: RunRecord, d: int) -> Modes | None:
    """Return the modes in a run's samples.npz; None unless its data are a mixture."""
    stored = read_arrays(run.path, "modes", "mode_counts")
    if len(stored) < 2:
        return None
    centres, counts = stored["modes"], stored["mode_counts"]
    fit = centres.ndim == 2 and centres.shape[1] == d and counts.shape == centres.shape[:1]
    return Modes(centres, counts) if fit and len(centres) and np.isfinite(centres).all() else None


class Stored(NamedTuple):
    """What the runs of some groups and seeds left, by row (group) and column (seed)."""

    groups: Sequence[Group]
    runs: dict[tuple[int, int], RunRecord]
    samples: dict[tuple[int, int], Samples]
    images: dict[tuple[int, int], UInt8[np.ndarray, "n c h w"]]
    planes: dict[int, Plane]

    @property
    def any(self) -> bool:
        return bool(self.samples or self.images)


def read_stored(groups: Sequence[Group], seeds: Sequence[int]) -> Stored:
    """Return the samples of the groups' runs of these seeds, with a window for each group."""
    runs = {
        (row, column): run
        for row, group in enumerate(groups)
        for column, seed in enumerate(seeds)
        if (run := next((run for run in group.finished if run.seed == seed), None))
    }
    samples = {
        place: found for place, run in runs.items() if (found := read_samples(run)) is not None
    }
    images = {
        place: image
        for place, run in runs.items()
        if place not in samples and (image := read_images(run)) is not None
    }
    planes: dict[int, Plane] = {}
    for (row, _), points in samples.items():
        if row not in planes:
            planes[row] = plane_of(points)
    return Stored(groups, runs, samples, images, planes)


def draw_place(axes: Axes, stored: Stored, row: int, column: int, style: GroupStyle) -> None:
    """Draw what the run of a row and a column left: points or images."""
    place = row, column
    run = stored.runs.get(place)
    if run is not None and place in stored.images:
        draw_image_cell(axes, run, stored.images[place], style, stored.groups[row].mode_count)
        return
    draw_cell(axes, run, stored.samples.get(place), stored.planes.get(row), style)


def draw_samples_figure(comparison: Comparison) -> Drawing | None:
    """Draw generated points over the modes, missed modes with a cross; images as a grid."""
    groups = shown_groups(comparison, ROWS)
    seeds = common_seeds(groups)
    stored = read_stored(groups, seeds)
    if not stored.any:
        return None
    title = "What the generators made"
    width, height = max(1.9 * len(seeds) + 0.5, 5.2), 2.05 * len(groups) + 1.1
    figure = new_figure(width, height, title)
    styles = group_styles(comparison)
    for row, group in enumerate(groups):
        for column in range(len(seeds)):
            axes = figure.add_subplot(len(groups), len(seeds), row * len(seeds) + column + 1)
            draw_place(axes, stored, row, column, styles[group.label])
            if column == 0:
                words = [literal(word, LONGEST_WORD).strip() for word in group.title.split(", ")]
                axes.set_ylabel("\n".join(words[:MOST_WORDS]), fontsize=11)
    if stored.planes:
        draw_key(figure, any(samples.modes for samples in stored.samples.values()))
    return Drawing("samples", title, caption(comparison, groups, seeds, stored.planes), figure)


def samples_caption(comparison: Comparison) -> str:
    """Return what `draw_samples_figure` shows, in a sentence."""
    groups = shown_groups(comparison, ROWS)
    seeds = common_seeds(groups)
    return caption(comparison, groups, seeds, read_stored(groups, seeds).planes)


def caption(
    comparison: Comparison, groups: Sequence[Group], seeds: Sequence[int], planes: dict[int, Plane]
) -> str:
    beyond = any(len(plane.centre) > 2 for plane in planes.values())
    more = max(len(group.finished) for group in groups) > len(seeds)
    return (
        ("Points" if planes else "The first images")
        + " that each run's generator made at its end, a row a group and a column a seed"
        + f" (n = {numbered(len(seeds), 'seed')}: {seeds_text(seeds)}{'; there are more' * more})"
        + (OVER_MODES if planes else "")
        + ("; shown are the two principal axes of the reals" if beyond else "")
        + left_out_text(comparison, groups)
        + "."
    )


def common_seeds(groups: Sequence[Group]) -> list[int]:
    """Return, in order, up to `COLUMNS` seeds that most groups have."""
    counts = Counter(seed for group in groups for seed in {run.seed for run in group.finished})
    return sorted(sorted(counts, key=lambda seed: (-counts[seed], seed))[:COLUMNS])


def plane_of(samples: Samples) -> Plane:
    """Return the plane of the figure: all of it for d = 2, else two principal axes of reals."""
    reals, modes = samples.reals, samples.modes
    d = reals.shape[1]
    centre, axes, labels = np.zeros(d), np.eye(d)[:, :2], ("$x_1$", "$x_2$")
    if d > 2:
        centre = reals.mean(0)
        axes = np.linalg.svd(reals - centre, full_matrices=False)[2][:2].T
        labels = ("principal axis 1", "principal axis 2")
        if axes.shape[1] < 2:
            axes = np.concatenate([axes, np.zeros((d, 1))], axis=1)
    shown = (reals - centre) @ axes
    if modes is not None:
        shown = np.concatenate([shown, (modes.centres - centre) @ axes])
    low, high = shown.min(0), shown.max(0)
    edge = MARGIN * max(float((high - low).max()), 1e-6)
    middle, half = (low + high) / 2, float((high - low).max()) / 2 + edge
    return Plane(centre, axes, middle - half, middle + half, labels)


def draw_cell(
    axes: Axes,
    run: RunRecord | None,
    samples: Samples | None,
    plane: Plane | None,
    style: GroupStyle,
) -> None:
    """Draw one run's points, or the reason why it has none."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")
    if plane is not None:
        axes.set(xlim=(plane.low[0], plane.high[0]), ylim=(plane.low[1], plane.high[1]))
    if run is None or samples is None or plane is None:
        words = "no run" if run is None else "diverged" if run.diverged else "no samples"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=11,
                  color="#444444")  # fmt: skip
        axes.set_title("" if run is None else f"seed {run.seed}", fontsize=9.5)
        return
    title = f"seed {run.seed}" + (", diverged" if run.diverged else "")
    if len(plane.axes) == samples.fakes.shape[1]:
        modes = samples.modes
        if modes is None:
            dots = DOT | {"color": GREY, "markersize": 2, "alpha": 0.4}
            axes.plot(*plane.of(samples.reals[:POINTS_DRAWN]).T, **dots, gid="reals")
        draw_fakes(axes, samples.fakes, plane, style)
        if modes is not None:
            title += f", {(modes.counts > 0).sum()}/{len(modes.counts)} modes"
            draw_modes(axes, plane.of(modes.centres), modes.counts)
    axes.set_title(title, fontsize=9.5)


def draw_fakes(axes: Axes, fakes: np.ndarray, plane: Plane, style: GroupStyle) -> None:
    """Draw generated points, and note how many lie outside the window."""
    sound = fakes[np.isfinite(fakes).all(1)]
    shown = plane.of(sound)
    inside = ((shown >= plane.low) & (shown <= plane.high)).all(1)
    axes.plot(*shown[inside][:POINTS_DRAWN].T, **DOT, color=style.color, markersize=2.6, alpha=0.6,
              zorder=2, gid="fakes")  # fmt: skip
    lost = len(fakes) - int(inside.sum())
    if lost:
        axes.text(0.03, 0.03, f"{lost}/{len(fakes)} outside", transform=axes.transAxes,
                  fontsize=7, zorder=6, bbox={"facecolor": "white", "edgecolor": "none",
                                              "alpha": 0.85, "pad": 1.5})  # fmt: skip


def draw_modes(axes: Axes, centres: np.ndarray, counts: np.ndarray) -> None:
    axes.plot(*centres[counts > 0].T, **RING, zorder=4, gid="modes")
    axes.plot(*centres[counts == 0].T, **MISSED, zorder=5, gid="missed")


def draw_key(figure: Figure, with_modes: bool) -> None:
    dot = Line2D([], [], **DOT | {"markersize": 6, "color": GREY})
    keys = [(dot, "generated (in the colour of its group)")]
    if with_modes:
        keys += [(Line2D([], [], **RING), "mode hit"), (Line2D([], [], **MISSED), "mode missed")]
    else:
        pale = Line2D([], [], **DOT | {"markersize": 6, "color": GREY, "alpha": 0.4})
        keys = [(pale, "real"), (dot, "generated (in the colour of its group)")]
    key_below(figure, [handle for handle, _ in keys], [label for _, label in keys])
