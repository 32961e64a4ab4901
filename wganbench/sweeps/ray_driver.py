"""The tasks of a sweep on Ray, seen from the process that started them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wganbench.config.jobs import Job
from wganbench.records.folder import RunBusy, RunFolder
from wganbench.sweeps.messages import Ended
from wganbench.sweeps.planning import StackPlan
from wganbench.sweeps.ray_connection import import_ray
from wganbench.sweeps.ray_task import Mailbox, RemoteStack, train_remotely
from wganbench.sweeps.tally import Tally
from wganbench.sweeps.transfer import Changes, put
from wganbench.training.interrupt import StopRequest
from wganbench.training.outcome import ELSEWHERE, RunOutcome

LISTEN_SECONDS = 0.5


@dataclass
class Task:
    """A stack that Ray has been given; whether anything was heard of it yet."""

    number: int
    stack: StackPlan
    started: bool = False
    sends_files: bool = False


@dataclass
class Tasks:
    """The tasks of one sweep, from the first to the last."""

    cpus_per_stack: float
    gpus_per_stack: float
    folder: Path
    token: str | None
    tally: Tally
    tasks: dict[Any, Task] = field(default_factory=dict)
    by_number: dict[int, Task] = field(default_factory=dict)

    def run(self, stacks: Sequence[StackPlan], stop: StopRequest) -> list[RunOutcome]:
        ray = import_ray()
        here = ray.get_runtime_context().get_node_id()
        placed = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        self.mailbox = (
            ray.remote(Mailbox)
            .options(num_cpus=0, scheduling_strategy=placed(here, soft=False))
            .remote()
        )
        self.stopping = False
        try:
            for stack in stacks:
                self._submit(stack)
            while self.tasks or (self.tally.elsewhere and not self.stopping):
                if self.tasks:
                    done, _ = ray.wait(list(self.tasks), num_returns=1, timeout=LISTEN_SECONDS)
                else:
                    done = []
                    time.sleep(LISTEN_SECONDS)
                self._collect()
                for reference in done:
                    self._finish(reference)
                for stack in self.tally.returned():
                    self._submit(stack)
                if stop.requested and not self.stopping:
                    self._stop()
        finally:
            for held in self.tally.held.values():
                held.release()
            ray.kill(self.mailbox)
        return self.tally.outcomes

    def _submit(self, stack: StackPlan) -> None:
        ray = import_ray()
        if self.stopping:
            return
        task = Task(len(self.by_number), stack)
        remote = RemoteStack(
            task.number,
            stack.resolved(),
            self.folder,
            self.token,
            [Changes(job.folder, seen=False).all() if stack.step else {} for job in stack.jobs],
            self.gpus_per_stack > 0,
            max(1, int(self.cpus_per_stack)),
            os.getcwd(),
        )
        options = {
            "num_cpus": self.cpus_per_stack,
            "num_gpus": self.gpus_per_stack,
            "max_retries": 0,
        }
        reference = ray.remote(**options)(train_remotely).remote(remote, self.mailbox)
        self.tasks[reference] = self.by_number[task.number] = task

    def _collect(self) -> None:
        """Write what was sent back, and hear what was told."""
        ray = import_ray()
        for number, messages, files in ray.get(self.mailbox.collect.remote()):
            task = self.by_number[number]
            task.started = True
            task.sends_files = task.sends_files or bool(files)
            for job, changed in zip(task.stack.jobs, files, strict=False):
                if self._hold(job):
                    put(job.folder, changed)
            for message in messages:
                self.tally.hear(number, task.stack, message)

    def _hold(self, job: Job) -> bool:
        """Nobody else may train a run whose files come from far away; with ``overwrite`` those
        of an earlier one go before the first of them are there. False for a run that another
        process took meanwhile: what comes of it is dropped, and it is looked at again."""
        if job.folder in self.tally.held:
            return True
        try:
            held = RunFolder(job.folder).lock()
        except RunBusy:
            return False
        self.tally.held[job.folder] = held
        if job.config.overwrite:
            held.empty()
        return True

    def _let_go(self, stack: StackPlan) -> None:
        """Release the runs of a stack that has ended, also for those who wait for them."""
        for job in stack.jobs:
            if job.folder in self.tally.held:
                self.tally.held.pop(job.folder).release()

    def _finish(self, reference: Any) -> None:
        ray = import_ray()
        errors = ray.exceptions
        task = self.tasks.pop(reference)
        left: Sequence[StackPlan] | None = []
        try:
            left = self.tally.hear(
                task.number, task.stack, self._received(ray.get(reference), task)
            )
        except errors.TaskCancelledError:
            pass
        except errors.RayError as error:
            if not self.stopping:
                how = " ".join(str(error).split(".")[0].split())[:120]
                left = self.tally.lost(task.number, task.stack, f"a Ray task was lost ({how})")
        self._let_go(task.stack)
        for stack in left or []:
            self._submit(stack)

    def _received(self, message: object, task: Task) -> object:
        """The message, but for runs whose files could not be taken: they are elsewhere."""
        if not isinstance(message, Ended) or not task.sends_files:
            return message
        held = [job.folder in self.tally.held for job in task.stack.jobs]
        return Ended(
            [
                outcome if ours else replace(outcome, status=ELSEWHERE)
                for outcome, ours in zip(message.outcomes, held, strict=True)
            ]
        )

    def _stop(self) -> None:
        """Ask every task to save and end; those that wait for a place never begin."""
        ray = import_ray()
        self.stopping = True
        ray.get(self.mailbox.stop.remote())
        for reference, task in self.tasks.items():
            if not task.started:
                ray.cancel(reference)
