"""Floors on disk: they take seconds, and depend on the target and the sample size alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wganbench.files import cache_folder, write_atomic
from wganbench.metrics.transport import Floor, Sampled, transport_floor

FLOOR_VERSION = 2
"""Raise when floors or built-in targets change: every cached floor is then computed anew."""

FLOOR_SEED = 20170401
"""Floors are part of the measurement, not of a run: every run meets the same draws."""


SHIPPED = Path(__file__).with_name("floors.json")
"""Floors of the built-in data sets at the default sizes, written by scripts/floors.py."""


def cached_floor(
    key: str, target: Sampled, n: int, pairs: int, check: Callable[[], None] = lambda: None
) -> Floor:
    """`transport_floor`, remembered in ``$XDG_CACHE_HOME/wganbench/floors.json`` (~/.cache).

    key says everything the target depends on, such as its name and options; equal keys must
    mean equal distributions. A cache that is corrupt or cannot be read or written is ignored.
    """
    identity = f"{FLOOR_VERSION}|{FLOOR_SEED}|{n}|{pairs}|{key}"
    entry = hashlib.sha256(identity.encode()).hexdigest()
    for entries in (_read_entries(SHIPPED), _read_entries(floors_file())):
        known = _parse_floor(entries.get(entry), n, pairs)
        if known is not None:
            return known
    floor = transport_floor(target, n, pairs, FLOOR_SEED, check)
    _write_entry(entry, floor)
    return floor


def floors_file() -> Path | None:
    """Where floors are kept; None when there is no home directory."""
    folder = cache_folder()
    return None if folder is None else folder / "floors.json"


def _read_entries(file: Path | None) -> dict[str, Any]:
    """All entries of a file, or none when it is missing or makes no sense."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _parse_floor(entry: Any, n: int, pairs: int) -> Floor | None:
    """A floor that can be trusted, or None."""
    try:
        floor = Floor(float(entry["mean"]), float(entry["sd"]), entry["pairs"], entry["n"])
    except (TypeError, KeyError, ValueError):
        return None
    sensible = math.isfinite(floor.mean) and math.isfinite(floor.sd) and floor.mean >= 0
    return floor if sensible and (floor.pairs, floor.n) == (pairs, n) else None


def _write_entry(entry: str, floor: Floor) -> None:
    """Add an entry by replacing the whole file; of two writers at once the later one wins."""
    file = floors_file()
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        entries = _read_entries(file) | {entry: dataclasses.asdict(floor)}
        write_atomic(file, json.dumps(entries, indent=1, sort_keys=True).encode())
    except OSError:
        return
