"""The command demo: a sweep, its comparison, an animation and a handout, for a lecture."""

from __future__ import annotations

from pathlib import Path

from wganbench.cli.compare_view import print_comparison, print_files
from wganbench.cli.console import PlainConsole
from wganbench.cli.sweep_view import SweepView, print_sweep
from wganbench.errors import ConfigError, of_the_system
from wganbench.reports.comparison import compare
from wganbench.reports.export import write_all
from wganbench.reports.figures import read_frames
from wganbench.reports.report import write_handout
from wganbench.runs.folder import RunOutcome
from wganbench.runs.record import find_runs
from wganbench.sweeps.command import plan_only, run_sweep


def run_demo(overrides: list[str]) -> list[RunOutcome]:
    """Train experiment=demo with the overrides, compare it and write all files.

    Prints first how long it will take. Returns the outcomes. Raises ConfigError.
    """
    console, words = PlainConsole(), ["experiment=demo", "name=demo", *overrides]
    plan, seconds = plan_only(words)
    minutes = "an unknown time" if seconds is None else f"about {max(1, round(seconds / 60))} min"
    console.print(f"{len(plan.jobs)} runs: {minutes} of training", soft_wrap=True)
    done = run_sweep(words, SweepView())
    for folder, (jobs, outcomes) in done.folders.items():
        print_sweep(folder, jobs, outcomes)
        if any(outcome.finished for outcome in outcomes):
            _conclude(folder, console)
    return done.outcomes()


def _conclude(folder: Path, console: PlainConsole) -> None:
    runs = find_runs([folder])
    comparison = compare(runs, paths=[str(folder)])
    print_comparison(comparison, console)
    place = folder / "comparison"
    moving = any(map(read_frames, runs))
    files, notes = write_all(comparison, place, animate=moving)
    if not moving:
        notes = [*notes, "no run has frames for an animation; log.animation=true keeps them"]
    try:
        handout = write_handout(comparison, place)
    except OSError as error:
        raise ConfigError(f"the handout cannot be written: {of_the_system(error)}") from error
    print_files({**files, "handout": handout}, notes, console)
