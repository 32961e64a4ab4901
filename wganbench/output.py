"""What is shown may fail, what is done may not: streams that cannot be lost, views that cannot end.

Whoever reads what a command prints may leave (`| head`), the disk behind a log may fill up, a
terminal may close. That never ends a run; a command whose result is its output says so at the end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar, cast

from wganbench.errors import printable, shortened

READER_LEFT = (errno.EPIPE, errno.EBADF)
"""Nobody wants to read on: no reason to complain."""

V = TypeVar("V")


class Stream:
    """A text stream that never fails its writer.

    After the first failure the rest goes nowhere, below Python as well, so nothing that is
    left in a buffer fails when the process ends. Characters that the stream's encoding lacks
    are written with backslashes.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure: Exception | None = None

    def write(self, text: str) -> int:
        if self.failure is None:
            try:
                self._put(text)
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self.failure is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def _give_up(self, error: Exception) -> None:
        self.failure = error
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@dataclass
class Output:
    """The streams of a command while it runs, and whether its result is what it prints."""

    out: Stream
    err: Stream
    is_the_result: bool = True

    @property
    def lost(self) -> str | None:
        """Why the result did not arrive, in words; None where it did or nobody wants it."""
        failure = self.out.failure
        if not self.is_the_result or failure is None:
            return None
        if isinstance(failure, OSError) and failure.errno not in READER_LEFT:
            return failure.strerror or str(failure)
        return None


_open: list[Output] = []


@contextlib.contextmanager
def unbreakable() -> Iterator[Output]:
    """Let nothing in the block fail because of what it prints."""
    _fill_standard_streams()
    with contextlib.ExitStack() as closing:
        before = sys.stdout, sys.stderr
        out, err = (
            Stream(stream or closing.enter_context(open(os.devnull, "w", encoding="utf-8")))
            for stream in cast("tuple[TextIO | None, TextIO | None]", before)
        )
        _open.append(Output(out, err))
        sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
        try:
            yield _open[-1]
        finally:
            out.flush()
            err.flush()
            sys.stdout, sys.stderr = before
            _open.pop()


def result_is_on_disk() -> None:
    """Say that what this command prints can be lost: its results are files."""
    if _open:
        _open[-1].is_the_result = False


def _fill_standard_streams() -> None:
    """Where the process was started without one, as by ``>&-``: else a file of ours gets its
    number, and whatever prints, a compiler say, prints into that file."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(descriptor, True)


class _Guarded:
    def __init__(self, view: object) -> None:
        self._view = view
        self._told = False

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> None:
            try:
                getattr(self._view, name)(*arguments, **named)
            except (Exception, SystemExit) as error:
                self._tell(error)

        return call

    def _tell(self, error: BaseException) -> None:
        if not self._told:
            self._told = True
            reason = shortened(printable(f"{type(error).__name__}: {error}"), 200)
            with contextlib.suppress(Exception):
                print(f"what shows the training failed ({reason}): it goes on", file=sys.stderr)


def guarded(view: V) -> V:
    """The view, whose failures are told once and end nothing. Its methods return None."""
    return view if view is None or isinstance(view, _Guarded) else cast(V, _Guarded(view))


def numbered(amount: int, thing: str) -> str:
    """A count in words.

    >>> numbered(1, "run"), numbered(0, "run"), numbered(2, "stack")
    ('1 run', '0 runs', '2 stacks')
    """
    return f"{amount} {thing}{'' if amount == 1 else 's'}"
