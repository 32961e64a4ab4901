"""How many threads our C++ uses: as many as pay on a machine that others use too."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 0.1
"""Seconds of iterations whose mean is compared: several turns of the system's scheduler."""

BETTER = 0.9
"""Another number of threads is taken when an iteration needs less than this share of the time."""

FIRST, LONGEST = 0.5, 16.0
"""Seconds between two trials: at first, and after trials that have not paid."""


@dataclass
class Threads:
    """The number of threads, found by trying fewer and more of them now and then.

    The threads of a run wait for each other several times in an iteration. One that shares its
    core with another program holds up all of them, so that fewer are then faster: on two cores,
    one of which was busy, two threads took four times as long as one. ``most`` is the number
    to begin with.
    """

    most: int

    def __post_init__(self) -> None:
        self._count, self._trial, self._trials = self.most, 0, 0
        self._base = 0.0
        self._interval = self._left = FIRST
        self._iterations, self._seconds = 0, 0.0

    def now(self, spared: int = 0) -> int:
        """Return the number for the next iteration, if ``spared`` of the cores are needed."""
        return max(1, min(self._trial or self._count, self.most - spared))

    def took(self, threads: int, seconds: float) -> None:
        """Note how long an iteration took."""
        if self.most == 1:
            return
        if threads != (self._trial or self._count):  # others needed cores
            self._iterations, self._seconds = 0, 0.0
            return
        self._iterations += 1
        self._seconds += seconds
        if self._seconds < WINDOW:
            return
        mean, spent = self._seconds / self._iterations, self._seconds
        self._iterations, self._seconds = 0, 0.0
        if self._trial:
            self._decide(mean)
            return
        self._base = mean
        self._left -= spent
        if self._left <= 0:
            self._try()

    def _try(self) -> None:
        """Begin the next trial: half, one fewer, one more and twice the number take turns."""
        count = self._count
        numbers = dict.fromkeys((count // 2, count - 1, count + 1, min(2 * count, self.most)))
        possible = [n for n in numbers if 1 <= n <= self.most and n != count]
        self._trial = possible[self._trials % len(possible)]
        self._trials += 1

    def _decide(self, mean: float) -> None:
        """Take the tried number if it was faster; else wait longer until the next trial."""
        if mean < BETTER * self._base:
            self._count, self._interval = self._trial, FIRST
        else:
            self._interval = min(2 * self._interval, LONGEST)
        self._trial, self._left = 0, self._interval
