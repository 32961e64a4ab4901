"""Rows of a stack's runs: written in the order of steps, however late an evaluation is measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
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


@dataclass
class Rows:
    """The rows that wait for their evaluations; the only writer of a stack's rows."""

    recorders: Sequence[Recorder]
    _waiting: deque[Logged] = field(default_factory=deque)

    def add(self, logged: Logged) -> None:
        """Take a step's rows, and write what can be written.

        Waits while more than `AHEAD` evaluations are not measured. Raises OSError.
        """
        self._waiting.append(logged)
        while self._waiting and (self._waiting[0].ready or self._behind() > AHEAD):
            self._write(self._waiting.popleft())

    def write_all(self) -> None:
        """Wait for every evaluation, and write all rows. Raises OSError."""
        while self._waiting:
            self._write(self._waiting.popleft())

    def _behind(self) -> int:
        return sum(logged.evaluates for logged in self._waiting)

    def _write(self, logged: Logged) -> None:
        for recorder, values, answer in zip(
            self.recorders, logged.values, logged.answers, strict=True
        ):
            if values is not None:
                evaluated = answer.get() if answer else None
                recorder.log(logged.step, values, evaluated)
