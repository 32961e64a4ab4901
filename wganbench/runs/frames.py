"""The frames of a run's animation as they lie on disk; a stranger's folder may hold others."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from wganbench.files import UnusableFile, inside, is_plain_file, open_regular

FRAME = re.compile(r"[0-9]{9,16}\.png")
LARGEST_SIDE = 2048
"""Pixels; ours have some 600. A few bytes of PNG can hold an image that no memory holds."""
FILE_BYTES = 32 * 2**20


def frame_name(step: int) -> str:
    """What the frame of a step is called.

    >>> frame_name(20)
    '000000020.png'
    """
    return f"{step:09d}.png"


def find_frames(run: Path) -> dict[int, Path]:
    """The frames in a run's folder by step, in its order; files of other names are not ours."""
    try:
        folder = inside(run, "frames")
    except UnusableFile:
        return {}
    paths = [path for path in folder.glob("*.png") if FRAME.fullmatch(path.name)]
    return {int(path.stem): path for path in sorted(paths) if is_plain_file(path)}


def read_frame(path: Path) -> Image.Image | None:
    """One frame in colour; None for what is no image, or one of too many pixels."""
    try:
        with open_regular(path) as file, Image.open(file, formats=["PNG"]) as image:
            if max(image.size) > LARGEST_SIDE or path.stat().st_size > FILE_BYTES:
                return None
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None
