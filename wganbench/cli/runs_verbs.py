"""The commands on trained runs, as typed on a command line; imports are deferred."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from wganbench import bounds
from wganbench.cli.arguments import AsJson, Features, RunPath, written_to
from wganbench.cli.console import FAILED
from wganbench.errors import ConfigError, of_the_system, printable, shortened


def sample(
    run: RunPath,
    n: Annotated[
        int | None,
        typer.Option(
            "-n", min=1, max=bounds.DRAWN, help="How many points; default: evaluate.final_n."
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Where to; else RUN/generated.npy.", callback=written_to)
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The same seed draws the same points.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw points or images from a trained generator.

    The suffix of --out chooses the format. .npy: (n, d), or images (n, c, h, w) in [-1, 1];
    .csv: a line for each point; .npz: under "fakes", images as bytes (n, h, w, c). Images only:
    .png, one grid; without a suffix, a folder of 00000.png, ... for torch-fidelity or clean-fid.
    """
    from wganbench.files import inside
    from wganbench.runs.stored import stored_config
    from wganbench.training.run import sample_run

    count = n or stored_config(run).evaluate.final_n
    target = out or str(inside(run, "generated.npy"))
    told = sample_run(run, count, target, seed)
    written = {"run": str(run), "n": count, "seed": seed, "file": target}
    print(json.dumps(written, indent=1) if as_json else printable(told))


def evaluate(
    run: RunPath,
    n: Annotated[
        int | None,
        typer.Option(
            "-n", min=10, max=bounds.SAMPLES, help="On how many points; default: evaluate.final_n."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Another seed draws other points.")
    ] = 0,
    as_json: AsJson = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the values to this file, as JSON.", callback=written_to),
    ] = None,
    features: Features = None,
) -> None:
    """Measure a trained run again, on fresh points."""
    from wganbench.cli.listing import print_metrics
    from wganbench.metrics import allow_features
    from wganbench.runs.stored import stored_config
    from wganbench.training.run import evaluate_run
    from wganbench.training.verdict import on_fewer_points

    allow_features(*(features or []))
    count = n or stored_config(run).evaluate.final_n
    values = evaluate_run(run, count, seed)
    print_metrics(values, as_json)
    for line in () if as_json else on_fewer_points(values, count):
        print(line)
    if out is not None:  # last: what was measured has been printed, wherever the file leads
        _write_values(values, out)


def _write_values(values: Mapping[str, float], out: Path) -> None:
    from wganbench.files import write_json

    try:
        write_json(out, values)
    except OSError as error:
        raise ConfigError(f"--out: {of_the_system(error)}") from error


def list_runs(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Folders of runs or of sweeps; else outputs."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List runs: what differs, status, main values, seconds, size."""
    from wganbench.cli.runs_view import print_runs
    from wganbench.runs.record import find_runs

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

    Only files that a run writes are removed, and no run that is still training.
    """
    from wganbench.cli.console import PlainConsole
    from wganbench.cli.runs_view import chosen, print_left_out, remove_runs
    from wganbench.runs.record import STATUSES, find_runs

    for name in status or []:
        if name not in STATUSES:
            raise ConfigError(f"--status {name}: give one of {', '.join(STATUSES)}")
    runs = find_runs(paths)
    left = remove_runs(chosen(runs, status or [], older), yes)
    print_left_out(runs.unreadable, PlainConsole())
    return FAILED if left and yes else 0


def diff(one: RunPath, other: RunPath, as_json: AsJson = False) -> None:
    """Print in which settings and final values two runs differ."""
    from wganbench.cli.runs_view import print_differences

    print_differences(one, other, as_json)


def export(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="A run's folder; for tables any folders.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="FORM", help="csv, parquet, generator or critic.")
    ] = "csv",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Where to; else PATH/scalars.FORM or PATH/NET.pt2.", callback=written_to
        ),
    ] = None,
) -> None:
    """Write all logged values as one table, or a trained network.

    \b
    wganbench export outputs/ring8 --to csv      a line a run, step and tag
    wganbench export outputs/ring8 --to parquet  the same; pip install pyarrow
    wganbench export RUN --to generator          for torch.export.load
    """
    from wganbench.cli.runs_view import TABLES, export_table
    from wganbench.files import inside

    if to in TABLES:
        export_table(paths, out or inside(paths[0], f"scalars.{to}"), to)
        return
    if to not in ("generator", "critic"):
        raise ConfigError(f"--to {shortened(to, 80)}: give csv, parquet, generator or critic")
    if len(paths) > 1:
        raise ConfigError(f"--to {to} is of one run: give one PATH")
    from wganbench.training.run import export_network

    print(printable(export_network(paths[0], to, out or inside(paths[0], f"{to}.pt2"))))


# `wganbench resume`: finish one run, one sweep, or all unfinished ones below a folder.
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
