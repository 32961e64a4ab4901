"""What becomes of the stacks that train somewhere: outcomes gathered, what broke given again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wganbench.config.jobs import Job
from wganbench.output import numbered
from wganbench.records.folder import RunFolder
from wganbench.sweeps.messages import Advanced, Busy, Ended, OutOfMemory, Refused, Said, Started
from wganbench.sweeps.planning import StackPlan, saved_step
from wganbench.sweeps.watcher import Watcher
from wganbench.training.outcome import RunOutcome
from wganbench.training.recorder import FINISHED
from wganbench.training.runs import finished_outcome

RETRIES = 2
"""How often a stack whose process or machine was lost is given to another."""


@dataclass
class Tally:
    """Takes what is told of every stack; answers with the stacks to train in its place."""

    watcher: Watcher
    outcomes: list[RunOutcome] = field(default_factory=list)
    _losses: dict[str, int] = field(default_factory=dict)

    def hear(self, number: int, stack: StackPlan, message: object) -> list[StackPlan] | None:
        """None while the stack trains on; once it does not, what is left to be done of it."""
        match message:
            case Started(steps, done, where):
                self.watcher.stack_started(number, stack, where, steps, done)
            case Advanced(step, values):
                self.watcher.stack_advanced(number, step, values)
            case Busy(words):
                self.watcher.stack_busy(number, words)
            case Said(line):
                self.watcher.say(line)
            case Ended(outcomes):
                # A machine of its own may know the folders by other names.
                self._end(
                    number,
                    [
                        replace(outcome, path=job.folder)
                        for outcome, job in zip(outcomes, stack.jobs, strict=True)
                    ],
                )
                return []
            case OutOfMemory(reason) if len(stack.jobs) > 1:
                self.watcher.say(
                    f"{len(stack.jobs)} runs do not fit their device: going on with half as "
                    f"many ({reason})"
                )
                self.watcher.stack_ended(number, [])
                return list(stack.halves())
            case OutOfMemory(reason) | Refused(reason):
                self._end(number, [failed(job.folder, reason) for job in stack.jobs])
                return []
        return None

    def lost(self, number: int, stack: StackPlan, how: str) -> list[StackPlan]:
        """What trained the stack is gone: its runs go on elsewhere, but not for ever."""
        name = stack.jobs[0].folder.name
        self._losses[name] = self._losses.get(name, 0) + 1
        if self._losses[name] > RETRIES:
            reason = f"what trained it was lost {self._losses[name]} times ({how})"
            self._end(number, [failed(job.folder, reason) for job in stack.jobs])
            return []
        left = numbered(len(stack.jobs), "run")
        self.watcher.say(f"{how}: {left} to go on from the last checkpoint")
        self.watcher.stack_ended(number, [])
        return stack.again()

    def _end(self, number: int, outcomes: Sequence[RunOutcome]) -> None:
        self.outcomes += outcomes
        self.watcher.stack_ended(number, outcomes)


def failed(path: Path, reason: str) -> RunOutcome:
    """The outcome of a run that could not be trained; what it saved before stays."""
    RunFolder(path).write_status(status="failed", error=reason)
    step = RunFolder(path).read().get("step") or 0
    return RunOutcome(path, "failed", step, {}, [f"{reason}."], 0.0)


def standing(job: Job) -> RunOutcome:
    """How a run stands on disk: its outcome when it has ended, else interrupted."""
    run = RunFolder(job.folder)
    if run.run_json.exists() and run.read()["status"] in (*FINISHED, "failed"):
        return finished_outcome(job.folder)
    return RunOutcome(job.folder, "interrupted", saved_step(job), {}, [], 0.0)
