"""How far pictures lie from the nearest one that was trained on: memorisation shows here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

ROWS = 4096
"""Training pictures that are compared at once."""


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
    squares = nearest_squares(parts.flatten(1), images.cpu(), scaled)
    return float(squares.view(n, stacked).sum(dim=1).sqrt().mean())


def nearest_squares(
    x: Float[Tensor, "n d"], images: UInt8[Tensor, "m c h w"], scaled: Callable[[Tensor], Tensor]
) -> Float[Tensor, " n"]:
    """Squared distance of every row to its nearest picture, in float64.

    The nearest one is found by a matrix product, whose rounding hides small distances;
    the distance itself by subtraction.
    """
    least = torch.full((len(x),), torch.inf)
    nearest = torch.zeros(len(x), dtype=torch.long)
    for start in range(0, len(images), ROWS):
        y = scaled(images[start : start + ROWS]).flatten(1)
        # Without ||x||^2, which is the same for all y.
        value, row = (y.square().sum(dim=1) - 2 * x @ y.T).min(dim=1)
        closer = value < least
        least = torch.where(closer, value, least)
        nearest = torch.where(closer, row + start, nearest)
    away: Tensor = x.double() - scaled(images[nearest]).flatten(1).double()
    return away.square().sum(dim=1)
