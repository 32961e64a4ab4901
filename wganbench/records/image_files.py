"""Pictures in files: a grid, an archive, a folder of numbered PNG files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from wganbench.files import replacing_folder
from wganbench.records.image_grid import channels_last, enlarged, factor_for, image_grid

CELL = 64
"""About how many pixels a picture of a grid has a side; small ones are enlarged."""
MOST_COLUMNS = 16


def save_grid(file: Any, pictures: UInt8[np.ndarray, "n c h w"]) -> None:
    """Write the pictures as one PNG, in a grid that is about square."""
    columns = min(math.ceil(math.sqrt(len(pictures))), MOST_COLUMNS)
    pixels = enlarged(image_grid(pictures, columns), factor_for(pictures.shape[2], CELL))
    Image.fromarray(pixels).save(file, format="PNG")


def save_archive(file: Any, pictures: UInt8[np.ndarray, "n c h w"]) -> None:
    """Write an .npz with the bytes (n, h, w, c) under ``fakes``."""
    np.savez_compressed(file, fakes=channels_last(pictures))


def save_folder(folder: Path, pictures: UInt8[np.ndarray, "n c h w"]) -> None:
    """Write 00000.png, 00001.png, ...: 8-bit, grey or RGB, as torch-fidelity reads them.

    The folder and its parents are made, whole or not at all. Raises FileExistsError when there
    is something in it already (pictures of two runs would be measured as one), OSError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder: give another one")
    digits = max(5, len(str(len(pictures) - 1)))
    with replacing_folder(folder) as made:
        for i, picture in enumerate(channels_last(pictures)):
            pixels = picture[..., 0] if picture.shape[-1] == 1 else picture
            Image.fromarray(pixels).save(made / f"{i:0{digits}d}.png", format="PNG")
