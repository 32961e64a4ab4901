"""`wganbench resume`: finish one run, one sweep, or all unfinished ones below a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from wganbench.errors import ConfigError, printable

REFUSED = "refused"
"""Status of a run or sweep that could not be continued; the reason has been printed."""


def resume_path(path: Path) -> list[str]:
    """Finish the runs and sweeps at or below a path, print the outcomes, return the statuses.

    Raises ConfigError if there are none, or if the only run or sweep is refused.
    """
    from wganbench.runs.record import RUN_JSON
    from wganbench.sweeps.manifest import FILE

    is_sweep = (path / FILE).is_file()
    if not path.is_dir() or (not is_sweep and (path / RUN_JSON).exists()):
        return resume_one(path)
    from wganbench.sweeps.plan import resumable

    left, finished = resumable(path)
    if is_sweep and set(left) <= {path}:  # nothing is unfinished beside the sweep
        return resume_one(path)
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
    """Finish the run or the sweep in a folder, and print the outcome."""
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
