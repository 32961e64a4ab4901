"""What the last images of an image run show: ways between latents, classes, copies."""

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
from wganbench.metrics.fidelity import Neighbours, nearest_training_pictures
from wganbench.training.measuring import Subject, stack_judge
from wganbench.training.reading import Reading

NEIGHBOURS_OF, NEAREST = 12, 5
"""Fakes that are shown with their neighbours, and how many of these."""

Pictured = Images | StackedImages
"""Targets whose points are images."""


class Classifier(Protocol):
    """What says of which class an image is."""

    def predict(self, points: Tensor) -> Tensor: ...


def final_pictures(
    subject: Subject, reading: Reading, title: str
) -> dict[str, Callable[[], Figure]]:
    """What draws the figures that an image run leaves beside the run at a glance, by name.

    ``classes`` needs a judge; none is drawn for points that are no images.
    """
    target, looks = subject.target, reading.looks
    if not isinstance(target, Pictured):
        return {}
    fakes, reals, judge = reading.points["fakes"], reading.points["reals"], stack_judge(subject)
    figures: dict[str, Callable[[], Figure]] = {}
    if looks.between is not None:
        figures["interpolation"] = partial(
            interpolation_picture, looks.between, looks.spherical, title
        )
    if judge is not None:
        figures["classes"] = partial(classes_picture, fakes, target, judge, title)
    figures["neighbours"] = partial(neighbours_picture, fakes, reals, target, title)
    return figures


def interpolation_picture(
    rows: Float[np.ndarray, "pairs steps c h w"], spherical: bool, title: str
) -> Figure:
    """Fixed pairs of latents and the way between them."""
    how = "spherical" if spherical else "linear"
    return interpolation_figure(rows, f"Between pairs of latents ({how})\n{title}")


def classes_picture(
    fakes: Float[Tensor, "n c h w"], target: Pictured, judge: Classifier, title: str
) -> Figure:
    """What each class looks like, as the judge sorts the fakes.

    Stacked images are shown as the single images that they are made of, in the classes
    of these: a thousand rows could not be read.
    """
    numbers = judge.predict(fakes).cpu().numpy()
    pictures, classes = unstacked(fakes.numpy(), numbers, target)
    single = f"{len(pictures)} channels" if target.stacked > 1 else f"{len(pictures)} images"
    title = f"Classes of {single}, as the judge sorts them\n{title}"
    return classes_figure(pictures, classes, target.base.class_names, title)


def unstacked(
    pictures: Float[np.ndarray, "n c h w"], numbers: Int[np.ndarray, " n"], target: Pictured
) -> tuple[Float[np.ndarray, "m b h w"], Int[np.ndarray, " m"]]:
    """Single images and their classes; each stacked image gives as many as it is made of.

    The class of a stacked image is the number whose digits, in the base of the number of
    classes, are its channels' classes, the first channel's first.
    """
    if target.stacked == 1:
        return pictures, numbers
    base = (len(target.base.class_names),) * target.stacked
    digits = np.stack(np.unravel_index(numbers, base), axis=1)
    n, _, h, w = pictures.shape
    return pictures.reshape(n * target.stacked, -1, h, w), digits.reshape(-1)


def neighbours_picture(
    fakes: Float[Tensor, "n c h w"], reals: Float[Tensor, "m c h w"], target: Pictured, title: str
) -> Figure:
    """The first fakes beside the training images nearest to them, so that copies show.

    The title says how far fakes are from their nearest training images, and how far
    held-out reals are: a generator that copies comes nearer than reals do. Stacked images
    are compared channel by channel with the images that they are stacked from.
    """
    base = target.base
    single, held_out = (x.reshape(-1, *base.shape) for x in (fakes, reals))

    def nearest(pictures: Tensor, k: int) -> Neighbours:
        return nearest_training_pictures(pictures.cpu(), base.images, base.scaled, k)

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
    """Training images by row number, as bytes."""
    pictures = to_bytes(base.scaled(base.images[rows.flatten()].cpu()).numpy())
    return pictures.reshape(*rows.shape, *pictures.shape[1:])
