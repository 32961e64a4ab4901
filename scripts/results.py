"""The README's table: every loss, tuned, with its paper's and with middling settings, seeds 0-9.

    python scripts/results.py --data ring8 grid25 --loss bce clip gp --out outputs/results

``--settings median`` trains the trial in the middle of the search's first stage (the 11th of
20), which ``tune.py --ranking-only`` finds: what somebody gets who draws settings at random.

Every row is one ordinary run a seed (``wganbench train`` with the same overrides gives the
same numbers), trained as one stack; finished ones are not trained again. All rows of a
data set cost the same compute, counted as in `tune.py`. First and last row: a Gaussian
with the reals' mean and covariance, and fresh reals, measured in the same way.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from tune import SEARCHES, configure, reported_units, steps_for, trials_file

from wganbench.cli.run_view import RunView
from wganbench.config import RunConfig, compose, run_folder
from wganbench.data import load
from wganbench.losses import RECIPES
from wganbench.metrics import cached_floor, gaussian_chance, mode_coverage, wasserstein_exact
from wganbench.training.measuring import floor_key
from wganbench.training.runs import train_runs

NAMES = {"median": "median of the search"}


def configs(
    data: str, loss: str, settings: str, seeds: range, out: Path, extra: list[str]
) -> list[RunConfig]:
    """One run a seed; all settings get the steps that the same compute buys them."""
    measured = [f"output_dir={out}", "evaluate.every_n_steps=0", "evaluate.final_draws=5", *extra]
    if settings == "median":
        trial, units = median_trial(data, loss), reported_units(data)
        return [configure(data, loss, trial, seed, units, measured) for seed in seeds]
    base = [f"data={data}", f"loss={loss}", *measured]
    if settings == "paper":
        n_critic = compose([*base, "tuned=none"]).loss.n_critic
        base += ["tuned=none", f"train.steps={steps_for(loss, n_critic, reported_units(data))}"]
    return [compose([*base, f"seed={seed}"]) for seed in seeds]


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


def median_trial(data: str, loss: str) -> dict[str, object]:
    """The settings in the middle of the search's first stage."""
    path = trials_file(SEARCHES, data, loss)
    if not path.exists():
        command = f"python scripts/tune.py --data {data} --loss {loss} --ranking-only"
        raise SystemExit(f"{path} is missing; {command} makes it")
    first = json.loads(path.read_text())[0]
    trial: dict[str, object] = first[len(first) // 2]["trial"]
    return trial


def table(
    data: str, losses: list[str], settings: list[str], seeds: range, out: Path, extra: list[str]
) -> None:
    first = compose([f"data={data}"])
    n, pairs = first.evaluate.final_n, first.evaluate.floor_pairs
    floor = cached_floor(floor_key(first), load(data), n, pairs).mean
    print(f"\n{data}, exact W1 of a perfect generator (floor): {floor:.4f}\n")
    print(
        "| loss, settings | modes covered, by seed | high quality %, by seed | median % "
        "| median W1 / floor | diverged |"
    )
    print("|---|---|---|---|---|---|")
    print(reference_row("chance: Gaussian with the reals' moments", data, n, floor, chance=True))
    for loss in losses:
        for which in settings:
            own = configs(data, loss, which, seeds, out, extra)
            outcomes = train_runs(own, [run_folder(c) for c in own], RunView())
            finished = [o.metrics for o in outcomes if o.status == "completed"]
            diverged = sum(o.status == "diverged" for o in outcomes)
            if len(finished) + diverged < len(outcomes):
                raise SystemExit(f"{loss}, {which}: interrupted; the same command goes on")
            print(row(f"{loss}, {NAMES.get(which, which)}", finished, floor, diverged), flush=True)
    print(reference_row("perfect sampler: fresh reals", data, n, floor, chance=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", nargs="+", default=["ring8", "grid25"])
    parser.add_argument("--loss", nargs="+", default=list(RECIPES))
    parser.add_argument("--settings", nargs="+", default=["tuned", "paper"])
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 to this, without it")
    parser.add_argument("--out", type=Path, default=Path("outputs/results"))
    parser.add_argument("overrides", nargs="*", help="settings of every run, after --")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    for data in arguments.data:
        table(data, arguments.loss, arguments.settings, seeds, arguments.out, arguments.overrides)


if __name__ == "__main__":
    main()
