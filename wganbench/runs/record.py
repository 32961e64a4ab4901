"""run.json as it was read: every field of a known type and size, whoever wrote it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wganbench.errors import shortened
from wganbench.files import UnusableFile, inside, read_json

STATUSES = ("running", "completed", "diverged", "failed", "interrupted")

MOST_ITEMS = 2000
"""Entries of a mapping or a list in a record; ours have some hundred."""
LONGEST_TEXT = 20_000
"""Characters of a text in a record; a path has at most 4 096."""
LARGEST_STEP = 2**53
"""No run gets there, and until then every number is exact as a float too."""

KINDS = {
    "status": f"one of {', '.join(STATUSES)}",
    "count": "a whole number from 0 on",
    "number": "a finite number from 0 on",
    "text": "a text",
    "texts": "a list of texts",
    "text by name": "a text for each name",
    "number by name": "a finite number or null for each name",
    "mapping": "a mapping",
}


def kind(name: str) -> Any:
    return field(default=None, metadata={"kind": name})


@dataclass(frozen=True)
class StoredRun:
    """What run.json says of a run; None where it says nothing.

    ``config`` is a mapping of plain values: `config.stored.stored_values` types it.
    """

    status: str | None = kind("status")
    step: int | None = kind("count")
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

    @property
    def final(self) -> dict[str, float]:
        """The final values that are numbers, by tag."""
        return {tag: float(v) for tag, v in (self.metrics or {}).items() if v is not None}


FIELDS = {item.name: item.metadata["kind"] for item in dataclasses.fields(StoredRun)}


def read_content(folder: Path) -> dict[str, Any]:
    """run.json of a run's folder, its fields checked; those that are missing are null.

    Keys that this version does not know are kept as they are. Raises FileNotFoundError when
    there is none, UnusableFile, in a line that names the key, when it cannot be one.
    """
    try:
        content = read_json(inside(folder, "run.json"))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"no run at {folder}: there is no run.json") from None
    except OSError as error:
        raise UnusableFile(f"{folder}/run.json cannot be read: {error.strerror}") from error
    for name, expected in FIELDS.items():
        value = content.get(name)
        if value is not None and not _is(expected, value):
            raise UnusableFile(
                f"{folder / 'run.json'}: {name} must be {KINDS[expected]}; "
                f"got {shortened(repr(value), 80)}"
            )
    return content


def stored_run(folder: Path) -> StoredRun:
    """run.json of a run's folder as fields. Raises as `read_content`."""
    content = read_content(folder)
    return StoredRun(**{name: content.get(name) for name in FIELDS})


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


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _is_short(value: Any, kind: type[dict[str, Any]] | type[list[Any]]) -> bool:
    """A mapping or list of not too many entries; the names in it are texts and not too long."""
    if not isinstance(value, kind) or len(value) > MOST_ITEMS:
        return False
    return all(map(_is_text, value)) if isinstance(value, dict) else True
