"""A watcher that remembers what it was told of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wganbench.runs.folder import RunOutcome
from wganbench.sweeps.plan import Slot, StackPlan


class Seen:
    """Keeps what it is told; ``on_advance`` is called with a stack's number and step."""

    def __init__(self, on_advance: Callable[[int, int], None] | None = None) -> None:
        self.lines: list[str] = []
        self.ended: list[RunOutcome] = []
        self.advances: list[list[dict[str, float]]] = []
        self.started: list[tuple[int, str, int, int]] = []
        self.order: list[str] = []
        self.busy: list[tuple[int, str]] = []
        self.on_advance = on_advance

    def begin(self, stacks: Sequence[StackPlan], slots: Sequence[Slot], finished: int) -> None:
        self.begun = (len(stacks), len(slots), finished)

    def end(self) -> None:
        self.over = True

    def stack_started(
        self, number: int, stack: StackPlan, where: str, steps: int, done: int
    ) -> None:
        self.started.append((number, where, steps, done))
        self.order.append("started")

    def stack_advanced(self, number: int, step: int, values: list[dict[str, float]]) -> None:
        self.advances.append(values)
        if self.on_advance:
            self.on_advance(number, step)

    def stack_busy(self, number: int, words: str) -> None:
        self.busy.append((number, words))

    def stack_ended(self, number: int, outcomes: Sequence[RunOutcome]) -> None:
        self.ended += outcomes
        self.order.append("ended")

    def say(self, line: str) -> None:
        self.lines.append(line)
