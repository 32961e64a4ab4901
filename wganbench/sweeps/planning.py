"""Which runs train together: jobs into stacks, in few sizes, cut to what fits."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wganbench.config.jobs import Job
from wganbench.records.folder import RunFolder
from wganbench.sweeps.slots import Slot
from wganbench.training.checkpoint import CheckpointError, newest_checkpoint
from wganbench.training.grouping import static_settings
from wganbench.training.recorder import FINISHED

CPU_LIMIT = 16
"""Runs in a stack on a CPU. In longer ones a run of width 64 took longer, by 9 % at 32 and 25 % at
64; one of width 16 the same at 32 and 20 % longer at 64 (scripts/bench_sweep.py --only stacks, gp
in fp32, once each on an idle machine)."""

WORTH_DIVIDING = 0.1
"""By what share one more stack, which is compiled too, must shorten a sweep."""


@dataclass(frozen=True)
class StackPlan:
    """Jobs that train as one stack, and the step at which they all stand."""

    jobs: tuple[Job, ...]
    step: int

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
        return len(self.jobs) * self.steps_left * self.jobs[0].config.loss.n_critic

    def resolved(self) -> StackPlan:
        """The stack with absolute folders, for a process that works in another one."""
        jobs = tuple(replace(job, folder=job.folder.resolve()) for job in self.jobs)
        return StackPlan(jobs, self.step)

    def halves(self) -> tuple[StackPlan, StackPlan]:
        """Two stacks for one that did not fit."""
        jobs, middle = tuple(kept(job) for job in self.jobs), len(self.jobs) // 2
        return StackPlan(jobs[:middle], self.step), StackPlan(jobs[middle:], self.step)

    def again(self) -> list[StackPlan]:
        """What is left of a stack whose worker died: its runs may stand at different steps."""
        return group_jobs(*unfinished([kept(job) for job in self.jobs]))


def group_jobs(jobs: Sequence[Job], steps: Sequence[int]) -> list[StackPlan]:
    """Jobs that may share a stack: equal static settings, equal step, in the order given."""
    groups: dict[tuple[str, int], list[Job]] = {}
    for job, step in zip(jobs, steps, strict=True):
        groups.setdefault((StackPlan((job,), step).group, step), []).append(job)
    return [StackPlan(tuple(members), step) for (_, step), members in groups.items()]


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
    runs fit a device.
    """
    groups = group_jobs(jobs, steps)
    limits = limits or [CPU_LIMIT] * len(groups)
    whole = sum(group.work for group in groups)
    divided = [
        stack_sizes(len(g.jobs), math.ceil(len(slots) * g.work / whole) if whole else 1, limit)
        for g, limit in zip(groups, limits, strict=True)
    ]
    if all(slot.device == "cpu" and not slot.cluster for slot in slots):
        divided = balanced([g.work / len(g.jobs) for g in groups], divided, len(slots))
    stacks = []
    for group, sizes in zip(groups, divided, strict=True):
        # Dealt out by all but the seed, not cut: what a coefficient does to a run's cost (exact
        # distances take longer of a collapsed one) then weighs on every stack alike.
        hand = sorted(group.jobs, key=lambda job: repr(replace(job.config, seed=0)))
        for i in range(len(sizes)):
            stacks.append(StackPlan(tuple(hand[i :: len(sizes)]), group.step))
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
