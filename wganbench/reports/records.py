"""Runs as they lie on disk, for comparing: settings, status, final values, curves.

Folders may come from anywhere: only JSON and CSV are read, nothing is executed, and names
lose what a terminal would obey.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wganbench.config.schema import OUTSIDE_IDENTITY, WHERE_DATA_LIES
from wganbench.errors import ConfigError, printable
from wganbench.runs.folder import RunFolder
from wganbench.runs.record import StoredRun, stored_run
from wganbench.runs.table import Table, read_table, series
from wganbench.training.recorder import FINISHED
from wganbench.typed import flatten

Value = str | float | bool
LONGEST_NAME = 120
"""Characters of a name in tables and figures."""
MOST_SETTINGS = 500
NOT_SETTINGS = (*OUTSIDE_IDENTITY, "log", "checkpoint", "evaluate")
"""Groups of keys that do not change what a run learns."""
CONTENTS = "data.sha256"
"""The setting that stands for what lay under ``data.path``, where that is known."""
DIGITS = 12
"""Of the digest: enough to tell files apart, and few enough to read."""


@dataclass(frozen=True)
class RunRecord:
    """One run: where it is, how it stands, what it was told, what it came to.

    ``settings`` are those that change what it learns, by dotted key, the seed apart.
    ``final`` holds finite values at the last checkpoint, by tag.
    """

    path: Path
    status: str
    step: int
    seed: int
    settings: Mapping[str, Value]
    final: Mapping[str, float]

    @property
    def name(self) -> str:
        return printable(self.path.name)

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def diverged(self) -> bool:
        return self.status == "diverged"

    @cached_property
    def table(self) -> Table:
        """metrics.csv; empty where there is none that can be read. Broken lines are left out."""
        try:
            return read_table(RunFolder(self.path).metrics_csv)
        except FileNotFoundError:
            return Table()
        except (OSError, ValueError):
            nothing = Table()
            nothing.dropped = 1
            return nothing

    def read(self, columns: Sequence[str]) -> Table:
        """These columns of metrics.csv, which are not kept: of many runs they would fill memory."""
        file = self.path / "metrics.csv"
        return read_table(file, columns) if file.is_file() else Table()

    def curve(self, tag: str) -> tuple[list[int], list[float]]:
        """Steps and finite values of a tag through training."""
        pairs = list(zip(*series(self.table, tag), strict=True))
        finite = [(step, value) for step, value in pairs if math.isfinite(value)]
        return [step for step, _ in finite], [value for _, value in finite]


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
        except (ConfigError, OSError) as error:
            unreadable.append(str(error))
        else:
            runs += [] if record is None else [record]
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


def read_record(path: Path) -> RunRecord | None:
    """The run in a folder; None for a file that is no run of this kind. Raises ConfigError."""
    try:
        stored = stored_run(path)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    if stored.config is None or stored.status is None:
        return None
    seed = stored.config.get("seed")
    if type(seed) is not int:
        raise ConfigError(f"{path / 'run.json'}: config.seed is no whole number: {seed!r}")
    settings = dict(flat_settings(stored.config)) | contents(stored)
    if len(settings) > MOST_SETTINGS:
        raise ConfigError(f"{path / 'run.json'}: config has {len(settings)} keys, not some dozens")
    final = {shown(tag): value for tag, value in stored.final.items()}
    return RunRecord(path, stored.status, stored.step or 0, seed, settings, final)


def contents(stored: StoredRun) -> dict[str, Value]:
    """What the user's own data held when the run began: the digest's first digits."""
    return {CONTENTS: stored.data_sha256[:DIGITS]} if stored.data_sha256 else {}


def shown(text: str) -> str:
    """A text of a stranger's as reports show it: clean, and not too long. Where it was cut it
    ends with the first digits of its digest, so that unlike texts stay unlike."""
    clean = printable(text)
    if len(clean) <= LONGEST_NAME:
        return clean
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{clean[:LONGEST_NAME]}...{digest[:6]}"


def flat_settings(config: Mapping[str, Any]) -> Iterable[tuple[str, Value]]:
    """What a run was told, by dotted key: numbers and switches as they are, the rest as text."""
    parts = {k: part for k, part in config.items() if k not in NOT_SETTINGS and k != "seed"}
    outside = {f"data.{key}" for key in WHERE_DATA_LIES}
    for key, value in flatten(parts):
        if key not in outside:
            yield shown(key), value if isinstance(value, bool | int | float) else shown(str(value))


def count_modes(path: Path) -> int | None:
    """The modes, or classes of pictures, of the data that a run's configuration describes."""
    from wganbench.training.measuring import mode_count

    return mode_count(stored_target(path)) or None


@dataclass(frozen=True)
class Modes:
    """Where the modes of a run's data lie, and by which protocol it counts them."""

    centres: np.ndarray
    weights: np.ndarray
    sigma: float
    protocol: str


def read_modes(path: Path) -> Modes | None:
    """The modes of a run's data; None where it has none, or they are no mixture's."""
    from wganbench.data.mixtures import Mixture
    from wganbench.training.runs import stored_config

    target = stored_target(path)
    if not isinstance(target, Mixture):
        return None
    protocol = stored_config(path).evaluate.protocol
    return Modes(target.modes.numpy(), target.weights.numpy(), target.sigma, protocol)


def stored_target(path: Path) -> object:
    """The data that a run's stored configuration describes; None where that cannot be told."""
    from wganbench.data.registry import build
    from wganbench.training.runs import stored_config

    try:
        data = stored_config(path).data
        # A report reads what is there, and never fetches it.
        here = {"download": False} if "download" in data.options else {}
        return build(data.kind, data.options | here)
    except (ValueError, TypeError, ArithmeticError, RuntimeError, MemoryError, OSError):
        # Another version's, or a stranger's: a figure does without.
        return None


def not_begun(paths: Sequence[str | Path], runs: Sequence[RunRecord]) -> int:
    """Jobs of sweeps in these folders that have no run yet."""
    from wganbench.sweeps.manifest import FILE, read_jobs

    def not_in(there: set[Path], folder: Path) -> int:
        try:
            return sum(
                job.folder not in there and not os.path.lexists(job.folder / "run.json")
                for job in read_jobs(folder)
            )
        except ConfigError:  # nobody knows, and its runs are there or are not
            return 0

    there = {run.path for run in runs}
    folders = {folder.resolve() for path in paths for folder in folders_with(Path(path), FILE)}
    return sum(not_in(there, folder) for folder in folders)
