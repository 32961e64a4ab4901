"""What there is to resume below a folder: sweeps, and runs of their own."""

from __future__ import annotations

import os
from pathlib import Path

from wganbench.errors import ConfigError
from wganbench.records.folder import RunFolder
from wganbench.sweeps.ledger import FILE, read_jobs
from wganbench.sweeps.planning import unfinished
from wganbench.training.recorder import FINISHED


def resumable(folder: Path) -> tuple[list[Path], int]:
    """Folders of unfinished runs and sweeps in and below a folder, and how many are finished.

    A sweep stands for its runs; links are not followed, and what cannot be read counts as
    unfinished, so that resuming it says why. Raises ConfigError where there is nothing at all.
    """
    left: list[Path] = []
    finished = 0
    of_sweeps: set[Path] = set()
    for place, names, files in os.walk(folder):
        path = Path(place)
        names.sort()
        if FILE in files:
            complete, runs = sweep_is_finished(path)
            of_sweeps |= runs
            left += [] if complete else [path]
            finished += complete
        elif "run.json" in files:
            names.clear()
            if path not in of_sweeps:
                complete = run_is_finished(path)
                left += [] if complete else [path]
                finished += complete
    if not left and not finished:
        raise ConfigError(f"no run at {folder}, nor below it: give the folder of a run or a sweep")
    return left, finished


def sweep_is_finished(folder: Path) -> tuple[bool, set[Path]]:
    """Whether a sweep has nothing left to do, and the folders of its runs."""
    try:
        jobs = read_jobs(folder)
        return not unfinished(jobs)[0], {job.folder for job in jobs}
    except (ValueError, OSError):
        return False, set()


def run_is_finished(folder: Path) -> bool:
    try:
        return RunFolder(folder).read().get("status") in FINISHED
    except (ValueError, OSError):
        return False
