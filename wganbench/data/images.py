"""Images as a target: kept in memory, some held out, with classes if known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from wganbench.data.drawn import DrawnTarget
from wganbench.data.mixtures import proportional_counts
from wganbench.draws import Draws, Generated, Resident


class Images(DrawnTarget):
    """Images of one size, some of them held out for evaluation.

    ``images`` (m, c, h, w) are for training, ``held_out_images`` (k, c, h, w) are not. Values
    run from 0 to ``top``; the networks get x / (top / 2) - 1, in [-1, 1]. ``labels`` (m,) and
    ``held_out_labels`` (k,) index the ``class_names``. For images without classes both are
    None and the names are empty.
    """

    stacked = 1
    """Number of images of `base` in one point."""

    points: Tensor
    base: Images
    whole: Images
    """These images with all that there are to train on; `thinned` leaves some out."""

    def __init__(
        self,
        images: UInt8[Tensor, "m c h w"],
        held_out_images: UInt8[Tensor, "k c h w"],
        labels: Int[Tensor, " m"] | None = None,
        held_out_labels: Int[Tensor, " k"] | None = None,
        class_names: Sequence[str] = (),
        top: int = 255,
    ) -> None:
        """Raise ValueError when a part has fewer than 2 images or sizes differ."""
        if min(len(images), len(held_out_images)) < 2:
            raise ValueError("at least 2 images to train on and 2 held out are needed")
        if images.shape[1:] != held_out_images.shape[1:]:
            raise ValueError("training and held-out images differ in size")
        self.images, self.held_out_images = images, held_out_images
        self.labels, self.held_out_labels = labels, held_out_labels
        self.class_names = tuple(class_names)
        self.points, self.base, self.class_count = images, self, len(self.class_names)
        self.whole, self.top = self, top
        self._resident, self._held_out = Resident(images), Resident(held_out_images)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:])

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n c h w"]:
        """Return ``n`` training images on the draws' device, drawn with replacement."""
        images = self.on_device(draws.device)
        return self.scaled(images[draws.below(len(images), n)])

    def on_device(self, device: torch.device) -> UInt8[Tensor, "m c h w"]:
        """Return the training images on a device, copied there once."""
        return self._resident.on(device)

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, "*lead n c h w"]:
        """Return ``n`` held-out images in random order, each once before one occurs twice."""
        images = self.held_out_on_device(draws.device)
        return self.scaled(images[draws.each_once(len(images), n)])

    def held_out_on_device(self, device: torch.device) -> UInt8[Tensor, "k c h w"]:
        """Return the held-out images on a device, copied there once."""
        return self._held_out.on(device)

    def scaled(self, pictures: UInt8[Tensor, "*lead c h w"]) -> Float[Tensor, "*lead c h w"]:
        """Return images in the generator's range [-1, 1]."""
        return pictures.float().div_(self.top / 2).sub_(1)


# The choice of held-out images, and of training images among the others.
ROUNDING = 1e-9
"""Slack for noise of floating point: 0.07 of 100 is a little above 7."""


def hold_out(
    pictures: UInt8[Tensor, "n c h w"],
    labels: Int[Tensor, " n"] | None,
    class_names: Sequence[str],
    top: int,
    share: float,
    seed: int,
) -> Images:
    """Return ``pictures`` with ``share`` (rounded up) of them held out, equally of each class.

    The choice depends on ``seed`` only. Raises ValueError when a class, or the set, has too few
    images for both sides.
    """
    n = len(pictures)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    n_held_out = math.ceil(n * share - ROUNDING)
    if min(n_held_out, n - n_held_out) < 2:
        raise ValueError(
            f"data.held_out_share={share:g} holds out {n_held_out} of {n} images; at least 2 "
            "are needed on each side"
        )
    if labels is None:
        held_out = torch.arange(n) < n_held_out
    else:
        held_out = first_of_each_class(labels[order], class_names, n_held_out, share)
    front, back = order[held_out], order[~held_out]
    # Both parts are views of one copy in random order.
    pictures = pictures[torch.cat((front, back))]
    return Images(
        pictures[n_held_out:],
        pictures[:n_held_out],
        None if labels is None else labels[back],
        None if labels is None else labels[front],
        class_names,
        top,
    )


def first_of_each_class(
    labels: Int[Tensor, " n"], class_names: Sequence[str], total: int, share: float
) -> Tensor:
    """Return True for ``total`` labels: the first ones of each class, in proportion."""
    sizes = labels.bincount(minlength=len(class_names))
    counts = proportional_counts(sizes.float(), total)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for k, (size, count) in enumerate(zip(sizes.tolist(), counts.tolist(), strict=True)):
        if min(count, size - count) < 1:
            raise ValueError(
                f"data.held_out_share={share:g} holds out {count} of the {size} images of the "
                f"class {class_names[k]!r}; at least 1 is needed on each side"
            )
        chosen[(labels == k).nonzero().flatten()[:count]] = True
    return chosen


def thinned(images: Images, train_points: int | None, seed: int) -> Images:
    """Return ``images`` with ``train_points`` training images chosen by ``seed`` (None: all).

    The held-out images stay. Raises ValueError for more than there are, or fewer than 2.
    """
    if train_points is None:
        return images
    m = len(images.images)
    if train_points > m:
        raise ValueError(
            f"data.train_points={train_points} is more than the {m} images there are to train on"
        )
    if train_points < 2:
        raise ValueError("data.train_points must be at least 2 images")
    rows = torch.randperm(m, generator=torch.Generator().manual_seed(seed))[:train_points]
    fewer = Images(
        images.images[rows],
        images.held_out_images,
        None if images.labels is None else images.labels[rows],
        images.held_out_labels,
        images.class_names,
        images.top,
    )
    fewer.notes, fewer.whole = images.notes, images
    return fewer


# Stacked images: three grey images in three channels, so that modes can be counted.
class StackedImages(DrawnTarget):
    """A target whose points have three grey images of ``base``, drawn independently, as channels.

    With 10 classes a channel there are 1 000 modes, which a judge of `base` can count. Points
    are new in every draw, or come from a fixed set of ``train_points`` triples that depends on
    ``train_seed`` only. Held-out points are triples of held-out images.

    Source: the stacked MNIST of arXiv:1611.02163; with 128 000 fixed points arXiv:1712.04086.
    """

    stacked = 3
    """Number of images of `base` in one point."""

    base: Images

    def __init__(self, base: Images, train_points: int | None, train_seed: int) -> None:
        """Raise ValueError when the images of ``base`` do not have one channel."""
        if base.shape[0] != 1:
            raise ValueError(f"images to stack must have 1 channel; these have {base.shape[0]}")
        self.base, self.class_count = base, base.class_count**self.stacked
        # Row numbers instead of pixels take 3 MB for 128 000 points instead of 300 MB.
        self.points: Int[Tensor, "m 3"] | None = None
        """The training set: three rows of ``base.images`` for each point; None: no fixed set."""
        if train_points is not None:
            seeded = torch.Generator().manual_seed(train_seed)
            self.points = self.triples(Generated(seeded), train_points)
        self._resident = None if self.points is None else Resident(self.points)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.stacked, *self.base.shape[1:])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes of one channel."""
        return self.base.class_names

    @property
    def top(self) -> int:
        return self.base.top

    def triples(self, draws: Draws, n: int) -> Int[Tensor, "*lead n 3"]:
        """Return ``n`` triples of rows of ``base.images``, all equally likely."""
        return draws.below(len(self.base.images), n, self.stacked)

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 3 h w"]:
        """Return ``n`` training points on the draws' device; from a fixed set with replacement."""
        if self._resident is None:
            rows = self.triples(draws, n)
        else:
            points = self._resident.on(draws.device)
            rows = points[draws.below(len(points), n)]
        return self.scaled(self.base.on_device(draws.device)[rows].squeeze(-3))

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 3 h w"]:
        """Return ``n`` triples of held-out images.

        Within a channel every image occurs once before one occurs twice.
        """
        pictures = self.base.held_out_on_device(draws.device)
        channels = [draws.each_once(len(pictures), n) for _ in range(self.stacked)]
        return self.scaled(pictures[torch.stack(channels, dim=-1)].squeeze(-3))

    def scaled(self, pictures: UInt8[Tensor, "*lead 3 h w"]) -> Float[Tensor, "*lead 3 h w"]:
        """Return images in the generator's range [-1, 1]."""
        return self.base.scaled(pictures)
