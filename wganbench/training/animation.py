"""The samples through training as a GIF: one frame an evaluation, kept on disk until the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from wganbench.records.figure import animation, save_png
from wganbench.records.folder import HeldRun, RunFolder

SECONDS_PER_FRAME = 0.2


def frames(folder: RunFolder) -> list[Path]:
    """The frames so far, in the order of their steps."""
    return sorted((folder.path / "frames").glob("*.png"))


def save_frame(folder: HeldRun, step: int, figure: Figure) -> None:
    """Keep one frame; a resumed run finds those of its earlier sessions."""
    (folder.path / "frames").mkdir(exist_ok=True)
    save_png(figure, folder.path / "frames" / f"{step:09d}.png")


def cut_frames(folder: HeldRun, step: int) -> None:
    """Drop the frames after ``step``; all of them at step 0."""
    for frame in frames(folder):
        if not step or int(frame.stem) > step:
            frame.unlink()


def save_animation(folder: HeldRun) -> None:
    """Write samples.gif from the frames, if there are any."""
    paths = frames(folder)
    if paths:
        pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
        animation(pictures, folder.path / "samples.gif", SECONDS_PER_FRAME)
