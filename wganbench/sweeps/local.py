"""Stacks over the devices of this machine: a worker process a slot, none idle with work left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Protocol

from wganbench.records.folder import RunFolder
from wganbench.sweeps.messages import Advanced, Ended, OutOfMemory, Refused, Said, Started
from wganbench.sweeps.planning import StackPlan
from wganbench.sweeps.slots import Slot
from wganbench.training.finish import RunOutcome
from wganbench.training.interrupt import StopRequest

RETRIES = 2
"""How often a stack whose worker died is given to another."""
LISTEN_SECONDS = 0.5


class Watcher(Protocol):
    """What shows a person how a sweep goes; a slot is named by its number."""

    def begin(self, stacks: Sequence[StackPlan], slots: Sequence[Slot], finished: int) -> None: ...

    def end(self) -> None: ...

    def stack_started(self, slot: int, stack: StackPlan, steps: int, done: int) -> None: ...

    def stack_advanced(self, slot: int, step: int, values: list[dict[str, float]]) -> None: ...

    def stack_ended(self, slot: int, outcomes: Sequence[RunOutcome]) -> None: ...

    def say(self, line: str) -> None: ...


class Silent:
    """Shows nothing."""

    def begin(self, stacks: Sequence[StackPlan], slots: Sequence[Slot], finished: int) -> None: ...

    def end(self) -> None: ...

    def stack_started(self, slot: int, stack: StackPlan, steps: int, done: int) -> None: ...

    def stack_advanced(self, slot: int, step: int, values: list[dict[str, float]]) -> None: ...

    def stack_ended(self, slot: int, outcomes: Sequence[RunOutcome]) -> None: ...

    def say(self, line: str) -> None: ...


@dataclass
class Worker:
    """A worker process and the stack it trains, None while it has none."""

    number: int
    process: subprocess.Popen[bytes]
    connection: Connection
    stack: StackPlan | None = None


@dataclass
class Pool:
    """Trains stacks on slots and gathers how every run ended."""

    slots: Sequence[Slot]
    watcher: Watcher
    program: Sequence[str] = (sys.executable, "-m", "wganbench.sweeps.worker")
    waiting: list[StackPlan] = field(default_factory=list)
    outcomes: list[RunOutcome] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    deaths: dict[str, int] = field(default_factory=dict)
    stopping: bool = False

    def run(self, stacks: Sequence[StackPlan]) -> list[RunOutcome]:
        """How the runs of all stacks ended; those that never began are missing.

        After SIGINT or SIGTERM every worker saves its runs and no further stack begins.
        """
        self.waiting = list(stacks)
        try:
            with StopRequest() as stop:
                for number in range(min(len(self.slots), len(self.waiting))):
                    self.workers.append(self._start(number))
                while any(worker.stack for worker in self.workers):
                    self._listen()
                    if stop.requested and not self.stopping:
                        self._stop()
        finally:
            for worker in self.workers:
                worker.connection.close()
                if worker.stack:
                    worker.process.kill()
            for worker in self.workers:
                worker.process.wait()
        return self.outcomes

    def _start(self, number: int) -> Worker:
        slot = self.slots[number]
        ours, theirs = Pipe()
        # A compiler process for each core but one a worker would be more than there are cores.
        environment = {"TORCHINDUCTOR_COMPILE_THREADS": str(slot.threads)} | os.environ
        process = subprocess.Popen(
            [*self.program, str(theirs.fileno()), slot.device, str(slot.threads)],
            pass_fds=[theirs.fileno()],
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        worker = Worker(number, process, ours)
        self._feed(worker)
        return worker

    def _feed(self, worker: Worker) -> None:
        """Give a worker its next stack, if one is left."""
        worker.stack = None
        if self.waiting and not self.stopping:
            worker.stack = self.waiting.pop(0)
            worker.connection.send(worker.stack)

    def _listen(self) -> None:
        busy = {worker.connection: worker for worker in self.workers if worker.stack}
        for connection in wait(list(busy), LISTEN_SECONDS):
            worker = busy[connection]  # type: ignore[index]
            try:
                self._hear(worker, worker.connection.recv())
            except (EOFError, OSError):
                self._bury(worker)

    def _hear(self, worker: Worker, message: object) -> None:
        stack = worker.stack
        assert stack is not None
        match message:
            case Started(steps, done):
                self.watcher.stack_started(worker.number, stack, steps, done)
            case Advanced(step, values):
                self.watcher.stack_advanced(worker.number, step, values)
            case Said(line):
                self.watcher.say(line)
            case Ended(outcomes):
                self._end(worker, outcomes)
            case OutOfMemory(reason) if len(stack.jobs) > 1:
                self.watcher.say(
                    f"{len(stack.jobs)} runs do not fit {self.slots[worker.number].device}: "
                    f"going on with half as many ({reason})"
                )
                self.waiting[:0] = stack.halves()
                self._feed(worker)
            case OutOfMemory(reason) | Refused(reason):
                self._end(worker, [failed(job.folder, reason) for job in stack.jobs])

    def _end(self, worker: Worker, outcomes: Sequence[RunOutcome]) -> None:
        self.outcomes += outcomes
        self.watcher.stack_ended(worker.number, outcomes)
        self._feed(worker)

    def _bury(self, worker: Worker) -> None:
        """A worker died: its stack goes on in a new one, but not for ever."""
        stack = worker.stack
        assert stack is not None
        worker.connection.close()
        code = worker.process.wait()
        self.workers.remove(worker)
        if self.stopping:
            return
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        name = stack.jobs[0].folder.name
        self.deaths[name] = self.deaths.get(name, 0) + 1
        if self.deaths[name] > RETRIES:
            reason = f"its worker process died {self.deaths[name]} times ({how})"
            outcomes = [failed(job.folder, reason) for job in stack.jobs]
            self.outcomes += outcomes
            self.watcher.stack_ended(worker.number, outcomes)
        else:
            self.watcher.say(
                f"a worker died ({how}): its {len(stack.jobs)} runs go on from their checkpoints"
            )
            self.waiting[:0] = stack.again()
        if self.waiting:
            self.workers.append(self._start(worker.number))

    def _stop(self) -> None:
        """Ask every worker to save and end."""
        self.stopping = True
        self.watcher.say("stopping: saving every run")
        for worker in self.workers:
            if worker.stack:
                worker.process.send_signal(signal.SIGTERM)


def failed(path: Path, reason: str) -> RunOutcome:
    """The outcome of a run that could not be trained; what it saved before stays."""
    RunFolder(path).write_status(status="failed", error=reason)
    step = RunFolder(path).read().get("step") or 0
    return RunOutcome(path, "failed", step, {}, [f"{reason}."], 0.0)
