"""A folder of the user's own pictures, its subfolders their classes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from wganbench.data.images import Images
from wganbench.data.picture_files import find_pictures, shown
from wganbench.data.split import hold_out

NAMED = 3
"""Unreadable files that an error names."""


@lru_cache(maxsize=2)
def load_folder(
    path: str, size: int | None, channels: int, held_out_share: float, seed: int
) -> Images:
    """The pictures in a folder, in sorted order, see `find_pictures`; read once in a process.

    Each subfolder is a class; a folder of pictures has none.
    ``size``: the shorter side becomes that many pixels, and the middle square is kept.
    Raises ValueError, naming ``data.path``, for a folder without pictures, for files that
    cannot be read and, naming ``data.size``, for pictures of unequal size.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"data.path: there is no folder {path!r}")
    found = find_pictures(folder)
    names = sorted(set(found.classes))
    pictures = read_pictures(folder, list(found.files), size, channels)
    if len(names) < 2:
        images = hold_out(pictures, None, (), 255, held_out_share, seed)
    else:
        numbers = {name: number for number, name in enumerate(names)}
        labels = torch.tensor([numbers[name] for name in found.classes])
        images = hold_out(pictures, labels, list(map(shown, names)), 255, held_out_share, seed)
    images.told = found.told
    return images


def read_pictures(
    folder: Path, files: list[Path], size: int | None, channels: int
) -> UInt8[Tensor, "n c h w"]:
    """All files as one tensor. Raises ValueError for unreadable ones and for unequal sizes."""
    pictures: Tensor | None = None
    unreadable: list[str] = []
    for i, file in enumerate(files):
        try:
            picture = read_picture(file, size, channels)
        except Exception as error:  # a decoder given garbage may raise anything
            unreadable.append(f"{shown(file.relative_to(folder))} ({reason(error)})")
            continue
        if pictures is None:
            first, pictures = file, torch.empty((len(files), *picture.shape), dtype=torch.uint8)
        if picture.shape != pictures.shape[1:]:
            (_, h0, w0), (_, h, w) = pictures.shape[1:], picture.shape
            raise ValueError(
                f"data.path: {shown(first.name)} has {w0}x{h0} pixels, {shown(file.name)} "
                f"{w}x{h}; give data.size=N to make every picture N x N"
            )
        pictures[i] = picture
    if unreadable or pictures is None:
        more = ", ..." if len(unreadable) > NAMED else ""
        raise ValueError(
            f"data.path: {len(unreadable)} of {len(files)} pictures in {shown(folder)!r} cannot be "
            f"read: {', '.join(unreadable[:NAMED])}{more}"
        )
    return pictures


def reason(error: Exception) -> str:
    """Why, without the file's name, which stands before it."""
    text = " ".join(str(error).split())
    return "no picture" if not text or "cannot identify" in text else text


def read_picture(file: Path, size: int | None, channels: int) -> UInt8[Tensor, "c h w"]:
    """One file; transparent parts become white, a camera's rotation is undone.

    Raises ValueError for more than 8 bits a channel, which Pillow would cut off silently.
    """
    with Image.open(file) as opened:
        image: Image.Image = ImageOps.exif_transpose(opened)
    if image.mode[0] in "IF":
        raise ValueError(f"more than 8 bits a channel ({image.mode})")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        # Pillow filters before it shrinks: no aliasing.
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image))
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1)
