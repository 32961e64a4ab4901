"""The result tables: every loss, tuned, with its paper's and with middling settings.

    python scripts/results.py --data ring8 grid25 --loss bce clip gp --out outputs/results

``--settings median`` trains the trial in the middle of the first rung of ``wganbench tune``, from
``trials.csv`` in the folder that ``--search`` names: what somebody gets who draws settings at
random from the neutral space.

Every row is one ordinary run a seed (``wganbench train`` with the same overrides gives the
same numbers), trained in stacks; finished ones are not trained again. All rows of a data set
cost the same compute, that of the search. First and last row: a Gaussian with the reals' mean
and covariance, and fresh reals, measured in the same way.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from wganbench.cli.sweep_view import SweepView
from wganbench.config import RunConfig, compose, run_id
from wganbench.config.jobs import Job
from wganbench.data import load
from wganbench.losses import RECIPES
from wganbench.metrics import cached_floor, gaussian_chance, mode_coverage, wasserstein_exact
from wganbench.runs.record import read_record
from wganbench.sweeps.launch import train_all
from wganbench.sweeps.workers import workers_in_use
from wganbench.training.measuring import floor_key
from wganbench.tuning.search import steps_for, with_values
from wganbench.tuning.space import read_space

NAMES = {"median": "median of the search"}
MEASURED = ("evaluate.every_n_steps=0", "evaluate.final_draws=5", "log.figure=false",
            "log.tensorboard=false")  # fmt: skip


def configs(
    data: str, loss: str, settings: str, seeds: range, arguments: argparse.Namespace
) -> list[RunConfig]:
    """One run a seed; all settings get the steps that the same compute buys them."""
    own = [*MEASURED, f"output_dir={arguments.out}", f"name={data}", *arguments.overrides]
    base = [f"data={data}", f"loss={loss}", *own]
    config = compose(base if settings == "tuned" else [*base, "tuned=none"])
    chosen = median_trial(arguments.search, data, loss) if settings == "median" else {}
    if settings != "tuned":
        n_critic = int(chosen.get("loss.n_critic", config.loss.n_critic))
        steps = steps_for(config, n_critic, read_space().passes(data))
        config = with_values(config, {**chosen, "train.steps": steps})
    return [replace(config, seed=seed) for seed in seeds]


def median_trial(folder: Path | None, data: str, loss: str) -> dict[str, Any]:
    """The settings in the middle of the first rung of a search."""
    file = (folder or Path(f"outputs/tune-{data}")) / "trials.csv"
    if not file.exists():
        raise SystemExit(f"{file} is missing; wganbench tune loss={loss} data={data} makes it")
    every = csv.DictReader(file.read_text().splitlines())
    trials = [trial for trial in every if trial["loss"] == loss and trial["known"] == "False"]
    ranked = sorted(trials, key=lambda trial: float(trial["rung_1"]))
    middle = ranked[len(ranked) // 2]
    kept = {key: value for key, value in middle.items() if key.startswith(("loss.", "train."))}
    return {key: parsed(value) for key, value in kept.items() if value}


def parsed(text: str) -> Any:
    """A number or a list of numbers as such, another text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def row(name: str, runs: list[dict[str, float]], floor: float, diverged: int = 0) -> str:
    """One line of the table, with every seed in it."""
    quality = [run["modes/high_quality"] for run in runs]
    ratio = [run["wasserstein/exact"] / floor for run in runs if "wasserstein/exact" in run]
    covered = [run["modes/covered"] for run in runs]
    cells = [
        name,
        " ".join(f"{c:g}" for c in covered),
        " ".join(f"{100 * q:.0f}" for q in quality),
        f"{100 * statistics.median(quality):.1f}" if quality else "",
        f"{statistics.median(ratio):.2f}" if ratio else "",
        str(diverged),
    ]
    return "| " + " | ".join(cells) + " |"


def reference_row(name: str, data: str, n: int, floor: float, chance: bool) -> str:
    """Samples of a moment-matched Gaussian, or of the target itself, measured like a run."""
    target = load(data)
    runs = []
    for seed in range(10):
        draw = torch.Generator().manual_seed(seed)
        reals = target.held_out(n, draw)
        fakes = gaussian_chance(reals, n, draw) if chance else target.sample(n, draw)
        modes = mode_coverage(fakes, target.modes, target.sigma, target.weights)  # type: ignore[attr-defined]
        runs.append(
            {
                "modes/covered": float(modes.covered),
                "modes/high_quality": modes.high_quality,
                "wasserstein/exact": wasserstein_exact(fakes, reals),
            }
        )
    return row(name, runs, floor)


def table(data: str, seeds: range, arguments: argparse.Namespace) -> None:
    """Train and print the rows of one data set."""
    first = compose([f"data={data}"])
    n, pairs = first.evaluate.final_n, first.evaluate.floor_pairs
    floor = cached_floor(floor_key(first), load(data), n, pairs)
    rows = {
        (loss, which): configs(data, loss, which, seeds, arguments)
        for loss in arguments.loss
        for which in arguments.settings
    }
    jobs = {
        key: [Job(one, arguments.out / data / run_id(one)) for one in own]
        for key, own in rows.items()
    }
    train_all(arguments.out / data, [job for own in jobs.values() for job in own], SweepView())
    print(
        f"\n{data}, exact W1 of a perfect generator (floor): "
        f"{floor.mean:.4f} +- {floor.standard_error:.4f}\n"
    )
    print(
        "| loss, settings | modes covered, by seed | high quality %, by seed | median % "
        "| median W1 / floor | diverged |"
    )
    print("|---|---|---|---|---|---|")
    print(
        reference_row("chance: Gaussian with the reals' moments", data, n, floor.mean, chance=True)
    )
    for (loss, which), own in jobs.items():
        records = [read_record(job.folder) for job in own]
        finished = [record.final for record in records if not record.diverged]
        diverged = sum(record.diverged for record in records)
        print(row(f"{loss}, {NAMES.get(which, which)}", finished, floor.mean, diverged), flush=True)
    print(reference_row("perfect sampler: fresh reals", data, n, floor.mean, chance=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", nargs="+", default=["ring8", "grid25"])
    parser.add_argument("--loss", nargs="+", default=list(RECIPES))
    parser.add_argument("--settings", nargs="+", default=["tuned", "paper"])
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to this, without it")
    parser.add_argument("--out", type=Path, default=Path("outputs/results"))
    parser.add_argument("--search", type=Path, help="the folder of wganbench tune, for median")
    parser.add_argument("overrides", nargs="*", help="settings of every run, after --")
    arguments = parser.parse_args()
    with workers_in_use():
        for data in arguments.data:
            table(data, range(arguments.seeds), arguments)


if __name__ == "__main__":
    main()
