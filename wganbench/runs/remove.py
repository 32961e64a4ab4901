"""Removal of runs: only files that a run writes, and only while no process holds it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wganbench.files import is_plain_file
from wganbench.leftovers import remove_leftovers
from wganbench.runs.folder import LOCK, RunFolder
from wganbench.runs.record import FRAMES
from wganbench.runs.samples import find_frames
from wganbench.runs.stored import HYDRAS_FILES


def size_of(path: Path) -> int:
    """Return the bytes of the plain files directly in a folder and in its frames."""
    return sum(file.stat().st_size for file in _files(path))


def _files(path: Path) -> Iterable[Path]:
    folders = [path, *([path / FRAMES] if _is_folder(path / FRAMES) else [])]
    return [file for folder in folders for file in folder.glob("*") if is_plain_file(file)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def remove_run(path: Path) -> bool:
    """Remove a run's own files; return whether the folder is gone, too.

    Files of the user stay, and the folder with them. Links are removed, never followed. Raises
    RunBusy when a process holds the run, OSError.
    """
    with RunFolder(path).lock() as held:
        frames = path / FRAMES
        if _is_folder(frames):
            for file in find_frames(path).values():
                file.unlink()
            remove_leftovers(frames)
            _remove_if_empty(frames)
        for name in HYDRAS_FILES:
            if _is_folder(path / ".hydra"):
                (path / name).unlink(missing_ok=True)
        if _is_folder(path / ".hydra"):
            _remove_if_empty(path / ".hydra")
        held.empty()
        (path / LOCK).unlink(missing_ok=True)
    return _remove_if_empty(path)


def _remove_if_empty(folder: Path) -> bool:
    if any(folder.iterdir()):
        return False
    folder.rmdir()
    return True
