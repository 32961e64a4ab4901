"""A run's folder: where its files are, its status, and who may write it."""

from __future__ import annotations

import json
import math
import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from wganbench.files import (
    RunBusy,
    RunLock,
    explained,
    holder_of,
    inside,
    is_plain_file,
    write_atomic,
)
from wganbench.leftovers import remove_leftovers
from wganbench.runs.record import FINISHED, STATUSES, RunRecord, Status, read_content, read_record

KEYS = (
    "status", "step", "metrics", "seconds", "steps_per_second", "compile_seconds", "executor",
    "versions", "device", "config",
)  # fmt: skip
LOCK = ".lock"
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.1
PACKAGES = ("wganbench", "torch", "hydra-core", "numpy")


OWN = re.compile(
    r"run\.json|metrics\.csv|checkpoint(\.previous|\.spare)?\.pt|samples\.(npz|gif)|generated\.npy"
    r"|(figure|interpolation|classes|neighbours)\.png|events\.out\.tfevents\..*|\.tmp-[0-9a-f]{32}"
)
"""The names of the files that a run leaves in its folder; whatever else lies there is not ours."""


class RunFolder:
    """The paths and the status of one run, to read; `lock` gives what can write.

    A folder may be a stranger's: a path is given only where no link stands in its place.
    Else the property raises UnusableFile.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def run_json(self) -> Path:
        """Status, final metrics and configuration."""
        return inside(self.path, "run.json")

    @property
    def metrics_csv(self) -> Path:
        """One row a logged step."""
        return inside(self.path, "metrics.csv")

    @property
    def checkpoint(self) -> Path:
        """All that is needed to go on."""
        return inside(self.path, "checkpoint.pt")

    @property
    def samples(self) -> Path:
        """Reals and fakes of the final evaluation."""
        return inside(self.path, "samples.npz")

    @property
    def figure(self) -> Path:
        """The run at a glance."""
        return inside(self.path, "figure.png")

    @property
    def animation(self) -> Path:
        """The samples through training."""
        return inside(self.path, "samples.gif")

    @property
    def frames(self) -> Path:
        """A folder of the animation's frames."""
        return inside(self.path, "frames")

    def picture(self, name: str) -> Path:
        """A further figure of an image run: interpolation, classes or neighbours."""
        return inside(self.path, f"{name}.png")

    def create(self) -> RunFolder:
        """Make the folder and its parents; raises OSError where that cannot be done."""
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        return self

    def lock(self) -> HeldRun:
        """Make the folder and take it for this process, until released or the process ends.

        Raises RunBusy, naming the process that holds it.
        """
        lock = RunLock(self.create().path / LOCK)
        remove_leftovers(self.path)
        return HeldRun(self.path, lock)

    def holder(self) -> RunBusy | None:
        """Who holds the run now; None where nobody does. Writes nothing."""
        return holder_of(self.path / LOCK)

    def record(self) -> RunRecord:
        """The run's record, see `read_record`."""
        return read_record(self.path)

    def ended(self) -> RunRecord | None:
        """The record of a run that has ended; None where something is left to do."""
        record = self.record() if self.run_json.exists() else None
        return record if record and record.finished else None

    def read(self) -> dict[str, Any]:
        """run.json as a dictionary; see `read_run`."""
        return read_run(self.path)


class HeldRun(RunFolder):
    """A run that this process holds, from `RunFolder.lock`: the only way to change its files.

    Writing raises RuntimeError once the lock is gone.
    """

    def __init__(self, path: Path, lock: RunLock) -> None:
        super().__init__(path)
        self._lock = lock

    def release(self) -> None:
        """Let the run go; harmless when it is gone already."""
        self._lock.release()

    def __enter__(self) -> HeldRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def must_be_held(self) -> None:
        """Raise RuntimeError when this process does not hold the run any longer."""
        if not self._lock.held:
            raise RuntimeError(f"{self.path} is written by a process that does not hold it")

    def empty(self) -> None:
        """Remove the files of an earlier run, by their names; the user's own stay."""
        self.must_be_held()
        for path in self.path.glob("*"):
            if OWN.fullmatch(path.name) and (path.is_symlink() or is_plain_file(path)):
                path.unlink()

    def write_status(self, **fields: Any) -> None:
        """Change these keys of run.json and keep the others; the file is replaced in one step.

        Keys of the contract that nobody has set yet are null. Raises ValueError for an
        unknown status, TypeError for a value that JSON cannot hold, OSError.
        """
        self.must_be_held()
        if "status" in fields and fields["status"] not in STATUSES:
            raise ValueError(f"status {fields['status']!r} is none of {', '.join(STATUSES)}")
        known = read_run(self.path) if self.run_json.exists() else dict.fromkeys(KEYS)
        content = json.dumps(strict_json(known | fields), indent=2, allow_nan=False)
        write_atomic(self.run_json, (content + "\n").encode())


def wait_while_ending(runs: Iterable[RunFolder], say: Callable[[str], object]) -> None:
    """Wait for processes that were asked to save these runs and end: a minute at most, and said.

    Whoever trains on is not waited for.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    told: set[int | None] = set()
    for run in runs:
        while (holder := run.holder()) and holder.ending and time.monotonic() < end:
            if holder.pid not in told:
                told.add(holder.pid)
                say(
                    f"{holder.holder} is saving its runs: waiting for it, {PATIENCE_SECONDS:g} s "
                    "at most"
                )
            time.sleep(PAUSE_SECONDS)


def read_run(path: str | Path) -> dict[str, Any]:
    """run.json of a run's folder (or the file itself) as a dictionary with all of `KEYS`.

    Its fields are of the types of `RunRecord`. Raises FileNotFoundError when there is none,
    UnusableFile when it cannot be a run's.
    """
    folder = Path(path).parent if Path(path).name == "run.json" else Path(path)
    return dict.fromkeys(KEYS) | read_content(folder)


def strict_json(value: Any) -> Any:
    """The value as strict JSON holds it: nan and inf become null, paths and arrays plain.

    Raises TypeError for what has no plain form.

    >>> strict_json({"loss": float("nan"), "betas": (0.5, 0.9)})
    {'loss': None, 'betas': [0.5, 0.9]}
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): strict_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return strict_json(value.tolist())
    raise TypeError(f"run.json cannot hold a {type(value).__name__}: {value!r}")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run's numbers depend on.

    Read from the packages' metadata, without importing them; "not installed" where
    there is none, as for wganbench run from its source tree.
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


# How a run ended: on its own, so that who only passes it on need not import torch.
ELSEWHERE: Final = "elsewhere"
"""The status of a run that was left to another process, or has gone on there; never stored."""


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended: status, generator steps done, final values by tag, the verdict."""

    path: Path
    status: Status | Literal["elsewhere"]
    step: int
    metrics: dict[str, float]
    verdict: list[str]
    seconds: float
    executor: str | None = None
    """What ran the steps, see `Stack.executor`; None where no step was taken."""

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.status in FINISHED


def outcome_of(record: RunRecord) -> RunOutcome:
    """How a run ended, as its record tells."""
    return RunOutcome(
        record.path,
        record.status or "failed",
        record.step,
        record.final,
        record.verdict or ([f"{record.error}."] if record.error else []),
        record.seconds or 0.0,
        record.executor,
    )
