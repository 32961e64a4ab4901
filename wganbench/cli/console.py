"""The one Console: what is printed is text, never markup, and its failures end nothing."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from wganbench.errors import ConfigError, printable, shortened


class PlainConsole(Console):
    """Shows text as it is: brackets, colons and numbers in names mean nothing.

    What a terminal would obey is taken out of it, in lines, tables and titles alike.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Rich asks for every text here."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **settings)

    def on_broken_pipe(self) -> None:
        """Rich would end the process; whoever trains goes on unseen."""
        self.quiet = True


# What is said, in one line, of words that no command takes and of errors that end one.
NAMES = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM,
    errno.EROFS, errno.ELOOP, errno.EEXIST, errno.EINVAL, errno.ENXIO,
)  # fmt: skip
"""Errors of the system that another name or place would mend."""

WITH_OVERRIDES = ("train", "sweep", "study")


def check_words(words: Sequence[str]) -> None:
    """Raise ConfigError for what no command accepts, before options are looked for in it.

    ``-precision=bf16`` would else be the flag ``-p`` with a value.
    """
    for word in words:
        if "\0" in word:
            raise ConfigError(f"{shortened(word, 80)!r} holds a NUL character")
        if words[0] in WITH_OVERRIDES and word.startswith("-") and word[1:2] not in ("-", ""):
            from wganbench.config.flags import check_short

            check_short(word)


def of_the_system(error: OSError) -> str:
    """What the system refused, and about which file."""
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


MEMORY_RAN_OUT = (
    "memory ran out: ask for less (train.batch_size, network.width, evaluate.n and "
    "evaluate.final_n, or -n)"
)


def in_one_line(message: str, words: Sequence[str]) -> str:
    if words and "=" in words[0]:
        return f"{words[0]!r} is no command; did you mean: wganbench train {' '.join(words)}"
    return " ".join(message.split()) + " (wganbench --help)"


def typed(words: list[str], several: bool = False) -> list[str]:
    """The words as they are understood; a line on each name that was another's."""
    from wganbench.config.words import parse_arguments

    arguments = parse_arguments(words, several)
    for note in arguments.notes:
        print(f"wganbench: {shortened(printable(note))}", file=sys.stderr)
    return arguments.command
