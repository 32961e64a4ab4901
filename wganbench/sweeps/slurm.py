"""The Slurm backend: stacks as an array of jobs through submitit, requeued when preempted."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError, first_line
from wganbench.files import inside
from wganbench.runs.folder import RunOutcome
from wganbench.sweeps.backend import (
    LISTEN_SECONDS,
    SAVING_ELSEWHERE,
    UNKNOWN_ROOM,
    Collector,
    Watcher,
    check_numbers,
    ended_by_others,
)
from wganbench.sweeps.plan import Slot, StackPlan
from wganbench.sweeps.slurm_task import STOP, Mail, SlurmTask
from wganbench.training.process import StopRequest
from wganbench.typed import convert

FOLDER = ".submitit"
"""Subfolder of a sweep with submitit's scripts and logs and the messages of the jobs."""


@dataclass
class SlurmBackend:
    """Slurm through submitit: about ``stacks`` jobs share the work, one array task per stack.

    ``cluster: local`` runs the jobs as processes of this machine, all at the same time. The
    other settings are those of sbatch, for one stack.
    """

    cluster: str
    stacks: int
    gpus_per_stack: int
    cpus_per_stack: int
    mem_gb: float
    timeout_min: int
    requeues: int
    setup: list[str] | None
    slurm: dict[str, Any]
    planning: bool = False
    """Whether nothing is submitted: then neither submitit nor Slurm is needed."""

    def __post_init__(self) -> None:
        if self.cluster not in ("slurm", "local"):
            raise ConfigError(f"hydra.launcher.cluster={self.cluster}: it is slurm or local")
        whole = {"stacks": 1, "cpus_per_stack": 1, "timeout_min": 1}
        check_numbers(self, whole | {"gpus_per_stack": 0, "requeues": 0}, above=["mem_gb"])
        self.setup = convert(self.setup, list[str] | None, "hydra.launcher.setup")
        self.slurm = convert(self.slurm, dict[str, Any], "hydra.launcher.slurm")
        if (more := self.slurm.get("additional_parameters")) is not None:
            convert(more, dict[str, Any], "hydra.launcher.slurm.additional_parameters")

    def slots(self, config: RunConfig) -> list[Slot]:
        """Return ``stacks`` slots; submit nothing. Raises ConfigError."""
        if config.device not in ("auto", "cpu", "cuda") or config.sweep.devices != "auto":
            raise ConfigError(
                "Slurm gives the devices: with hydra/launcher=slurm, device must be auto, cpu or "
                "cuda, and sweep.devices must be auto"
            )
        if config.sweep.stacks_per_device != 1:
            raise ConfigError(
                f"sweep.stacks_per_device={config.sweep.stacks_per_device}: with "
                "hydra/launcher=slurm every stack is a job of its own, with "
                "hydra.launcher.gpus_per_stack GPUs"
            )
        if config.device == "cpu":
            self.gpus_per_stack = 0
        elif config.device == "cuda" and not self.gpus_per_stack:
            raise ConfigError(
                "device=cuda: hydra.launcher.gpus_per_stack=0 asks Slurm for no GPU; use 1, or "
                "device=cpu"
            )
        if not self.planning:
            with tempfile.TemporaryDirectory() as folder:
                self._executor(Path(folder))
        device = "cuda" if self.gpus_per_stack else "cpu"
        return [Slot(device, self.cpus_per_stack, "Slurm")] * self.stacks

    def room(self, slots: Sequence[Slot]) -> int:
        """Return the requested bytes on a CPU; the memory of the future GPUs is not known."""
        return UNKNOWN_ROOM if self.gpus_per_stack else int(self.mem_gb * 1e9)

    def run(
        self, stacks: Sequence[StackPlan], slots: Sequence[Slot], watcher: Watcher
    ) -> list[RunOutcome]:
        """Train the stacks and return the outcomes of their runs."""
        # The folder is new: all pickles in it come from the jobs of this sweep.
        folder = inside(stacks[0].jobs[0].folder.parent.resolve(), FOLDER) / uuid.uuid4().hex[:8]
        folder.mkdir(parents=True)
        with StopRequest(lambda: watcher.say(SAVING_ELSEWHERE)) as stop:
            return Array(self, folder, Collector(watcher)).run(stacks, stop)

    def _executor(self, folder: Path) -> Any:
        """Return submitit's executor with these settings. Raises ConfigError."""
        try:
            import submitit
        except ImportError as error:
            raise ConfigError(
                "hydra/launcher=slurm needs submitit: pip install 'wganbench[slurm]'"
            ) from error
        options = {f"slurm_{key}": value for key, value in self.slurm.items() if value is not None}
        try:
            executor = submitit.AutoExecutor(
                folder / "%j",
                cluster=self.cluster,
                **{f"{self.cluster}_max_num_timeout": self.requeues},
            )
            executor.update_parameters(
                name="wganbench",
                timeout_min=self.timeout_min,
                mem_gb=self.mem_gb,
                cpus_per_task=self.cpus_per_stack,
                gpus_per_node=self.gpus_per_stack,
                tasks_per_node=1,
                nodes=1,
                **{f"{self.cluster}_setup": self.setup or None},
                **options,
            )
        except RuntimeError as error:
            raise ConfigError(
                f"hydra/launcher=slurm: {error} (hydra.launcher.cluster=local tries it out here)"
            ) from error
        except (NameError, AssertionError, ValueError) as error:
            raise ConfigError(f"hydra/launcher=slurm: {first_line(error)[:300]}") from error
        return executor


@dataclass
class Submitted:
    """A job, the stack it trains, and the byte up to which its messages were read."""

    job: Any
    stack: StackPlan
    mail: Mail
    read: int = 0
    started: bool = False


@dataclass
class Array:
    """Submits the stacks of one sweep as jobs and collects their messages."""

    backend: SlurmBackend
    folder: Path
    collector: Collector
    jobs: list[Submitted] = field(default_factory=list)
    stopping: bool = False
    stop: StopRequest = field(default_factory=StopRequest)
    _count: int = 0

    def run(self, stacks: Sequence[StackPlan], stop: StopRequest) -> list[RunOutcome]:
        self.stop = stop
        try:
            self._submit(stacks)
            while self.jobs or (self.collector.elsewhere and not self.stopping):
                time.sleep(LISTEN_SECONDS)
                for submitted in list(self.jobs):
                    done = submitted.job.done()
                    self._read(submitted)
                    if done:
                        self._finish(submitted)
                if self.collector.elsewhere and not self.stopping:
                    self._submit(self.collector.returned())
                if stop.requested and not self.stopping:
                    self._stop()
        except BaseException:
            # No process reads the messages any longer, so all jobs must stop.
            (self.folder / STOP).touch()
            raise
        return self.collector.outcomes

    def _submit(self, stacks: Sequence[StackPlan]) -> None:
        """Submit the stacks as one array."""
        if self.stopping or not stacks:
            return
        mails = [Mail(self.folder, self._count + i) for i in range(len(stacks))]
        self._count += len(stacks)
        backend, here = self.backend, os.getcwd()
        executor = backend._executor(self.folder)
        with executor.batch():
            jobs = [
                executor.submit(
                    SlurmTask(
                        stack.resolved(),
                        mail,
                        backend.gpus_per_stack > 0,
                        backend.cpus_per_stack,
                        here,
                    )
                )
                for stack, mail in zip(stacks, mails, strict=True)
            ]
        self.jobs += [
            Submitted(job, stack, mail)
            for job, stack, mail in zip(jobs, stacks, mails, strict=True)
        ]

    def _read(self, submitted: Submitted) -> None:
        messages, submitted.read = submitted.mail.read(submitted.read)
        for message in messages:
            submitted.started = True
            self.collector.handle(submitted.mail.number, submitted.stack, message)

    def _finish(self, submitted: Submitted) -> None:
        self.jobs.remove(submitted)
        number, stack = submitted.mail.number, submitted.stack
        asked = self.stopping or self.stop.requested
        try:
            message = submitted.job.result()
        except Exception as error:
            # Submitit raises several classes: for a job that failed, was killed or did not end.
            if not asked:
                how = (str(error).strip() or type(error).__name__).splitlines()[-1][:120]
                self._submit(self.collector.lost(number, stack, f"a Slurm job was lost ({how})"))
            return
        if ended_by_others(message) and not asked:
            self._submit(self.collector.lost(number, stack, "a Slurm job was ended by others"))
        else:
            self.collector.handle(number, stack, message)

    def _stop(self) -> None:
        """Ask every job to save and end; cancel those that still wait for a node."""
        self.stopping = True
        (self.folder / STOP).touch()
        for submitted in list(self.jobs):
            if not submitted.started and submitted.job.state == "PENDING":
                submitted.job.cancel()
                self.jobs.remove(submitted)
