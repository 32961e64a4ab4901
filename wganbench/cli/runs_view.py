"""The commands ls, rm and diff: runs on disk, and how they differ."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wganbench.cli.console import PlainConsole
from wganbench.errors import ConfigError, of_the_system
from wganbench.files import from_here
from wganbench.output import numbered
from wganbench.reports.groups import Group, differing, separating, text
from wganbench.runs.folder import RunFolder, remove_run, size_of, status_now, step_now
from wganbench.runs.record import RUN_JSON, RunRecord, Runs, find_runs, read_record
from wganbench.runs.table import LongTable, write_csv, write_parquet
from wganbench.tags.lookup import shown_in, shown_of
from wganbench.tags.tag import Tag

MEGABYTE = 1e6
DAY_SECONDS = 86_400.0


# ls
def main_tags(run: RunRecord) -> list[Tag]:
    """Return the tags that are shown while a run trains, but for its speed."""
    shown = shown_of("live", run.shape, run.final)
    return [tag for tag in shown if not tag.name.startswith("speed/")]


def run_row(run: RunRecord, keys: Sequence[str]) -> dict[str, Any]:
    """Return what ls tells of a run, as plain values; None where there is none."""
    values = {tag.name: run.final.get(tag.name) for tag in main_tags(run)}
    finite = {name: v if v is None or math.isfinite(v) else None for name, v in values.items()}
    return {
        "path": str(from_here(run.path)),
        "status": status_now(run),
        "step": step_now(run),
        "steps": run.settings.get("train.steps"),
        "seed": run.seed,
        "differs": {key: run.settings.get(key) for key in keys},
        "metrics": finite,
        "seconds": run.seconds,
        "bytes": size_of(run.path),
        "ended": run.path.joinpath(RUN_JSON).stat().st_mtime,
    }


def print_runs(runs: Runs, as_json: bool) -> None:
    """Print a line for each run: what differs, status, main values, seconds, size."""
    ordered = sorted(runs, key=lambda run: (run.path.parent, *by_numbers(run.name)))
    if as_json:
        keys = telling(runs)
        print(json.dumps([run_row(run, keys) for run in ordered], indent=1, allow_nan=False))
        for reason in runs.unreadable:
            print(f"wganbench: left out: {reason}", file=sys.stderr)
        return
    console = PlainConsole()
    folders: dict[Path, list[RunRecord]] = {}
    for run in ordered:
        folders.setdefault(from_here(run.path.parent), []).append(run)
    total = 0
    for folder, own in folders.items():
        keys = [key for key in telling(own) if key != "train.steps"]  # a column of its own
        rows = [run_row(run, keys or ["loss.name"]) for run in own]
        console.print(f"{folder}/", soft_wrap=True)
        console.print(_table(rows))
        total += sum(row["bytes"] for row in rows)
    print_left_out(runs.unreadable, console)
    console.print(f"{numbered(len(runs), 'run')}, {total / MEGABYTE:.1f} MB", soft_wrap=True)


def print_left_out(reasons: Sequence[str], console: Console) -> None:
    """Print a line on each run that was left out, which says why."""
    for reason in reasons:
        console.print(Text(f"left out: {reason}"), soft_wrap=True)


def telling(runs: Sequence[RunRecord]) -> list[str]:
    """Return the settings that tell runs apart, but for the seed; the loss where none does."""
    return separating(runs, differing(runs)) or ["loss.name"]


def by_numbers(name: str) -> list[tuple[float, str]]:
    """Return a key for sorting names by the numbers in them, such as ``seed=2`` before 10.

    >>> sorted(["seed=10", "seed=2"], key=by_numbers)
    ['seed=2', 'seed=10']
    """
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(float(part), "") if i % 2 else (math.inf, part) for i, part in enumerate(parts)]


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return a table of runs of one folder, each called by what differs between them."""
    known = {name for row in rows for name, value in row["metrics"].items() if value is not None}
    tags = [tag for tag in shown_in("live") if tag.name in known]
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("run", overflow="fold")
    for title in ("seed", "status", "step", *(tag.title for tag in tags), "s", "MB"):
        table.add_column(title, justify="left" if title == "status" else "right")
    for row in rows:
        figures = [_short(row["metrics"].get(tag.name)) for tag in tags]
        done = row["status"] == "completed" or row["steps"] is None
        step = str(row["step"]) if done else f"{row['step']}/{row['steps']}"
        cells = [str(row["seed"]), row["status"], step, *figures]
        size = f"{row['bytes'] / MEGABYTE:.1f}"
        name = Group(tuple(row["differs"].items()), ()).label
        table.add_row(name, *cells, _short(row["seconds"]), size)
    return table


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


# rm
def chosen(runs: Runs, statuses: Sequence[str], older_days: float | None) -> list[RunRecord]:
    """Return the runs with one of the statuses that ended before so many days.

    Raises ConfigError without any choice: nothing is removed by default.
    """
    if not statuses and older_days is None:
        raise ConfigError(
            "rm: say which runs: --status failed (or diverged, interrupted, completed), or "
            "--older DAYS"
        )
    latest = time.time() - (older_days or 0.0) * DAY_SECONDS
    return [
        run
        for run in runs
        if (not statuses or status_now(run) in statuses)
        and run.path.joinpath(RUN_JSON).stat().st_mtime <= latest
    ]


def remove_runs(runs: Sequence[RunRecord], sure: bool) -> int:
    """Print what would be removed; with ``sure`` remove it. Return how many are left."""
    console, left = PlainConsole(), 0
    for run in runs:
        path, size = from_here(run.path), size_of(run.path) / MEGABYTE
        line = f"{path}  {status_now(run)} at step {step_now(run)}, {size:.1f} MB"
        if reason := _kept(run):
            console.print(f"{line}: kept{reason}", soft_wrap=True)
            left += 1
        elif not sure:
            console.print(line, soft_wrap=True)
        else:
            left += not _removed(run, line, console)
    if not runs:
        console.print("no run is chosen")
    elif not sure:
        chosen = numbered(len(runs) - left, "run")
        console.print(f"{chosen} would be removed; nothing is, without --yes", soft_wrap=True)
    return left


def _kept(run: RunRecord) -> str:
    """Return why a run is not removed, as the end of a line; empty text where it can be."""
    try:
        busy = RunFolder(run.path).holder()
    except (ConfigError, OSError) as error:
        return f": {of_the_system(error)}"
    return f", in use by {busy.holder}" if busy else ""


def _removed(run: RunRecord, line: str, console: PlainConsole) -> bool:
    try:
        gone = remove_run(run.path)
    except (ConfigError, OSError) as error:
        console.print(f"{line}: kept: {of_the_system(error)}", soft_wrap=True)
        return False
    rest = "" if gone else ": removed, but for files that no run writes"
    console.print(f"{line}{rest or ': removed'}", soft_wrap=True)
    return True


# diff
def differences_of(one: Path, other: Path) -> list[tuple[str, Any, Any]]:
    """Return the settings and final values in which two runs differ: key, one's, the other's."""
    try:
        a, b = read_record(one), read_record(other)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    ours, theirs = ({**run.settings, **run.measured} for run in (a, b))
    settings = [(key, ours.get(key), theirs.get(key)) for key in dict.fromkeys([*ours, *theirs])]
    values = [(t.name, a.final.get(t.name), b.final.get(t.name)) for t in shown_in("result")]
    every = [("seed", a.seed, b.seed), ("status", status_now(a), status_now(b)), *settings, *values]
    return [(key, x, y) for key, x, y in every if x != y]


def print_differences(one: Path, other: Path, as_json: bool) -> None:
    """Print in which settings and final values two runs differ."""
    rows = differences_of(one, other)
    if as_json:
        print(json.dumps([{"key": k, "one": a, "other": b} for k, a, b in rows], indent=1))
        return
    console = PlainConsole()
    if not rows:
        console.print("they do not differ")
        return
    console.print(f"one:    {one}\nother:  {other}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for title in ("", "one", "other"):
        table.add_column(title, overflow="fold")
    for key, *pair in rows:
        table.add_row(key, *("-" if value is None else text(value) for value in pair))
    console.print(table)


# export
TABLES = {"csv": write_csv, "parquet": write_parquet}


def export_table(paths: Sequence[Path], out: Path, form: str = "csv") -> None:
    """Write all logged values of the runs below some folders; print how many."""
    runs = find_runs(paths)
    table = LongTable(runs, separating(runs, differing(runs)), Path.cwd())
    try:
        count = TABLES[form](table, out)
    except OSError as error:
        raise ConfigError(f"--out: {of_the_system(error)}") from error
    console, read = PlainConsole(), len(runs) - len(table.left_out)
    print_left_out([*runs.unreadable, *table.left_out], console)
    told = f"{numbered(count, 'value')} of {numbered(read, 'run')} in {out}"
    console.print(told, soft_wrap=True)
