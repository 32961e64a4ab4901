"""The console prints text, never markup, and outlives failed writes; exit codes of commands."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import re
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from wganbench.errors import ConfigError, of_the_system, printable, ran_out, shortened
from wganbench.plugin_files import WORD

if TYPE_CHECKING:
    from wganbench.config.overrides import Arguments
    from wganbench.config.schema import RunConfig
    from wganbench.runs.folder import RunOutcome

UNBOUNDED, USUAL = 10_000, 80
"""The width of what is no terminal, and of a terminal that does not say it."""


class PlainConsole(Console):
    """Prints plain text: brackets, colons and numbers in names have no special meaning.

    Control characters are removed from lines, tables and titles.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | settings)
        if not self.is_terminal and "width" not in settings and "COLUMNS" not in os.environ:
            self.width = UNBOUNDED  # a table in a pipe or a file keeps its lines whole
        elif not self.width:  # COLUMNS=0, as some terminals set it
            self.width = USUAL

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return plain text; Rich calls this for every text."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **settings)

    def on_broken_pipe(self) -> None:
        """Do nothing, so that training continues; Rich would end the process."""
        self.quiet = True


def print_sentence(console: Console, text: str) -> None:
    """Print a text, wrapped at words in a terminal, on one line elsewhere."""
    console.print(text, soft_wrap=not console.is_terminal)


def print_below(console: Console, text: str) -> None:
    """Print a text that belongs to the line above, indented, as `print_sentence` does."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, 4), expand=False))
    else:
        print(f"    {text}")


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


# Exit codes, and the one line that explains each of them that is not 0.
EXIT_CODES = {"completed": 0, "diverged": 3, "failed": 3, "interrupted": 130, "running": 130}
WRONG_USE, FAILED, INTERRUPTED = 2, 3, 130


class Finished(Exception):
    """The run of a command has finished before; ``outcome`` is all that is left to report."""

    def __init__(self, outcome: RunOutcome) -> None:
        super().__init__(str(outcome.path))
        self.outcome = outcome


def end_if_finished(config: RunConfig) -> None:
    """Raise `Finished` if the run has finished before; imports no torch."""
    from wganbench.runs.stored import outcome_at_once

    outcome = outcome_at_once(config)
    if outcome is not None:
        raise Finished(outcome)


def worst(outcomes: Iterable[RunOutcome]) -> int:
    """Return the exit code of a sweep: unfinished comes before diverged or failed, then done."""
    codes = {EXIT_CODES[outcome.status] for outcome in outcomes}
    return max(codes, default=0)


def report(outcome: RunOutcome) -> int:
    """Print the outcome of a run and return its exit code."""
    from wganbench.cli.run_view import print_result

    print_result(outcome)
    return EXIT_CODES[outcome.status]


def exit_code(command: Callable[[list[str]], object], arguments: list[str]) -> int:
    """Run a command line and return its exit code; print the reason if it is not 0."""
    try:
        check_arguments(arguments)
        code = command(arguments)
    except ConfigError as error:
        return fail(str(error), WRONG_USE)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except OSError as error:
        return fail(of_the_system(error), WRONG_USE if error.errno in ERRORS_OF_A_NAME else FAILED)
    except Exception as error:
        if ran_out(error):
            return fail(MEMORY_RAN_OUT, FAILED)
        # Typer bundles its own click; its errors are recognised by their common method.
        message = getattr(error, "format_message", None)
        if message is not None:
            return fail(in_one_line(message(), arguments), WRONG_USE)
        traceback.print_exc()
        return FAILED
    return code if isinstance(code, int) else 0


def end_process(code: int) -> NoReturn:
    """End the process without freeing torch's modules, which takes Python a second.

    All files are closed by then. As at Python's own end, pools of executors end before the
    processes that they have started are waited for.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed by who started it
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def fail(message: str, code: int) -> int:
    print(f"wganbench: {shortened(printable(message))}", file=sys.stderr)
    return code
