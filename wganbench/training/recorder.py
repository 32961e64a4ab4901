"""The records of one run during training: rows, events, images, status, checkpoints."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wganbench.config.schema import RunConfig, identity
from wganbench.data.target import Target
from wganbench.drawing.canvas import optional
from wganbench.metrics import check_tags
from wganbench.runs.events import EventLog, cut_events
from wganbench.runs.folder import HeldRun
from wganbench.runs.loggers import Loggers, logged_run
from wganbench.runs.record import RunRecord, Status
from wganbench.runs.stored import identifying
from wganbench.runs.table import MetricsTable, rows_of
from wganbench.tags.lookup import TAGS, averaged_name, column_order, is_evaluated, is_pattern
from wganbench.training.checkpoint import Checkpoint, previous, save_checkpoint
from wganbench.training.figures import cut_frames, save_frame
from wganbench.training.jobs import Evaluated
from wganbench.training.measuring import mode_count
from wganbench.training.pool import AHEAD, Answer, Pool
from wganbench.training.stack import Stack
from wganbench.training.step import layers


def columns(stack: Stack) -> list[str]:
    """Return the columns of metrics.csv: all tags, with one for each layer, used or not.

    Raises ConfigError for a metric whose tag has no row.
    """
    check_tags()
    tags = [tag for tag in TAGS if not is_pattern(tag)]
    for network in ("critic", "generator"):
        count = len(layers(getattr(stack.algorithm.pair, network)))
        tags += [f"grad_norm/{network}_layer_{i}" for i in range(count)]
    ordered = column_order(tags)
    if stack.state.average:
        ordered += filter(None, map(averaged_name, list(ordered)))
    return ordered


NOT_EVALUATED = Evaluated({})

Row = tuple[int, Mapping[str, float], Evaluated | None]
"""A step, its values, and its evaluation if it had one."""


class Recorder:
    """The writer of one run's folder. It first removes all points after ``step``."""

    def __init__(self, folder: HeldRun, config: RunConfig, tags: list[str], step: int) -> None:
        self.folder, self.config = folder, config
        self.table = MetricsTable(folder.metrics_csv, tags)
        self.table.cut(step if step else -1)
        self.events: EventLog | None = None
        if config.log.tensorboard:
            cut_events(folder.path, step if step else -1)
            self.events = EventLog(folder.path, purge_step=step + 1 if step else None)
        cut_frames(folder, step)
        self.latest: dict[str, float] = {}
        self._last_row: tuple[int, set[str]] = (0, set())
        self._remember()
        self.closed = False
        self.diverged_at = -1
        self.notes: list[str] = []
        before = folder.record() if step and folder.run_json.exists() else RunRecord(folder.path)
        # Totals over all sessions of this run.
        self.compile_seconds = before.compile_seconds or 0.0
        self.executor = before.executor
        if not step and self.events:
            self.events.layout()
            self.events.hparams(hyperparameters(config), "running")
        self.loggers = Loggers(
            lambda: logged_run(folder.path, config.name, hyperparameters(config), step), self.note
        )

    def _remember(self) -> None:
        """Read an earlier session's last finite values, and the tags of its last row."""
        for step, row in rows_of(self.table.read()):
            self.latest = newest(self.latest, row)
            self._last_row = (step, set(row))

    def running(self, device: str, size: int, place: int, target: Target) -> None:
        """Write to run.json that the run is running, on which device and at which place of its
        stack, and what `sample` and reports need to know of its data."""
        units = target.units
        self.folder.write_status(
            status="running",
            device=device,
            stack={"size": size, "place": place},
            data_shape=list(target.shape),
            data_modes=mode_count(target),
            error=None,
            **({"data_units": units.record()} if units else {}),
            **identifying(self.config),
        )

    def log(self, rows: Sequence[Row]) -> None:
        """Write rows, and the values and images of their evaluations, in one access to each file.

        Raises OSError.
        """
        whole = []
        for step, values, evaluated in rows:
            found = evaluated or NOT_EVALUATED
            self._keep(step, found)
            whole.append((step, {**values, **found.values}, found.records))
            self.latest = newest(self.latest, whole[-1][1])
        self.table.extend((step, values) for step, values, _ in whole)
        step, values, _ = whole[-1]
        self._last_row = (step, set(values))
        if self.events:
            self.events.rows(whole)
        for step, values, _ in whole:
            self.loggers.scalars(step, values)

    def _keep(self, step: int, evaluated: Evaluated) -> None:
        """Keep the notes and the frame of an evaluation."""
        for sentence in evaluated.notes:
            self.note(sentence)
        if evaluated.frame is not None:
            with optional("An image of the samples", self.note):
                save_frame(self.folder, step, evaluated.frame)

    def note(self, sentence: str) -> None:
        """Add a sentence to the verdict, unless it is already there."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def executed_by(self, executor: str) -> None:
        """Record the executor of the steps; add a note when it differs from the one before."""
        if self.executor not in (None, executor):
            self.note(
                f"Its steps were run as {self.executor!r} first and as {executor!r} later: last "
                "digits may differ from those of an undisturbed run."
            )
        self.executor = executor

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint; a run that was seen to diverge keeps the one before.

        All earlier records are in their files already, so that no checkpoint is ahead of them.
        """
        if self.diverged_at < 0:
            self.folder.must_be_held()
            save_checkpoint(self.folder.checkpoint, checkpoint)

    def take_back(self) -> None:
        """Go back to the checkpoint before the last one, whose points are not finite."""
        self.folder.must_be_held()
        path = self.folder.checkpoint
        try:
            os.replace(previous(path), path)
        except FileNotFoundError:
            path.unlink(missing_ok=True)

    def close(self, status: Status, **fields: Any) -> None:
        """Write the final status and close the event file; a second call does nothing.

        For a completed run TensorBoard also gets the final values, at the last row's step. Those
        of any other run were measured earlier, and would be points that metrics.csv does not have.
        """
        if self.closed:
            return
        known = {
            "error": None,
            "compile_seconds": round(self.compile_seconds, 3),
            "executor": self.executor,
        }
        self.folder.write_status(status=status, **known | fields)
        self.closed = True
        self.loggers.close(status, {})
        if self.events:
            step, there = self._last_row
            final = (fields.get("metrics") or {}) if status == "completed" else {}
            self.events.scalars(step, {tag: v for tag, v in final.items() if tag not in there})
            self.events.hparams(hyperparameters(self.config), status)
            self.events.close()


def newest(before: Mapping[str, float], row: Mapping[str, float]) -> dict[str, float]:
    """Return a run's latest finite values after a row, as a new dictionary: threads read the old.

    An evaluation takes the place of the one before: a tag that it could not measure (the KL without
    a good sample) has no value then. One that is not finite throughout replaces only what it has.
    """
    found = [value for tag, value in row.items() if is_evaluated(tag)]
    kept = before
    if found and all(map(math.isfinite, found)):
        kept = {tag: value for tag, value in before.items() if not is_evaluated(tag)}
    return {**kept, **{tag: value for tag, value in row.items() if math.isfinite(value)}}


def hyperparameters(config: RunConfig) -> dict[str, Any]:
    """Return the settings for TensorBoard's HParams table: all that distinguish two runs.

    They are nested as in the configuration, but ``loss``, ``data`` and ``network`` are names.
    A coefficient that the loss does not use is left out: its cell stays empty.
    """
    settings = identity(config)
    for group in ("loss", "data", "network"):
        options = settings.pop(group)
        settings[group] = options.pop("name")
        settings |= {f"{group}.{key}": value for key, value in options.items()}
    return settings


# Rows and checkpoints of a stack's runs. They are written in the order of steps, even when an
# evaluation is measured late.
HELD_BYTES = 2**28
"""Bytes of readings and checkpoints that may wait for processes that measure."""


@dataclass(frozen=True)
class Logged:
    """The rows of one step: values of each run (None after it diverged), and the answer of its
    evaluation (None when none is due). Its readings have ``held`` bytes."""

    step: int
    values: Sequence[Mapping[str, float] | None]
    answers: Sequence[Answer[Evaluated] | None]
    held: int = 0

    @property
    def ready(self) -> bool:
        return all(answer is None or answer.ready for answer in self.answers)

    @property
    def evaluates(self) -> bool:
        return any(answer is not None for answer in self.answers)

    def rows(self) -> list[Row | None]:
        """Wait for the evaluation, and return the row of each run; None after it diverged."""
        return [
            None if values is None else (self.step, values, answer.get() if answer else None)
            for values, answer in zip(self.values, self.answers, strict=True)
        ]


@dataclass(frozen=True)
class Saved:
    """Checkpoints of ``held`` bytes, which are written after all earlier rows."""

    save: Callable[[], None]
    held: int = 0
    ready = True
    evaluates = False


@dataclass
class Rows:
    """The queue of rows and checkpoints; nothing else writes a stack's rows.

    What is due is handed to the pool, which writes it at once or in a thread of its own. A thread
    that is behind writes the rows of several steps together.
    """

    recorders: Sequence[Recorder]
    pool: Pool
    _waiting: deque[Logged | Saved] = field(default_factory=deque)
    _due: deque[list[Row | None] | Saved] = field(default_factory=deque)

    def add(self, due: Logged | Saved) -> None:
        """Queue a step's rows or checkpoints, and hand on what is ready.

        Waits while more evaluations are unmeasured than the pool's ``ahead``, or as many
        checkpoints wait for them; the limit is `AHEAD` when they hold more than `HELD_BYTES`.
        While a checkpoint is being written, the next waits for it. Raises OSError.
        """
        self._waiting.append(due)
        while self._waiting and (self._waiting[0].ready or self._too_far()):
            self._hand_on()

    def write_all(self) -> None:
        """Wait for all evaluations and until everything is written. Raises OSError."""
        while self._waiting:
            self._hand_on()
        self.pool.wait_for_writes()

    def _hand_on(self) -> None:
        due = self._waiting.popleft()
        if isinstance(due, Saved):
            if any(isinstance(other, Saved) for other in tuple(self._due)):
                self.pool.wait_for_writes()
            self._due.append(due)
        else:
            self._due.append(due.rows())
        self.pool.write_later(self._write_due)

    def _write_due(self) -> None:
        """Write all that is due now, in its order."""
        together: list[list[Row | None]] = []
        while self._due:
            due = self._due[0]
            if isinstance(due, Saved):
                self._write_rows(together)
                together = []
                due.save()
            else:
                together.append(due)
            self._due.popleft()  # only now: `_hand_on` waits for a checkpoint that is being written
        self._write_rows(together)

    def _write_rows(self, together: Sequence[Sequence[Row | None]]) -> None:
        for recorder, *rows in zip(self.recorders, *together, strict=True):
            if there := [row for row in rows if row is not None]:
                recorder.log(there)

    def _too_far(self) -> bool:
        evaluations = sum(due.evaluates for due in self._waiting)
        saves = sum(isinstance(due, Saved) for due in self._waiting)
        held = sum(due.held for due in self._waiting)
        ahead = self.pool.ahead if held <= HELD_BYTES else AHEAD
        return evaluations > ahead or saves >= ahead
