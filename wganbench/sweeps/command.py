"""The sweep command: from what was typed, through Hydra, to how every run ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wganbench.config.composition import Check, sweep
from wganbench.config.jobs import Choice, Job, SweepTask
from wganbench.config.schema import RunConfig
from wganbench.config.words import parse_arguments
from wganbench.errors import ConfigError
from wganbench.runs.folder import RunFolder, RunOutcome, wait_while_ending
from wganbench.runs.stored import check_folder
from wganbench.sweeps.backend import Watcher, standing
from wganbench.sweeps.choose import make_crew
from wganbench.sweeps.estimate import estimate_seconds
from wganbench.sweeps.launch import (
    SweepPlan,
    check_sweep,
    launch,
    objective,
    plan_sweep,
    train_alone,
)
from wganbench.sweeps.manifest import add_jobs, read_jobs
from wganbench.training.device import pick_device
from wganbench.training.runs import stored_config


# The folder of a sweep where its name is not given.
def named(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``name=``: the experiment's, else left to be the data set's.

    A sweep over several experiments or data sets is called ``sweep``. Raises ConfigError
    where the name itself is swept.

    >>> named(["experiment=clip_sweep", "seed=0,1"])
    ['experiment=clip_sweep', 'seed=0,1', 'name=clip_sweep']
    >>> named(["data=ring8,grid25"])
    ['data=ring8,grid25', 'name=sweep']
    """
    choice: str | None = None
    for text in arguments:
        key, equals, value = text.partition("=")
        several = "," in value or value.endswith(")")
        if key == "name" and equals:
            if several:
                raise ConfigError("name is the folder of the whole sweep and cannot be swept")
            return list(arguments)
        if key == "experiment" or (key == "data" and several and choice is None):
            choice = "sweep" if several else value
    return [*arguments, *([f"name={choice}"] if choice else [])]


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
    _asked: set[Path] = field(default_factory=set)
    _ended: dict[Path, RunOutcome] = field(default_factory=dict)

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
                self.folders[folder] = (jobs, [self._outcome(job) for job in jobs])
        return self

    def outcomes(self) -> list[RunOutcome]:
        """How the runs ended that this sweep was asked for; all of its folder where an optimiser
        has another launcher train them, which tells nobody."""
        every = [outcome for _, outcomes in self.folders.values() for outcome in outcomes]
        return [outcome for outcome in every if outcome.path in self._asked] or every

    def _outcome(self, job: Job) -> RunOutcome:
        return self._ended.get(job.folder) or standing(job)

    def _task(self, check: Check) -> SweepTask:
        return SweepTask(check, self._limit, self._accept, self._launch, train_alone)

    def _limit(self, count: int) -> None:
        if self.limited and count > MANY_RUNS:
            raise ConfigError(f"this sweep has {count} runs; if that is meant, add --yes")

    def _accept(self, jobs: list[Job], choice: Choice) -> bool:
        check_sweep(jobs[0].folder.parent, jobs)
        if not self.plan_only:
            self._wait_for_savers(jobs)
        self.plan = plan_sweep(jobs, make_crew(*choice))
        if self.plan_only:
            self.estimate = estimate_seconds(self.plan)
        else:
            # Whoever launches them: what a process loses is known to be missing.
            add_jobs(jobs[0].folder.parent, jobs)
            self._asked |= {job.folder for job in jobs}
        return not self.plan_only

    def _launch(self, jobs: list[Job], choice: Choice) -> list[float]:
        # An optimiser may draw the same settings twice: they are one run.
        distinct = list({job.folder: job for job in jobs}.values())
        self._asked |= {job.folder for job in distinct}
        try:
            # An optimiser as sweeper launches as it goes, without asking before.
            if self.plan is None:
                self._wait_for_savers(distinct)
                self.plan = plan_sweep(distinct, make_crew(*choice))
            plan, self.plan = self.plan, None
            outcomes = launch(jobs[0].folder.parent, distinct, self.watcher, plan)
        except Exception as error:
            # Not to be taken for an error of Hydra's, which has called us.
            self._failure = error
            raise
        self._ended |= {job.folder: o for job, o in zip(distinct, outcomes, strict=True)}
        return [objective(job, self._ended[job.folder]) for job in jobs]

    def _wait_for_savers(self, jobs: Sequence[Job]) -> None:
        wait_while_ending([RunFolder(job.folder) for job in jobs], self.watcher.say)


def accept_run(config: RunConfig) -> None:
    """Whether one job of a sweep can be trained here, or is trained already. Raises ConfigError."""
    pick_device(config.device)
    check_folder(config, stored_config, may_be_busy=not config.overwrite)
