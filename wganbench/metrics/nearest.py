"""How far pictures lie from the nearest one that was trained on: memorisation shows here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor

ROWS = 4096
"""Training pictures that are compared at once."""


class Neighbours(NamedTuple):
    """Row numbers in the training set and Euclidean distances over pixels and channels."""

    rows: Int[Tensor, "n k"]
    distances: Float64[Tensor, "n k"]


def nearest_training_distance(
    points: Float[Tensor, "n c h w"],
    images: UInt8[Tensor, "m b h w"],
    scaled: Callable[[Tensor], Tensor],
    stacked: int = 1,
) -> float:
    """Mean over points of the Euclidean distance to the nearest training picture, in pixels.

        mean_i sqrt( sum over the `stacked` parts p of min_j ||x_ip - scaled(images_j)||^2 )

    A point of ``stacked`` pictures is compared part by part: any combination of training
    pictures is one that could have been trained on. Pixels run from -1 to 1.
    """
    n, channels, *size = points.shape
    parts = points.detach().float().cpu().reshape(n * stacked, channels // stacked, *size)
    distances = nearest_training_pictures(parts, images, scaled).distances
    return float(distances.square().view(n, stacked).sum(dim=1).sqrt().mean())


def nearest_training_pictures(
    pictures: Float[Tensor, "n c h w"],
    images: UInt8[Tensor, "m c h w"],
    scaled: Callable[[Tensor], Tensor],
    k: int = 1,
) -> Neighbours:
    """The ``k`` nearest training pictures of each, the nearest first; all of them if fewer.

    Which are nearest is found by matrix products, whose rounding hides small distances;
    the distances themselves by subtraction, in float64.
    """
    x = pictures.flatten(1)
    n, k = len(x), min(k, len(images))
    least, rows = torch.empty(n, 0), torch.empty(n, 0, dtype=torch.long)
    for start in range(0, len(images), ROWS):
        y = scaled(images[start : start + ROWS].cpu()).flatten(1)
        # Without ||x||^2, which is the same for all y.
        values, nearest = (y.square().sum(dim=1) - 2 * x @ y.T).topk(
            min(k, len(y)), largest=False, sorted=False
        )
        values, nearest = torch.cat([least, values], 1), torch.cat([rows, nearest + start], 1)
        kept = values.topk(min(k, values.shape[1]), largest=False, sorted=False).indices
        least, rows = values.gather(1, kept), nearest.gather(1, kept)
    known = scaled(images[rows.flatten()].cpu()).reshape(n, k, -1).double()
    distances, order = (x.double().unsqueeze(1) - known).norm(dim=2).sort(dim=1)
    return Neighbours(rows.gather(1, order), distances)
