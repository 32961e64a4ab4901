"""A run's folder: where its files are, its status, and who may write it."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from wganbench.files import (
    RunBusy,
    RunLock,
    explained,
    inside,
    is_plain_file,
    remove_leftovers,
    write_atomic,
)
from wganbench.records.stored_run import STATUSES, StoredRun, read_content, stored_run

__all__ = [
    "KEYS",
    "STATUSES",
    "RunBusy",
    "RunFolder",
    "StoredRun",
    "read_run",
    "stored_run",
    "strict_json",
    "versions",
]

KEYS = (
    "status", "step", "metrics", "seconds", "steps_per_second", "versions", "device", "config",
)  # fmt: skip
PACKAGES = ("wganbench", "torch", "hydra-core", "numpy")


OWN = re.compile(
    r"run\.json|metrics\.csv|checkpoint(\.previous|\.spare)?\.pt|samples\.(npz|gif)|generated\.npy"
    r"|(figure|interpolation|classes|neighbours)\.png|events\.out\.tfevents\..*|\.tmp-[0-9a-f]{32}"
)
"""The names of the files that a run leaves in its folder; whatever else lies there is not ours."""


class RunFolder:
    """The paths and the status of one run; makes nothing before it is asked to.

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

    def lock(self) -> RunLock:
        """Make the folder and take it for this process, until released or the process ends.

        Raises RunBusy, naming the process that holds it.
        """
        lock = RunLock(self.create().path / ".lock")
        remove_leftovers(self.path)
        return lock

    def empty(self) -> None:
        """Remove the files of an earlier run, by their names; the user's own stay."""
        for path in self.path.glob("*"):
            if OWN.fullmatch(path.name) and (path.is_symlink() or is_plain_file(path)):
                path.unlink()

    def write_status(self, **fields: Any) -> None:
        """Change these keys of run.json and keep the others; the file is replaced in one step.

        Keys of the contract that nobody has set yet are null. Raises ValueError for an
        unknown status, TypeError for a value that JSON cannot hold, OSError.
        """
        if "status" in fields and fields["status"] not in STATUSES:
            raise ValueError(f"status {fields['status']!r} is none of {', '.join(STATUSES)}")
        self.create()
        known = read_run(self.path) if self.run_json.exists() else dict.fromkeys(KEYS)
        content = json.dumps(strict_json(known | fields), indent=2, allow_nan=False)
        write_atomic(self.run_json, (content + "\n").encode())

    def read(self) -> dict[str, Any]:
        """run.json as a dictionary; see `read_run`."""
        return read_run(self.path)

    def stored(self) -> StoredRun:
        """run.json as fields; see `stored_run`."""
        return stored_run(self.path)


def read_run(path: str | Path) -> dict[str, Any]:
    """run.json of a run's folder (or the file itself) as a dictionary with all of `KEYS`.

    Its fields are of the types of `StoredRun`. Raises FileNotFoundError when there is none, UnusableFile when it cannot be a run's.
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
