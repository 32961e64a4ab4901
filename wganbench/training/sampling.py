"""Draws from a trained generator, in the kind of file that the name asks for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wganbench.config import ConfigError
from wganbench.files import replacing
from wganbench.records.image_files import save_archive, save_folder, save_grid
from wganbench.records.image_grid import CHANNELS, to_bytes
from wganbench.training.inspect import load_run


def sample_run(path: Path, n: int, out: str | Path, seed: int = 0) -> str:
    """Write ``n`` generated points to ``out``; says what was written.

    .npy: as the generator gives them; .csv: the same, a line a point; .npz: under
    ``fakes``, pictures as bytes (n, h, w, c). Pictures also go into a .png, which is a grid
    of them, and into a folder of numbered PNG files: ``out`` has no suffix or a slash at
    its end. Bytes are round((x + 1)/2 * 255), clipped.
    Raises ConfigError for another kind of file, one that cannot be written, or a folder
    with something in it.
    """
    target, run = Path(out), load_run(path)
    shape = run.networks.target.shape
    writers = PICTURE_WRITERS if len(shape) == 3 and shape[0] in CHANNELS else POINT_WRITERS
    kind = "" if str(out).endswith(("/", os.sep)) else target.suffix
    if kind not in writers:
        raise ConfigError(f"--out {out}: {_offer(writers)}")
    points = run.sample(n, seed)
    try:
        if kind:
            with replacing(target) as file:
                writers[kind](file, points)
        else:
            writers[kind](target, points)
    except OSError as error:
        raise ConfigError(f"--out: {error}") from error
    return f"{n} {'pictures' if writers is PICTURE_WRITERS else 'points'} in {target}"


def _offer(writers: dict[str, Writer]) -> str:
    suffixes = [suffix for suffix in writers if suffix]
    text = f"write a {', '.join(suffixes[:-1])} or {suffixes[-1]} file"
    if "" in writers:
        return f"{text}, or a folder (a name without a suffix)"
    return f"{text}; .png and folders are for pictures, and these are points"


def _save_npz(file: Any, points: np.ndarray) -> None:
    np.savez(file, fakes=points)


def _save_csv(file: Any, points: np.ndarray) -> None:
    digits = 9 if points.dtype == np.float32 else 17
    np.savetxt(file, points.reshape(len(points), -1), delimiter=",", fmt=f"%.{digits}g")


def _of_bytes(save: Writer) -> Writer:
    return lambda file, points: save(file, to_bytes(points))


Writer = Callable[[Any, np.ndarray], None]

POINT_WRITERS: dict[str, Writer] = {".npy": np.save, ".npz": _save_npz, ".csv": _save_csv}

PICTURE_WRITERS: dict[str, Writer] = {
    "": _of_bytes(save_folder),
    ".png": _of_bytes(save_grid),
    ".npz": _of_bytes(save_archive),
    ".npy": np.save,
    ".csv": _save_csv,
}
"""How to write by suffix; without one it is a folder."""
