"""The choice of a backend; messages of training stacks, collected outcomes, retries of stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from wganbench.config.jobs import Job
from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError
from wganbench.files import RunBusy, UnusableFile
from wganbench.output import numbered
from wganbench.runs.folder import ELSEWHERE, HeldRun, RunFolder, RunOutcome, outcome_of
from wganbench.runs.record import Status
from wganbench.sweeps.plan import (
    Slot,
    StackPlan,
    group_jobs,
    is_finished,
    saved_step,
    unfinished,
    without_overwrite,
)
from wganbench.tags.lookup import live_values
from wganbench.training.locked_runs import fail

LISTEN_SECONDS = 0.5
"""Seconds between two checks for messages from the tasks of a cluster."""


# Messages from a worker to the process that started it.
@dataclass(frozen=True)
class Started:
    """Training of a stack begins; ``done`` of its steps are done; ``where`` names the device."""

    steps: int
    done: int
    where: str


@dataclass(frozen=True)
class Advanced:
    """A stack has reached a step; ``values`` holds, run by run, the latest values to show."""

    step: int
    values: list[dict[str, float]]


@dataclass(frozen=True)
class Busy:
    """The long task that a stack does beside training; empty text when it is over."""

    words: str


@dataclass(frozen=True)
class Note:
    """A line to show to the user."""

    line: str


@dataclass(frozen=True)
class Ended:
    """How the runs of a stack ended."""

    outcomes: list[RunOutcome]


@dataclass(frozen=True)
class OutOfMemory:
    """The stack did not fit its device."""

    message: str


@dataclass(frozen=True)
class Refused:
    """The stack could not be trained: a folder in use, a damaged checkpoint, a defect."""

    message: str


Message = Started | Advanced | Busy | Note | Ended | OutOfMemory | Refused


class ReportingView:
    """The view of a stack in a worker process: sends messages instead of showing them."""

    def __init__(self, send: Callable[[Message], Any], where: str) -> None:
        self.send, self.where = send, where

    def start(self, steps: int, done: int) -> None:
        self.send(Started(steps, done, self.where))

    def progress(self, step: int, values: Sequence[Mapping[str, float]]) -> None:
        self.send(Advanced(step, [live_values(run) for run in values]))

    def phase(self, words: str) -> None:
        self.send(Busy(words))

    def say(self, line: str) -> None:
        self.send(Note(line))

    def stopping(self) -> None:
        """Do nothing: the parent process asked for the stop and has shown that already."""

    def stop(self) -> None:
        """Do nothing: there is no display to remove."""


# The display of a sweep's progress.
SAVING_ALL = "stopping: saving every run; Ctrl-C again ends at once without saving"
"""The answer to the first Ctrl-C when the workers are processes of this machine."""

SAVING_ELSEWHERE = "stopping: every run is asked to save; Ctrl-C again ends without waiting"
"""The answer when the workers run on a cluster: they save and end even if nobody waits."""


class Watcher(Protocol):
    """Receives the events of a sweep; each stack in training has a number until it ends.

    A subclass ignores the events that it does not define.
    """

    def begin(self, stacks: Sequence[StackPlan], slots: Sequence[Slot], finished: int) -> None:
        return

    def end(self) -> None:
        return

    def stack_started(
        self, number: int, stack: StackPlan, where: str, steps: int, done: int
    ) -> None:
        return

    def stack_advanced(self, number: int, step: int, values: list[dict[str, float]]) -> None:
        return

    def stack_busy(self, number: int, words: str) -> None:
        return

    def stack_ended(self, number: int, outcomes: Sequence[RunOutcome]) -> None:
        return

    def say(self, line: str) -> None:
        return


class Silent(Watcher):
    """A watcher that shows nothing."""


RETRIES = 2
"""How often a stack is started again at the same step after its process or machine was lost."""

NOWHERE = -1
"""Stands for a stack's number for runs that ended in another process."""


@dataclass
class Collector:
    """Handles each stack's messages; returns the stacks to queue in its place."""

    watcher: Watcher
    outcomes: list[RunOutcome] = field(default_factory=list)
    elsewhere: list[Job] = field(default_factory=list)
    """Jobs that another process trains or has trained; `returned` checks them again."""
    held: dict[Path, HeldRun] = field(default_factory=dict)
    """Locked runs that train on a machine without this disk; this process writes their files."""
    _losses: dict[str, tuple[int, int]] = field(default_factory=dict)

    def handle(self, number: int, stack: StackPlan, message: object) -> list[StackPlan] | None:
        """Return None while the stack trains on; once it has stopped, the stacks still to train."""
        match message:
            case Started(steps, done, where):
                self.watcher.stack_started(number, stack, where, steps, done)
            case Advanced(step, values):
                self.watcher.stack_advanced(number, step, values)
            case Busy(words):
                self.watcher.stack_busy(number, words)
            case Note(line):
                self.watcher.say(line)
            case Ended(outcomes):
                # On another machine the folders may have other paths.
                ended = [
                    (job, replace(outcome, path=job.folder))
                    for outcome, job in zip(outcomes, stack.jobs, strict=True)
                ]
                self.elsewhere += [
                    without_overwrite(job) for job, o in ended if o.status == ELSEWHERE
                ]
                self._end(number, [o for _, o in ended if o.status != ELSEWHERE])
                return []
            case OutOfMemory(reason) if smaller := stack.smaller():
                self.watcher.say(
                    f"{len(stack.jobs)} runs do not fit their device: going on with half as "
                    f"many ({reason})"
                )
                self.watcher.stack_ended(number, [])
                return smaller
            case OutOfMemory(reason) | Refused(reason):
                self._end(number, self._failed(stack, reason))
                return []
        return None

    def returned(self) -> list[StackPlan]:
        """Return stacks of the unfinished runs that other processes have released.

        The runs among them that have ended are reported to the watcher.
        """
        free = [job for job in self.elsewhere if RunFolder(job.folder).holder() is None]
        if not free:
            return []
        self.elsewhere = [job for job in self.elsewhere if job not in free]
        ended = [job for job in free if is_finished(job)]
        if ended:
            self._end(NOWHERE, [outcome_on_disk(job) for job in ended])
        return group_jobs(*unfinished([job for job in free if job not in ended]))

    def lost(self, number: int, stack: StackPlan, how: str) -> list[StackPlan]:
        """Return the stacks that replace one whose process or machine was lost.

        The runs fail once the stack has been lost more than `RETRIES` times at one step.
        """
        name, step = stack.jobs[0].folder.name, max(map(saved_step, stack.jobs))
        before, times = self._losses.get(name, (-1, 0))
        times = times + 1 if step <= before else 1
        self._losses[name] = (step, times)
        if times > RETRIES:
            reason = f"what trained it was lost {times} times ({how})"
            self._end(number, self._failed(stack, reason))
            return []
        left = numbered(len(stack.jobs), "run")
        self.watcher.say(f"{how}: {left} to go on from the last checkpoint")
        self.watcher.stack_ended(number, [])
        return stack.remaining()

    def _failed(self, stack: StackPlan, reason: str) -> list[RunOutcome]:
        return [failed(job, reason, self.held.get(job.folder)) for job in stack.jobs]

    def _end(self, number: int, outcomes: Sequence[RunOutcome]) -> None:
        self.outcomes += outcomes
        self.watcher.stack_ended(number, outcomes)


def ended_by_others(message: object) -> bool:
    """Return whether a stack that nobody here asked to end has saved its runs and ended.

    This happens, for example, if a batch system sends SIGTERM, or a fork server has died.
    """
    return isinstance(message, Ended) and any(
        outcome.status == "interrupted" for outcome in message.outcomes
    )


def failed(job: Job, reason: str, held: HeldRun | None = None) -> RunOutcome:
    """Return the outcome of a run that could not be trained; its earlier files are kept.

    Writes the outcome into run.json under ``held``, else under a lock taken here. A run that
    another process has locked is not written, and a finished run is not changed.
    """
    if held is not None:
        return fail(held, job.config, reason)
    try:
        with RunFolder(job.folder).lock() as folder:
            return fail(folder, job.config, reason)
    except (RunBusy, UnusableFile, OSError):
        return RunOutcome(job.folder, "failed", saved_step(job), {}, [f"{reason}."], 0.0)


def outcome_on_disk(job: Job) -> RunOutcome:
    """Return the outcome of a run as its folder shows it.

    The status is ``running`` while another process has locked an unfinished run, else
    ``interrupted``.
    """
    run = RunFolder(job.folder)
    record = run.record() if run.run_json.exists() else None
    if record and (record.finished or record.status == "failed"):
        return outcome_of(record)
    status: Status = "running" if run.holder() else "interrupted"
    return RunOutcome(job.folder, status, saved_step(job), {}, [], 0.0)


# The choice of a backend: this machine, a Ray or a Slurm cluster.
UNKNOWN_ROOM = 1 << 62
"""Bytes assumed where memory cannot be measured; a stack that does not fit is then halved."""


class Backend(Protocol):
    """Trains several stacks at the same time."""

    def slots(self, config: RunConfig) -> list[Slot]:
        """Return the slots that the settings ask for. Raises ConfigError."""

    def room(self, slots: Sequence[Slot]) -> int:
        """Return the bytes of device memory that a stack can use in any of the slots."""

    def run(
        self, stacks: Sequence[StackPlan], slots: Sequence[Slot], watcher: Watcher
    ) -> list[RunOutcome]:
        """Train the stacks and return the outcomes of the runs that began.

        After SIGINT or SIGTERM every run is saved and no further stack begins.
        """


def check_numbers(settings: Any, whole: Mapping[str, int], above: Sequence[str] = ()) -> None:
    """Check a launcher's settings: whole numbers of at least a bound, or numbers above 0.

    Raises ConfigError.
    """
    for name, least in whole.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(
                f"hydra.launcher.{name}={value}: give a whole number of at least {least}"
            )
    for name in above:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ConfigError(f"hydra.launcher.{name}={value}: give a number above 0")
