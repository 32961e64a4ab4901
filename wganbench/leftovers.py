"""Temporary files: names that identify the writer, and removal after killed processes."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
import zlib
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

TEMPORARY = ".tmp-"

LEFTOVER = re.compile(r"\.tmp-([0-9a-f]{8})([0-9a-f]{8})[0-9a-f]{16}")
"""Names of our temporary files: process id of the writer, machine, random digits."""

ABANDONED_SECONDS = 86_400.0
"""A file of another machine without a write for this long counts as abandoned."""


def temporary_name() -> str:
    """Return a unique name for a temporary file of this process."""
    return f"{TEMPORARY}{os.getpid():08x}{machine()}{uuid4().hex[:16]}"


def machine() -> str:
    """Return eight hex digits that distinguish the names of this machine."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files in a folder whose writers are dead, and no other files.

    A folder that is missing or not ours is left alone.
    """
    with suppress(OSError):
        for entry in os.scandir(folder):
            found = LEFTOVER.fullmatch(entry.name)
            if found is None or entry.is_symlink() or not _is_abandoned(entry, found):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


def remove_leftovers_once(folder: Path) -> None:
    """Call `remove_leftovers` unless this process has already done so for the folder."""
    if folder not in _cleared:
        _cleared.add(folder)
        remove_leftovers(folder)


_cleared: set[Path] = set()


def _is_abandoned(entry: os.DirEntry[str], name: re.Match[str]) -> bool:
    """Return whether a file has no writer any more: its process is gone, or it is a day old."""
    if name[2] == machine() and not _is_alive(int(name[1], 16)):
        return True
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED_SECONDS


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # the process of another user
        return True
    return True
