"""Reading samples.npz, which may come from a stranger: arrays of numbers of a bounded size."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from wganbench.files import inside, open_regular

LARGEST = 2**28
"""The largest array, in bytes: 10 000 colour images of 64 x 64 pixels take half of it."""


def read_arrays(run: Path, *names: str) -> dict[str, np.ndarray]:
    """Return the named arrays of a run's samples.npz; empty if one of them cannot be read."""
    found = {}
    try:
        with open_regular(inside(run, "samples.npz")) as file, zipfile.ZipFile(file) as archive:
            for name in names:
                with archive.open(f"{name}.npy") as member:
                    found[name] = read_array(member)
    except (
        OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, MemoryError,
        zipfile.BadZipFile, zlib.error,
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
