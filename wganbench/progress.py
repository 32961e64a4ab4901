"""What a person sees while a run trains: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

PLAIN_EVERY_SECONDS = 5.0
"""How often a line is printed where there is no terminal."""


LATEST: tuple[tuple[str, str, Callable[[list[float]], float]], ...] = (
    ("modes {:.0f}", "modes/covered", min),
    ("W1 {:.3g}", "wasserstein/exact", max),
    ("FID {:.2f}", "fidelity/fid", max),
    ("{:.4g} steps/s", "speed/steps_per_second", max),
)
"""What is shown of a stack while it trains: words, tag, which of its runs."""


class RunView:
    """Live progress of one stack of runs on a console.

    In a terminal a bar with step, modes, W1 (of pictures FID), steps per second and time
    left; elsewhere a line every few seconds and at the end.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._bar: Progress | None = None
        self._steps = 0
        self._printed = 0.0

    def start(self, steps: int, done: int) -> None:
        """Training begins at step ``done`` of ``steps``."""
        self._steps = steps
        self._printed = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(*_columns(), console=self.console)
            self._task = self._bar.add_task("", total=steps, completed=done, figures="preparing")
            self._bar.start()

    def progress(self, step: int, values: Sequence[Mapping[str, float]]) -> None:
        """The stack is at ``step``; ``values`` are each run's latest by tag."""
        figures = summary(values)
        if self._bar:
            self._bar.update(self._task, completed=step, figures=figures)
        elif step == self._steps or time.monotonic() - self._printed > PLAIN_EVERY_SECONDS:
            self._printed = time.monotonic()
            self.console.print(f"step {step}/{self._steps}  {figures}", highlight=False)

    def say(self, line: str) -> None:
        """One line for the person, above the bar."""
        if self._bar and line == "measuring the result":
            self._bar.update(self._task, figures=line)
        else:
            (self._bar.console if self._bar else self.console).print(
                line, highlight=False, markup=False, soft_wrap=True
            )

    def stop(self) -> None:
        """Take the bar away; harmless when there is none."""
        if self._bar:
            self._bar.stop()
            self._bar = None


def summary(values: Sequence[Mapping[str, float]]) -> str:
    """The latest figures in a few words: the worst run's modes, W1 and FID, the speed.

    >>> summary([{"modes/covered": 8, "fidelity/fid": 1.5}, {"modes/covered": 7}])
    'modes 7  FID 1.50'
    """
    parts = []
    for words, tag, choose in LATEST:
        if found := [run[tag] for run in values if tag in run]:
            parts.append(words.format(choose(found)))
    return "  ".join(parts)


def _columns() -> list[ProgressColumn]:
    return [
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(compact=True),
    ]
