"""Exit codes, and the one line that explains each of them that is not 0."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NoReturn

import typer

from wganbench.cli.console import ERRORS_OF_A_NAME, MEMORY_RAN_OUT, check_arguments, in_one_line
from wganbench.errors import ConfigError, of_the_system, printable, ran_out, shortened

if TYPE_CHECKING:
    from wganbench.config.schema import RunConfig
    from wganbench.runs.folder import RunOutcome

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

    All files are closed by then.
    """
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed by who started it
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def fail(message: str, code: int) -> int:
    print(f"wganbench: {shortened(printable(message))}", file=sys.stderr)
    return code
