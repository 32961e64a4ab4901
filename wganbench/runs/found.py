"""Finding runs in and below folders, which may come from strangers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from wganbench.errors import ConfigError
from wganbench.runs.record import RunRecord, read_record


class Runs(list[RunRecord]):
    """The runs that were found; ``unreadable`` has a line on each folder that was left out."""

    unreadable: tuple[str, ...] = ()


def find_runs(paths: Iterable[str | Path]) -> Runs:
    """Return all runs in and below the folders, each once, by path, without unreadable ones.

    Raises ConfigError for a path without runs, and if no run can be read.
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
                _ = record.seed, record.settings  # raise if they are malformed
                runs.append(record)
        except (ConfigError, OSError) as error:
            unreadable.append(str(error))
    if unreadable and not runs:
        raise ConfigError(f"no run can be read here: {unreadable[0]}")
    runs.unreadable = tuple(unreadable)
    return runs


def folders_with(path: Path, name: str) -> Iterator[Path]:
    """Yield the folders at and below a path that hold an entry of this name.

    Links are not followed. Folders that cannot be read, or vanish meanwhile, are skipped.
    """
    for folder, below, files in os.walk(path):
        below.sort()
        if name in files or name in below:
            yield Path(folder)
