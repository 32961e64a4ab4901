"""Reading the records of runs, run.json and metrics.csv, which may come from a stranger.

Every field has a checked type and size. Nothing that a file names is executed, and names lose
the control characters that a terminal would execute.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any, Literal, get_args

from wganbench.config.schema import OUTSIDE_IDENTITY, WHERE_DATA_LIES
from wganbench.errors import ConfigError, of_the_system, printable, short_repr, shortened
from wganbench.files import UnusableFile, inside, read_json
from wganbench.runs.table import LARGEST_STEP, Table, read_table, series
from wganbench.typed import flatten

RUN_JSON, METRICS_CSV, CHECKPOINT = "run.json", "metrics.csv", "checkpoint.pt"
SAMPLES_NPZ, FRAMES = "samples.npz", "frames"
"""The names of a run's files and of the folder of its frames."""

Status = Literal["running", "completed", "diverged", "failed", "interrupted"]
STATUSES = get_args(Status)
FINISHED: tuple[Status, ...] = ("completed", "diverged")
"""The statuses of a run that has ended: nothing is left to train, and it can be compared."""

Value = str | float | bool
LONGEST_NAME = 120
"""Characters of a name in tables and figures."""
MOST_SETTINGS = 500
NOT_SETTINGS = (*OUTSIDE_IDENTITY, "log", "checkpoint", "evaluate")
"""Groups of keys without influence on what a run learns."""
CONTENTS = "data.sha256"
"""The setting with the digest of the files under ``data.path``, if it is known."""
DIGITS = 12
"""Hex digits of the digest that are shown: enough to tell files apart, few enough to read."""

MOST_ITEMS = 2000
"""Entries of a mapping or a list in a record; ours have about a hundred."""
LONGEST_TEXT = 20_000
"""Characters of a text in a record; a path has at most 4 096."""
LARGEST_SIZE = 2**20
"""Largest size of a point along one axis."""

KINDS = {
    "status": f"one of {', '.join(STATUSES)}",
    "count": "a whole number from 0 on",
    "number": "a finite number from 0 on",
    "text": "a text",
    "texts": "a list of texts",
    "text by name": "a text for each name",
    "number by name": "a finite number or null for each name",
    "mapping": "a mapping",
    "shape": "one or three whole numbers from 1 on",
}


def kind(name: str) -> Any:
    return field(default=None, metadata={"kind": name})


@dataclass(frozen=True)
class RunRecord:
    """The fields of run.json in the folder ``path``; a missing field is None.

    ``config`` is a mapping of plain values; `runs.stored.stored_values` converts it to types.
    """

    path: Path
    status: Status | None = kind("status")
    step: int = field(default=0, metadata={"kind": "count"})
    metrics: Mapping[str, float | None] | None = kind("number by name")
    seconds: float | None = kind("number")
    steps_per_second: float | None = kind("number")
    compile_seconds: float | None = kind("number")
    executor: str | None = kind("text")
    versions: Mapping[str, str] | None = kind("text by name")
    device: str | None = kind("text")
    config: dict[str, Any] | None = kind("mapping")
    format: int | None = kind("count")
    error: str | None = kind("text")
    verdict: list[str] | None = kind("texts")
    judge: Mapping[str, Any] | None = kind("mapping")
    data_sha256: str | None = kind("text")
    data_shape: list[int] | None = kind("shape")
    data_modes: int | None = kind("count")
    plugins: Mapping[str, str] | None = kind("text by name")

    @property
    def name(self) -> str:
        """The folder's name in printable characters."""
        return printable(self.path.name)

    @property
    def finished(self) -> bool:
        """Whether the run has ended: completed or diverged."""
        return self.status in FINISHED

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one point of its data; None for a run of an older version."""
        return None if self.data_shape is None else tuple(self.data_shape)

    @property
    def diverged(self) -> bool:
        """Whether it ended at a non-finite step."""
        return self.status == "diverged"

    @cached_property
    def final(self) -> dict[str, float]:
        """The numbers at the last checkpoint by tag, without missing values."""
        values = (self.metrics or {}).items()
        return {shown(tag): float(value) for tag, value in values if value is not None}

    @cached_property
    def seed(self) -> int:
        """The run's seed. Raises UnusableFile if it is not a whole number."""
        seed = (self.config or {}).get("seed")
        if type(seed) is not int:
            file = self.path / RUN_JSON
            raise UnusableFile(f"{file}: config.seed is no whole number: {short_repr(seed)}")
        return seed

    @cached_property
    def settings(self) -> Mapping[str, Value]:
        """The settings that change what the run learns, by dotted key, without the seed.

        Raises UnusableFile for more than `MOST_SETTINGS`.
        """
        found = dict(flat_settings(self.config or {}))
        if self.data_sha256:
            found[CONTENTS] = self.data_sha256[:DIGITS]
        if len(found) > MOST_SETTINGS:
            file = self.path / RUN_JSON
            raise UnusableFile(f"{file}: config has {len(found)} keys, not some dozens")
        return found

    @cached_property
    def measured(self) -> Mapping[str, Value]:
        """How the run was measured: the settings of ``evaluate``, by dotted key."""
        return dict(flat_values({"evaluate": (self.config or {}).get("evaluate", {})}))

    def value(self, key: str) -> Value | None:
        """Return a setting, or one of ``evaluate``, by dotted key; None where it has none."""
        return self.settings.get(key, self.measured.get(key))

    @cached_property
    def table(self) -> Table:
        """metrics.csv without its broken lines; empty if the file is missing or unreadable."""
        try:
            return read_table(inside(self.path, METRICS_CSV))
        except FileNotFoundError:
            return Table()
        except (OSError, ValueError):
            nothing = Table()
            nothing.dropped = 1
            return nothing

    def read(self, columns: Sequence[str] | None = None) -> Table:
        """Read some or all columns of metrics.csv; empty if there is no such file.

        It is not cached, as many runs would fill the memory. Raises UnusableFile, OSError.
        """
        file = inside(self.path, METRICS_CSV)
        return read_table(file, columns) if file.is_file() else Table()

    def curve(self, tag: str) -> tuple[list[int], list[float]]:
        """Return the steps and finite values of a tag during training."""
        pairs = list(zip(*series(self.table, tag), strict=True))
        finite = [(step, value) for step, value in pairs if math.isfinite(value)]
        return [step for step, _ in finite], [value for _, value in finite]


FIELDS = {
    item.name: item.metadata["kind"] for item in dataclasses.fields(RunRecord) if item.metadata
}


def read_content(folder: Path) -> dict[str, Any]:
    """Return run.json of a run's folder after a check of its fields; missing ones are allowed.

    Keys that this version does not know are kept unchanged. Raises FileNotFoundError for a
    missing file, UnusableFile, in a line that names the key, for a malformed one.
    """
    try:
        content = read_json(inside(folder, RUN_JSON))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(no_run_at(folder)) from None
    except OSError as error:
        raise UnusableFile(f"{folder / RUN_JSON} cannot be read: {error.strerror}") from error
    for name, expected in FIELDS.items():
        value = content.get(name)
        if value is not None and not _is(expected, value):
            raise UnusableFile(
                f"{folder / RUN_JSON}: {name} must be {KINDS[expected]}; "
                f"got {shortened(repr(value), 80)}"
            )
    return content


def no_run_at(folder: Path) -> str:
    """Return the message for a folder that is no run's; of a sweep's it says how to list the runs.

    Runs are looked for one and two folders below.
    """
    text = f"no run at {folder}: there is no {RUN_JSON}"
    below = (path for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{RUN_JSON}"))
    found = next(below, None)
    return text if found is None else f"{text}; wganbench ls {quote(str(folder))} lists those below"


def read_record(folder: Path) -> RunRecord:
    """Return the record of the run in a folder. Raises what `read_content` raises."""
    content = read_content(folder)
    known = {name: content[name] for name in FIELDS if content.get(name) is not None}
    return RunRecord(folder, **known)


def check_whole(record: RunRecord) -> None:
    """Raise UnusableFile for a record without a status or a configuration."""
    for name in ("status", "config"):
        if getattr(record, name) is None:
            raise UnusableFile(f"{record.path / RUN_JSON}: {name} is missing")


def shown(text: str) -> str:
    """Return a text from a file as reports show it: printable, at most `LONGEST_NAME` long.

    A text that was cut ends with the first digits of its digest, so that different texts stay
    different.
    """
    clean = printable(text)
    if len(clean) <= LONGEST_NAME:
        return clean
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{clean[:LONGEST_NAME]}...{digest[:6]}"


def flat_settings(config: Mapping[str, Any]) -> Iterable[tuple[str, Value]]:
    """Yield a run's settings by dotted key: numbers and booleans unchanged, others as text."""
    parts = {k: part for k, part in config.items() if k not in NOT_SETTINGS and k != "seed"}
    outside = {f"data.{key}" for key in WHERE_DATA_LIES}
    return ((key, value) for key, value in flat_values(parts) if key not in outside)


def flat_values(parts: Mapping[str, Any]) -> Iterable[tuple[str, Value]]:
    """Yield values by dotted key: numbers and booleans unchanged, others as text."""
    for key, value in flatten(parts):
        yield shown(key), value if isinstance(value, bool | int | float) else shown(str(value))


def _is(expected: str, value: Any) -> bool:
    match expected:
        case "status":
            return isinstance(value, str) and value in STATUSES
        case "count":
            return type(value) is int and 0 <= value <= LARGEST_STEP
        case "number":
            return _is_number(value) and value >= 0
        case "text":
            return _is_text(value)
        case "shape":
            return isinstance(value, list) and len(value) in (1, 3) and all(map(_is_size, value))
        case "texts":
            return _is_short(value, list) and all(map(_is_text, value))
        case "text by name":
            return _is_short(value, dict) and all(map(_is_text, value.values()))
        case "number by name":
            return _is_short(value, dict) and all(
                number is None or _is_number(number) for number in value.values()
            )
    return _is_short(value, dict)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= LARGEST_SIZE


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _is_short(value: Any, kind: type[dict[str, Any]] | type[list[Any]]) -> bool:
    """Return whether a value is a mapping or list within `MOST_ITEMS`, with short text keys."""
    if not isinstance(value, kind) or len(value) > MOST_ITEMS:
        return False
    return all(map(_is_text, value)) if isinstance(value, dict) else True


# The runs in and below folders.
class Runs(list[RunRecord]):
    """The runs that were found; ``unreadable`` has a line on each folder that was left out."""

    unreadable: tuple[str, ...] = ()


def find_runs(paths: Iterable[str | Path]) -> Runs:
    """Return all runs in and below the folders, each once, by path, without unreadable ones.

    Raises ConfigError for a path without runs, and if no run can be read.
    """
    folders: dict[Path, None] = {}
    unreadable: dict[str, None] = {}
    for path in map(Path, paths):
        closed: list[OSError] = []
        if not os.path.lexists(path):
            raise ConfigError(f"{path} does not exist")
        found = sorted(folders_with(path, RUN_JSON, closed))
        if not found and not closed:
            raise ConfigError(
                f"there is no run in {path}: give the folder of a run, of a sweep, or outputs"
            )
        folders |= dict.fromkeys(folder.resolve() for folder in found)
        unreadable |= dict.fromkeys(printable(of_the_system(error)) for error in closed)
    runs = Runs()
    for folder in folders:
        try:
            record = read_record(folder)
            check_whole(record)
            _ = record.seed, record.settings  # raise if they are malformed
            runs.append(record)
        except (ConfigError, OSError) as error:
            unreadable[printable(of_the_system(error))] = None
    if unreadable and not runs:
        raise ConfigError(f"no run can be read here: {next(iter(unreadable))}")
    runs.unreadable = tuple(unreadable)
    return runs


def folders_with(path: Path, name: str, closed: list[OSError] | None = None) -> Iterator[Path]:
    """Yield the folders at and below a path that hold an entry of this name.

    Links are not followed. Folders that vanish meanwhile are skipped, and so are those without
    permission, whose errors are added to ``closed``.
    """

    def note(error: OSError) -> None:
        if closed is not None and isinstance(error, PermissionError):
            closed.append(error)

    for folder, below, files in os.walk(path, onerror=note):
        below.sort()
        if name in files or name in below:
            yield Path(folder)
