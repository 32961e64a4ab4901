"""The sweep command: Hydra composes the typed arguments into jobs, which are then trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wganbench.config.composition import CLUSTERS, Check, sweep
from wganbench.config.jobs import Choice, Job, SweepTask
from wganbench.config.overrides import parse_arguments, read_override
from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError
from wganbench.presets import find_preset, read
from wganbench.runs.folder import RunFolder, RunOutcome, wait_while_ending
from wganbench.runs.stored import check_folder
from wganbench.sweeps.backend import Watcher, outcome_on_disk
from wganbench.sweeps.estimate import estimate_seconds
from wganbench.sweeps.launch import (
    SweepPlan,
    check_sweep,
    launch,
    make_backend,
    objective,
    plan_sweep,
    train_alone,
)
from wganbench.sweeps.manifest import add_jobs, read_jobs
from wganbench.training.device import pick_device


# The default name of a sweep's folder.
def named(arguments: Sequence[str], where: Sequence[Path] = ()) -> list[str]:
    """Return the arguments with ``name=`` added, if it is missing.

    The name is the experiment's, whose file in one of the folders ``where`` may set another;
    without an experiment it is left to be the data set's. A sweep over several experiments or
    data sets is named ``sweep``. Raises ConfigError if ``name`` itself is swept.

    >>> named(["experiment=clip_sweep", "seed=0,1"])
    ['experiment=clip_sweep', 'seed=0,1', 'name=clip_sweep']
    >>> named(["data=ring8,grid25"])
    ['data=ring8,grid25', 'name=sweep']
    """
    choice: str | None = None
    own = False
    for text in arguments:
        key, equals, value = text.partition("=")
        several = "," in value or value.endswith(")")
        if key == "name" and equals:
            if several:
                raise ConfigError("name is the folder of the whole sweep and cannot be swept")
            return list(arguments)
        if key == "experiment" or (key == "data" and several and choice is None):
            choice = "sweep" if several else value
            own = key == "experiment" and not several and sets_name(value, where)
    return [*arguments, *([f"name={choice}"] if choice and not own else [])]


def sets_name(experiment: str, where: Sequence[Path]) -> bool:
    """Return whether the file of an experiment, or one in its defaults list, sets ``name``."""
    left, seen = [experiment], set[str]()
    while left:
        one = left.pop()
        path = None if one in seen else find_preset("experiment", one, where)
        seen.add(one)
        if path is not None:
            values = read(path)
            if "name" in values:
                return True
            left += [entry for entry in values.get("defaults") or [] if isinstance(entry, str)]
    return False


SWEEPER = "grid"
"""Our sweeper, the only one that names all runs before it starts the first."""

SWEEP_FOLDER = "hydra.sweep.dir"

MANY_RUNS = 10_000
"""A sweep of more runs needs ``--yes``."""

Ended = tuple[list[Job], list[RunOutcome]]


@dataclass(frozen=True)
class Swept:
    """The result of a sweep: jobs and outcomes by folder, and the folders that were asked for."""

    folders: dict[Path, Ended]
    asked: frozenset[Path]

    def outcomes(self) -> list[RunOutcome]:
        """Return the outcomes of the runs that were asked for.

        If an optimiser trains them by another launcher, which reports nothing, return those of
        all runs in the folder.
        """
        every = [outcome for _, outcomes in self.folders.values() for outcome in outcomes]
        return [outcome for outcome in every if outcome.path in self.asked] or every


def run_sweep(arguments: Sequence[str], watcher: Watcher, limited: bool = True) -> Swept:
    """Train the sweep of a command line and return its result.

    Raises ConfigError, where possible before anything is written; if ``limited``, also for more
    than `MANY_RUNS` runs.
    """
    session = _Session(watcher)
    try:
        folders = _compose(arguments, limited, session.accept, session.launch)
    except ConfigError:
        if session.failure is not None:
            raise session.failure from None
        raise
    # An optimiser chooses jobs during the sweep, and other launchers train in other processes:
    # the jobs are therefore read from the sweep's folder.
    places = {folder.absolute(): folder for folder in [*session.folders, *folders]}
    jobs = {folder: found for folder in places.values() if (found := read_jobs(folder))}
    ended = {folder: (own, [session.outcome(job) for job in own]) for folder, own in jobs.items()}
    return Swept(ended, frozenset(session.asked))


def plan_only(arguments: Sequence[str], limited: bool = True) -> tuple[SweepPlan, float | None]:
    """Return the plan of a sweep and its estimated seconds; write and train nothing.

    The seconds are None where they are not known. Raises ConfigError, also for another sweeper
    than ours, which chooses runs one after another, and for another launcher, which has no stacks.
    """
    typed = dict(text.partition("=")[::2] for text in arguments)
    sweeper, launcher = typed.get("hydra/sweeper", SWEEPER), typed.get("hydra/launcher", "stack")
    if sweeper != SWEEPER:
        raise ConfigError(
            f"--plan needs hydra/sweeper={SWEEPER}: {sweeper} chooses its runs one after another"
        )
    found: list[tuple[SweepPlan, float | None]] = []

    def accept(jobs: list[Job], choice: Choice) -> bool:
        check_sweep(jobs[0].folder.parent, jobs)
        if launcher not in ("stack", *CLUSTERS):
            raise ConfigError(
                f"--plan plans stacks: with hydra/launcher={launcher} each of the "
                f"{len(jobs)} runs trains alone"
            )
        plan = plan_sweep(jobs, make_backend(*choice, planning=True))
        found.append((plan, estimate_seconds(plan)))
        return False

    def launch_nothing(jobs: list[Job], choice: Choice) -> list[float]:
        raise ConfigError("this sweeper chooses its runs one after another: there is no plan")

    _compose(arguments, limited, accept, launch_nothing)
    return found[-1]


def _compose(
    arguments: Sequence[str],
    limited: bool,
    accept: Callable[[list[Job], Choice], bool],
    launch_jobs: Callable[[list[Job], Choice], list[float]],
) -> list[Path]:
    """Let Hydra compose the jobs of a command line and pass them on; return the sweep's folders."""

    def limit(count: int) -> None:
        if limited and count > MANY_RUNS:
            raise ConfigError(f"this sweep has {count} runs; if that is meant, add --yes")

    def task(check: Check) -> SweepTask:
        return SweepTask(check, limit, accept, launch_jobs, train_alone)

    parsed = parse_arguments(arguments, several=True)
    folders = sweep(named(parsed.command, parsed.where), task, accept_run, accept_elsewhere)
    # A folder that the user types is known to none of our resolvers.
    typed = [text for text in parsed.overrides if text.startswith(f"{SWEEP_FOLDER}=")]
    return folders + [Path(str(read_override(text).value())) for text in typed[-1:]]


class _Session:
    """The functions that Hydra's sweeper calls during a sweep, and the results so far."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.asked: set[Path] = set()
        self.folders: list[Path] = []
        self.failure: Exception | None = None
        self._plan: SweepPlan | None = None
        self._ended: dict[Path, RunOutcome] = {}

    def outcome(self, job: Job) -> RunOutcome:
        """Return a job's outcome: the reported one, else the one its folder shows."""
        return self._ended.get(job.folder) or outcome_on_disk(job)

    def accept(self, jobs: list[Job], choice: Choice) -> bool:
        """Check and plan all jobs and enter them in sweep.json; return True to train them."""
        check_sweep(jobs[0].folder.parent, jobs)
        self._wait_for_savers(jobs)
        self._plan = plan_sweep(jobs, make_backend(*choice))
        # Entered for every launcher, so that jobs lost with a process are known to be missing.
        add_jobs(jobs[0].folder.parent, jobs)
        self.asked |= {job.folder for job in jobs}
        self.folders.append(jobs[0].folder.parent)
        return True

    def launch(self, jobs: list[Job], choice: Choice) -> list[float]:
        """Train jobs and return the objective of each."""
        # An optimiser may draw the same settings twice; these are the same run.
        distinct = list({job.folder: job for job in jobs}.values())
        self.asked |= {job.folder for job in distinct}
        try:
            # A sweeper that is an optimiser launches jobs without calling `accept` first.
            if self._plan is None:
                self._wait_for_savers(distinct)
                self._plan = plan_sweep(distinct, make_backend(*choice))
            plan, self._plan = self._plan, None
            outcomes = launch(jobs[0].folder.parent, distinct, self.watcher, plan)
        except Exception as error:
            # Hydra wraps exceptions of its launcher; the original is kept to be raised again.
            self.failure = error
            raise
        self._ended |= {job.folder: o for job, o in zip(distinct, outcomes, strict=True)}
        return [objective(job, self._ended[job.folder]) for job in jobs]

    def _wait_for_savers(self, jobs: Sequence[Job]) -> None:
        wait_while_ending([RunFolder(job.folder) for job in jobs], self.watcher.say)


def accept_run(config: RunConfig) -> None:
    """Check that a job can be trained here, or is trained already. Raises ConfigError."""
    pick_device(config.device)
    accept_elsewhere(config)


def accept_elsewhere(config: RunConfig) -> None:
    """Check the folder of a job as `accept_run` does; the cluster is asked for its devices."""
    check_folder(config, may_be_busy=not config.overwrite)
