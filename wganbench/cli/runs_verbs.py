"""The commands ls, rm and diff as typed on a command line; imports are deferred."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wganbench.cli.arguments import AsJson, RunPath
from wganbench.cli.exits import FAILED
from wganbench.errors import ConfigError


def list_runs(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Folders of runs or of sweeps; else outputs."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Runs on disk: what differs, status, modes, distance, seconds and size."""
    from wganbench.cli.runs_view import print_runs
    from wganbench.runs.found import find_runs

    print_runs(find_runs(paths or [Path("outputs")]), as_json)


def remove(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Folders of runs, of sweeps or above.")
    ],
    status: Annotated[
        list[str] | None,
        typer.Option("--status", help="failed, diverged, interrupted or completed; repeatable."),
    ] = None,
    older: Annotated[
        float | None,
        typer.Option(
            "--older", metavar="DAYS", min=0, help="Only runs not changed for so many days."
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them; without it they are only listed.")
    ] = False,
) -> int:
    """Remove runs: first lists them, then removes them with --yes.

    \b
    wganbench rm outputs --status failed --status diverged
    wganbench rm outputs/old --older 30 --yes

    Only files that a run writes are removed, and no run that a process holds.
    """
    from wganbench.cli.runs_view import chosen, remove_runs
    from wganbench.runs.found import find_runs
    from wganbench.runs.record import STATUSES

    for name in status or []:
        if name not in STATUSES:
            raise ConfigError(f"--status {name}: give one of {', '.join(STATUSES)}")
    left = remove_runs(chosen(find_runs(paths), status or [], older), yes)
    return FAILED if left and yes else 0


def diff(one: RunPath, other: RunPath, as_json: AsJson = False) -> None:
    """In which settings and final values two runs differ."""
    from wganbench.cli.runs_view import print_differences

    print_differences(one, other, as_json)
