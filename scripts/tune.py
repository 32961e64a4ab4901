"""Random search for each loss's settings, the same for every loss; writes conf/tuned.

    python scripts/tune.py --data ring8 --loss gp clip bce --out outputs/tuning

Every loss gets the same trials: its paper's settings, `ANCHOR`, and random points of the
published `SPACE`; and every trial the same compute: `UNITS` passes of one network over one
batch, counted by `training.passes`, so a loss with cheaper steps takes more of them. Search by
halving: every random trial on two tuning seeds at an eighth of the compute, the best
quarter of them at a half, the best two on all five seeds at the whole, and with them the
two that were known before: what is good after an eighth need not be good at the end.
Tuning seeds are 100-104; no reported figure uses them. Of data with more modes reported runs
train `TIMES` as long, and so do the best two of the search, once more, to find the winner. A
search that was stopped goes on after the last stage in its JSON file.
Score: mean over seeds of modes/coverage x modes/high_quality (protocol veegan, n = 2 500),
times floor / exact W1 where that is below 1: stray samples hide in W1 and uneven modes in
the share of high quality, so both count.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from wganbench.config import RunConfig, compose
from wganbench.config.schema import static_settings
from wganbench.losses import RECIPES
from wganbench.training.device import fitting_cpu
from wganbench.training.measuring import measure_stack
from wganbench.training.passes import run_passes
from wganbench.training.stack import Stack

SEEDS = (100, 101, 102, 103, 104)
UNITS = 480_000
"""Compute of the search's full run: 8 000 generator steps of WGAN-GP with n_critic 5."""

TIMES = {"ring8": 1, "grid25": 2}
"""How many times that every reported run trains: 25 modes ask for more."""

STAGES = ((1.0, 2, 1 / 8), (0.25, 2, 1 / 2), (0.0, 5, 1.0))
"""Share of the trials that come so far (two at least), on how many seeds, at what compute."""

SPACE: dict[str, Callable[[np.random.Generator], object]] = {
    "train.critic_lr": lambda r: log_uniform(r, 1e-4, 1e-2),
    "ratio": lambda r: log_uniform(r, 1.0, 10.0),  # critic_lr / generator_lr
    "train.betas": lambda r: [[0.5, 0.9], [0.0, 0.9]][r.integers(2)],
    "loss.n_critic": lambda r: int(r.choice([1, 5])),
    "loss.gp_lambda": lambda r: log_uniform(r, 0.01, 10.0),
    "loss.clip_value": lambda r: log_uniform(r, 0.01, 0.5),
    "loss.r1_gamma": lambda r: log_uniform(r, 0.001, 10.0),
}


ANCHOR: dict[str, object] = {
    "train.critic_lr": 5e-3,
    "train.generator_lr": 1.67e-3,
    "train.betas": [0.5, 0.9],
    "loss.n_critic": 5,
    "loss.gp_lambda": 0.1,
    "loss.clip_value": 0.1,
    "loss.r1_gamma": 0.1,
}
"""What was known to work for one of the losses before the search."""

SEARCHES = Path("outputs/tuning")
"""Where a search keeps its trials."""

FIXED: dict[str, object] = {"train.optimizer": "adam", "train.decay": "linear"}
"""Of every trial but the papers' own."""


def paper(loss: str) -> dict[str, object]:
    """The paper's settings as a trial."""
    config = compose([f"loss={loss}", "tuned=none"])
    knobs = {f"loss.{name}": value for name, value in config.loss.coefficients.items()}
    return {
        "train.critic_lr": config.train.critic_lr,
        "train.generator_lr": config.train.generator_lr,
        "train.betas": list(config.train.betas),
        "train.optimizer": config.train.optimizer,
        "train.decay": config.train.decay,
        "loss.n_critic": config.loss.n_critic,
        **knobs,
    }


def log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return float(f"{math.exp(random.uniform(math.log(low), math.log(high))):.3g}")


def draw_trial(random: np.random.Generator) -> dict[str, object]:
    """One point of the space, the same for every loss."""
    drawn = {key: draw(random) for key, draw in SPACE.items()}
    ratio = float(drawn.pop("ratio"))  # type: ignore[arg-type]
    drawn["train.generator_lr"] = float(f"{float(drawn['train.critic_lr']) / ratio:.3g}")  # type: ignore[arg-type]
    return drawn


def used(loss: str, trial: dict[str, object]) -> dict[str, object]:
    """The trial without the knobs that the loss has not."""
    unused = {"loss.gp_lambda", "loss.clip_value", "loss.r1_gamma"}
    unused -= {f"loss.{name}" for name in RECIPES[loss].coefficients}
    return {key: value for key, value in trial.items() if key not in unused}


def steps_for(loss: str, n_critic: int, units: float) -> int:
    """Generator steps that cost ``units`` passes, a multiple of 500."""
    each = run_passes(RECIPES[loss], n_critic, 1)
    return max(500, round(units / each / 500) * 500)


def reported_units(data: str) -> float:
    """Compute of a run in the README's table, the same for every loss."""
    return UNITS * TIMES.get(data, 1)


def configure(
    data: str, loss: str, trial: dict[str, object], seed: int, units: float, extra: list[str]
) -> RunConfig:
    steps = steps_for(loss, int(trial["loss.n_critic"]), units)  # type: ignore[call-overload]
    settings = FIXED | trial
    overrides = [f"{key}={value}".replace(" ", "") for key, value in settings.items()]
    return compose(
        [
            f"data={data}",
            f"loss={loss}",
            "tuned=none",
            *extra,
            f"train.steps={steps}",
            f"seed={seed}",
            *overrides,
        ]
    )


def train_and_score(configs: list[RunConfig]) -> list[dict[str, float]]:
    """Final figures of every configuration; equal static settings share a stack."""
    results: list[dict[str, float]] = [{} for _ in configs]
    groups: dict[str, list[int]] = {}
    for i, config in enumerate(configs):
        key = json.dumps(static_settings(config), sort_keys=True)
        groups.setdefault(key, []).append(i)
    for members in groups.values():
        started = time.perf_counter()
        stack = Stack([configs[i] for i in members], torch.device("cpu"))
        with fitting_cpu(stack):
            while stack.steps_done < stack.config.train.steps:
                stack.iterate()
                if stack.steps_done % 500 == 0 and min(stack.diverged_at()) >= 0:
                    break
            measured = measure_stack(stack, stack.config.evaluate.final_n)
        for i, own in zip(members, measured, strict=True):
            results[i] = own.values
        train = stack.config.train
        print(
            f"  {len(members)} runs, n_critic {stack.config.loss.n_critic}, betas {train.betas}, "
            f"{train.steps} steps: {time.perf_counter() - started:.0f} s",
            flush=True,
        )
    return results


def score(results: list[dict[str, float]]) -> float:
    """Larger is better, 1 is perfect; a diverged run counts 0."""

    def of_run(run: dict[str, float]) -> float:
        near = run.get("wasserstein/floor", 1.0) / run.get("wasserstein/exact", math.inf)
        good = run.get("modes/coverage", 0.0) * run.get("modes/high_quality", 0.0)
        return good * min(1.0, near)

    return float(np.mean([of_run(run) for run in results]))


def run_stage(
    data: str,
    loss: str,
    trials: list[dict[str, object]],
    seeds: tuple[int, ...],
    units: float,
    extra: list[str],
) -> list[dict[str, object]]:
    """Each trial on each seed: trials with their results, best first."""
    configs = [configure(data, loss, t, s, units, extra) for t in trials for s in seeds]
    results = train_and_score(configs)
    rows: list[dict[str, object]] = []
    for i, trial in enumerate(trials):
        own = results[i * len(seeds) : (i + 1) * len(seeds)]
        rows.append(
            {
                "trial": trial,
                "score": score(own),
                "high_quality": [r.get("modes/high_quality") for r in own],
                "covered": [r.get("modes/covered") for r in own],
                "exact": [r.get("wasserstein/exact") for r in own],
            }
        )
    return sorted(rows, key=lambda row: row["score"], reverse=True)  # type: ignore[arg-type, return-value]


def stages_of(data: str) -> tuple[tuple[float, int, float], ...]:
    """The search's stages, and the best two at the compute of reported runs if that is more."""
    times = TIMES.get(data, 1)
    return (*STAGES, (0.0, 5, times)) if times > 1 else STAGES


def trials_file(out: Path, data: str, loss: str) -> Path:
    """Where a search keeps its stages: each a list of trials, best first."""
    return out / f"{loss}-{data}.json"


def search(
    data: str, loss: str, trials: int, extra: list[str], out: Path, ranking_only: bool = False
) -> None:
    """All stages for one loss on one data set; every trial is kept in the JSON file.

    With ``ranking_only`` the first stage alone, and nothing is written to conf/tuned.
    """
    random = np.random.default_rng(20170401)
    known = [used(loss, ANCHOR), paper(loss)]
    drawn = [used(loss, ANCHOR), *(used(loss, draw_trial(random)) for _ in range(trials - 1))]
    print(f"{data} {loss}: {trials} trials", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    file = trials_file(out, data, loss)
    stages = json.loads(file.read_text()) if file.exists() else []
    wanted_stages = stages_of(data)[: 1 if ranking_only else None]
    for number, (keep, seeds, share) in enumerate(wanted_stages):
        drawn = drawn[: max(2, round(keep * trials))]
        join = known if number == len(STAGES) - 1 else []
        wanted = drawn + [trial for trial in join if trial not in drawn]
        if len(stages) <= number:
            stages.append([])
        done = [row["trial"] for row in stages[number]]
        left = [trial for trial in wanted if trial not in done]
        if left:
            stages[number] += run_stage(data, loss, left, SEEDS[:seeds], share * UNITS, extra)
        stages[number].sort(key=lambda row: row["score"], reverse=True)
        drawn = [row["trial"] for row in stages[number]]
        file.write_text(json.dumps(stages, indent=1))
    for row in stages[-1]:
        print(f"  {row['score']:.3f} {row['trial']}", flush=True)
    if ranking_only:
        return
    command = f"--data {data} --loss {loss} --trials {trials}"
    command = " ".join([command, *(["--", *extra] if extra else [])])
    write_tuned(data, loss, stages[-1][0]["trial"], command)


def write_tuned(data: str, loss: str, trial: dict[str, object], command: str) -> None:
    """The winner as conf/tuned/<loss>-<data>.yaml, with the command that found it."""
    groups: dict[str, list[str]] = {"loss": [], "train": []}
    for key, value in (FIXED | trial).items():
        group, name = key.split(".")
        groups[group].append(f"  {name}: {value}")
    steps = steps_for(loss, int(trial["loss.n_critic"]), reported_units(data))  # type: ignore[call-overload]
    groups["train"].append(f"  steps: {steps}")
    head = [
        "# @package _global_",
        f"# {loss} on {data}: the best of its search on tuning seeds 100-104.",
        f"# python scripts/tune.py {command}",
    ]
    if TIMES.get(data, 1) > 1:
        head.append(f"# Only its best two had all these steps, the others 1/{TIMES[data]} at most.")
    body = [line for group, lines in groups.items() for line in (f"{group}:", *lines)]
    path = Path(__file__).parent.parent / "conf" / "tuned" / f"{loss}-{data}.yaml"
    path.write_text("\n".join([*head, *body]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", nargs="+", default=["ring8", "grid25"])
    parser.add_argument("--loss", nargs="+", default=list(RECIPES))
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--out", type=Path, default=SEARCHES)
    parser.add_argument("--ranking-only", action="store_true", help="the first stage alone")
    parser.add_argument("overrides", nargs="*", help="settings of every run, after --")
    arguments = parser.parse_args()
    for data in arguments.data:
        for loss in arguments.loss:
            search(
                data,
                loss,
                arguments.trials,
                arguments.overrides,
                arguments.out,
                arguments.ranking_only,
            )


if __name__ == "__main__":
    main()
