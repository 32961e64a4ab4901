"""The division of jobs into stacks: of few sizes, each small enough for its device."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wganbench.config.jobs import Job
from wganbench.config.schema import static_settings
from wganbench.errors import ConfigError
from wganbench.runs.folder import RunFolder
from wganbench.runs.record import RUN_JSON
from wganbench.runs.stored import Places, as_places, place_of
from wganbench.sweeps.manifest import FILE, planned, read_jobs
from wganbench.training.checkpoint import CheckpointError, newest_checkpoint


# Slots: the places where stacks train at the same time, with one worker process each.
@dataclass(frozen=True)
class Slot:
    """A place for one stack: a device, and the number of CPU threads for its worker.

    ``cluster`` names the cluster; it is empty for this machine.
    """

    device: str
    threads: int
    cluster: str = ""


def local_slots(
    devices: str | Sequence[str],
    stacks_per_device: int,
    gpus: int,
    cores: int,
    key: str = "sweep.devices",
) -> list[Slot]:
    """Return the slots of this machine.

    Each GPU has ``stacks_per_device`` slots. A CPU has one slot per core with one thread each,
    because two stacks on two cores train faster than one stack on both. Raises ConfigError for
    a device that does not exist, naming the ``key`` that asks for it.

    >>> [slot.device for slot in local_slots("auto", 2, gpus=2, cores=8)]
    ['cuda:0', 'cuda:1', 'cuda:0', 'cuda:1']
    >>> [(slot.device, slot.threads) for slot in local_slots("cpu", 1, gpus=0, cores=2)]
    [('cpu', 1), ('cpu', 1)]
    """
    if devices == "auto":
        devices = [f"cuda:{i}" for i in range(gpus)] or ["cpu"]
    chosen: list[str] = []
    for name in [devices] if isinstance(devices, str) else devices:
        kind, _, index = name.partition(":")
        if kind == "cuda" and gpus == 0:
            raise ConfigError(f"{key}={name}: no CUDA GPU is found here; use cpu or auto")
        if name == "cuda":
            chosen += [f"cuda:{i}" for i in range(gpus)]
        elif name == "cpu":
            chosen.append(name)
        elif kind == "cuda" and index.isdecimal() and int(index) < gpus:
            chosen.append(f"cuda:{int(index)}")
        elif kind == "cuda" and index.isdecimal():
            raise ConfigError(f"{key}={name}: this machine has {gpus} GPU(s), numbered from cuda:0")
        else:
            raise ConfigError(f"{key}={name} is no device; use auto, cpu, cuda or cuda:0")
    unique = list(dict.fromkeys(chosen))
    if not unique:
        raise ConfigError(f"{key} is empty; use auto, cpu, cuda or [cuda:0,cuda:1]")
    threads = max(1, cores // (max(1, len(unique)) * stacks_per_device))
    devices = [device for device in unique if device != "cpu"]
    slots = [Slot(d, threads) for _ in range(stacks_per_device if devices else 0) for d in devices]
    return slots + [Slot("cpu", 1)] * (cores if "cpu" in unique else 0)


CPU_LIMIT = 16
"""The largest number of runs in a stack on a CPU.

In larger stacks a run of width 64 took longer: 9 % with 32 runs, 25 % with 64. A run of width 16
took the same with 32 and 20 % longer with 64 (scripts/bench_sweep.py --only stacks, gp in fp32,
measured once each on an idle machine)."""

WORTH_DIVIDING = 0.1
"""The share by which one more stack must shorten a sweep, since it has to be compiled too."""


@dataclass(frozen=True)
class StackPlan:
    """Jobs that train as one stack, and the step from which all of them continue.

    ``places`` holds the places of runs in the stack; None if the runs may take any.
    """

    jobs: tuple[Job, ...]
    step: int
    places: Places | None = None

    @property
    def group(self) -> str:
        """The static settings of its runs as text; stacks of equal text run the same program."""
        return json.dumps(static_settings(self.jobs[0].config), sort_keys=True)

    @property
    def steps_left(self) -> int:
        return self.jobs[0].config.train.steps - self.step

    @property
    def work(self) -> int:
        """Critic steps left, over all runs."""
        runs = self.places.size if self.places else len(self.jobs)
        return runs * self.steps_left * self.jobs[0].config.loss.n_critic

    def resolved(self) -> StackPlan:
        """Return the stack with absolute folders, for a process with another working folder."""
        jobs = tuple(replace(job, folder=job.folder.resolve()) for job in self.jobs)
        return replace(self, jobs=jobs)

    def smaller(self) -> list[StackPlan]:
        """Return the stacks that replace one that did not fit its device.

        These are the same runs without empty places, or two halves. A stack of one run cannot be
        divided: the list is empty.
        """
        jobs, middle = tuple(without_overwrite(job) for job in self.jobs), len(self.jobs) // 2
        if self.places and self.places.size > len(jobs):
            return [one_stack(jobs, self.step)]
        return [one_stack(part, self.step) for part in (jobs[:middle], jobs[middle:]) if middle]

    def remaining(self) -> list[StackPlan]:
        """Return stacks of the unfinished runs after a lost worker; their steps may differ."""
        return group_jobs(*unfinished([without_overwrite(job) for job in self.jobs]))


def one_stack(jobs: tuple[Job, ...], step: int) -> StackPlan:
    """Return a stack of exactly these jobs, without regard to their earlier places."""
    return StackPlan(jobs, step, Places.all_of(len(jobs)))


def group_jobs(jobs: Sequence[Job], steps: Sequence[int], on: str = "") -> list[StackPlan]:
    """Group jobs of equal static settings and equal step into stacks, in the order given.

    Runs that have begun, or were planned ``on`` the same kind of device, go into stacks of their
    earlier size, each at its earlier place. In another place the last bits of some losses would
    differ.
    """
    plans = {folder: planned(folder) for folder in {job.folder.parent for job in jobs}}
    groups: dict[tuple[str, int, int], list[dict[int, Job]]] = {}
    for job, step in zip(jobs, steps, strict=True):
        places = None if job.config.overwrite else place_of(RunFolder(job.folder))
        plan = plans[job.folder.parent].get(job.folder.name, {})
        if places is None and not job.config.overwrite and on in ("", plan.get("on")):
            places = as_places(plan)
        key = (StackPlan((job,), step).group, step, places.size if places else 0)
        stacks = groups.setdefault(key, [{}])
        place = places.own[0] if places else len(stacks[0])
        stack = next((stack for stack in stacks if place not in stack), None)
        if stack is None:
            stacks.append(stack := {})
        stack[place] = job
    return [
        StackPlan(tuple(stack.values()), step, Places(size, tuple(stack)) if size else None)
        for (_, step, size), stacks in groups.items()
        for stack in stacks
    ]


def unfinished(jobs: Sequence[Job]) -> tuple[list[Job], list[int]]:
    """Return the unfinished jobs and the step from which each continues."""
    left, steps = [], []
    for job in jobs:
        if job.config.overwrite or not is_finished(job):
            left.append(job)
            steps.append(0 if job.config.overwrite else saved_step(job))
    return left, steps


def without_overwrite(job: Job) -> Job:
    """Return the job without ``overwrite``, which must take effect only once."""
    return replace(job, config=replace(job.config, overwrite=False))


def is_finished(job: Job) -> bool:
    return RunFolder(job.folder).ended() is not None


def saved_step(job: Job) -> int:
    """Return the step of the newest usable checkpoint; 0 without one."""
    try:
        checkpoint, _ = newest_checkpoint(RunFolder(job.folder).checkpoint)
    except CheckpointError:
        return 0
    return checkpoint.step if checkpoint else 0


def kind_of(slots: Sequence[Slot]) -> str:
    """Return the kind of the slots: ``cuda`` if any of them is a GPU, else ``cpu``."""
    return "cpu" if all(slot.device == "cpu" for slot in slots) else "cuda"


def stack_sizes(runs: int, parts: int, limit: int) -> list[int]:
    """Return the sizes of a group's stacks: at least ``parts`` stacks, none above ``limit``.

    The sizes are as equal as possible, so that few programs are compiled.

    >>> stack_sizes(32, 2, 32), stack_sizes(10, 4, 8), stack_sizes(3, 8, 8), stack_sizes(100, 1, 32)
    ([16, 16], [3, 3, 2, 2], [1, 1, 1], [25, 25, 25, 25])
    """
    count = min(runs, max(parts, math.ceil(runs / limit)))
    small, larger = divmod(runs, count)
    return [small + 1] * larger + [small] * (count - larger)


def plan_stacks(
    jobs: Sequence[Job],
    steps: Sequence[int],
    slots: Sequence[Slot],
    limits: Sequence[int] | None = None,
) -> list[StackPlan]:
    """Return the stacks of a sweep, the costliest first.

    A group with half of the work is divided over half of the slots. On CPU cores, where a stack
    of fewer runs takes less time, groups are divided further if cores would be idle at the end.
    ``limits`` holds the largest number of runs in a stack for each group of `group_jobs`. A stack
    that has begun continues undivided if it fits.
    """
    found = group_jobs(jobs, steps, kind_of(slots))
    whole = sum(group.work for group in found)
    stacks, groups, divided = [], [], []
    for group, limit in zip(found, limits or [CPU_LIMIT] * len(found), strict=True):
        if group.places and group.places.size <= limit:
            stacks.append(group)
            continue
        parts = math.ceil(len(slots) * group.work / whole) if whole else 1
        groups.append(group)
        divided.append(stack_sizes(len(group.jobs), parts, limit))
    if all(slot.device == "cpu" and not slot.cluster for slot in slots):
        divided = balanced([g.work / len(g.jobs) for g in groups], divided, len(slots))
    for group, sizes in zip(groups, divided, strict=True):
        # Runs are dealt out in the order of all settings but the seed. A coefficient that makes
        # runs slower (exact distances of a collapsed run take longer) then slows all stacks alike.
        hand = sorted(group.jobs, key=lambda job: repr(replace(job.config, seed=0)))
        for i in range(len(sizes)):
            part = tuple(hand[i :: len(sizes)])
            begun = group.places is not None
            stacks.append(one_stack(part, group.step) if begun else StackPlan(part, group.step))
    return sorted(stacks, key=lambda stack: -stack.work)


def balanced(costs: Sequence[float], divided: list[list[int]], slots: int) -> list[list[int]]:
    """Return the stack sizes of each group, divided further while that shortens the sweep.

    One stack is added at a time. ``costs`` holds the cost of one run of each group, which is
    assumed to be the same in stacks of any size.

    >>> balanced([1.0, 1.0, 1.0], [[10], [10], [10]], 2)
    [[5, 5], [10], [10]]
    """

    def until_all_end(sizes: list[list[int]]) -> float:
        """Return the time at which the last slot ends, if each takes the longest stack left."""
        ends = [0.0] * slots
        for work in sorted((c * n for c, own in zip(costs, sizes, strict=True) for n in own))[::-1]:
            ends[ends.index(min(ends))] += work
        return max(ends)

    ideal = sum(c * sum(own) for c, own in zip(costs, divided, strict=True)) / slots
    while (1 - WORTH_DIVIDING) * until_all_end(divided) > ideal:
        finer = [
            [*divided[:i], stack_sizes(sum(own), len(own) + 1, max(own)), *divided[i + 1 :]]
            for i, own in enumerate(divided)
            if len(own) < sum(own)
        ]
        best = min(finer, key=until_all_end, default=divided)
        if until_all_end(best) > (1 - WORTH_DIVIDING) * until_all_end(divided):
            break
        divided = best
    return divided


# Sweeps and single runs to resume in and below a folder.
def resumable(folder: Path) -> tuple[list[Path], int]:
    """Return the unfinished runs and sweeps in and below a folder, and the number of finished ones.

    A sweep is listed instead of its runs. Links are not followed. An unreadable run or sweep
    counts as unfinished, so that resuming it shows the reason. Raises ConfigError if there are
    neither runs nor sweeps.
    """
    left: list[Path] = []
    finished = 0
    of_sweeps: set[Path] = set()
    for place, names, files in os.walk(folder):
        path = Path(place)
        names.sort()
        if FILE in files:
            complete, runs = sweep_is_finished(path)
            of_sweeps |= runs
            left += [] if complete else [path]
            finished += complete
        elif RUN_JSON in files:
            names.clear()
            if path not in of_sweeps:
                complete = run_is_finished(path)
                left += [] if complete else [path]
                finished += complete
    if not left and not finished:
        raise ConfigError(f"no run at {folder}, nor below it: give the folder of a run or a sweep")
    return left, finished


def sweep_is_finished(folder: Path) -> tuple[bool, set[Path]]:
    """Return whether all runs of a sweep are finished, and the folders of its runs."""
    try:
        jobs = read_jobs(folder)
        return not unfinished(jobs)[0], {job.folder for job in jobs}
    except (ValueError, OSError):
        return False, set()


def run_is_finished(folder: Path) -> bool:
    try:
        record = RunFolder(folder).ended()
        return record is not None and record.config is not None
    except (ValueError, OSError):
        return False
