"""The display of training in a notebook: one output of a cell, replaced while training goes on."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from wganbench.cli.console import PlainConsole
from wganbench.cli.run_view import RunView, summary
from wganbench.cli.sweep_view import SweepView, in_words
from wganbench.errors import printable

if TYPE_CHECKING:
    from wganbench.runs.folder import RunOutcome

EVERY_SECONDS = 0.5
"""Least time between two pictures of a cell."""

TABLE_WIDTH = 100
"""Characters of a line of a table."""


class Cell:
    """An output of a notebook's cell whose content, HTML, can be replaced.

    Between two replacements there are `EVERY_SECONDS` at least, unless ``now``.
    """

    def __init__(self) -> None:
        self._display: Any = importlib.import_module("IPython.display")
        self._handle: Any = self._display.display(self._display.HTML(""), display_id=True)
        self._shown = 0.0

    def show(self, content: Callable[[], str], now: bool = False) -> None:
        if now or time.monotonic() - self._shown >= EVERY_SECONDS:
            self._shown = time.monotonic()
            self._handle.update(self._display.HTML(content()))


class RunCell(RunView):
    """Progress of one stack of runs: a bar with step, figures and time left."""

    def start(self, steps: int, done: int) -> None:
        self._steps, self._first, self._step = steps, done, done
        self._began = time.monotonic()
        self._words = "preparing"
        self._cell = Cell()
        self._cell.show(self._content, now=True)

    def progress(self, step: int, values: Sequence[Mapping[str, float]]) -> None:
        self._step, self._figures, self._words = step, summary(values), ""
        self._cell.show(self._content)

    def phase(self, words: str) -> None:
        self._words = words
        self._cell.show(self._content, now=True)

    def stop(self) -> None:
        self._words = ""
        self._cell.show(self._content, now=True)

    def _content(self) -> str:
        parts = [f"step {self._step}/{self._steps}", self._figures, self._words, self._left()]
        words = escape(printable("  ".join(filter(None, parts))))
        return (
            f'<progress max="{self._steps}" value="{self._step}" style="width: 30%"></progress> '
            f'<code style="white-space: pre">{words}</code>'
        )

    def _left(self) -> str:
        done, left = self._step - self._first, self._steps - self._step
        if not done or not left:
            return ""
        return f"about {in_words((time.monotonic() - self._began) * left / done)} left"


class SweepCell(SweepView):
    """Progress of a sweep: the table that a terminal shows."""

    def _begin_live(self) -> None:
        self._live = self._cell = TableCell(self._table)

    def stack_advanced(self, number: int, step: int, values: list[dict[str, float]]) -> None:
        super().stack_advanced(number, step, values)
        self._cell.refresh()

    def stack_busy(self, number: int, words: str) -> None:
        super().stack_busy(number, words)
        self._cell.refresh()

    def stack_ended(self, number: int, outcomes: Sequence[RunOutcome]) -> None:
        super().stack_ended(number, outcomes)
        self._cell.refresh()


class TableCell(Cell):
    """A cell that shows what Rich can render."""

    def __init__(self, content: Callable[[], RenderableType]) -> None:
        super().__init__()
        self._rendered = content
        self.show(self._html, now=True)

    def refresh(self) -> None:
        self.show(self._html)

    def stop(self) -> None:
        self.show(self._html, now=True)

    def _html(self) -> str:
        console = PlainConsole(width=TABLE_WIDTH, color_system=None, force_jupyter=False)
        with console.capture() as captured:
            console.print(self._rendered())
        return f"<pre>{escape(captured.get())}</pre>"
