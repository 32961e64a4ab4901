"""Reading the frames of a run's animation; the files may come from a stranger."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from wganbench.files import UnusableFile, inside, is_plain_file, open_regular

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
        folder = inside(run, "frames")
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
