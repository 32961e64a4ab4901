"""Images as 8-bit pixels: conversion, grids, figures and files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from wganbench.drawing.canvas import DPI, GREY, heading, literal
from wganbench.files import replacing_folder

CHANNELS = (1, 3)
"""Numbers of channels that can be drawn: grey and RGB."""

GAP = 255
"""The value of the lines between images: white, like the page."""


def are_images(points: np.ndarray) -> bool:
    """Return whether points are grey or RGB images of shape (n, c, h, w)."""
    return points.ndim == 4 and points.shape[1] in CHANNELS


def to_bytes(pictures: Float[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "n c h w"]:
    """Return images in [-1, 1] as bytes: round((x + 1)/2 * 255), clipped; nan becomes 0.

    A byte v that was scaled to v/127.5 - 1 becomes v again.

    >>> to_bytes(np.array([-1.0, 0.0, 1.0, 7.0]).reshape(4, 1, 1, 1)).ravel().tolist()
    [0, 128, 255, 255]
    """
    values = np.nan_to_num(np.asarray(pictures, dtype=np.float64), nan=-1.0)
    return np.rint((np.clip(values, -1, 1) + 1) / 2 * 255).astype(np.uint8)


def channels_last(pictures: UInt8[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "n h w c"]:
    """Return the same images with channels last, the order that other tools read."""
    return np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))


def image_grid(
    pictures: UInt8[np.ndarray, "n c h w"], columns: int, gap: int = 1
) -> UInt8[np.ndarray, "rows_h columns_w 3"]:
    """Return a grid of images, ``columns`` in a row, with lines of ``gap`` pixels between them.

    Grey images become RGB images with three equal channels. There is no frame around the grid.
    torchvision's ``make_grid`` draws it.
    """
    # Slow to import: commands that only read runs of points do without.
    import torch
    from torchvision.utils import make_grid

    tensor = torch.from_numpy(np.ascontiguousarray(pictures))
    if len(tensor) == 1:  # make_grid adds no frame to one image, so none must be cut off
        grid = tensor[0].expand(3, -1, -1)
        return np.ascontiguousarray(grid.permute(1, 2, 0).numpy())
    grid = make_grid(tensor, nrow=columns, padding=gap, pad_value=GAP)
    height, width = grid.shape[1:]
    grid = grid[:, gap : height - gap, gap : width - gap]
    return np.ascontiguousarray(grid.permute(1, 2, 0).numpy())


def enlarged(
    pixels: UInt8[np.ndarray, "h w 3"], factor: int
) -> UInt8[np.ndarray, "large_h large_w 3"]:
    """Return the image with every pixel as a square of ``factor`` pixels, without blurring."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def factor_for(side: int, wanted: int) -> int:
    """Return the whole factor, at least 1, that enlarges ``side`` pixels to about ``wanted``.

    >>> factor_for(8, 64), factor_for(28, 64), factor_for(224, 64)
    (8, 2, 1)
    """
    return max(1, round(wanted / side))


# Panels of images: fakes, and reals beside them.
FAKES_DRAWN, FAKE_COLUMNS = 64, 8
REALS_DRAWN, REAL_COLUMNS = 24, 3


def draw_grid(axes: Axes, pictures: UInt8[np.ndarray, "n c h w"], columns: int) -> None:
    """Draw images row by row, without smoothing, ticks or frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(pictures) == 0:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center",
                  color=GREY)  # fmt: skip
        return
    axes.imshow(image_grid(pictures, min(columns, len(pictures))), interpolation="nearest")
    axes.set_anchor("N")


def draw_images(
    figure: Figure | SubFigure,
    reals: Float[np.ndarray, "n c h w"],
    fakes: Float[np.ndarray, "m c h w"],
) -> None:
    """Draw the first fakes in a large grid, and the first reals in a narrow one beside it.

    Images with values that are not finite are left out and counted in the title.
    """
    finite = np.isfinite(fakes).all((1, 2, 3))
    shown, real = fakes[finite][:FAKES_DRAWN], reals[:REALS_DRAWN]
    gap = 1 / fakes.shape[3]
    widths = [columns * (1 + gap) - gap for columns in (FAKE_COLUMNS, REAL_COLUMNS)]
    left, right = figure.subplots(1, 2, width_ratios=widths)
    draw_grid(left, to_bytes(shown), FAKE_COLUMNS)
    draw_grid(right, to_bytes(real), REAL_COLUMNS)
    lost = len(fakes) - int(finite.sum())
    note = f"\n{lost} of {len(fakes)} are not finite" if lost else ""
    left.set_title(f"generated{note}", fontsize=11)
    right.set_title("real", fontsize=11)


# Final figures of an image run: interpolations, classes, nearest training images.
CELL_INCHES = 0.5
"""Side of an image in inches."""
EMPTY = 235
"""The grey of a cell without an image."""
MOST_CLASSES = 20
LONGEST_NAME = 30
"""Most characters of a class's name, so that the images keep their space."""


def interpolation_figure(rows: Float[np.ndarray, "pairs steps c h w"], title: str) -> Figure:
    """Return a figure with a row for each pair of latents, from G(z0) to G(z1)."""
    pairs, steps = rows.shape[:2]
    figure = new_figure(steps, pairs, title)
    axes = figure.add_subplot()
    draw_grid(axes, to_bytes(rows.reshape(pairs * steps, *rows.shape[2:])), steps)
    axes.set_xlabel(r"$G(z_0)$ at the left $\rightarrow$ $G(z_1)$ at the right", fontsize=10)
    return figure


def classes_figure(
    pictures: Float[np.ndarray, "n c h w"],
    classes: Int[np.ndarray, " n"],
    names: Sequence[str],
    title: str,
    columns: int = 10,
) -> Figure:
    """Return a figure with a row for each class: its name, its share and its first images.

    Cells are grey when the class has no more images. At most the first 20 classes are shown.
    """
    shown = names[:MOST_CLASSES]
    figure = new_figure(columns + 2, len(shown), title)
    axes = figure.add_subplot()
    cells = class_cells(to_bytes(pictures), classes, len(shown), columns)
    draw_grid(axes, cells, columns)
    shares = np.bincount(classes, minlength=len(names)) / max(len(classes), 1)
    height, width = cells.shape[2], columns * (cells.shape[3] + 1)
    for row, name in enumerate(shown):
        middle, share = row * (height + 1) + (height - 1) / 2, f"{shares[row]:.1%}"
        line = f"{literal(name, LONGEST_NAME)}  ({share})"
        axes.text(-0.015 * width, middle, line, ha="right", va="center", fontsize=10)
    return figure


def class_cells(
    pictures: UInt8[np.ndarray, "n c h w"], classes: Int[np.ndarray, " n"], rows: int, columns: int
) -> UInt8[np.ndarray, "cells c h w"]:
    """Return the first ``columns`` images of each class, in order; missing ones are grey."""
    cells = np.full((rows, columns, *pictures.shape[1:]), EMPTY, np.uint8)
    for row in range(rows):
        found = pictures[classes == row][:columns]
        cells[row, : len(found)] = found
    return cells.reshape(rows * columns, *pictures.shape[1:])


def neighbours_figure(
    fakes: Float[np.ndarray, "n c h w"],
    nearest: UInt8[np.ndarray, "n k c h w"],
    distances: Float[np.ndarray, "n k"],
    title: str,
) -> Figure:
    """Return a figure of fakes, each beside its nearest training images, nearest first.

    A number beside each fake is the Euclidean distance to the nearest one, in pixels that run
    from -1 to 1.
    """
    n, k = nearest.shape[:2]
    half = -(-n // 2)
    figure = new_figure(2 * (k + 2.4), half, title)
    blocks = figure.subplots(1, 4, width_ratios=(1, k, 1, k))
    for block, rows in enumerate((slice(0, half), slice(half, n))):
        left, right = blocks[2 * block], blocks[2 * block + 1]
        draw_grid(left, to_bytes(fakes[rows]), 1)
        draw_grid(right, nearest[rows].reshape(-1, *nearest.shape[2:]), k)
        left.set_title("generated", fontsize=10)
        right.set_title("nearest in the training set", fontsize=10)
        pitch = fakes.shape[2] + 1
        for row, distance in enumerate(distances[rows, 0]):
            left.text(-0.12 * fakes.shape[3], row * pitch + (pitch - 2) / 2, f"{distance:.1f}",
                      ha="right", va="center", fontsize=9)  # fmt: skip
    return figure


def new_figure(columns: float, rows: float, title: str) -> Figure:
    """Return a figure with space for ``columns`` by ``rows`` images."""
    size = (max(CELL_INCHES * columns + 0.4, 5.0), CELL_INCHES * rows + 0.9)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(heading(title), fontsize=12)
    return figure


# Images in files: a grid, an archive, a folder of numbered PNG files.
CELL_PIXELS = 64
"""Approximate side in pixels of an image in a grid; small images are enlarged to it."""
MOST_COLUMNS = 16


def save_grid(file: Any, pictures: UInt8[np.ndarray, "n c h w"]) -> None:
    """Write the images as one PNG, in an approximately square grid."""
    columns = min(math.ceil(math.sqrt(len(pictures))), MOST_COLUMNS)
    pixels = enlarged(image_grid(pictures, columns), factor_for(pictures.shape[2], CELL_PIXELS))
    Image.fromarray(pixels).save(file, format="PNG")


def save_archive(file: Any, pictures: UInt8[np.ndarray, "n c h w"]) -> None:
    """Write an .npz with the bytes (n, h, w, c) under ``fakes``."""
    np.savez_compressed(file, fakes=channels_last(pictures))


def save_folder(folder: Path, pictures: UInt8[np.ndarray, "n c h w"]) -> None:
    """Write 00000.png, 00001.png, ...: 8-bit, grey or RGB, as torch-fidelity reads them.

    The folder is created atomically, with its parents. Raises OSError, and FileExistsError when
    it is not empty, because images of two runs would be measured as one.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder: give another one")
    digits = max(5, len(str(len(pictures) - 1)))
    with replacing_folder(folder) as made:
        for i, picture in enumerate(channels_last(pictures)):
            pixels = picture[..., 0] if picture.shape[-1] == 1 else picture
            Image.fromarray(pixels).save(made / f"{i:0{digits}d}.png", format="PNG")
