"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

TEMPORARY = ".tmp-"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write into that takes the place of ``path`` when the block ends well.

    It lies in the same folder under a name that begins with ``.tmp-``, is flushed to the
    disk and then renamed, so a reader finds the old content or the new one. When the
    block raises, or the process dies, ``path`` stays as it was.
    Raises OSError, with the path and the reason, where the folder cannot be written.
    """
    temporary = path.parent / f"{TEMPORARY}{uuid4().hex}"
    with explained(path):
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _flush_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_atomic(path: Path, content: bytes) -> None:
    """Give ``path`` this content in one step."""
    with replacing(path) as file:
        file.write(content)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left in a folder that is ours alone."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into one that says which path cannot be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot write {path}: {reason}") from error


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
