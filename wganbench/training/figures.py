"""The figures of one run: samples, the critic around them, and the moves of the fakes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from wganbench.config.check import recipe_of
from wganbench.config.schema import RunConfig
from wganbench.data.images import Images, StackedImages
from wganbench.data.points import as_given, unit_of
from wganbench.drawing.canvas import animation
from wganbench.drawing.images import (
    classes_figure,
    interpolation_figure,
    neighbours_figure,
    to_bytes,
)
from wganbench.drawing.run_figure import CurveNotes, final_figure, sample_figure
from wganbench.drawing.samples import DENSITY_SHARES, Arrows, CriticGrid, mean_arrows
from wganbench.files import explained, write_atomic
from wganbench.losses import Recipe
from wganbench.losses.recipes import Wrapper
from wganbench.metrics.fidelity import Neighbours, nearest_training_images
from wganbench.runs.folder import HeldRun, RunFolder
from wganbench.runs.samples import find_frames, frame_name, read_frame
from wganbench.runs.table import Cell
from wganbench.tags.lookup import FAR_FROM_FLOOR, other_distances
from wganbench.training.measuring import Reading, Subject, mode_count, stack_floor, stack_judge
from wganbench.training.verdict import bounds_slope


@dataclass(frozen=True)
class Surroundings:
    """The things drawn around samples; None for data without modes, or data not in the plane."""

    modes: np.ndarray | None
    critic_grid: CriticGrid | None
    arrows: Arrows | None


def progress_figure(subject: Subject, reading: Reading, values: Mapping[str, float]) -> Figure:
    """Return a figure of reals, fakes and critic; images use the same latents at all steps.

    ``values`` are those that were measured on the reading.
    """
    config = subject.config
    around = surroundings(subject, reading, arrived(values))
    reals, fakes = shown_points(subject, reading)
    return sample_figure(
        reals.numpy(),
        fakes.numpy(),
        title=f"{config.data.name}, {config.loss.name}, seed {reading.seed}, step {reading.step}",
        modes=around.modes,
        critic_grid=around.critic_grid,
        arrows=around.arrows,
    )


def summary_figure(
    subject: Subject,
    reading: Reading,
    values: Mapping[str, float],
    table: Mapping[str, Sequence[Cell]],
    title: str,
) -> Figure:
    """Return the run's final figure: samples, and the measurements over training.

    ``values`` are those that were measured on the reading.
    """
    around = surroundings(subject, reading, arrived(values))
    config = subject.config
    floor = stack_floor(subject, config.evaluate.n)
    target, label = slope_target(config, recipe_of(config))
    reals, fakes = shown_points(subject, reading)
    notes = CurveNotes(
        mode_count=mode_count(subject.target) or None,
        floor_sd=floor.sd * unit_of(subject.target) if floor else None,
        slope_target=target,
        slope_label=label,
    )
    measured = [tag for tag, column in table.items() if any(cell is not None for cell in column)]
    others = other_distances(subject.target.shape, measured)
    return final_figure(
        {tag: column for tag, column in table.items() if tag not in others},
        reals.numpy(),
        fakes.numpy(),
        title=title,
        modes=around.modes,
        critic_grid=around.critic_grid,
        arrows=around.arrows,
        notes=notes,
    )


def shown_points(
    subject: Subject, reading: Reading
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "m ..."]]:
    """Return the reals and fakes to draw: the measured ones, or the watched images."""
    figure_data, points, target = reading.figure_data, reading.points, subject.target
    if figure_data.reals is None or figure_data.fakes is None:
        return as_given(points["reals"], target), as_given(points["fakes"], target)
    return figure_data.reals, figure_data.fakes


def slope_target(config: RunConfig, recipe: Recipe) -> tuple[float | None, str]:
    """Return the loss's target for the slope (or None), and its label in the figure.

    The label says where a penalty asks for it, if not at interpolates. The bound of a wrapper is
    a target only of a network for which it holds.
    """
    wrapped = recipe.wrapper is not Wrapper.NONE
    if recipe.slope_target not in ("1", "at most 1"):
        return None, "target"
    if wrapped and not bounds_slope(config, recipe):
        return None, "target"
    where = f" {recipe.slope_elsewhere}" if recipe.slope_elsewhere else ""
    return 1.0, f"target {recipe.slope_target}{where}"


def arrived(values: Mapping[str, float]) -> bool:
    """Return whether exact W1 lies below two floors, so that moves of fakes are chance."""
    exact, floor = (values.get(f"wasserstein/{name}", math.nan) for name in ("exact", "floor"))
    return exact < FAR_FROM_FLOOR * floor


def surroundings(subject: Subject, reading: Reading, by_chance: bool) -> Surroundings:
    """Return the modes, critic and arrows of one run at this step."""
    modes = subject.target.modes
    centres = None if modes is None else modes.cpu().numpy()
    reals, fakes = reading.points["reals"], reading.points["fakes"]
    if reals.shape[1:] != (2,):
        return Surroundings(centres, None, None)
    # n dL_G/dx_i is the gradient at one sample; it does not depend on the number of samples.
    moves = -len(fakes) * reading.points["fake_gradients"]
    arrows = mean_arrows(as_given(fakes, subject.target).numpy(), moves.numpy(), centres, by_chance)
    grid = with_density(reading.figure_data.grid, subject, reals)
    return Surroundings(centres, grid, with_rising(arrows, subject))


def with_rising(arrows: Arrows, subject: Subject) -> Arrows:
    """Return the arrows with the gradients of the data's log density, where that is known."""
    density = subject.target.density
    if density is None or not len(arrows.points):
        return arrows
    gradients = density.log_density_gradient(torch.from_numpy(arrows.points).double())
    return arrows._replace(rising=gradients.numpy())


def with_density(
    grid: CriticGrid | None, subject: Subject, reals: Float[Tensor, "n 2"]
) -> CriticGrid | None:
    """Return the grid with the data's log density, where that is known.

    The contour that holds a share of the data lies at a quantile of the reals' log density.
    """
    density = subject.target.density
    if grid is None or density is None:
        return grid
    points = torch.from_numpy(np.stack(np.meshgrid(grid.x, grid.y), axis=-1)).double()
    values = density.log_density(points).numpy()
    outside = [1 - share for share in DENSITY_SHARES]
    levels = np.quantile(density.log_density(reals.double()).numpy(), outside)
    return grid._replace(density=(values, levels))


# The samples over training as a GIF: one frame for each evaluation, kept on disk until the end.
SECONDS_PER_FRAME = 0.2


def frames(folder: RunFolder) -> list[Path]:
    """Return the frames so far, in the order of their steps."""
    return list(find_frames(folder.path).values())


def save_frame(folder: HeldRun, step: int, png: bytes) -> None:
    """Write one frame, the content of a PNG file; a resumed run finds the earlier ones."""
    with explained(folder.frames):
        folder.frames.mkdir(exist_ok=True)
    write_atomic(folder.frames / frame_name(step), png)


def cut_frames(folder: HeldRun, step: int) -> None:
    """Delete the frames after ``step``, at step 0 all. Raises UnusableFile for a link."""
    for at, frame in find_frames(folder.frames.parent).items():
        if not step or at > step:
            frame.unlink()


def save_animation(folder: HeldRun) -> None:
    """Write samples.gif from the frames, if there are any.

    Frames that cannot be read, or whose size is not that of the last one, are left out."""
    read = [picture for path in frames(folder) if (picture := read_frame(path)) is not None]
    if read:
        pictures = [np.asarray(picture) for picture in read if picture.size == read[-1].size]
        animation(pictures, folder.animation, SECONDS_PER_FRAME)


# The final figures of an image run: interpolations, classes, nearest training images.
NEIGHBOURS_OF, NEAREST = 12, 5
"""Number of fakes shown with their neighbours, and of neighbours for each."""

Pictured = Images | StackedImages
"""Targets whose points are images."""


class Classifier(Protocol):
    """A classifier of images."""

    def predict(self, points: Tensor) -> Tensor: ...


def image_figures(
    subject: Subject, reading: Reading, title: str
) -> dict[str, Callable[[], Figure]]:
    """Return functions that draw an image run's figures besides figure.png, by name.

    ``classes`` needs a judge. Points that are not images have no such figures.
    """
    target, figure_data = subject.target, reading.figure_data
    if not isinstance(target, Pictured):
        return {}
    fakes, reals, judge = reading.points["fakes"], reading.points["reals"], stack_judge(subject)
    figures: dict[str, Callable[[], Figure]] = {}
    if figure_data.between is not None:
        figures["interpolation"] = partial(
            draw_interpolation, figure_data.between, figure_data.spherical, title
        )
    if judge is not None:
        figures["classes"] = partial(draw_classes, fakes, target, judge, title)
    figures["neighbours"] = partial(draw_neighbours, fakes, reals, target, title)
    return figures


def draw_interpolation(
    rows: Float[np.ndarray, "pairs steps c h w"], spherical: bool, title: str
) -> Figure:
    """Return a figure of the interpolations between fixed pairs of latents."""
    how = "spherical" if spherical else "linear"
    return interpolation_figure(rows, f"Between pairs of latents ({how})\n{title}")


def draw_classes(
    fakes: Float[Tensor, "n c h w"], target: Pictured, judge: Classifier, title: str
) -> Figure:
    """Return a figure of fakes, sorted by the class that the judge gives them.

    Stacked images are shown as their single images, by the classes of these, because a
    thousand rows could not be read.
    """
    numbers = judge.predict(fakes).cpu().numpy()
    pictures, classes = unstacked(fakes.numpy(), numbers, target)
    single = f"{len(pictures)} channels" if target.stacked > 1 else f"{len(pictures)} images"
    title = f"Classes of {single}, as the judge sorts them\n{title}"
    return classes_figure(pictures, classes, target.base.class_names, title)


def unstacked(
    pictures: Float[np.ndarray, "n c h w"], numbers: Int[np.ndarray, " n"], target: Pictured
) -> tuple[Float[np.ndarray, "m b h w"], Int[np.ndarray, " m"]]:
    """Return the single images of stacked images, and their classes.

    The class of a stacked image is a number whose digits are its channels' classes, the first
    channel's first; the base is the number of classes.
    """
    if target.stacked == 1:
        return pictures, numbers
    base = (len(target.base.class_names),) * target.stacked
    digits = np.stack(np.unravel_index(numbers, base), axis=1)
    n, _, h, w = pictures.shape
    return pictures.reshape(n * target.stacked, -1, h, w), digits.reshape(-1)


def draw_neighbours(
    fakes: Float[Tensor, "n c h w"], reals: Float[Tensor, "m c h w"], target: Pictured, title: str
) -> Figure:
    """Return a figure of fakes beside their nearest training images, to show copies.

    The title states the distance of fakes, and of held-out reals, to their nearest training
    images. Fakes of a generator that copies lie nearer than reals do. Stacked images are
    compared channel by channel with the single images.
    """
    base = target.base
    single, held_out = (x.reshape(-1, *base.shape) for x in (fakes, reals))

    def nearest(pictures: Tensor, k: int) -> Neighbours:
        return nearest_training_images(pictures.cpu(), base.images, base.scaled, k)

    rows, distances = nearest(single[:NEIGHBOURS_OF], NEAREST)
    count = min(len(single), len(held_out), 10 * NEIGHBOURS_OF)
    typical = [nearest(part[:count], 1).distances.median() for part in (single, held_out)]
    title = (
        f"Distance to the nearest training image: generated {typical[0]:.1f}, "
        f"held-out real {typical[1]:.1f} (medians of {count})\n{title}"
    )
    pictures = base_bytes(base, rows)
    return neighbours_figure(single[:NEIGHBOURS_OF].numpy(), pictures, distances.numpy(), title)


def base_bytes(base: Images, rows: Int[Tensor, "n k"]) -> UInt8[np.ndarray, "n k c h w"]:
    """Return training images by row number, as bytes."""
    pictures = to_bytes(base.scaled(base.images[rows.flatten()].cpu()).numpy())
    return pictures.reshape(*rows.shape, *pictures.shape[1:])
