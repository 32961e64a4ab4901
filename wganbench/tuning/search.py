"""Successive halving: the trials of every loss, their scores, and the winners' files and runs."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wganbench import bounds
from wganbench.config import compose, run_id
from wganbench.config.check import check_options, from_dict
from wganbench.config.jobs import Choice, Job
from wganbench.config.schema import RunConfig, to_dict
from wganbench.errors import ConfigError
from wganbench.files import write_atomic
from wganbench.losses import RECIPES
from wganbench.runs.record import RunRecord, read_record
from wganbench.sweeps.backend import Watcher
from wganbench.sweeps.launch import train_all
from wganbench.tags.lookup import ENERGY, SPREADS_FROM_FLOOR, headline_distance
from wganbench.training.passes import step_cost
from wganbench.tuning.space import FIRST_TUNING_SEED, GROUPS, Rung, Space, composed_name

ROUND_TO = 100
"""A run's steps are a multiple of this, or of a smaller power of ten; see `rounded`."""

FEWEST = 2
"""Trials that reach a rung at least."""

QUIET = ("log.figure=false", "log.tensorboard=false", "evaluate.every_n_steps=0")
"""A trial is measured once, at its end."""

Arm = tuple[str, str]
"""A loss and a data set, each searched by itself."""


@dataclass(frozen=True)
class Search:
    """What a search is asked for.

    ``overrides`` hold for every run; ``budget`` multiplies the space's compute; ``fresh`` seeds,
    from 0 on, train each winner anew. ``choice`` is the launcher with its settings.
    """

    losses: tuple[str, ...]
    data: tuple[str, ...]
    trials: int
    budget: float
    fresh: int
    space: Space
    overrides: tuple[str, ...]
    folder: Path
    choice: Choice = ("stack", {})
    config_dir: Path | None = None

    @property
    def arms(self) -> list[Arm]:
        return [(loss, data) for data in self.data for loss in self.losses]


@dataclass
class Trial:
    """One point of a loss's search: its settings, and its scores by rung, one for each seed."""

    number: int
    known: bool
    settings: Mapping[str, Any]
    scores: list[list[float]] = field(default_factory=list)

    @property
    def last(self) -> float:
        """The mean score at the last rung that it reached."""
        return mean(self.scores[-1])


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def run_search(search: Search, watcher: Watcher) -> dict[Arm, list[Trial]]:
    """Train all rungs and return the trials of every arm, the best of the last rung first.

    Finished runs are not trained again, so that the same search goes on where it stopped. Raises
    ConfigError, and `Interrupted` if a signal stopped the training.
    """
    bases = {arm: base_of(search, arm) for arm in search.arms}
    arms = {arm: trials_of(search, arm[0]) for arm in search.arms}
    rung_count = len(search.space.rungs)
    for number, rung in enumerate(search.space.rungs):
        left = {arm: best(own, count_at(search, number)) for arm, own in arms.items()}
        wanted = {
            (arm, trial.number): jobs_of(search, bases[arm], arm, trial.settings, rung)
            for arm, own in left.items()
            for trial in own
        }
        runs = sum(map(len, wanted.values()))
        watcher.say(f"rung {number + 1} of {rung_count}: {runs} runs, {rung.compute:g} compute")
        train_all(search.folder / "trials", flat(wanted.values()), watcher, search.choice)
        for arm, own in left.items():
            for trial in own:
                trial.scores.append([scored(job) for job in wanted[arm, trial.number]])
    return {arm: sorted(own, key=lambda t: (-len(t.scores), -t.last)) for arm, own in arms.items()}


def trials_of(search: Search, loss: str) -> list[Trial]:
    settings = search.space.trials(loss, search.trials)
    return [Trial(i, i >= search.trials, own) for i, own in enumerate(settings)]


def count_at(search: Search, rung: int) -> int:
    """Return the number of trials that reach a rung; all of them reach the first."""
    every = search.trials + len(search.space.known)
    return every if rung == 0 else max(FEWEST, round(search.space.rungs[rung].trials * every))


def best(trials: Sequence[Trial], count: int) -> list[Trial]:
    """Return the trials with the best score at the last rung that any of them reached."""
    most = max(len(trial.scores) for trial in trials)
    there = [trial for trial in trials if len(trial.scores) == most]
    return sorted(there, key=lambda trial: -trial.last if most else trial.number)[:count]


def flat(groups: Any) -> list[Job]:
    return [job for group in groups for job in group]


def base_of(search: Search, arm: Arm) -> RunConfig:
    """Return the configuration that an arm's trials share. Raises ConfigError."""
    loss, data = arm
    words = [f"data={data}", f"loss={loss}", "tuned=none", *QUIET, *search.overrides]
    # A coefficient that only a further penalty has stands in no YAML file.
    added = search.space.own_keys(loss) - {f"loss.{name}" for name in RECIPES[loss].coefficients}
    point = {**search.space.point(0), **search.space.fixed}
    words += [f"{key}={point[key]}" for key in sorted(added & point.keys())]
    place = [f"output_dir={search.folder}", "name=trials"]
    return compose([*words, *place], search.config_dir)


def jobs_of(
    search: Search, base: RunConfig, arm: Arm, settings: Mapping[str, Any], rung: Rung
) -> list[Job]:
    """Return the jobs of a trial at a rung, one for each tuning seed. Raises ConfigError."""
    steps = steps_of(search, base, arm[1], settings, rung.compute)
    config = with_values(base, {**settings, "train.steps": steps})
    own = [replace(config, seed=FIRST_TUNING_SEED + seed) for seed in range(rung.seeds)]
    return [Job(one, search.folder / one.name / run_id(one)) for one in own]


def steps_of(
    search: Search, base: RunConfig, data: str, settings: Mapping[str, Any], share: float
) -> int:
    """Return the generator steps of a trial that cost a share of a run's compute."""
    passes = search.space.passes(data) * search.budget * share
    return steps_for(base, int(settings["loss.n_critic"]), passes)


def steps_for(base: RunConfig, n_critic: int, passes: float) -> int:
    """Return the generator steps that cost so many passes, `rounded`.

    A loss with cheaper steps takes more of them; see training/passes.py. Raises ConfigError for
    more steps than a run may have.
    """
    steps = passes / step_cost(base).of_run(n_critic, 1)
    if not steps <= bounds.STEPS:
        raise ConfigError(
            f"a run of {base.loss.name} on {base.data.name} would have {steps:.2g} steps, more "
            f"than {bounds.STEPS:g}: lower budget=, or compute in the space"
        )
    return rounded(steps)


def rounded(steps: float) -> int:
    """Return steps within 2 percent, in hundreds if possible; below 25 to the nearest, from 1.

    >>> rounded(17142.9), rounded(2222.2), rounded(125.4), rounded(0.1)
    (17100, 2220, 125, 1)
    """
    unit = ROUND_TO
    while unit > 1 and steps < 25 * unit:
        unit //= 10
    return max(1, round(steps / unit) * unit)


def with_values(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Return a configuration with other values, by dotted key. Raises ConfigError."""
    nested = copy.deepcopy(to_dict(base))
    for key, value in values.items():
        *path, last = key.split(".")
        part = nested
        for name in path:
            part = part[name]
        part[last] = value
    return check_options(from_dict(nested))


def scored(job: Job) -> float:
    """Return the score of a job's finished run."""
    return score_of(read_record(job.folder))


# The score of a run.
def score_of(record: RunRecord) -> float:
    """Return the score of a finished run; 0 for a diverged one.

    score = modes/coverage x modes/high_quality x min(1, f / d), without the first two for data
    that has no modes. d is the headline distance (exact W1, the energy distance or FID), f what
    a perfect generator scores. Each factor sees what the others do not: uneven modes, stray
    samples, samples in the wrong place.
    """
    if record.diverged:
        return 0.0
    return score(record.final, record.shape)


def score(metrics: Mapping[str, float], shape: tuple[int, ...] | None) -> float:
    """Return the score of final metrics by tag, for data of a shape; see `score_of`.

    >>> score({"modes/coverage": 1.0, "modes/high_quality": 0.9,
    ...        "wasserstein/exact": 0.2, "wasserstein/floor": 0.1}, (2,))
    0.45
    """
    good = metrics.get("modes/coverage", 1.0) * metrics.get("modes/high_quality", 1.0)
    return good * nearness(metrics, shape)


def nearness(metrics: Mapping[str, float], shape: tuple[int, ...] | None) -> float:
    """Return min(1, f / d) for the headline distance d; 0 where it is missing or not finite."""
    tag = headline_distance(shape, metrics)
    if tag is None or not math.isfinite(metrics[tag.name]):
        return 0.0
    distance, floor = metrics[tag.name], metrics.get(tag.floor or "", 0.0)
    if tag.name == ENERGY:
        floor += SPREADS_FROM_FLOOR * metrics.get("energy/spread", 0.0)
    return 1.0 if distance <= floor else max(floor, 0.0) / distance


# The winner of a search: its YAML file, and its runs on fresh seeds.
def winner_yaml(search: Search, arm: Arm, trial: Trial, command: str) -> str:
    """Return the text of the winner's YAML file, with the command that found it."""
    loss, data = arm
    first, seeds = FIRST_TUNING_SEED, search.space.rungs[-1].seeds
    head = [
        "# @package _global_",
        f"# {composed_name(loss, search.space.penalties)} on {data}: the best of {search.trials} "
        f"drawn and {len(search.space.known)} known trials of the space {search.space.name!r}, on "
        f"tuning seeds {first}-{first + seeds - 1}.",
        *(f"# {note}" for note in notes_on(arm, trial)),
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


def notes_on(arm: Arm, best: Trial) -> list[str]:
    """Return a sentence on an arm whose best trial scored 0, for what was found is by chance."""
    if not best.scores or best.last > 0:
        return []
    return [
        f"No trial of {arm[0]} on {arm[1]} scored above 0 in the last rung: its settings are "
        "no better than others. More compute (budget=4) or more trials may find better ones."
    ]


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
