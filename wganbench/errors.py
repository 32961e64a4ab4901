"""Errors that a user can correct, and conversion of text to a form that is safe to print."""

from __future__ import annotations

import math
from pathlib import Path

LONGEST_MESSAGE, LONGEST_VALUE = 480, 80
"""Characters of a line, and of a value in it; longer ones are cut in the middle."""


class ConfigError(ValueError):
    """A wrong configuration or use; the message is one readable line, safe for a terminal."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def expanded(path: str | Path, key: str) -> Path:
    """Return a path with ``~`` expanded; raises ConfigError, which names the key, if it cannot be.

    It cannot if the system does not know the user's home, as after a slip such as ``~data``.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        reason = str(error).rstrip(".")
        raise ConfigError(f"{key}={short_repr(str(path))}: {reason}; your own is ~/") from error


class UnwritableFolder(ConfigError):
    """A folder of runs cannot be made or written: no permission, disk full, or not a folder."""


def reason_of(error: Exception) -> str:
    """Return an error's message in one line, or its type when it has none.

    That of a system error has neither its number nor the file.
    """
    return (
        " ".join((getattr(error, "strerror", None) or str(error)).split()) or type(error).__name__
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type when it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def of_the_system(error: BaseException) -> str:
    """Return the message of an error; that of a system error has the file and not its number.

    >>> of_the_system(FileNotFoundError(2, "No such file or directory", "/proc/x"))
    '/proc/x: No such file or directory'
    """
    if not isinstance(error, OSError):
        return str(error)
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


ALLOCATORS = (
    "can't allocate memory", "out of memory", "cannot allocate memory", "status_alloc_failed",
)  # fmt: skip
"""Parts of the out-of-memory messages of torch, numpy, CUDA and its libraries, in lower case."""


def ran_out(error: BaseException) -> bool:
    """Return whether an error of any library, or one of its causes, means out of memory.

    Causes count because a compiler wraps the original error, and because the recording of a CUDA
    graph raises another error while it handles the first.
    """
    seen: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen[id(one)] = one
        waiting += [one.__cause__, one.__context__]
    return any(map(_says_so, seen.values()))


def _says_so(error: BaseException) -> bool:
    said = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in ALLOCATORS)
    )


def printable(text: str) -> str:
    """Return the text without control characters and direction marks, which a terminal obeys.

    Every text from a stored file or a path passes through here before it is printed.

    >>> printable("run\\x1b[31m"), printable("a\\u202eb"), printable("caf\\udce9")
    ('run?[31m', 'a?b', 'caf\\\\xe9')
    """
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def _visible(character: str) -> str:
    """Return an undecodable byte of a file's name in hex, any other match as a question mark."""
    byte = ord(character) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else "?"


def one_line(message: str) -> str:
    """Return a message as one line of at most `LONGEST_MESSAGE` characters, safe to print.

    >>> one_line("no\\n  such\\x1bfile")
    'no such?file'
    """
    return shortened(printable(" ".join(message.split())))


def note_of(error: BaseException) -> str:
    """Return an error's type and message as one line of at most 200 characters, safe to print."""
    return shortened(one_line(f"{type(error).__name__}: {error}"), 200)


def shortened(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return the text, or its beginning and end if it has more than ``longest`` characters.

    >>> shortened("abcdefghij", 9)
    'abcd...ij'
    """
    if len(text) <= longest:
        return text
    head = (longest - 3) * 2 // 3
    return f"{text[:head]}...{text[len(text) - (longest - 3 - head) :]}"


def short_repr(value: object) -> str:
    """Return a value as text for a message: a number in few digits, else the shortened repr.

    >>> short_repr(10_000), short_repr(1e-18), short_repr("a" * 200) == f"'{'a' * 50}...{'a' * 25}'"
    ('10000', '1e-18', True)
    >>> short_repr(10**400)
    'a number of 401 digits'
    """
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**20:
        return f"a number of {int(math.log10(abs(value))) + 1} digits"
    try:
        return shortened(repr(value), LONGEST_VALUE)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} that cannot be shown"
