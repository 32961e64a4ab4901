"""The runs in and under folders, which may come from anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from wganbench.errors import ConfigError
from wganbench.runs.record import RunRecord, read_record


class Runs(list[RunRecord]):
    """Runs that were found; ``unreadable`` says in a line each why a folder is left out."""

    unreadable: tuple[str, ...] = ()


def find_runs(paths: Iterable[str | Path]) -> Runs:
    """All runs in and under the folders, each once, by path; what cannot be read is left out.

    Raises ConfigError for a path without any, and where none can be read.
    """
    folders: dict[Path, None] = {}
    for path in map(Path, paths):
        if not os.path.lexists(path):
            raise ConfigError(f"{path} does not exist")
        found = sorted(folders_with(path, "run.json"))
        if not found:
            raise ConfigError(
                f"there is no run in {path}: give the folder of a run, of a sweep, or outputs"
            )
        folders |= dict.fromkeys(folder.resolve() for folder in found)
    runs, unreadable = Runs(), []
    for folder in folders:
        try:
            record = read_record(folder)
            if record.config is not None and record.status is not None:
                _ = record.seed, record.settings  # raise where a stranger has written them
                runs.append(record)
        except (ConfigError, OSError) as error:
            unreadable.append(str(error))
    if unreadable and not runs:
        raise ConfigError(f"no run can be read here: {unreadable[0]}")
    runs.unreadable = tuple(unreadable)
    return runs


def folders_with(path: Path, name: str) -> Iterator[Path]:
    """Folders at and below a path that hold something of this name. Links are not followed, and
    folders that cannot be read, or vanish meanwhile, are passed over."""
    for folder, below, files in os.walk(path):
        below.sort()
        if name in files or name in below:
            yield Path(folder)
