"""Planning and running a sweep: unfinished jobs, stacks, devices, outcomes."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from wganbench import bounds
from wganbench.config.jobs import Choice, Job
from wganbench.config.memory import bytes_needed
from wganbench.config.schema import RunConfig, run_id, to_dict
from wganbench.data import build
from wganbench.errors import ConfigError
from wganbench.metrics import check_allowed
from wganbench.networks import build_pair
from wganbench.output import guarded, numbered
from wganbench.plugin_files import changed_plugins, plugin_files
from wganbench.runs.folder import RunFolder, RunOutcome, wait_while_ending
from wganbench.runs.stored import Places, with_data
from wganbench.sweeps.backend import Backend, Watcher, outcome_on_disk
from wganbench.sweeps.cost import Footprint, footprint
from wganbench.sweeps.local import has_clusters
from wganbench.sweeps.manifest import add_jobs, check_alike, read_jobs
from wganbench.sweeps.plan import (
    CPU_LIMIT,
    Slot,
    StackPlan,
    group_jobs,
    kind_of,
    plan_stacks,
    unfinished,
    without_overwrite,
)
from wganbench.tags.lookup import headline_distance, tag_for
from wganbench.training.device import here_or_auto, precision_notes
from wganbench.training.execution import native_trains
from wganbench.typed import as_override, flatten


@dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep: its jobs, stacks and slots, and what gives a stack's footprint."""

    backend: Backend
    jobs: tuple[Job, ...]
    stacks: tuple[StackPlan, ...]
    slots: tuple[Slot, ...]
    footprint_of: Callable[[StackPlan], Footprint]
    notes: tuple[str, ...] = ()
    """Lines about how the data were read, shown to the user before training."""

    def divided(self) -> dict[str, dict[str, Any]]:
        """Return the stack of every run, for sweep.json: a resume divides unstarted runs alike."""
        on = kind_of(self.slots)
        return {
            job.folder.name: {"size": places.size, "place": place, "on": on}
            for stack in self.stacks
            for places in [stack.places or Places.all_of(len(stack.jobs))]
            for job, place in zip(stack.jobs, places.own, strict=True)
        }


def make_backend(
    name: str = "stack", settings: Mapping[str, Any] | None = None, planning: bool = False
) -> Backend:
    """Return the backend of a launcher (``stack``, ``ray`` or ``slurm``) with its settings.

    With ``planning`` it is only asked for its slots and its room, and needs neither its package
    nor the cluster where the settings say enough. Raises ConfigError for invalid settings.
    """
    if name == "ray":
        from wganbench.sweeps.ray import RayBackend

        return RayBackend(**(settings or {}), planning=planning)
    if name == "slurm":
        from wganbench.sweeps.slurm import SlurmBackend

        return SlurmBackend(**(settings or {}), planning=planning)
    from wganbench.sweeps.local import LocalBackend

    return LocalBackend()


def check_sweep(folder: Path, jobs: Sequence[Job]) -> None:
    """Check that the jobs can be a sweep in a folder; write nothing. Raises ConfigError."""
    ((folder_of_most, count),) = Counter(job.folder for job in jobs).most_common(1)
    runs = {run_id(job.config) for job in jobs if job.folder == folder_of_most}
    if len(runs) > 1:
        raise ConfigError(
            f"hydra.sweep.subdir gives {len(runs)} runs the same folder {folder_of_most}: leave it "
            "out, as each run then has a folder of its own"
        )
    if count > 1:
        one, other, *_ = (job.config for job in jobs if job.folder == folder_of_most)
        raise ConfigError(
            f"two jobs of the sweep are the same run: {folder_of_most.name}; {repeated(one, other)}"
        )
    elsewhere = next((job.folder for job in jobs if job.folder.parent != folder), None)
    if elsewhere is not None:
        raise ConfigError(
            f"the runs of a sweep lie side by side in one folder, and {elsewhere} is not in "
            f"{folder}: name, output_dir and hydra.sweep.dir must not depend on what is swept, "
            "and hydra.sweep.subdir must be one plain name"
        )
    check_one_machine(jobs)
    check_alike(folder, read_jobs(folder), jobs)


def repeated(one: RunConfig, other: RunConfig) -> str:
    """Return what to do about two configurations of the same run."""
    theirs = dict(flatten(to_dict(other)))
    for key, value in flatten(to_dict(one)):
        if value != theirs.get(key):
            values = f"{as_override(value)} and {as_override(theirs.get(key))}"
            return f"{key} makes no other run: give it one value, not {values}"
    return "give each value once (for example seed=0,1, not seed=0,0)"


def check_one_machine(jobs: Sequence[Job]) -> None:
    """Check that the jobs agree on what is the same for a whole sweep. Raises ConfigError."""
    first = jobs[0].config
    for config in (job.config for job in jobs):
        pairs = [("device", first.device, config.device)]
        pairs += [(f"sweep.{key}", value, getattr(config.sweep, key))
                  for key, value in vars(first.sweep).items()]  # fmt: skip
        for key, one, other in pairs:
            if one != other:
                raise ConfigError(
                    f"{key} must be the same for all runs of a sweep; got {one} and {other}"
                )


def plan_sweep(jobs: Sequence[Job], backend: Backend) -> SweepPlan:
    """Return the plan for the unfinished part of the jobs.

    Raises ConfigError, also if a stored configuration names code that the user has not typed:
    workers run the code that they are sent, without a check of their own.
    """
    left, steps = unfinished(jobs)
    for job in left:
        check_allowed(job.config.evaluate.features)
    slots = backend.slots(jobs[0].config)
    kind = kind_of(slots)
    read = what_was_read(left)
    groups = group_jobs(left, steps, kind)
    footprint_of, room = footprints(slots), cache(lambda: backend.room(slots))
    limits = [
        # To measure a run takes a third of a second, and 2 s of torch's imports the first time.
        1 if trains_alone(group)
        else CPU_LIMIT if surely_fits(group.jobs[0].config, slots, room)
        else runs_at_once(group, footprint_of(group), room, slots)
        for group in groups
    ]  # fmt: skip
    stacks = plan_stacks(left, steps, slots, limits)
    notes = (*read, *precision_notes_of(left, kind), *trained_by_other_code(jobs))
    return SweepPlan(backend, tuple(left), tuple(stacks), tuple(slots), footprint_of, notes)


def trains_alone(group: StackPlan) -> bool:
    """Return whether a group is one run, whose stack had no other run before either."""
    return len(group.jobs) == 1 and (group.places is None or group.places.size == 1)


TIMES_THE_BOUND = 4
"""A run of our C++ takes less than so many times `bytes_needed`, which is a lower bound.

By `footprint` 16 runs of width 64 on ring8 need 68 MB, and the bound is 0.1 GB for each, most of it
for exact W1."""


def surely_fits(config: RunConfig, slots: Sequence[Slot], room: Callable[[], int]) -> bool:
    """Return whether the longest stack on a CPU fits many times over, when our C++ trains it."""
    if kind_of(slots) != "cpu" or config.sweep.max_stack or not native_trains(config):
        return False
    network, shape = config.network, build(config.data.kind, config.data.options).shape
    if len(shape) > 1:
        return False
    pair = build_pair(network.kind, network.options, shape, config.precision, config.loss.packing)
    return CPU_LIMIT * TIMES_THE_BOUND * bytes_needed(config, shape, pair) < room()


def footprints(slots: Sequence[Slot]) -> Callable[[StackPlan], Footprint]:
    """Return what measures the footprint of a stack's runs, once for each group."""
    found: dict[str, Footprint] = {}
    gpu = kind_of(slots) == "cuda"

    def footprint_of(stack: StackPlan) -> Footprint:
        if stack.group not in found:
            try:
                clusters = all(slot.cluster or has_clusters(slot.device) for slot in slots)
                found[stack.group] = footprint(stack.jobs[0].config, gpu, clusters)
            except ValueError as error:
                raise ConfigError(str(error)) from error
        return found[stack.group]

    return footprint_of


def what_was_read(jobs: Sequence[Job]) -> tuple[str, ...]:
    """Return the lines about the data of the jobs, each once. Raises ConfigError."""
    every = {repr(job.config.data): job.config.data for job in jobs}
    try:
        targets = [build(data.kind, data.options) for data in every.values()]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return tuple(dict.fromkeys(line for target in targets for line in target.notes))


def precision_notes_of(jobs: Sequence[Job], kind: str) -> tuple[str, ...]:
    """Return the lines about the jobs' precision on devices of a kind, each once."""
    lines = (line for job in jobs for line in precision_notes(job.config, kind))
    return tuple(dict.fromkeys(lines))


def trained_by_other_code(jobs: Sequence[Job]) -> tuple[str, ...]:
    """Return a line for each plugin file that has changed since jobs were trained with it."""
    if not plugin_files():
        return ()
    folders = [RunFolder(job.folder) for job in jobs if not job.config.overwrite]
    ended = [record for folder in folders if (record := folder.ended())]
    found = Counter(name for record in ended for name in changed_plugins(record.plugins or {}))
    return tuple(
        f"{name} has changed since {numbered(count, 'run')} of this sweep ended; --overwrite "
        "trains all afresh"
        for name, count in found.items()
    )


def runs_at_once(
    group: StackPlan, needed: Footprint, room: Callable[[], int], slots: Sequence[Slot]
) -> int:
    """Return the largest number of runs in a stack of a group.

    This is ``sweep.max_stack`` if set, else the number that fits the device and still lowers
    the time per run.
    """
    most = group.jobs[0].config.sweep.max_stack
    if most:
        return most
    on_cpu = any(slot.device == "cpu" for slot in slots)
    fitting = needed.runs_that_fit(room(), gpu=not on_cpu)
    return min(fitting, CPU_LIMIT if on_cpu else needed.runs_worth, bounds.REPEATS)


def launch(
    folder: Path, jobs: Sequence[Job], watcher: Watcher, plan: SweepPlan
) -> list[RunOutcome]:
    """Enter the jobs in sweep.json, train as planned, and return the outcome of every job.

    A run that never began is ``interrupted`` at the step of its checkpoint. Raises
    ConfigError before anything is trained.
    """
    add_jobs(folder, jobs, plan.divided())
    watcher = guarded(watcher)
    for line in plan.notes:
        watcher.say(line)
    watcher.begin(plan.stacks, plan.slots, finished=len(jobs) - len(plan.jobs))
    try:
        outcomes = plan.backend.run(plan.stacks, plan.slots, watcher) if plan.stacks else []
    finally:
        watcher.end()
    ended = {outcome.path: outcome for outcome in outcomes}
    return [ended.get(job.folder) or outcome_on_disk(job) for job in jobs]


class Interrupted(Exception):
    """A signal stopped the runs; their checkpoints are saved."""


def train_all(
    folder: Path, jobs: Sequence[Job], watcher: Watcher, choice: Choice = ("stack", {})
) -> None:
    """Train jobs to their end, each run once, whoever asks for it; finished ones are left.

    Diverged runs are results. Raises ConfigError for a run that failed, `Interrupted` if a
    signal stopped the training.
    """
    distinct = list({job.folder: job for job in jobs}.values())
    wait_while_ending([RunFolder(job.folder) for job in distinct], watcher.say)
    outcomes = launch(folder, distinct, watcher, plan_sweep(distinct, make_backend(*choice)))
    failed = [one for one in outcomes if not one.finished]
    if any(one.status in ("interrupted", "running") for one in failed):
        raise Interrupted(f"the runs in {folder} were interrupted")
    if failed:
        raise ConfigError(f"{failed[0].path} failed: {' '.join(failed[0].verdict)}")


LOOK_SECONDS = 0.5


def train_alone(job: Job) -> float:
    """Train one job as a stack of its own and return its objective, for other launchers.

    If another process trains the same run, wait for it first.
    """
    add_jobs(job.folder.parent, [job])
    while RunFolder(job.folder).holder():
        time.sleep(LOOK_SECONDS)
    from wganbench.training.runs import train_run  # the planning of a sweep needs no training

    return objective(job, train_run(job.config, job.folder))


def objective(job: Job, outcome: RunOutcome) -> float:
    """Return the value that an optimiser minimises: the final value of ``sweep.objective``.

    ``auto`` means the run's headline distance: exact W1, from dimension 4 on the energy distance,
    for images FID, or another one that was measured in its place. A run that did not complete, or
    has no such value, gets the worst: inf, or -inf for a tag that is better when higher.
    """
    wanted = job.config.sweep.objective
    if wanted == "auto":
        found = headline_distance(outcome.shape, outcome.metrics)
        wanted = found.name if found else ""
    worst = -math.inf if wanted and tag_for(wanted).direction == "up" else math.inf
    return outcome.metrics.get(wanted, worst) if outcome.status == "completed" else worst


def on_this_machine(config: RunConfig) -> tuple[RunConfig, list[str]]:
    """Return a configuration without devices that this machine lacks, and lines that say so."""
    lines = []
    if here_or_auto(config.device) != config.device:
        lines.append(f"device={config.device} is not found here: device=auto")
        config = replace(config, device="auto")
    wanted = config.sweep.devices
    names = [wanted] if isinstance(wanted, str) else wanted
    if any(here_or_auto(name) != name for name in names):
        lines.append(f"sweep.devices={as_override(wanted)} is not found here: sweep.devices=auto")
        config = replace(config, sweep=replace(config.sweep, devices="auto"))
    return config, lines


def resume_sweep(folder: Path, watcher: Watcher) -> tuple[list[Job], list[RunOutcome]]:
    """Train the unfinished runs of the sweep in a folder, on this machine. Raises ConfigError."""
    jobs, said = [], dict[str, None]()
    for job in map(without_overwrite, read_jobs(folder)):
        config, lines = on_this_machine(with_data(job.config, job.folder))
        jobs.append(replace(job, config=config))
        said |= dict.fromkeys(lines)
    for line in said:
        watcher.say(line)
    wait_while_ending([RunFolder(job.folder) for job in jobs], watcher.say)
    return jobs, launch(folder, jobs, watcher, plan_sweep(jobs, make_backend()))
