"""A sweep from its jobs to its outcomes: what is left to do, the plan, the devices."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from wganbench.config.errors import ConfigError
from wganbench.config.jobs import Job
from wganbench.config.schema import RunConfig
from wganbench.records.folder import RunFolder
from wganbench.sweeps.footprint import Footprint, footprint
from wganbench.sweeps.ledger import add_jobs, check_alike, read_jobs
from wganbench.sweeps.local import Pool, Watcher
from wganbench.sweeps.planning import (
    CPU_LIMIT,
    StackPlan,
    group_jobs,
    kept,
    plan_stacks,
    saved_step,
    unfinished,
)
from wganbench.sweeps.slots import Slot, available_cores, local_slots
from wganbench.training.finish import RunOutcome
from wganbench.training.recorder import FINISHED
from wganbench.training.runs import finished_outcome, train_run


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will do: stacks over slots; the footprint of each group of like runs."""

    jobs: tuple[Job, ...]
    stacks: tuple[StackPlan, ...]
    slots: tuple[Slot, ...]
    footprints: dict[str, Footprint]

    def footprint_of(self, stack: StackPlan) -> Footprint:
        return self.footprints[stack.group]


def check_sweep(folder: Path, jobs: Sequence[Job]) -> None:
    """Whether the jobs can be a sweep in a folder; writes nothing. Raises ConfigError."""
    ((folder_of_most, count),) = Counter(job.folder for job in jobs).most_common(1)
    if count > 1:
        raise ConfigError(f"two jobs of the sweep are the same run: {folder_of_most.name}")
    check_alike(folder, read_jobs(folder), jobs)


def slots_for(config: RunConfig) -> list[Slot]:
    """The slots of this machine that a sweep's settings ask for. Raises ConfigError."""
    devices = config.sweep.devices if config.device == "auto" else config.device
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return local_slots(devices, config.sweep.stacks_per_device, gpus, available_cores())


def plan_sweep(jobs: Sequence[Job]) -> SweepPlan:
    """The plan for what the jobs have left to do. Raises ConfigError."""
    left, steps = unfinished(jobs)
    slots = slots_for(jobs[0].config)
    groups = group_jobs(left, steps)
    footprints = {}
    for group in groups:
        if group.group not in footprints:
            try:
                footprints[group.group] = footprint(group.jobs[0].config)
            except ValueError as error:
                raise ConfigError(str(error)) from error
    free = min(free_bytes(slot, slots) for slot in slots)
    limits = [runs_at_once(group, footprints[group.group], free, slots) for group in groups]
    return SweepPlan(
        tuple(left), tuple(plan_stacks(left, steps, slots, limits)), tuple(slots), footprints
    )


def runs_at_once(group: StackPlan, needed: Footprint, free: int, slots: Sequence[Slot]) -> int:
    """How many runs of a group a stack may have: those that fit, or ``sweep.max_stack``."""
    most = group.jobs[0].config.sweep.max_stack
    if most:
        return most
    fitting = needed.runs_that_fit(free)
    return min(fitting, CPU_LIMIT) if any(slot.device == "cpu" for slot in slots) else fitting


def free_bytes(slot: Slot, slots: Sequence[Slot]) -> int:
    """Memory that a stack in a slot can count on, its share where others use the same device."""
    sharing = sum(other.device == slot.device for other in slots)
    if slot.device == "cpu":
        pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return int(pages) // sharing
    free, _ = torch.cuda.mem_get_info(slot.device)
    return int(free) // sharing


def launch_local(
    folder: Path, jobs: Sequence[Job], watcher: Watcher, plan: SweepPlan | None = None
) -> list[RunOutcome]:
    """Enter the jobs in sweep.json, train what is left, and tell how all of them ended.

    ``plan`` is that of `plan_sweep` where it was made already. A run that never began is
    ``interrupted`` at the step of its checkpoint. Raises ConfigError before anything is
    trained.
    """
    plan = plan or plan_sweep(jobs)
    add_jobs(folder, jobs)
    watcher.begin(plan.stacks, plan.slots, finished=len(jobs) - len(plan.jobs))
    try:
        ended = {o.path: o for o in Pool(plan.slots, watcher).run(plan.stacks)}
    finally:
        watcher.end()
    return [ended.get(job.folder) or standing(job) for job in jobs]


def standing(job: Job) -> RunOutcome:
    """How a run stands on disk: its outcome when it has ended, else interrupted."""
    run = RunFolder(job.folder)
    if run.run_json.exists() and run.read()["status"] in (*FINISHED, "failed"):
        return finished_outcome(job.folder)
    return RunOutcome(job.folder, "interrupted", saved_step(job), {}, [], 0.0)


def train_alone(job: Job) -> float:
    """One job as a stack of its own, for launchers that are not ours."""
    add_jobs(job.folder.parent, [job])
    return objective(job, train_run(job.config, job.folder))


def objective(job: Job, outcome: RunOutcome) -> float:
    """What an optimiser minimises: the final value of ``sweep.objective``; inf without one."""
    return outcome.metrics.get(job.config.sweep.objective, math.inf)


def resume_sweep(folder: Path, watcher: Watcher) -> tuple[list[Job], list[RunOutcome]]:
    """Finish what the sweep in a folder left undone. Raises ConfigError."""
    jobs = [kept(job) for job in read_jobs(folder)]
    return jobs, launch_local(folder, jobs, watcher)
