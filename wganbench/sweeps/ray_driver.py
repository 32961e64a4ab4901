"""The tasks of a sweep on Ray, seen from the process that started them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wganbench.config.jobs import Job
from wganbench.errors import ConfigError
from wganbench.files import RunLock
from wganbench.records.folder import RunBusy, RunFolder
from wganbench.sweeps.planning import StackPlan
from wganbench.sweeps.ray_connection import import_ray
from wganbench.sweeps.ray_task import Mailbox, RemoteStack, train_remotely
from wganbench.sweeps.tally import Tally
from wganbench.sweeps.transfer import Changes, put
from wganbench.training.interrupt import StopRequest
from wganbench.training.outcome import RunOutcome

LISTEN_SECONDS = 0.5


@dataclass
class Task:
    """A stack that Ray has been given; whether anything was heard of it yet."""

    number: int
    stack: StackPlan
    started: bool = False


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
    locks: dict[Path, RunLock] = field(default_factory=dict)

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
            while self.tasks:
                done, _ = ray.wait(list(self.tasks), num_returns=1, timeout=LISTEN_SECONDS)
                self._collect()
                for reference in done:
                    self._finish(reference)
                if stop.requested and not self.stopping:
                    self._stop()
        finally:
            for lock in self.locks.values():
                lock.release()
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
            for job, changed in zip(task.stack.jobs, files, strict=False):
                self._hold(job)
                put(job.folder, changed)
            for message in messages:
                self.tally.hear(number, task.stack, message)

    def _hold(self, job: Job) -> None:
        """Nobody else may train a run whose files come from far away; with ``overwrite`` those
        of an earlier one go before the first of them are there. Raises ConfigError."""
        folder = RunFolder(job.folder)
        if job.folder not in self.locks:
            try:
                self.locks[job.folder] = folder.lock()
            except RunBusy as error:
                raise ConfigError(str(error)) from error
            if job.config.overwrite:
                folder.empty()

    def _finish(self, reference: Any) -> None:
        ray = import_ray()
        errors = ray.exceptions
        task = self.tasks.pop(reference)
        left: Sequence[StackPlan] | None = []
        try:
            left = self.tally.hear(task.number, task.stack, ray.get(reference))
        except errors.TaskCancelledError:
            pass
        except errors.RayError as error:
            if not self.stopping:
                how = " ".join(str(error).split(".")[0].split())[:120]
                left = self.tally.lost(task.number, task.stack, f"a Ray task was lost ({how})")
        for stack in left or []:
            self._submit(stack)

    def _stop(self) -> None:
        """Ask every task to save and end; those that wait for a place never begin."""
        ray = import_ray()
        self.stopping = True
        ray.get(self.mailbox.stop.remote())
        for reference, task in self.tasks.items():
            if not task.started:
                ray.cancel(reference)
