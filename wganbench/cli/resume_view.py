"""`wganbench resume`: one run, one sweep, or all that is unfinished below a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from wganbench.errors import ConfigError, printable

REFUSED = "refused"
"""How a run or sweep ended that could not be gone on with; it was told why."""


def resume_path(path: Path) -> list[str]:
    """Go on with what is at or below a path, printing how each ended; their statuses.

    Raises ConfigError where there is nothing, or where the one run or sweep is refused.
    """
    from wganbench.sweeps.manifest import FILE

    if not path.is_dir() or (path / FILE).is_file() or (path / "run.json").exists():
        return resume_one(path)
    from wganbench.sweeps.plan import resumable

    left, finished = resumable(path)
    print(f"{len(left)} to resume below {printable(str(path))}, {finished} finished")
    statuses: list[str] = []
    for folder in left:
        print(printable(str(folder)), flush=True)
        try:
            statuses += resume_one(folder)
        except ConfigError as error:
            print(f"wganbench: {error}", file=sys.stderr)
            statuses.append(REFUSED)
        if "interrupted" in statuses:
            break
    return statuses


def resume_one(path: Path) -> list[str]:
    """Finish the run or the sweep in a folder, and print how it ended."""
    from wganbench.sweeps.manifest import FILE

    if (path / FILE).is_file():
        from wganbench.cli.sweep_view import SweepView, print_sweep
        from wganbench.sweeps.launch import resume_sweep

        jobs, outcomes = resume_sweep(path, SweepView())
        print_sweep(path, jobs, outcomes)
        return [outcome.status for outcome in outcomes]
    from wganbench.cli.run_view import RunView, print_result
    from wganbench.training.runs import resume_run

    outcome = resume_run(path, RunView())
    print_result(outcome)
    return [outcome.status]
