"""The winner of a search: its YAML file, and its runs on fresh seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wganbench.config import compose, run_id
from wganbench.config.jobs import Job
from wganbench.files import write_atomic
from wganbench.sweeps.backend import Watcher
from wganbench.sweeps.launch import train_all
from wganbench.tuning.search import Arm, Search, Trial, base_of, steps_of
from wganbench.tuning.space import FIRST_TUNING_SEED, GROUPS, composed_name


def winner_yaml(search: Search, arm: Arm, trial: Trial, command: str) -> str:
    """Return the text of the winner's YAML file, with the command that found it."""
    loss, data = arm
    first, seeds = FIRST_TUNING_SEED, search.space.rungs[-1].seeds
    head = [
        "# @package _global_",
        f"# {composed_name(loss, search.space.penalties)} on {data}: the best of {search.trials} "
        f"drawn and {len(search.space.known)} known trials of the space {search.space.name!r}, on "
        f"tuning seeds {first}-{first + seeds - 1}.",
        f"# {command}",
    ]
    given = dict(word.lstrip("+").partition("=")[::2] for word in search.overrides)
    values = {
        **given,
        **{key: shown(value) for key, value in trial.settings.items()},
        "train.steps": shown(winner_steps(search, arm, trial)),
    }
    body: list[str] = []
    for group in GROUPS:
        own = {k.split(".")[1]: v for k, v in values.items() if k.startswith(f"{group}.")}
        body += [f"{group}:", *(f"  {name}: {value}" for name, value in own.items())]
    return "\n".join([*head, *body]) + "\n"


def elsewhere(search: Search) -> list[str]:
    """Return the search's overrides that a file of tuned settings does not hold."""
    return [word for word in search.overrides if word.lstrip("+").partition(".")[0] not in GROUPS]


def shown(value: Any) -> str:
    """Return a value as YAML, which reads 1e-05 as a text but 1.0e-05 as a number."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"^(\d+)e", r"\1.0e", text)


def winner_steps(search: Search, arm: Arm, trial: Trial) -> int:
    """Return the generator steps of the winner at the whole compute."""
    return steps_of(search, base_of(search, arm), arm[1], trial.settings, 1.0)


def write_winners(
    search: Search, winners: Mapping[Arm, Trial], into: Path, command: str
) -> dict[Arm, Path]:
    """Write the winners to ``into/tuned`` and return the files by arm. Raises OSError."""
    folder = into / "tuned"
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for (loss, data), trial in winners.items():
        files[loss, data] = folder / f"{composed_name(loss, search.space.penalties)}-{data}.yaml"
        text = winner_yaml(search, (loss, data), trial, command)
        write_atomic(files[loss, data], text.encode())
    return files


def train_winners(
    search: Search, winners: Mapping[Arm, Trial], watcher: Watcher
) -> dict[Arm, list[Path]]:
    """Train the winners on the fresh seeds, as users do; return the runs' folders by arm.

    Raises ConfigError, and `Interrupted` if a signal stopped the training.
    """
    jobs = {arm: winner_jobs(search, arm, trial) for arm, trial in winners.items()}
    every = [job for own in jobs.values() for job in own]
    if every:
        watcher.say(f"the best of each loss on {search.fresh} fresh seeds: {len(every)} runs")
        train_all(search.folder / "winners", every, watcher, search.choice)
    return {arm: [job.folder for job in own] for arm, own in jobs.items()}


def winner_jobs(search: Search, arm: Arm, trial: Trial) -> list[Job]:
    """Return the winner's runs on the fresh seeds, measured by the default evaluation."""
    loss, data = arm
    values = {k: v for k, v in trial.settings.items() if k.partition(".")[0] in GROUPS}
    values["train.steps"] = winner_steps(search, arm, trial)
    words = [
        f"data={data}", f"loss={loss}", "tuned=none", *search.overrides,
        *(f"{key}={value}".replace(" ", "") for key, value in values.items()),
        f"output_dir={search.folder}", "name=winners",
    ]  # fmt: skip
    base = compose(words, search.config_dir)
    configs = [replace(base, seed=seed) for seed in range(search.fresh)]
    return [Job(one, search.folder / one.name / run_id(one)) for one in configs]
