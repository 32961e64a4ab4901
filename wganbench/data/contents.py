"""What the user's own data hold, in one number: whether they are what a run was trained on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from wganbench.data.picture_files import find_files
from wganbench.files import open_regular

PART = 2**24
"""Bytes of a file that are read at a time."""


def contents_digest(options: Mapping[str, Any], kind: str = "image_folder") -> str | None:
    """SHA-256, in hex, of what lies under ``data.path``; None without one, or if it is gone.

    Of a file its bytes; of a folder the name, length and bytes of every picture in it, as
    `find_files` lists them, and of another ``kind`` of data of every visible file.
    """
    if options.get("path") is None:
        return None
    path = Path(str(options.get("found_at") or options["path"])).expanduser()
    if not (path.is_file() or path.is_dir()):  # a device would never end
        return None
    try:
        files = [path]
        if path.is_dir():
            found = find_files(path)
            others = () if kind == "image_folder" else found.others
            files = sorted([*found.pictures, *others])
        states = [(file, file.stat()) for file in files if file.is_file()]
        return _read(path, tuple((file, s.st_mtime_ns, s.st_size) for file, s in states))
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=4)
def _read(path: Path, states: tuple[tuple[Path, int, int], ...]) -> str:
    """Read once in a process, however many runs a sweep has, unless a file changes meanwhile."""
    digest = hashlib.sha256()
    for file, _, size in states:
        if file != path:
            digest.update(os.fsencode(file.relative_to(path)) + f"\0{size}\0".encode())
        with open_regular(file, follow=True) as opened:
            while part := opened.read(PART):
                digest.update(part)
    return digest.hexdigest()
