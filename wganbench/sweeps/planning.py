"""Which runs train together: jobs into stacks, in few sizes, cut to what fits."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wganbench.config.jobs import Job
from wganbench.records.folder import RunFolder
from wganbench.sweeps.ledger import planned
from wganbench.sweeps.slots import Slot
from wganbench.training.checkpoint import CheckpointError, newest_checkpoint
from wganbench.training.grouping import Places, as_places, place_of, static_settings
from wganbench.training.recorder import FINISHED

CPU_LIMIT = 16
"""Runs in a stack on a CPU. In longer ones a run of width 64 took longer, by 9 % at 32 and 25 % at
64; one of width 16 the same at 32 and 20 % longer at 64 (scripts/bench_sweep.py --only stacks, gp
in fp32, once each on an idle machine)."""

WORTH_DIVIDING = 0.1
"""By what share one more stack, which is compiled too, must shorten a sweep."""


@dataclass(frozen=True)
class StackPlan:
    """Jobs that train as one stack, and the step at which they all stand.

    ``places`` are those at which runs that have begun go on; None where all of them are new.
    """

    jobs: tuple[Job, ...]
    step: int
    places: Places | None = None

    @property
    def group(self) -> str:
        """What its runs share, as text: stacks of equal text run the same program."""
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
        """The stack with absolute folders, for a process that works in another one."""
        jobs = tuple(replace(job, folder=job.folder.resolve()) for job in self.jobs)
        return replace(self, jobs=jobs)

    def smaller(self) -> list[StackPlan]:
        """Stacks for one that did not fit: the same without empty places, or two halves; none
        of one run."""
        jobs, middle = tuple(kept(job) for job in self.jobs), len(self.jobs) // 2
        if self.places and self.places.size > len(jobs):
            return [together(jobs, self.step)]
        return [together(part, self.step) for part in (jobs[:middle], jobs[middle:]) if middle]

    def again(self) -> list[StackPlan]:
        """What is left of a stack whose worker died: its runs may stand at different steps."""
        return group_jobs(*unfinished([kept(job) for job in self.jobs]))


def together(jobs: tuple[Job, ...], step: int) -> StackPlan:
    """A stack of just these jobs, wherever they stood before."""
    return StackPlan(jobs, step, Places.all_of(len(jobs)))


def group_jobs(jobs: Sequence[Job], steps: Sequence[int], on: str = "") -> list[StackPlan]:
    """Jobs that may share a stack: equal static settings, equal step, in the order given.

    Runs that have begun, or were to begin ``on`` the same kind of device, come into stacks of
    the size that theirs had, each at its own place: elsewhere the last bits of some losses
    would be others.
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
    """The jobs that have something left to do, and the step each would go on from."""
    left, steps = [], []
    for job in jobs:
        if job.config.overwrite or not is_finished(job):
            left.append(job)
            steps.append(0 if job.config.overwrite else saved_step(job))
    return left, steps


def kept(job: Job) -> Job:
    """The job without ``overwrite``, which has been obeyed once."""
    return replace(job, config=replace(job.config, overwrite=False))


def is_finished(job: Job) -> bool:
    run = RunFolder(job.folder)
    return run.run_json.exists() and run.stored().status in FINISHED


def saved_step(job: Job) -> int:
    """Where the newest whole checkpoint stands; 0 where there is none that can be used."""
    try:
        checkpoint, _ = newest_checkpoint(RunFolder(job.folder).checkpoint)
    except CheckpointError:
        return 0
    return checkpoint.step if checkpoint else 0


def kind_of(slots: Sequence[Slot]) -> str:
    """What slots are: ``cpu``, or ``cuda`` where one of them is a GPU."""
    return "cpu" if all(slot.device == "cpu" for slot in slots) else "cuda"


def stack_sizes(runs: int, parts: int, limit: int) -> list[int]:
    """Sizes of the stacks of a group: ``parts`` of them, or more where ``limit`` asks for it,
    as equal as can be, so that few programs are compiled.

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
    """The stacks of a sweep, the costliest first.

    A group is divided as its share of the work asks for: one that is half of it over half
    of the slots. On CPU cores, where fewer runs take less time, it is divided further where
    cores would be idle at the end. ``limits`` holds, for each group of `group_jobs`, how many
    runs fit a device. A stack that has begun goes on as it is where it fits.
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
        # Dealt out by all but the seed, not cut: what a coefficient does to a run's cost (exact
        # distances take longer of a collapsed one) then weighs on every stack alike.
        hand = sorted(group.jobs, key=lambda job: repr(replace(job.config, seed=0)))
        for i in range(len(sizes)):
            part = tuple(hand[i :: len(sizes)])
            begun = group.places is not None
            stacks.append(together(part, group.step) if begun else StackPlan(part, group.step))
    return sorted(stacks, key=lambda stack: -stack.work)


def balanced(costs: Sequence[float], divided: list[list[int]], slots: int) -> list[list[int]]:
    """The sizes of each group's stacks, one stack more at a time while that shortens the sweep.

    ``costs`` are those of one run of each group, taken to be the same in stacks of any size.

    >>> balanced([1.0, 1.0, 1.0], [[10], [10], [10]], 2)
    [[5, 5], [10], [10]]
    """

    def until_all_end(sizes: list[list[int]]) -> float:
        """When the last slot is done, if each takes the longest stack that is left."""
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
