"""What a worker tells the process that started it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wganbench.records.live import told
from wganbench.training.outcome import RunOutcome


@dataclass(frozen=True)
class Started:
    """Training of a stack begins, ``done`` of its steps done, on a device of some machine."""

    steps: int
    done: int
    where: str


@dataclass(frozen=True)
class Advanced:
    """A stack is at a step; the latest values of each of its runs that a view shows."""

    step: int
    values: list[dict[str, float]]


@dataclass(frozen=True)
class Busy:
    """What a stack does beside training, which takes long; empty once it is over."""

    words: str


@dataclass(frozen=True)
class Said:
    """A line for the person."""

    line: str


@dataclass(frozen=True)
class Ended:
    """How the runs of a stack ended."""

    outcomes: list[RunOutcome]


@dataclass(frozen=True)
class OutOfMemory:
    """The stack did not fit its device."""

    message: str


@dataclass(frozen=True)
class Refused:
    """The stack could not be trained: a folder in use, a damaged checkpoint, a defect."""

    message: str


Message = Started | Advanced | Busy | Said | Ended | OutOfMemory | Refused


class TellingView:
    """The view of a stack that trains in a worker: it tells instead of showing."""

    def __init__(self, tell: Callable[[Message], Any], where: str) -> None:
        self.tell, self.where = tell, where

    def start(self, steps: int, done: int) -> None:
        self.tell(Started(steps, done, self.where))

    def progress(self, step: int, values: Sequence[Mapping[str, float]]) -> None:
        self.tell(Advanced(step, [told(run) for run in values]))

    def phase(self, words: str) -> None:
        self.tell(Busy(words))

    def say(self, line: str) -> None:
        self.tell(Said(line))

    def stopping(self) -> None:
        """The process that started it asked for that, and has said so."""

    def stop(self) -> None:
        """Nothing to take away."""
