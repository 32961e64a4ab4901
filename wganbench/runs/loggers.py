"""Trackers of the user: each gets a run's settings, values and figures while it trains.

A package names, as the entry point ``wganbench.loggers``, a function without arguments that
calls `register_logger`; a plugin file calls it when it is run. A logger that fails
leaves a note in the run's verdict; it never ends the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wganbench.errors import ConfigError, note_of
from wganbench.files import RunBusy, RunLock, UnusableFile, cache_folder
from wganbench.registry import Registry
from wganbench.runs.record import Status
from wganbench.typed import flatten


@dataclass(frozen=True)
class LoggedRun:
    """A run for a logger: its name and folder, its experiment, its settings by dotted key.

    ``step`` is above 0 if the run goes on from a checkpoint; later steps may then come again.
    """

    name: str
    folder: Path
    experiment: str
    settings: Mapping[str, Any]
    step: int


class Logger(Protocol):
    """What receives one run. Its methods are called one at a time, from several threads."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step by tag; nan and inf are among them."""

    def figure(self, name: str, file: Path) -> None:
        """Take a figure of the finished run, a PNG file."""

    def close(self, status: Status, values: Mapping[str, float]) -> None:
        """Take the final values, and how the run ended.

        The status is completed, diverged, failed or interrupted.
        """


Open = Callable[[LoggedRun], Logger]
LOGGERS: Registry[Open] = Registry("loggers")


def register_logger(name: str, open_logger: Open) -> None:
    """Add a logger. Raises ValueError if the name is taken."""
    LOGGERS.register(name, open_logger)


class Loggers:
    """The open loggers of one run; one that fails gets nothing more, and ``note`` says why."""

    def __init__(self, run: Callable[[], LoggedRun], note: Callable[[str], object]) -> None:
        self.note = note
        self.opened: dict[str, Logger] = {}
        try:
            openers = dict(LOGGERS)
        except ConfigError as error:
            note(f"No logger was opened: {error}")
            return
        known = run() if openers else None
        with one_at_a_time() if openers else nullcontext():
            for name, open_logger in openers.items():
                self._try(name, self._open, name, open_logger, known)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, logger in list(self.opened.items()):
            self._try(name, logger.scalars, step, values)

    def figure(self, name: str, file: Path) -> None:
        for own, logger in list(self.opened.items()):
            self._try(own, logger.figure, name, file)

    def close(self, status: Status, values: Mapping[str, float]) -> None:
        for name, logger in list(self.opened.items()):
            self._try(name, logger.close, status, values)
        self.opened = {}

    def _open(self, name: str, open_logger: Open, run: LoggedRun) -> None:
        self.opened[name] = open_logger(run)

    def _try(self, name: str, call: Callable[..., object], *values: object) -> None:
        try:
            call(*values)
        except (Exception, SystemExit) as error:
            self.opened.pop(name, None)
            self.note(
                f"The logger {name!r} failed and got nothing more of this run ({note_of(error)})."
            )


OPENING_SECONDS = 60.0
"""Longest wait until another run has opened its loggers."""


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold a lock of this user and machine, so that one run at a time opens its loggers.

    Two processes that made a tracker's database at once would break it. Where the lock cannot be
    had in time, the block runs without it.
    """
    lock, end = None, time.monotonic() + OPENING_SECONDS
    above = cache_folder()
    while above is not None and lock is None and time.monotonic() < end:
        try:
            above.mkdir(parents=True, exist_ok=True)
            lock = RunLock(above / "loggers.lock")
        except RunBusy:
            time.sleep(0.02)
        except (OSError, UnusableFile):
            break
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def logged_run(folder: Path, experiment: str, settings: Mapping[str, Any], step: int) -> LoggedRun:
    """Return a run for loggers; ``settings`` may be nested."""
    return LoggedRun(folder.name, folder, experiment, dict(flatten(settings)), step)
