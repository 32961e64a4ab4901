"""Runs as they lie on disk, for comparing: settings, status, final values, curves.

Folders may come from anywhere: only JSON and CSV are read, nothing is executed, and names
lose what a terminal would obey.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wganbench.config.schema import OUTSIDE_IDENTITY, WHERE_DATA_LIES
from wganbench.errors import ConfigError, printable
from wganbench.records.folder import read_run
from wganbench.records.table import Table, read_table, series
from wganbench.training.recorder import FINISHED

Value = str | float | bool
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
        """metrics.csv; empty where there is none. Broken last lines are left out."""
        file = self.path / "metrics.csv"
        return read_table(file) if file.is_file() else Table()

    def read(self, columns: Sequence[str]) -> Table:
        """These columns of metrics.csv, which are not kept: of many runs they would fill memory."""
        file = self.path / "metrics.csv"
        return read_table(file, columns) if file.is_file() else Table()

    def curve(self, tag: str) -> tuple[list[int], list[float]]:
        """Steps and finite values of a tag through training."""
        pairs = list(zip(*series(self.table, tag), strict=True))
        finite = [(step, value) for step, value in pairs if math.isfinite(value)]
        return [step for step, _ in finite], [value for _, value in finite]


def find_runs(paths: Iterable[str | Path]) -> list[RunRecord]:
    """All runs in and under the folders, each once, by path. Raises ConfigError without any."""
    files: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise ConfigError(f"{path} does not exist")
        found = sorted(path.rglob("run.json")) if path.is_dir() else []
        if not found:
            raise ConfigError(
                f"there is no run in {path}: give the folder of a run, of a sweep, or outputs"
            )
        files |= dict.fromkeys(file.resolve() for file in found)
    return [record for file in files if (record := read_record(file.parent)) is not None]


def read_record(path: Path) -> RunRecord | None:
    """The run in a folder; None for a file that is no run of this kind. Raises ConfigError."""
    try:
        stored = read_run(path)
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(str(error)) from error
    config = stored.get("config")
    if not isinstance(config, dict) or "status" not in stored:
        return None
    seed = config.get("seed")
    return RunRecord(
        path,
        printable(str(stored["status"])),
        stored["step"] if isinstance(stored.get("step"), int) else 0,
        seed if isinstance(seed, int) else 0,
        dict(flat_settings(config)) | contents(stored),
        finite(stored.get("metrics")),
    )


def contents(stored: Mapping[str, Any]) -> dict[str, Value]:
    """What the user's own data held when the run began: the digest's first digits."""
    digest = stored.get("data_sha256")
    return {CONTENTS: printable(digest[:DIGITS])} if isinstance(digest, str) and digest else {}


def finite(metrics: Any) -> dict[str, float]:
    values = metrics.items() if isinstance(metrics, dict) else ()
    return {
        printable(str(tag)): float(value)
        for tag, value in values
        if isinstance(value, int | float) and math.isfinite(value)
    }


def flat_settings(config: Mapping[str, Any]) -> Iterable[tuple[str, Value]]:
    """What a run was told, by dotted key: numbers and switches as they are, the rest as text."""
    for group, part in config.items():
        if group in NOT_SETTINGS or group == "seed":
            continue
        rows = part.items() if isinstance(part, dict) else [("", part)]
        for key, value in rows:
            if group == "data" and key in WHERE_DATA_LIES:
                continue
            name = printable(f"{group}.{key}" if key else str(group))
            yield name, value if isinstance(value, bool | int | float) else printable(str(value))


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
    from wganbench.data.mixture import Mixture
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
    except ValueError:  # another version's, or a stranger's
        return None


def not_begun(paths: Sequence[str | Path], runs: Sequence[RunRecord]) -> int:
    """Jobs of sweeps in these folders that have no run yet."""
    from wganbench.sweeps.ledger import FILE, read_jobs

    there = {run.path for run in runs}
    folders = {file.parent.resolve() for path in paths for file in Path(path).rglob(FILE)}
    return sum(job.folder not in there for folder in folders for job in read_jobs(folder))
