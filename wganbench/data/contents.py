"""A digest of the user's data, which shows whether they are those that a run was trained on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from wganbench.data.image_list import find_files
from wganbench.errors import ConfigError, expanded
from wganbench.files import open_regular

PART = 2**24
"""Number of bytes of a file that are read at once."""

FileState = tuple[Path, int, int]
"""A file, when it changed in nanoseconds, and its size in bytes."""


def states_of(files: Iterable[Path]) -> tuple[FileState, ...]:
    """Return the states of the files that exist; a file with an equal one did not change."""
    found = [(file, file.stat()) for file in files if file.is_file()]
    return tuple((file, state.st_mtime_ns, state.st_size) for file, state in found)


def contents_digest(options: Mapping[str, Any], kind: str = "image_folder") -> str | None:
    """Return the SHA-256, in hex, of the data at ``data.path``; None if there are none.

    For a file it covers the bytes. For a folder it covers name, length and bytes of every image
    that `find_files` lists; for another ``kind`` of data than images, of every visible file.
    """
    if options.get("path") is None:
        return None
    try:
        path = expanded(str(options.get("found_at") or options["path"]), "data.path")
    except ConfigError:
        return None
    if not (path.is_file() or path.is_dir()):  # reading a device might never end
        return None
    try:
        files = [path]
        if path.is_dir():
            found = find_files(path)
            others = () if kind == "image_folder" else found.others
            files = sorted([*found.pictures, *others])
        return _digest_of(path, states_of(files))
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=4)
def _digest_of(path: Path, states: tuple[FileState, ...]) -> str:
    """Return the digest of files; read once in a process unless a file changes."""
    digest = hashlib.sha256()
    for file, _, size in states:
        if file != path:
            digest.update(os.fsencode(file.relative_to(path)) + f"\0{size}\0".encode())
        with open_regular(file, follow=True) as opened:
            while part := opened.read(PART):
                digest.update(part)
    return digest.hexdigest()
