"""The sweep command: from what was typed, through Hydra, to how every run ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wganbench.config.arguments import parse_arguments
from wganbench.config.hydra_entry import Check, sweep
from wganbench.config.jobs import Choice, Job, SweepTask
from wganbench.config.schema import RunConfig
from wganbench.config.stored import check_folder
from wganbench.errors import ConfigError
from wganbench.sweeps.crew import make_crew
from wganbench.sweeps.estimate import estimate_seconds
from wganbench.sweeps.launch import (
    SweepPlan,
    check_sweep,
    launch,
    objective,
    plan_sweep,
    train_alone,
)
from wganbench.sweeps.ledger import add_jobs, read_jobs
from wganbench.sweeps.naming import named
from wganbench.sweeps.tally import standing
from wganbench.sweeps.watcher import Watcher
from wganbench.training.device import pick_device
from wganbench.training.outcome import RunOutcome
from wganbench.training.runs import stored_config

MANY_RUNS = 10_000
"""A sweep of more runs has to be asked for twice."""

Ended = tuple[list[Job], list[RunOutcome]]


@dataclass
class Sweep:
    """One sweep; afterwards its jobs and outcomes by folder, or its plan where that was all."""

    watcher: Watcher
    limited: bool = True
    plan_only: bool = False
    plan: SweepPlan | None = None
    estimate: float | None = None
    folders: dict[Path, Ended] = field(default_factory=dict)
    _failure: Exception | None = None

    def run(self, arguments: Sequence[str]) -> Sweep:
        """Do what the command line asks for. Raises ConfigError, before anything is written
        where that can be known."""
        try:
            command = parse_arguments(arguments, several=True).command
            folders = sweep(named(command), self._task, accept_run)
        except ConfigError:
            if self._failure is not None:
                raise self._failure from None
            raise
        for folder in [] if self.plan_only else folders:
            # An optimiser chooses jobs as it goes, and other launchers train elsewhere:
            # what was done is read from the sweep's folder.
            jobs = read_jobs(folder)
            if jobs:
                self.folders[folder] = (jobs, [standing(job) for job in jobs])
        return self

    def _task(self, check: Check) -> SweepTask:
        return SweepTask(check, self._limit, self._accept, self._launch, train_alone)

    def _limit(self, count: int) -> None:
        if self.limited and count > MANY_RUNS:
            raise ConfigError(f"this sweep has {count} runs; if that is meant, add --yes")

    def _accept(self, jobs: list[Job], choice: Choice) -> bool:
        check_sweep(jobs[0].folder.parent, jobs)
        self.plan = plan_sweep(jobs, make_crew(*choice))
        if self.plan_only:
            self.estimate = estimate_seconds(self.plan)
        else:
            # Whoever launches them: what a process loses is known to be missing.
            add_jobs(jobs[0].folder.parent, jobs)
        return not self.plan_only

    def _launch(self, jobs: list[Job], choice: Choice) -> list[float]:
        try:
            # An optimiser as sweeper launches as it goes, without asking before.
            plan, self.plan = self.plan or plan_sweep(jobs, make_crew(*choice)), None
            outcomes = launch(jobs[0].folder.parent, jobs, self.watcher, plan)
        except Exception as error:
            # Not to be taken for an error of Hydra's, which has called us.
            self._failure = error
            raise
        return [objective(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]


def accept_run(config: RunConfig) -> None:
    """Whether one job of a sweep can be trained here. Raises ConfigError."""
    pick_device(config.device)
    check_folder(config, stored_config)
