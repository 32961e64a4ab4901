"""sweep.json: every job of a sweep and its folder, written before training begins."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wganbench.config.jobs import Job
from wganbench.config.schema import identity, to_dict
from wganbench.errors import ConfigError
from wganbench.files import (
    SWEEP_BYTES,
    RunBusy,
    RunLock,
    inside,
    read_json,
    wait_for_lock,
    write_json,
)
from wganbench.runs.record import RUN_JSON, RunRecord, folders_with
from wganbench.runs.stored import stored_values
from wganbench.typed import flatten

FORMAT = 3
FILE = "sweep.json"
PATIENCE_SECONDS = 30.0
ARMS = ("loss.name", "data.name")
"""Keys whose value decides the values of other keys."""


def read_jobs(folder: Path) -> list[Job]:
    """Return the jobs of the sweep in a folder; an empty list if there is no sweep.

    The folders of the jobs lie directly in the sweep's folder. Raises ConfigError, which names
    the key, for a file that cannot be read.
    """
    path = folder / FILE
    if not os.path.lexists(path):
        return []
    content = read_json(path, SWEEP_BYTES)
    if content.get("format") != FORMAT:
        raise ConfigError(
            f"{path} is of another version of wganbench: read it with that version, or "
            "give the sweep another name=..."
        )
    rows = content.get("jobs")
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"{path} is damaged: jobs holds no jobs; give the sweep another name")
    jobs = []
    for number, row in enumerate(rows):
        try:
            jobs.append(_job(folder, row))
        except ConfigError as error:
            raise ConfigError(
                f"{path} is damaged: jobs[{number}]: {error}; give the sweep another name"
            ) from error
    return jobs


def _job(folder: Path, row: Any) -> Job:
    """Return the job of a row of sweep.json. Raises ConfigError for a malformed row."""
    if not isinstance(row, dict):
        raise ConfigError("a job holds config, folder and overrides")
    name, overrides, config = (row.get(key) for key in ("folder", "overrides", "config"))
    if not isinstance(name, str) or "/" in name or "\\" in name:
        raise ConfigError(f"folder is one plain name; got {name!r}")
    if not isinstance(overrides, list) or not all(isinstance(word, str) for word in overrides):
        raise ConfigError(f"overrides must be a list of texts; got {overrides!r}")
    if not isinstance(config, dict):
        raise ConfigError(f"config must be a configuration; got {config!r}")
    return Job(stored_values(config), inside(folder, name), tuple(overrides))


Stacks = Mapping[str, Mapping[str, Any]]
"""By folder: the ``size`` of a run's stack, its ``place`` there, and the kind of device, ``on``."""


def planned(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the stacks of the sweep in a folder, as `Stacks`; empty if they cannot be read."""
    try:
        rows = read_json(folder / FILE, SWEEP_BYTES)["jobs"]
        return {r["folder"]: r["stack"] for r in rows if isinstance(r.get("stack"), dict)}
    except (OSError, ValueError, ConfigError, KeyError, TypeError, AttributeError):
        return {}


def add_jobs(folder: Path, jobs: Sequence[Job], stacks: Stacks | None = None) -> None:
    """Add new jobs and their planned stacks to sweep.json; the file is replaced atomically.

    Waits while another process does the same. Raises ConfigError after `PATIENCE_SECONDS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _writing(folder / ".sweep.lock"):
        known = read_jobs(folder)
        there = {job.folder.name for job in known}
        new = {job.folder.name: job for job in jobs if job.folder.name not in there}
        every = [*known, *new.values()]
        before = planned(folder)
        divided = {**before, **(stacks or {})}
        if new or divided != before:
            content = {"format": FORMAT, "jobs": [_row(job, divided) for job in every]}
            write_json(folder / FILE, content)


def _writing(path: Path) -> RunLock:
    """Wait for the lock of the file, which other processes hold only briefly, and return it."""
    try:
        return wait_for_lock(path, PATIENCE_SECONDS)
    except RunBusy as error:
        raise ConfigError(str(error)) from error


def _row(job: Job, stacks: Stacks) -> dict[str, Any]:
    row = {
        "folder": job.folder.name,
        "overrides": list(job.overrides),
        "config": to_dict(job.config),
    }
    name = job.folder.name
    return row | ({"stack": dict(stacks[name])} if name in stacks else {})


def check_alike(folder: Path, known: Sequence[Job], added: Sequence[Job]) -> None:
    """Check that added jobs belong to the same sweep as the known ones.

    A key that neither of them varies must have the same value in both. More seeds, more values
    of a swept key, and other losses or data (with their own settings) are allowed. Raises
    ConfigError, which names the key.
    """
    if not known or not added:
        return
    old, new = [_flat(job) for job in known], [_flat(job) for job in added]
    other_arm = any(_values(old, name) != _values(new, name) for name in ARMS)
    for key in sorted(set(old[0]) & set(new[0])):
        theirs, ours = _values(old, key), _values(new, key)
        free = key in ("seed", *ARMS) or (
            other_arm and key.partition(".")[0] in ("loss", "train", "data")
        )
        if len(theirs) == len(ours) == 1 and theirs != ours and not free:
            raise ConfigError(
                f"{folder} holds a sweep with {key}={theirs.pop()}, this one has {ours.pop()}: "
                "give it another name=..."
            )


def _values(rows: Iterable[dict[str, str]], key: str) -> set[str]:
    return {row.get(key, "") for row in rows}


def _flat(job: Job) -> dict[str, str]:
    return {key: str(value) for key, value in flatten(identity(job.config))}


def not_begun(paths: Sequence[str | Path], runs: Sequence[RunRecord]) -> int:
    """Return the number of jobs, of the sweeps in and below these folders, without a run."""

    def not_in(there: set[Path], folder: Path) -> int:
        try:
            return sum(
                job.folder not in there and not os.path.lexists(job.folder / RUN_JSON)
                for job in read_jobs(folder)
            )
        except (ConfigError, OSError):  # the number of jobs without a run is unknown
            return 0

    there = {run.path for run in runs}
    folders = {folder.resolve() for path in paths for folder in folders_with(Path(path), FILE)}
    return sum(not_in(there, folder) for folder in folders)
