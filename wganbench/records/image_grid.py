"""Pictures as 8-bit pixels, and many of them in one grid."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8

CHANNELS = (1, 3)
"""Grey and RGB: what a picture can be drawn as."""

GAP = 255
"""The value of the lines between pictures: white, as the paper that they lie on."""


def are_pictures(points: np.ndarray) -> bool:
    """Whether points (n, *shape) are pictures: of shape (n, c, h, w), grey or RGB."""
    return points.ndim == 4 and points.shape[1] in CHANNELS


def to_bytes(pictures: Float[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "n c h w"]:
    """Pictures in [-1, 1] as bytes: round((x + 1)/2 * 255), clipped; nan becomes 0.

    A byte v that was scaled to v/127.5 - 1 comes back as v.

    >>> to_bytes(np.array([-1.0, 0.0, 1.0, 7.0]).reshape(4, 1, 1, 1)).ravel().tolist()
    [0, 128, 255, 255]
    """
    values = np.nan_to_num(np.asarray(pictures, dtype=np.float64), nan=-1.0)
    return np.rint((np.clip(values, -1, 1) + 1) / 2 * 255).astype(np.uint8)


def channels_last(pictures: UInt8[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "n h w c"]:
    """The same pictures as other tools read them."""
    return np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))


def image_grid(
    pictures: UInt8[np.ndarray, "n c h w"], columns: int, gap: int = 1
) -> UInt8[np.ndarray, "rows_h columns_w 3"]:
    """Pictures row by row, ``columns`` in a row, with lines of ``gap`` pixels between them.

    Grey pictures become RGB of three equal channels. The picture in row i and column j
    begins ``gap`` pixels after the end of its neighbours; there is no frame around the grid.
    Drawn by torchvision's ``make_grid``.
    """
    from torchvision.utils import make_grid  # slow to import: it loads all of its models

    tensor = torch.from_numpy(np.ascontiguousarray(pictures))
    if len(tensor) == 1:  # make_grid would give it back without the frame that is cut off below
        grid = tensor[0].expand(3, -1, -1)
        return np.ascontiguousarray(grid.permute(1, 2, 0).numpy())
    grid = make_grid(tensor, nrow=columns, padding=gap, pad_value=GAP)
    height, width = grid.shape[1:]
    grid = grid[:, gap : height - gap, gap : width - gap]
    return np.ascontiguousarray(grid.permute(1, 2, 0).numpy())


def enlarged(
    pixels: UInt8[np.ndarray, "h w 3"], factor: int
) -> UInt8[np.ndarray, "large_h large_w 3"]:
    """Every pixel as a square of ``factor`` pixels: nearest neighbour, no blurring."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def factor_for(side: int, wanted: int) -> int:
    """The whole factor that brings ``side`` pixels to about ``wanted``, at least 1.

    >>> factor_for(8, 64), factor_for(28, 64), factor_for(224, 64)
    (8, 2, 1)
    """
    return max(1, round(wanted / side))
