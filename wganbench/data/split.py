"""Which pictures are held out, and which of the others are trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from wganbench.data.images import Images
from wganbench.data.mixture import proportional_counts


def hold_out(
    pictures: UInt8[Tensor, "n c h w"],
    labels: Int[Tensor, " n"] | None,
    class_names: Sequence[str],
    top: int,
    share: float,
    seed: int,
) -> Images:
    """``pictures`` of which ``share`` (rounded up), the same of every class, is held out.

    ``seed`` alone decides which ones. Raises ValueError when a class, or the whole, has not
    enough pictures for both sides.
    """
    n = len(pictures)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    n_held_out = math.ceil(n * share)
    if min(n_held_out, n - n_held_out) < 2:
        raise ValueError(
            f"data.held_out_share={share:g} holds out {n_held_out} of {n} pictures; at least 2 "
            "are needed on each side"
        )
    if labels is None:
        held_out = torch.arange(n) < n_held_out
    else:
        held_out = first_of_each_class(labels[order], class_names, n_held_out, share)
    front, back = order[held_out], order[~held_out]
    # One copy in random order, of which both parts are views.
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
    """True for ``total`` of the labels: the first ones of each class, by its share of all."""
    sizes = labels.bincount(minlength=len(class_names))
    counts = proportional_counts(sizes.float(), total)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for k, (size, count) in enumerate(zip(sizes.tolist(), counts.tolist(), strict=True)):
        if min(count, size - count) < 1:
            raise ValueError(
                f"data.held_out_share={share:g} holds out {count} of the {size} pictures of the "
                f"class {class_names[k]!r}; at least 1 is needed on each side"
            )
        chosen[(labels == k).nonzero().flatten()[:count]] = True
    return chosen


def thinned(images: Images, train_points: int | None, seed: int) -> Images:
    """``images`` with ``train_points`` of the training pictures, chosen by ``seed`` (None: all).

    The held-out ones stay. Raises ValueError when there are not as many.
    """
    if train_points is None:
        return images
    m = len(images.images)
    if train_points > m:
        raise ValueError(
            f"data.train_points={train_points} is more than the {m} pictures there are to train on"
        )
    if train_points < 2:
        raise ValueError("data.train_points must be at least 2 pictures")
    rows = torch.randperm(m, generator=torch.Generator().manual_seed(seed))[:train_points]
    fewer = Images(
        images.images[rows],
        images.held_out_images,
        None if images.labels is None else images.labels[rows],
        images.held_out_labels,
        images.class_names,
        images.top,
    )
    fewer.told = images.told
    return fewer
