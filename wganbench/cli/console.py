"""The console: it prints text, never markup, and a failed write does not end the command."""

from __future__ import annotations

import errno
import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from wganbench.errors import ConfigError, printable, shortened
from wganbench.plugin_files import WORD

if TYPE_CHECKING:
    from wganbench.config.overrides import Arguments


UNBOUNDED = 10_000
"""The width of what is no terminal."""


class PlainConsole(Console):
    """Prints plain text: brackets, colons and numbers in names have no special meaning.

    Control characters are removed from lines, tables and titles.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | settings)
        if not self.is_terminal and "width" not in settings and "COLUMNS" not in os.environ:
            self.width = UNBOUNDED  # a table in a pipe or a file keeps its lines whole

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return plain text; Rich calls this for every text."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **settings)

    def on_broken_pipe(self) -> None:
        """Do nothing, so that training continues; Rich would end the process."""
        self.quiet = True


def print_sentence(console: Console, text: str) -> None:
    """Print a text, wrapped at words in a terminal, on one line elsewhere."""
    console.print(text, soft_wrap=not console.is_terminal)


# One-line messages for arguments that no command accepts and for errors that end a command.
ERRORS_OF_A_NAME = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM,
    errno.EROFS, errno.ELOOP, errno.EEXIST, errno.EINVAL, errno.ENXIO,
)  # fmt: skip
"""System errors that another name or folder would avoid."""

WITH_OVERRIDES = ("train", "sweep", "study", "tune", "speedrun", "demo")
"""The commands that take overrides."""


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise ConfigError for a word that no command accepts, before options are parsed.

    Otherwise ``-precision=bf16`` would be parsed as the flag ``-p`` with a value.
    """
    for word in arguments:
        if "\0" in word:
            raise ConfigError(f"{shortened(word, 80)!r} holds a NUL character")
        if arguments[0] in WITH_OVERRIDES and word.startswith("-") and word[1:2] not in ("-", ""):
            from wganbench.config.flags import check_short

            check_short(word)


MEMORY_RAN_OUT = (
    "memory ran out: ask for less (train.batch_size, network.width, evaluate.n and "
    "evaluate.final_n, or -n)"
)


def open_in_browser(address: str) -> None:
    """Show an address in the user's browser; say so where there is none."""
    import webbrowser

    if not webbrowser.open(address):
        print(f"no browser could be started; open {printable(address)}")


def in_one_line(message: str, arguments: Sequence[str]) -> str:
    first = next((word for word in arguments if not word.startswith(WORD)), "")
    if "=" in first:
        return f"{first!r} is no command; did you mean: wganbench train {shlex.join(arguments)}"
    command = f"{first} " if re.fullmatch(r"[a-z]+", first) else ""
    if message.startswith("No such command"):
        command = ""
    return " ".join(message.split()) + f" (wganbench {command}--help)"


def translated(overrides: list[str], several: bool = False) -> Arguments:
    """Return the parsed overrides; print a line on each common name that was replaced."""
    from wganbench.config.overrides import parse_arguments

    arguments = parse_arguments(overrides, several)
    for note in arguments.notes:
        print(f"wganbench: {shortened(printable(note))}", file=sys.stderr)
    return arguments
