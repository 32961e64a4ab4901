"""What killed processes leave behind: temporary files, named by who writes them, and removed."""

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
"""Our own names: the process that writes the file, its machine, and something random."""

ABANDONED_SECONDS = 86_400.0
"""After that long without a write a file of another machine has no writer any more."""


def temporary_name() -> str:
    """A name for a file that this process is going to write; no other one has it."""
    return f"{TEMPORARY}{os.getpid():08x}{machine()}{uuid4().hex[:16]}"


def machine() -> str:
    """Eight digits that tell this machine's names from others'."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files in a folder whose writers are dead; nobody else's files.

    Harmless where the folder is missing or is not ours.
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
    """The same, but for folders in which this process has looked before."""
    if folder not in _cleared:
        _cleared.add(folder)
        remove_leftovers(folder)


_cleared: set[Path] = set()


def _is_abandoned(entry: os.DirEntry[str], name: re.Match[str]) -> bool:
    """Whether nobody writes the file any longer: its process is gone, or it is a day old."""
    if name[2] == machine() and not _is_alive(int(name[1], 16)):
        return True
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED_SECONDS


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True
