"""What shows a person how a sweep goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wganbench.sweeps.planning import StackPlan
from wganbench.sweeps.slots import Slot
from wganbench.training.outcome import RunOutcome

SAVING_ALL = "stopping: saving every run; Ctrl-C again ends at once without saving"
"""The answer to the first Ctrl-C where the workers are this process's own."""

SAVING_ELSEWHERE = "stopping: every run is asked to save; Ctrl-C again ends without waiting"
"""The answer where they are a cluster's: they save and end also when nobody waits."""


class Watcher(Protocol):
    """Is told what happens; a stack that trains has a number until it ends."""

    def begin(self, stacks: Sequence[StackPlan], slots: Sequence[Slot], finished: int) -> None: ...

    def end(self) -> None: ...

    def stack_started(
        self, number: int, stack: StackPlan, where: str, steps: int, done: int
    ) -> None: ...

    def stack_advanced(self, number: int, step: int, values: list[dict[str, float]]) -> None: ...

    def stack_busy(self, number: int, words: str) -> None: ...

    def stack_ended(self, number: int, outcomes: Sequence[RunOutcome]) -> None: ...

    def say(self, line: str) -> None: ...


class Silent:
    """Shows nothing."""

    def begin(self, stacks: Sequence[StackPlan], slots: Sequence[Slot], finished: int) -> None: ...

    def end(self) -> None: ...

    def stack_started(
        self, number: int, stack: StackPlan, where: str, steps: int, done: int
    ) -> None: ...

    def stack_advanced(self, number: int, step: int, values: list[dict[str, float]]) -> None: ...

    def stack_busy(self, number: int, words: str) -> None: ...

    def stack_ended(self, number: int, outcomes: Sequence[RunOutcome]) -> None: ...

    def say(self, line: str) -> None: ...
