"""Rows and checkpoints of a stack's runs: written in the order of steps, however late an evaluation
is measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from wganbench.training.jobs import Evaluated
from wganbench.training.pool import Answer
from wganbench.training.recorder import Recorder

AHEAD = 2
"""Evaluations that training may be ahead of its rows."""


@dataclass(frozen=True)
class Logged:
    """What is written at a step: values of each run, None for one that is written no more, and
    what will come of its evaluation, None where none is due."""

    step: int
    values: Sequence[Mapping[str, float] | None]
    answers: Sequence[Answer[Evaluated] | None]

    @property
    def ready(self) -> bool:
        return all(answer is None or answer.ready for answer in self.answers)

    @property
    def evaluates(self) -> bool:
        return any(answer is not None for answer in self.answers)

    def write(self, recorders: Sequence[Recorder]) -> None:
        for recorder, values, answer in zip(recorders, self.values, self.answers, strict=True):
            if values is not None:
                evaluated = answer.get() if answer else None
                recorder.log(self.step, values, evaluated)


@dataclass(frozen=True)
class Saved:
    """Checkpoints, which are written once all rows of before are."""

    save: Callable[[], None]
    ready = True
    evaluates = False

    def write(self, recorders: Sequence[Recorder]) -> None:
        self.save()


@dataclass
class Rows:
    """What waits for evaluations; the only writer of a stack's rows."""

    recorders: Sequence[Recorder]
    _waiting: deque[Logged | Saved] = field(default_factory=deque)

    def add(self, due: Logged | Saved) -> None:
        """Take a step's rows or checkpoints, and write what can be written.

        Waits while more than `AHEAD` evaluations are not measured, or two checkpoints, each as
        large as the stack, are not written. Raises OSError.
        """
        self._waiting.append(due)
        while self._waiting and (self._waiting[0].ready or self._too_far()):
            self._waiting.popleft().write(self.recorders)

    def write_all(self) -> None:
        """Wait for every evaluation, and write everything. Raises OSError."""
        while self._waiting:
            self._waiting.popleft().write(self.recorders)

    def _too_far(self) -> bool:
        evaluations = sum(due.evaluates for due in self._waiting)
        saves = sum(isinstance(due, Saved) for due in self._waiting)
        return evaluations > AHEAD or saves > 1
