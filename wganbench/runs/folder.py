"""A run's folder: the paths of its files, its status, the lock for writing, and its removal."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from wganbench.errors import ConfigError
from wganbench.files import (
    RunBusy,
    RunLock,
    explained,
    holder_of,
    inside,
    is_plain_file,
    write_json,
)
from wganbench.leftovers import remove_leftovers
from wganbench.runs.record import (
    CHECKPOINT,
    FINISHED,
    FRAMES,
    METRICS_CSV,
    RUN_JSON,
    SAMPLES_NPZ,
    STATUSES,
    RunRecord,
    Status,
    read_content,
    read_record,
)
from wganbench.runs.table import STEP, series

HYDRAS_FILES = (".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml")
"""Files that Hydra writes into a run's folder; it would follow links there."""


KEYS = (
    "status", "step", "metrics", "seconds", "steps_per_second", "compile_seconds", "executor",
    "versions", "device", "config",
)  # fmt: skip
LOCK = ".lock"
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.1
PACKAGES = ("wganbench", "torch", "hydra-core", "numpy")
NOT_INSTALLED = "not installed"


OWN = re.compile(
    r"run\.json|metrics\.csv|checkpoint(\.previous|\.spare)?\.pt|samples\.(npz|gif)|generated\.npy"
    r"|scalars\.(csv|parquet)|(generator|critic)\.pt2"
    r"|(figure|interpolation|classes|neighbours)\.png|events\.out\.tfevents\..*|\.tmp-[0-9a-f]{32}"
)
"""Names of the files that a run and the commands on it write into its folder by themselves.

All other files belong to the user.
"""


class RunFolder:
    """The paths and the status of one run, for reading; `lock` returns a writable `HeldRun`.

    The folder may come from a stranger, so a path that is a link is not returned: the property
    raises UnusableFile.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def run_json(self) -> Path:
        """Status, final metrics and configuration."""
        return inside(self.path, RUN_JSON)

    @property
    def metrics_csv(self) -> Path:
        """One row per logged step."""
        return inside(self.path, METRICS_CSV)

    @property
    def checkpoint(self) -> Path:
        """The state from which a run is resumed."""
        return inside(self.path, CHECKPOINT)

    @property
    def samples(self) -> Path:
        """Real and generated points of the final evaluation."""
        return inside(self.path, SAMPLES_NPZ)

    @property
    def figure(self) -> Path:
        """The figure that sums up the run."""
        return inside(self.path, "figure.png")

    @property
    def animation(self) -> Path:
        """The animation of the samples during training."""
        return inside(self.path, "samples.gif")

    @property
    def frames(self) -> Path:
        """The folder of the animation's frames."""
        return inside(self.path, FRAMES)

    def picture(self, name: str) -> Path:
        """Return the path of an image run's figure: interpolation, classes or neighbours."""
        return inside(self.path, f"{name}.png")

    def create(self) -> RunFolder:
        """Make the folder and its parents; raises OSError if that fails."""
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        return self

    def lock(self) -> HeldRun:
        """Make the folder and lock it until it is released or this process ends.

        Raises RunBusy, which names the process that holds the lock.
        """
        lock = RunLock(self.create().path / LOCK)
        remove_leftovers(self.path)
        return HeldRun(self.path, lock)

    def holder(self) -> RunBusy | None:
        """Return the process that holds the lock as a `RunBusy`, else None. Writes nothing."""
        return holder_of(self.path / LOCK)

    def record(self) -> RunRecord:
        """Return the run's record, see `read_record`."""
        return read_record(self.path)

    def ended(self) -> RunRecord | None:
        """Return the record of a finished run; None for an unfinished one."""
        record = self.record() if self.run_json.exists() else None
        return record if record and record.finished else None

    def read(self) -> dict[str, Any]:
        """Return run.json as a dictionary, see `read_run`."""
        return read_run(self.path)


class HeldRun(RunFolder):
    """A run that this process has locked; only through it are the run's files changed.

    `RunFolder.lock` returns it. Writing raises RuntimeError after the release.
    """

    def __init__(self, path: Path, lock: RunLock) -> None:
        super().__init__(path)
        self._lock = lock

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
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
        """Raise RuntimeError if this process no longer holds the lock."""
        if not self._lock.held:
            raise RuntimeError(f"{self.path} is written by a process that does not hold it")

    def empty(self) -> None:
        """Remove the files of an earlier run, found by their names; keep the user's files.

        If the process dies meanwhile, no checkpoint is left that a new run would go on from, and
        `find_runs` still finds what is left.
        """
        self.must_be_held()
        own = [path for path in self.path.glob("*") if OWN.fullmatch(path.name)]
        for path in sorted(own, key=lambda p: (p.name == RUN_JSON, "checkpoint" not in p.name)):
            if path.is_symlink() or is_plain_file(path):
                path.unlink()

    def write_status(self, status: Status | None = None, **fields: Any) -> None:
        """Change the status and other keys of run.json; those not given keep their values.

        The file is replaced atomically. Keys among `KEYS` that are not set yet are null. Raises
        ValueError for an unknown status, TypeError for a value that JSON cannot hold, OSError.
        """
        self.must_be_held()
        if status is not None:
            if status not in STATUSES:
                raise ValueError(f"status {status!r} is none of {', '.join(STATUSES)}")
            fields["status"] = status
        known = read_run(self.path) if self.run_json.exists() else dict.fromkeys(KEYS)
        write_json(self.run_json, known | fields, indent=2)


def status_now(run: RunRecord) -> Status | None:
    """Return a run's status; one that says it trains, in no process, was interrupted.

    Where the lock cannot be read the stored status counts.
    """
    if run.status != "running":
        return run.status
    try:
        return run.status if RunFolder(run.path).holder() else "interrupted"
    except (OSError, ConfigError):
        return run.status


def step_now(run: RunRecord) -> int:
    """Return the generator steps that a run has done: its last row's while run.json says it trains.

    run.json gets the number only when training ends.
    """
    if run.status != "running":
        return run.step
    try:
        steps, _ = series(run.read([STEP]), STEP)
    except (OSError, ConfigError):
        return run.step
    return max([run.step, *steps[-1:]])


def wait_while_ending(runs: Iterable[RunFolder], say: Callable[[str], object]) -> None:
    """Wait for processes that are saving these runs before they end, for at most a minute.

    ``say`` receives a line about each. Processes that continue to train are not waited for.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    announced: set[int | None] = set()
    for run in runs:
        while (holder := run.holder()) and holder.ending and time.monotonic() < end:
            if holder.pid not in announced:
                announced.add(holder.pid)
                say(
                    f"{holder.holder} is saving its runs: waiting for it, {PATIENCE_SECONDS:g} s "
                    "at most"
                )
            time.sleep(PAUSE_SECONDS)


def read_run(path: str | Path) -> dict[str, Any]:
    """Return run.json as a dictionary with all of `KEYS`; ``path`` is the file or its folder.

    Its fields have the types of `RunRecord`. Raises FileNotFoundError for a missing file,
    UnusableFile for a malformed one.
    """
    folder = Path(path).parent if Path(path).name == RUN_JSON else Path(path)
    return dict.fromkeys(KEYS) | read_content(folder)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a run's numbers depend on.

    They are read from the packages' metadata, without an import.
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        found[package] = installed(package)
    return found


def installed(package: str) -> str:
    """Return the version in a package's metadata, or "not installed".

    wganbench has no metadata when it runs from its source tree.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return NOT_INSTALLED


# The outcome of a run. It stands here so that callers that only pass it on need not import torch.
ELSEWHERE: Final = "elsewhere"
"""Status of a run that another process trains or has continued; never stored."""


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run: status, generator steps done, final values by tag, verdict."""

    path: Path
    status: Status | Literal["elsewhere"]
    step: int
    metrics: dict[str, float]
    verdict: list[str]
    seconds: float
    executor: str | None = None
    """The executor of the steps, see `Stack.executor`; None if no step was taken."""
    shape: tuple[int, ...] | None = None
    """The shape of one point of its data, which decides its headline distance."""

    @property
    def finished(self) -> bool:
        """Whether the run has ended: completed or diverged."""
        return self.status in FINISHED


def outcome_of(record: RunRecord) -> RunOutcome:
    """Return the outcome of a run from its record."""
    return RunOutcome(
        record.path,
        record.status or "failed",
        record.step,
        record.final,
        record.verdict or ([f"{record.error}."] if record.error else []),
        record.seconds or 0.0,
        record.executor,
        record.shape,
    )


# Removal of runs: only files that a run writes, and only while no process holds it.
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
    from wganbench.runs.samples import find_frames  # imports numpy

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
