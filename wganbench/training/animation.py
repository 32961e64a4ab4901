"""The samples through training as a GIF: one frame an evaluation, kept on disk until the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wganbench.files import explained, write_atomic
from wganbench.records.figure import animation
from wganbench.records.folder import HeldRun, RunFolder
from wganbench.records.frames import find_frames, frame_name, read_frame

SECONDS_PER_FRAME = 0.2


def frames(folder: RunFolder) -> list[Path]:
    """The frames so far, in the order of their steps."""
    return list(find_frames(folder.path).values())


def save_frame(folder: HeldRun, step: int, png: bytes) -> None:
    """Keep one frame, as the content of a PNG file; a resumed run finds the earlier ones."""
    with explained(folder.frames):
        folder.frames.mkdir(exist_ok=True)
    write_atomic(folder.frames / frame_name(step), png)


def cut_frames(folder: HeldRun, step: int) -> None:
    """Drop the frames after ``step``; all of them at step 0. Raises UnusableFile for a link."""
    for at, frame in find_frames(folder.frames.parent).items():
        if not step or at > step:
            frame.unlink()


def save_animation(folder: HeldRun) -> None:
    """Write samples.gif from the frames, if there are any; those that cannot be read, or have
    another size than the last, are left out."""
    read = [picture for path in frames(folder) if (picture := read_frame(path)) is not None]
    if read:
        pictures = [np.asarray(picture) for picture in read if picture.size == read[-1].size]
        animation(pictures, folder.animation, SECONDS_PER_FRAME)
