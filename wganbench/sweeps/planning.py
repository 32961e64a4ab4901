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
"""Runs in a stack on a CPU: in a longer one a run took longer, by 4 to 30 % at 32 and 20 to 50 %
at 64 (scripts/bench_sweep.py --only stacks, gp in fp32, widths 16 to 128, once each)."""


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
    return run.run_json.exists() and run.read()["status"] in FINISHED


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
    of the slots. ``limits`` holds, for each group of `group_jobs`, how many runs fit a
    device.
    """
    groups = group_jobs(jobs, steps)
    limits = limits or [CPU_LIMIT] * len(groups)
    whole = sum(group.work for group in groups)
    stacks = []
    for group, limit in zip(groups, limits, strict=True):
        parts = math.ceil(len(slots) * group.work / whole) if whole else 1
        first = 0
        for size in stack_sizes(len(group.jobs), max(1, parts), limit):
            stacks.append(StackPlan(group.jobs[first : first + size], group.step))
            first += size
    return sorted(stacks, key=lambda stack: -stack.work)
