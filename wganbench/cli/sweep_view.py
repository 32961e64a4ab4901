"""The display of a sweep: a live table in a terminal, plain lines elsewhere, a summary."""

from __future__ import annotations

import math
import shlex
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wganbench.cli.console import PlainConsole, print_sentence
from wganbench.cli.run_view import plugins_again
from wganbench.config.schema import OUTSIDE_IDENTITY, WHERE_DATA_LIES, to_dict
from wganbench.errors import printable
from wganbench.files import from_here
from wganbench.output import numbered
from wganbench.reports.groups import last_part
from wganbench.runs.record import DIGITS, read_record
from wganbench.tags import Tag
from wganbench.tags.lookup import (
    ENERGY,
    TAGS,
    fallback_text,
    headline_distance,
    right_distance,
    shown_in,
)
from wganbench.typed import as_override, flatten

if TYPE_CHECKING:
    from wganbench.config.jobs import Job
    from wganbench.runs.folder import RunOutcome
    from wganbench.sweeps.launch import SweepPlan
    from wganbench.sweeps.plan import Slot, StackPlan

PLAIN_EVERY_SECONDS = 10.0
"""Time between two lines without a terminal."""


@dataclass
class Row:
    """A row of the live table: a stack in training."""

    stack: StackPlan
    where: str
    steps: int
    step: int
    values: list[dict[str, float]] = field(default_factory=list)
    busy: str = ""


class LiveTable(Protocol):
    """A table that is replaced while training goes on."""

    def stop(self) -> None: ...


class SweepView:
    """Shows stacks, devices, runs done, running and diverged, the best values, the time left."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or PlainConsole()
        self._live: LiveTable | None = None
        self._rows: dict[int, Row] = {}
        self._ended: dict[str, int] = {}
        self._told: set[str] = set()
        self._runs = self._finished = 0
        self._work = self._done = 0.0
        self._began = self._printed = time.monotonic()

    def begin(self, stacks: Sequence[StackPlan], slots: Sequence[Slot], finished: int) -> None:
        """Training begins; ``finished`` runs had ended before."""
        # A sweeper that is an optimiser calls this several times.
        self._rows, self._ended, self._done = {}, {}, 0.0
        self._finished = finished
        self._runs = finished + sum(len(stack.jobs) for stack in stacks)
        self._work = sum(len(stack.jobs) * stack.steps_left for stack in stacks)
        self._began = self._printed = time.monotonic()
        before = f", {finished} finished before" if finished else ""
        runs, where = numbered(self._runs, "run"), f"{numbered(len(stacks), 'stack')} on "
        self.say(
            f"{runs}{before}; {where}{places(slots)}" if stacks else f"{runs}, all finished before"
        )
        if stacks:
            self._begin_live()

    def _begin_live(self) -> None:
        """Show the table, where it can be replaced."""
        if self.console.is_terminal:
            live = Live(console=self.console, get_renderable=self._table, transient=True)
            live.start()
            self._live = live

    def end(self) -> None:
        """Remove the table."""
        if self._live:
            self._live.stop()
            self._live = None

    def stack_started(
        self, number: int, stack: StackPlan, where: str, steps: int, done: int
    ) -> None:
        self._rows[number] = Row(stack, where, steps, done)

    def stack_advanced(self, number: int, step: int, values: list[dict[str, float]]) -> None:
        row = self._rows[number]
        self._done += len(row.stack.jobs) * (step - row.step)
        row.step = step
        before = row.values or [{} for _ in values]
        row.values = [old | new for old, new in zip(before, values, strict=True)]
        if not self._live and time.monotonic() - self._printed > PLAIN_EVERY_SECONDS:
            self._printed = time.monotonic()
            self.say(self._line())

    def stack_busy(self, number: int, words: str) -> None:
        self._rows[number].busy = words
        # One line is enough for many stacks that compile or measure.
        if words and words not in self._told and not self._live:
            self._told.add(words)
            self.say(f"{describe(self._rows[number].stack)}: {words}")

    def stack_ended(self, number: int, outcomes: Sequence[RunOutcome]) -> None:
        self._rows.pop(number, None)
        for outcome in outcomes:
            self._ended[outcome.status] = self._ended.get(outcome.status, 0) + 1
        if not self._live:
            self.say(self._line())

    def say(self, line: str) -> None:
        print_sentence(self.console, line)

    def _counts(self) -> str:
        done = self._finished + sum(self._ended.values())
        parts = [f"{done}/{numbered(self._runs, 'run')} done"]
        parts += [f"{n} {status}" for status, n in self._ended.items() if status != "completed"]
        left = self._seconds_left()
        if not self._rows and not self._ended:
            parts.append("starting workers")
        if left is not None:
            parts.append(f"about {in_words(left)} left")
        return ", ".join(parts)

    def _seconds_left(self) -> float | None:
        all_ended = self._finished + sum(self._ended.values()) >= self._runs
        if all_ended or not self._done or self._done >= self._work:
            return None
        return (time.monotonic() - self._began) * (self._work / self._done - 1)

    def _line(self) -> str:
        running = "; ".join(
            f"{describe(row.stack)} step {row.step}/{row.steps}" for row in self._rows.values()
        )
        return self._counts() + (f"  |  {running}" if running else "")

    def _table(self) -> Group:
        rows = [row for _, row in sorted(self._rows.items())]
        figures = [(tag, [tag.worst(row.values) for row in rows]) for tag in shown_in("live")]
        # The metrics depend on the data: images have no exact W1, points no FID.
        figures = [(tag, values) for tag, values in figures if any(v is not None for v in values)]
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("device", "stack", "step", *(tag.heading for tag, _ in figures)):
            table.add_column(name, justify="left" if name in ("device", "stack") else "right")
        for i, row in enumerate(rows):
            cells = [(tag, values[i]) for tag, values in figures]
            table.add_row(
                row.where,
                describe(row.stack),
                f"{row.busy}  {row.step}/{row.steps}".strip(),
                *("" if value is None else tag.number(value) for tag, value in cells),
            )
        several = any(len(row.stack.jobs) > 1 for row in rows) and len(figures) > 0
        of_which = "; shown is the worst run of a stack" if several else ""
        return Group(Text(self._counts() + of_which), *([table] if rows else []))


def describe(stack: StackPlan) -> str:
    """Return a stack in a few words, such as ``16 x ring8 gp``."""
    config = stack.jobs[0].config
    return f"{len(stack.jobs)} x {config.data.name} {config.loss.name}"


def places(slots: Iterable[Slot]) -> str:
    """Return slots as text, such as ``2 CPU cores``, ``cuda:0, cuda:1``, ``8 x cuda on Slurm``."""
    words = []
    for (device, cluster), count in Counter((s.device, s.cluster) for s in slots).items():
        if cluster:
            words.append(f"{count} x {device} on {cluster}")
        elif device == "cpu":
            words.append(numbered(count, "CPU core"))
        else:
            words.append(device)
    return ", ".join(words)


def in_words(seconds: float) -> str:
    """Return a duration in a readable unit.

    >>> in_words(42), in_words(200), in_words(9000)
    ('42 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_plan(plan: SweepPlan, seconds: float | None) -> None:
    """Print the plan of a sweep."""
    console = PlainConsole()
    table = Table(box=None, pad_edge=False, header_style="dim")
    gpu = all(slot.device != "cpu" for slot in plan.slots)
    for name in ("stacks", "of runs", "data", "loss", "steps", "to train", "to measure"):
        table.add_column(name, justify="left" if name in ("data", "loss") else "right")
    counted: dict[tuple[str, ...], int] = {}
    for stack in plan.stacks:
        config, needs = stack.jobs[0].config, plan.footprint_of(stack)
        runs = len(stack.jobs)
        memory = (needs.training_bytes(runs), needs.measuring_bytes(runs, gpu))
        row: tuple[str, ...] = (
            str(runs),
            config.data.name,
            config.loss.name,
            str(stack.steps_left),
            *(f"{size / 1e6:.0f} MB" for size in memory),
        )
        counted[row] = counted.get(row, 0) + 1
    for row, count in counted.items():
        table.add_row(str(count), *row)
    for line in plan.notes:
        print_sentence(console, line)
    console.print(f"{numbered(len(plan.jobs), 'run')} to train on {places(plan.slots)}")
    if plan.stacks:
        console.print(table)
    if seconds is not None:
        console.print(f"estimated time: about {in_words(seconds)}")


POOLED = (*WHERE_DATA_LIES, "train_seed")
"""Options of data whose values share a line in the closing table."""


def print_sweep(folder: Path, jobs: Sequence[Job], outcomes: Sequence[RunOutcome]) -> None:
    """Print the outcome of a sweep by loss and coefficients, and the next commands."""
    console = PlainConsole()
    table = Table(box=None, pad_edge=False, header_style="dim")
    distances = distances_of(outcomes)
    for name in (
        "loss",
        "completed",
        "diverged",
        "modes",
        "high quality",
        *map(in_floors, distances),
    ):
        # A long name goes on in the next line: it tells the groups apart.
        table.add_column(name, justify="left" if name == "loss" else "right", overflow="fold")
    names = [
        group_name(job) + data for job, data in zip(jobs, unlike_data(jobs, outcomes), strict=True)
    ]
    groups: dict[str, list[RunOutcome]] = {}
    for name, rest, outcome in zip(names, unlike_settings(jobs, names), outcomes, strict=True):
        groups.setdefault(name + rest, []).append(outcome)
    for name, members in groups.items():
        table.add_row(Text(printable(name)), *summary(members, distances))
    console.print(table)
    for line in sorted({fallback_text(o.shape, o.metrics) for o in outcomes} - {""}):
        print_sentence(console, line)
    for outcome in outcomes:
        if outcome.status == "failed":
            why = f"failed: {outcome.path.name}: {' '.join(outcome.verdict)}"
            print_sentence(console, why)
    path = shlex.quote(str(from_here(folder)))
    others = sum(outcome.status == "running" for outcome in outcomes)
    if others:
        console.print(f"{numbered(others, 'run')} in this folder: trained by another process")
    if any(outcome.status == "interrupted" for outcome in outcomes):
        console.print(f"go on:       wganbench resume {path}{plugins_again()}", soft_wrap=True)
    if any(outcome.finished for outcome in outcomes):
        console.print(f"compare:     wganbench compare {path}{plugins_again()}", soft_wrap=True)
    console.print(f"look at it:  wganbench tensorboard {path}", soft_wrap=True)


def group_name(job: Job) -> str:
    """Return the name of a summary line: the data, loss and coefficients that its runs share."""
    loss = job.config.loss
    coefficients = "".join(f" {name}={value:g}" for name, value in loss.coefficients.items())
    return f"{job.config.data.name} {loss.name}{coefficients}"


def unlike_settings(jobs: Sequence[Job], names: Sequence[str]) -> list[str]:
    """Return for each job, as text, the settings but the seed in which jobs of its name differ."""
    rows = [
        {key: as_override(value) for key, value in flatten(to_dict(job.config)) if named(key)}
        for job in jobs
    ]
    return differing_texts(without_details(rows), names)


def without_details(rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Return the rows without the settings of networks that follow from the network's name."""
    group = "network."
    pairs: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        for key in filter(lambda key: key.startswith(group), row):
            pairs.setdefault(key, set()).add((repr(row[f"{group}name"]), repr(row[key])))
    follow = {
        key
        for key, found in pairs.items()
        if key != f"{group}name" and len(found) == len({name for name, _ in found})
    }
    return [{key: value for key, value in row.items() if key not in follow} for row in rows]


def differing_texts(rows: Sequence[Mapping[str, object]], names: Sequence[str]) -> list[str]:
    """Return for each row, as text, the keys in which rows of its name differ."""
    members: dict[str, list[Mapping[str, object]]] = {}
    for name, row in zip(names, rows, strict=True):
        members.setdefault(name, []).append(row)
    differing = {name: differing_keys(own) for name, own in members.items()}
    return [
        "".join(f" {last_part(key)}={row[key]}" for key in differing[name] if key in row)
        for name, row in zip(names, rows, strict=True)
    ]


def named(key: str) -> bool:
    """Return whether a setting, if it differs, names a line of the closing table."""
    return key != "seed" and key.partition(".")[0] not in ("data", *OUTSIDE_IDENTITY)


def unlike_data(jobs: Sequence[Job], outcomes: Sequence[RunOutcome]) -> list[str]:
    """Return for each job, as text, the settings in which data of the same name differ.

    A path with different contents is followed by their digest; equal contents under different
    paths are one data set.
    """
    rows = [
        {key: value for key, value in job.config.data.options.items() if key not in POOLED}
        for job in jobs
    ]
    digests = [
        contents(outcome) if "path" in row else ""
        for row, outcome in zip(rows, outcomes, strict=True)
    ]
    paths = {
        digest: row["path"] for row, digest in zip(rows[::-1], digests[::-1], strict=True) if digest
    }
    for row, digest in zip(rows, digests, strict=True):
        if digest:
            row |= {"path": paths[digest], "sha256": digest[:DIGITS]}
    return differing_texts(rows, [job.config.data.name for job in jobs])


def differing_keys(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the keys with more than one value; the digest only if the paths are equal."""
    keys = dict.fromkeys(key for row in rows for key in row)
    values = {key: {repr(row.get(key)) for row in rows} for key in keys}
    both = {(repr(row.get("path")), repr(row.get("sha256"))) for row in rows}
    explained = len(both) == len(values.get("path", ()))
    return [key for key in keys if len(values[key]) > 1 and not (key == "sha256" and explained)]


def contents(outcome: RunOutcome) -> str:
    """Return the digest of a run's own data from its run.json; empty without one."""
    try:
        return read_record(outcome.path).data_sha256 or ""
    except (OSError, ValueError):
        return ""


def distances_of(outcomes: Sequence[RunOutcome]) -> list[Tag]:
    """Return the headline distances of the runs, in order; exact W1 if there is none."""
    found = {headline_distance(o.shape, o.metrics) for o in outcomes}
    distances = [tag for tag in shown_in("headline") if tag.floor]
    return [tag for tag in distances if tag in found] or [TAGS[right_distance(None)]]


def in_floors(tag: Tag) -> str:
    """Return the heading of a distance, such as ``W1 / floor``; energy has a floor of 0."""
    return tag.heading if tag.name == ENERGY else f"{tag.heading} / floor"


def summary(outcomes: Sequence[RunOutcome], distances: Sequence[Tag]) -> list[str]:
    """Return the numbers of completed and diverged runs, and medians over the completed."""
    completed = [o.metrics for o in outcomes if o.status == "completed"]

    def median(values: list[float], form: str) -> str:
        finite = [value for value in values if math.isfinite(value)]
        return format(statistics.median(finite), form) if finite else ""

    def ratios(tag: Tag) -> list[float]:
        if tag.name == ENERGY:
            return [m[tag.name] for m in completed if tag.name in m]
        return [m[tag.name] / m[tag.floor] for m in completed if m.get(tag.floor)]

    return [
        f"{len(completed)}/{len(outcomes)}",
        str(sum(o.status == "diverged" for o in outcomes)),
        median([m["modes/covered"] for m in completed if "modes/covered" in m], "g"),
        median([m["modes/high_quality"] for m in completed if "modes/high_quality" in m], ".3f"),
        *(median(ratios(tag), ".2f") for tag in distances),
    ]
