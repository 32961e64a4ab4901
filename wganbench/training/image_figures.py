"""The final figures of an image run: interpolations, classes, nearest training images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from wganbench.data.images import Images, StackedImages
from wganbench.drawing.images import (
    classes_figure,
    interpolation_figure,
    neighbours_figure,
    to_bytes,
)
from wganbench.metrics.fidelity import Neighbours, nearest_training_images
from wganbench.training.measuring import Subject, stack_judge
from wganbench.training.probing import Reading

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
