"""The cores of this machine, starting processes of ours, and signals; does not import torch."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any

from wganbench.files import tell_ending


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


FILES_OF_A_RUN, OTHER_FILES = 3, 200
"""Files that training holds open for each run (lock, events, a row), and all others."""


def allow_open_files(runs: int) -> None:
    """Raise this process's limit of open files, usually 1024, if training so many runs needs it.

    The system's own limit remains; above it, opening a file fails.
    """
    needed = FILES_OF_A_RUN * runs + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def python_running(module: str, *words: str) -> list[str]:
    """Return a command line that runs a module of ours, like ``python -m``.

    Unlike ``python -m`` it does not search the current folder for modules, where an untrusted
    torch.py may lie.
    """
    code = (
        "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-c", code, *words]


# Stopping in good order: Ctrl-C, SIGTERM and a closed terminal ask to save and end.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAVING = "stopping: saving; Ctrl-C again ends at once without saving"
"""The message after the first Ctrl-C."""
ANSWER_SECONDS = 1.0
"""Longest wait at the end for an answer that is still being written."""

AGAIN_SECONDS = 0.05
"""Seconds until an interrupt that a finalizer dropped is raised again."""


class Stopped(Exception):
    """The work was stopped by a request before it was done."""


def unstopped() -> None:
    """Do nothing: the default ``check``, which never stops the work."""


def unshown(text: str) -> None:
    """Do nothing: the default for what shows a line or the name of long work."""


class StopRequest:
    """Context manager that turns the first signal into a request, and a later Ctrl-C into an end.

    SIGTERM and SIGHUP only request a stop: several may arrive together (from a batch system, or
    because the parent ended), and they must not interrupt saving. SIGHUP stays ignored when it
    is ignored, as under nohup. A thread calls ``answer`` as soon as the first signal arrives,
    even while this process runs a compiler or a solver. Outside the main thread, where Python
    allows no handlers, nothing is requested.
    """

    def __init__(self, answer: Callable[[], object] | None = None) -> None:
        self.requested = False
        self._answer = answer
        self._before: dict[signal.Signals, Any] = {}
        self._answering: _Answering | None = None

    def check(self) -> None:
        """Raise Stopped when a stop was requested."""
        if self.requested:
            raise Stopped

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._ask) for s in _heeded(SIGNALS)}
            if self._answer is not None:
                self._answering = _Answering(self._answer, self._before)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._answering is not None:
            self._answering.close()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        tell_ending()


class _Answering:
    """A thread that calls a function once, when one of the signals arrives.

    Python's handlers wait until the main thread leaves C code. They may not print, because the
    interrupted code may hold the same locks. The thread therefore reads the signal's number
    from a pipe.
    """

    def __init__(self, answer: Callable[[], object], signals: Iterable[int]) -> None:
        self._answer, self._signals = answer, frozenset(int(number) for number in signals)
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        answered = False
        while number := os.read(self._read, 1)[0]:
            if number in self._signals and not answered:
                answered = True
                self._answer()

    def close(self) -> None:
        signal.set_wakeup_fd(self._before)
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"\0")
        self._thread.join(ANSWER_SECONDS)
        # A thread that still writes to a blocked terminal would later read from a reused number.
        if not self._thread.is_alive():
            os.close(self._read)
            os.close(self._write)


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Make SIGTERM and SIGHUP act like Ctrl-C in the block, unless a `StopRequest` takes them.

    Python drops a KeyboardInterrupt that is raised in a finalizer; it is raised again soon after.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, _interrupt)
        for number in _heeded((signal.SIGTERM, signal.SIGHUP))
    }
    hook = sys.unraisablehook

    def dropped(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)
            return
        # To this thread: a signal that another one takes does not end a wait here.
        words = threading.main_thread().ident, signal.SIGINT
        again = threading.Timer(AGAIN_SECONDS, signal.pthread_kill, words)
        again.daemon = True
        again.start()

    sys.unraisablehook = dropped
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded(signals: tuple[signal.Signals, ...]) -> list[signal.Signals]:
    """Return the signals without SIGHUP when it is ignored, as under nohup."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in signals if number != signal.SIGHUP or not ignored]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
