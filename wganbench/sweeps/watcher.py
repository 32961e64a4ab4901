"""What shows a person how a sweep goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wganbench.sweeps.planning import StackPlan
from wganbench.sweeps.slots import Slot
from wganbench.training.outcome import RunOutcome


class Watcher(Protocol):
    """Is told what happens; a stack that trains has a number until it ends."""

    def begin(self, stacks: Sequence[StackPlan], slots: Sequence[Slot], finished: int) -> None: ...

    def end(self) -> None: ...

    def stack_started(
        self, number: int, stack: StackPlan, where: str, steps: int, done: int
    ) -> None: ...

    def stack_advanced(self, number: int, step: int, values: list[dict[str, float]]) -> None: ...

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

    def stack_ended(self, number: int, outcomes: Sequence[RunOutcome]) -> None: ...

    def say(self, line: str) -> None: ...
