"""Output streams and views whose failures never end a run.

The reader of a command's output may leave (`| head`), the disk of a log may fill up, a terminal
may close. None of these ends a run; a command whose result is its output reports it at the end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar, cast

from wganbench.errors import note_of

READER_LEFT = (errno.EPIPE, errno.EBADF)
"""Errors after the reader has left, which are not reported."""

V = TypeVar("V")


class Stream:
    """A text stream whose writes never raise.

    After the first failure all further output is discarded, also at the file descriptor, so that
    buffered text does not fail when the process ends. Characters outside the stream's encoding
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
    """The output of a running command, and whether its printed text is its result."""

    out: Stream
    is_the_result: bool = True

    @property
    def lost(self) -> str | None:
        """Why the result was not written, as text; None if it was, or if the reader left."""
        failure = self.out.failure
        if not self.is_the_result or failure is None:
            return None
        if isinstance(failure, OSError) and failure.errno not in READER_LEFT:
            return failure.strerror or str(failure)
        return None


_open: list[Output] = []


@contextlib.contextmanager
def unbreakable() -> Iterator[Output]:
    """Protect the block from failures of printing."""
    _fill_standard_streams()
    with contextlib.ExitStack() as closing:
        before = sys.stdout, sys.stderr
        out, err = (
            Stream(stream or closing.enter_context(open(os.devnull, "w", encoding="utf-8")))
            for stream in cast("tuple[TextIO | None, TextIO | None]", before)
        )
        _open.append(Output(out))
        sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
        try:
            yield _open[-1]
        finally:
            out.flush()
            err.flush()
            sys.stdout, sys.stderr = before
            _open.pop()


def result_is_on_disk() -> None:
    """Declare that this command's output may be lost, because its results are files."""
    if _open:
        _open[-1].is_the_result = False


def _fill_standard_streams() -> None:
    """Open missing standard streams on the null device, as after a start with ``>&-``.

    Otherwise a file of ours could get the number of a standard stream, and a program that prints,
    such as a compiler, would write into that file.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
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
            with contextlib.suppress(Exception):
                print(f"the display failed ({note_of(error)}); training continues", file=sys.stderr)


def guarded(view: V) -> V:
    """Return the view with failures reported once and then ignored; its methods return None."""
    return view if view is None or isinstance(view, _Guarded) else cast(V, _Guarded(view))


def numbered(amount: int, thing: str) -> str:
    """Return a count with its noun.

    >>> numbered(1, "run"), numbered(0, "run"), numbered(2, "stack")
    ('1 run', '0 runs', '2 stacks')
    """
    return f"{amount} {thing}{'' if amount == 1 else 's'}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown; bars in cells are escaped.

    >>> markdown_table(["a", "b"], [["1|2", "3"]])
    ['| a | b |', '|---|---|', '| 1\\\\|2 | 3 |']
    """
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [
        *(f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"),
        *(f"| {' | '.join(row)} |" for row in escaped),
    ]
