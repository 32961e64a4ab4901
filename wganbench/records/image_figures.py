"""Figures of an image run's end: interpolations, classes, nearest training pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from wganbench.records.image_grid import to_bytes
from wganbench.records.image_panel import draw_grid
from wganbench.records.text import heading, literal

DPI = 110
CELL = 0.5
"""Inches of a picture's side."""
EMPTY = 235
"""The grey of a cell without a picture."""
MOST_CLASSES = 20
LONGEST_NAME = 30
"""Characters of a class's name: more would push the pictures aside."""


def interpolation_figure(rows: Float[np.ndarray, "pairs steps c h w"], title: str) -> Figure:
    """One row a pair of latents, from G(z0) at the left to G(z1) at the right."""
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
    """One row a class: the first pictures that are of it, its name and its share at the left.

    A cell is grey where the class has no more pictures. Of more than 20 classes the first
    20 are shown.
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
        told = f"{literal(name, LONGEST_NAME)}  ({share})"
        axes.text(-0.015 * width, middle, told, ha="right", va="center", fontsize=10)
    return figure


def class_cells(
    pictures: UInt8[np.ndarray, "n c h w"], classes: Int[np.ndarray, " n"], rows: int, columns: int
) -> UInt8[np.ndarray, "cells c h w"]:
    """The first ``columns`` pictures of each class in the order of the classes, grey where none."""
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
    """Each fake, a gap, and the training pictures nearest to it, the nearest first.

    Beside each fake stands how far the nearest one is: the Euclidean distance in pixels
    that run from -1 to 1.
    """
    n, k = nearest.shape[:2]
    half = -(-n // 2)
    figure = new_figure(2 * (k + 2.4), half, title)
    blocks = figure.subplots(1, 4, width_ratios=(1, k, 1, k))
    for block, rows in enumerate((slice(0, half), slice(half, n))):
        left, right = blocks[2 * block], blocks[2 * block + 1]
        draw_grid(left, to_bytes(fakes[rows]), 1)
        draw_grid(right, nearest[rows].reshape(-1, *nearest.shape[2:]), k)
        left.set_title("made", fontsize=10)
        right.set_title("nearest in the training set", fontsize=10)
        pitch = fakes.shape[2] + 1
        for row, distance in enumerate(distances[rows, 0]):
            left.text(-0.12 * fakes.shape[3], row * pitch + (pitch - 2) / 2, f"{distance:.1f}",
                      ha="right", va="center", fontsize=9)  # fmt: skip
    return figure


def new_figure(columns: float, rows: float, title: str) -> Figure:
    """A figure for so many pictures beside and above each other."""
    size = (max(CELL * columns + 0.4, 5.0), CELL * rows + 0.9)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(heading(title), fontsize=12)
    return figure
