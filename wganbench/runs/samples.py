"""Reading a run's samples.npz and the frames of its animation, which may come from a stranger."""

from __future__ import annotations

import math
import re
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wganbench.files import UnusableFile, inside, is_plain_file, open_regular
from wganbench.runs.record import FRAMES, SAMPLES_NPZ

LARGEST = 2**28
"""The largest array, in bytes: 10 000 colour images of 64 x 64 pixels take half of it."""


def read_arrays(run: Path, *names: str) -> dict[str, np.ndarray]:
    """Return the named arrays of a run's samples.npz; empty if one of them cannot be read."""
    found = {}
    try:
        with open_regular(inside(run, SAMPLES_NPZ)) as file, zipfile.ZipFile(file) as archive:
            for name in names:
                with archive.open(f"{name}.npy") as member:
                    found[name] = read_array(member)
    except (
        OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, MemoryError,
        zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError,
    ):  # fmt: skip
        return {}
    return found


def read_array(member: Any) -> np.ndarray:
    """Return one array of plain numbers; its size is checked before memory is allocated.

    Raises ValueError for an array of more than `LARGEST` bytes, of objects, or truncated.
    """
    version = np.lib.format.read_magic(member)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"a header of version {version}")
    shape, in_columns, kind = read_header(member)
    size = math.prod(shape) * kind.itemsize
    if kind.hasobject or kind.kind not in "biuf" or min(shape, default=1) < 0 or size > LARGEST:
        raise ValueError(f"{size} bytes of {kind}")
    content = member.read(size)
    if len(content) < size:
        raise ValueError("cut short")
    # A copy: an array on bytes is read-only, and torch warns about that.
    return np.frombuffer(content, kind).reshape(shape, order="F" if in_columns else "C").copy()


FRAME = re.compile(r"[0-9]{9,16}\.png")
LARGEST_SIDE = 2048
"""Pixels; our frames have about 600. A tiny PNG file can decode to more than the memory."""
FILE_BYTES = 32 * 2**20


def frame_name(step: int) -> str:
    """Return the file name of a step's frame.

    >>> frame_name(20)
    '000000020.png'
    """
    return f"{step:09d}.png"


def find_frames(run: Path) -> dict[int, Path]:
    """Return the frames in a run's folder by step, in order; other files are ignored."""
    try:
        folder = inside(run, FRAMES)
    except UnusableFile:
        return {}
    paths = [path for path in folder.glob("*.png") if FRAME.fullmatch(path.name)]
    return {int(path.stem): path for path in sorted(paths) if is_plain_file(path)}


def read_frame(path: Path) -> Image.Image | None:
    """Return one frame in RGB; None for a file that is not a PNG image or is too large."""
    try:
        with open_regular(path) as file, Image.open(file, formats=["PNG"]) as image:
            if max(image.size) > LARGEST_SIDE or path.stat().st_size > FILE_BYTES:
                return None
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None
