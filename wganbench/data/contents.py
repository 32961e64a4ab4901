"""What the user's own data hold, in one number: whether they are what a run was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

PART = 2**24
"""Bytes of a file that are read at a time."""


def contents_digest(options: Mapping[str, Any]) -> str | None:
    """SHA-256, in hex, of what lies under ``data.path``; None without one, or if it is gone.

    Of a file the bytes; of a folder the names and sizes of its files.
    """
    if "path" not in options:
        return None
    path = Path(str(options["path"])).expanduser()
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            rows = [f"{file.relative_to(path)} {file.stat().st_size}" for file in files]
            return hashlib.sha256("\n".join(rows).encode()).hexdigest()
        state = path.stat()
        return _of_file(path, state.st_mtime_ns, state.st_size)
    except OSError:
        return None


@lru_cache(maxsize=4)
def _of_file(path: Path, modified: int, size: int) -> str:
    """Read once in a process, however many runs a sweep has, unless it changes meanwhile."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()
