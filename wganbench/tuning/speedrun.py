"""Speedrun: how much training each loss needs until its samples are good, runs that fail included.

A run has arrived when, at two evaluations in a row, every mode has a fifth of its fair share, at
least 95 % of the samples are of high quality, and exact W1 is at most 1.5 floors (where the energy
distance decides, it is within two spreads of its floor). The time of its arrival is that of the
second one. A run that never arrives is censored at its planned end; so is a diverged one, which
stays among those that have not arrived.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import CensoredData, ecdf, logrank

from wganbench.config import compose, run_id
from wganbench.config.jobs import Choice, Job
from wganbench.config.overrides import parse_overrides
from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError
from wganbench.presets import choices, directories
from wganbench.reports.significance import holm
from wganbench.reports.statistics import LEVEL
from wganbench.runs.record import METRICS_CSV, read_record
from wganbench.runs.table import Cell, read_table, series
from wganbench.sweeps.backend import Watcher
from wganbench.sweeps.launch import train_all
from wganbench.tags.lookup import BESIDE, ENERGY, EXACT, SPREADS_FROM_FLOOR, right_distance
from wganbench.training.passes import step_cost
from wganbench.training.streams import critic_steps_before

COVERAGE, HIGH_QUALITY, FLOORS, IN_A_ROW = 1.0, 0.95, 1.5, 2
"""What an evaluation must show, and how many in a row."""

EVALUATIONS = 64
"""Evaluations of a run; they are no part of its seconds."""

EVERY = 50
"""An evaluation falls on a multiple of so many steps, at which rows are written."""

FIXED = ("log.figure=false", "log.tensorboard=false", "sweep.max_stack=1")
"""What every run of a speedrun has, so that its seconds are those of training alone."""


@dataclass(frozen=True)
class Arrival:
    """Where a run arrived, or where it ended without: passes of a network, and seconds."""

    seed: int
    arrived: bool
    passes: float
    seconds: float


@dataclass(frozen=True)
class Median:
    """A Kaplan-Meier median with its 95 % interval; None where half of the runs never arrive."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LossResult:
    """A loss's runs: its settings, where each run arrived, the medians over all of them."""

    loss: str
    settings: str
    arrivals: tuple[Arrival, ...]
    passes: Median
    seconds: Median

    @property
    def arrived(self) -> int:
        return sum(one.arrived for one in self.arrivals)


@dataclass(frozen=True)
class Speedrun:
    """The result: one result a loss, and the log-rank p-value of each pair after Holm."""

    data: str
    results: tuple[LossResult, ...]
    pairs: Mapping[tuple[str, str], float]
    shape: tuple[int, ...] | None = None

    @property
    def near(self) -> str:
        """The condition on the distance, in words."""
        if right_distance(self.shape) == ENERGY:
            return f"the energy distance is at most {SPREADS_FROM_FLOOR:g} spreads above its floor"
        return f"exact W1 is at most {FLOORS} floors"


def run_speedrun(
    losses: Sequence[str],
    data: str,
    seeds: int,
    overrides: Sequence[str],
    folder: Path,
    watcher: Watcher,
    choice: Choice = ("stack", {}),
    config_dir: Path | None = None,
) -> Speedrun:
    """Train every loss with its tuned settings on seeds 0 to ``seeds`` - 1, and time them.

    Every run trains alone, so that its seconds are its own. Finished runs are not trained again.
    Raises ConfigError, and `Interrupted` if a signal stopped the training.
    """
    jobs = {loss: jobs_of(loss, data, seeds, overrides, folder, config_dir) for loss in losses}
    check_modes(data, jobs[losses[0]][0].config)
    train_all(folder / "runs", [job for own in jobs.values() for job in own], watcher, choice)
    results = tuple(
        loss_result(
            loss, settings_of(loss, data, overrides, config_dir), [arrival(job) for job in own]
        )
        for loss, own in jobs.items()
    )
    shape = read_record(jobs[losses[0]][0].folder).shape
    return Speedrun(data, results, pair_tests(results), shape)


def check_modes(data: str, config: RunConfig) -> None:
    """Raise ConfigError for data without modes, on which nothing can arrive."""
    from wganbench.data import build

    if build(config.data.kind, config.data.options).modes is None:
        raise ConfigError(f"data={data} has no modes; a speedrun needs some, such as data=ring8")


def refuse_set(overrides: Sequence[str]) -> None:
    """Raise ConfigError for an override of a key that the speedrun itself sets."""
    fixed = {word.partition("=")[0] for word in FIXED}
    for word in overrides:
        key = word.partition("=")[0].lstrip("+~")
        if key == "seed":
            raise ConfigError("seed is set by the speedrun; seeds=20 trains seeds 0 to 19")
        if key in {"evaluate.every_n_steps", "log.every_n_steps", *fixed}:
            raise ConfigError(
                f"{key} is set by the speedrun: every run trains alone, writes a row each {EVERY} "
                f"steps, is evaluated {EVALUATIONS} times and draws nothing"
            )


def jobs_of(
    loss: str,
    data: str,
    seeds: int,
    overrides: Sequence[str],
    folder: Path,
    config_dir: Path | None,
) -> list[Job]:
    """Return a loss's runs, one a seed, each evaluated `EVALUATIONS` times. Raises ConfigError."""
    words = [f"data={data}", f"loss={loss}", *overrides]
    steps = compose(words, config_dir).train.steps
    every = max(1, round(steps / EVALUATIONS / EVERY)) * EVERY
    fixed = [
        f"evaluate.every_n_steps={every}", f"log.every_n_steps={EVERY}", *FIXED,
        f"output_dir={folder}", "name=runs",
    ]  # fmt: skip
    base = compose([*words, *fixed], config_dir)
    configs = [replace(base, seed=seed) for seed in range(seeds)]
    return [Job(one, folder / one.name / run_id(one)) for one in configs]


def settings_of(loss: str, data: str, overrides: Sequence[str], config_dir: Path | None) -> str:
    """Return whose settings a loss has: ``tuned``, its paper's, or those of ``tuned=NAME``."""
    own = None if config_dir is None else str(config_dir)
    chosen = parse_overrides(overrides, own).chosen.get("tuned")
    if chosen is not None:
        return "paper's" if chosen == "none" else chosen
    tuned = f"{loss}-{data}" in choices("tuned", directories(config_dir))
    return "tuned" if tuned else "paper's"


def arrival(job: Job) -> Arrival:
    """Return where a finished run arrived, or else the end of a whole run.

    A run that diverged stops there. It would not have arrived later, so it counts as one that
    trained to the end at the rate that it had.
    """
    config, record = job.config, read_record(job.folder)
    final = record.final
    table = read_table(job.folder / METRICS_CSV)
    step = arrival_steps(table, record.shape)
    if step is None:
        steps = config.train.steps
        critic_steps = critic_steps_before(steps, config)
        passes = step_cost(config).of_run(critic_steps, steps)
        seconds, spent = (final.get(f"budget/{name}", 0.0) for name in ("seconds", "passes"))
        whole = passes / spent if record.diverged and spent > 0 else 1.0
        return Arrival(config.seed, False, passes, whole * seconds)
    passes_at, seconds_at = (
        dict(zip(*series(table, f"budget/{name}"), strict=True)) for name in ("passes", "seconds")
    )
    return Arrival(config.seed, True, passes_at[step], seconds_at[step])


def arrival_steps(
    table: Mapping[str, Sequence[Cell]], shape: tuple[int, ...] | None = None
) -> int | None:
    """Return the step of the evaluation at which a run arrived, from its table; None if never.

    The distance is the one that decides on points of a shape: exact W1 within `FLOORS` floors, or
    the energy distance within two spreads of its floor.

    >>> arrival_steps({"step": [1, 2, 3], "modes/coverage": [1.0, 1.0, 1.0],
    ...                "modes/high_quality": [0.9, 0.96, 0.97],
    ...                "wasserstein/exact": [0.1, 0.1, 0.1], "wasserstein/floor": [0.1] * 3})
    3
    """
    steps, coverage = series(table, "modes/coverage")
    by_energy = right_distance(shape) == ENERGY
    others = (
        "modes/high_quality",
        *((ENERGY, *BESIDE[ENERGY][:2]) if by_energy else (EXACT, BESIDE[EXACT][0])),
    )
    columns = [dict(zip(*series(table, tag), strict=True)) for tag in others]
    run = 0
    for step, covered in zip(steps, coverage, strict=True):
        quality, distance, floor, *spread = (column.get(step, np.nan) for column in columns)
        most = floor + SPREADS_FROM_FLOOR * spread[0] if by_energy else FLOORS * floor
        good = covered >= COVERAGE - 1e-9 and quality >= HIGH_QUALITY and distance <= most
        run = run + 1 if good else 0
        if run == IN_A_ROW:
            return step
    return None


def loss_result(loss: str, settings: str, arrivals: Sequence[Arrival]) -> LossResult:
    """Return a loss's medians over its runs."""
    return LossResult(
        loss,
        settings,
        tuple(arrivals),
        median([one.passes for one in arrivals], [one.arrived for one in arrivals]),
        median([one.seconds for one in arrivals], [one.arrived for one in arrivals]),
    )


def censored(times: Sequence[float], arrived: Sequence[bool]) -> Any:
    """Return SciPy's right-censored data."""
    own, there = np.asarray(times, dtype=np.float64), np.asarray(arrived, dtype=bool)
    return CensoredData(uncensored=own[there], right=own[~there])


def median(times: Sequence[float], arrived: Sequence[bool]) -> Median:
    """Return the Kaplan-Meier median: the first time at which half of the runs have arrived.

    The interval holds the times at which the log-log interval of the curve crosses one half
    (Brookmeyer and Crowley 1982, doi:10.2307/2530286).
    """
    if not any(arrived):
        return Median(None, None, None)
    curve = ecdf(censored(times, arrived)).sf
    with warnings.catch_warnings():  # the interval is undefined where the curve is 0 or 1
        warnings.simplefilter("ignore", RuntimeWarning)
        band = curve.confidence_interval(confidence_level=LEVEL, method="log-log")
    return Median(*(first_below(curve, own) for own in (curve, band.low, band.high)))


def first_below(curve: Any, bound: Any) -> float | None:
    """Return the first time at which a bound of a curve is at most one half, else None.

    Where the bound is undefined, the curve itself stands in for it.
    """
    known = np.where(np.isnan(bound.probabilities), curve.probabilities, bound.probabilities)
    below = np.flatnonzero(known <= 0.5 + 1e-12)
    return float(curve.quantiles[below[0]]) if len(below) else None


def pair_tests(results: Sequence[LossResult]) -> dict[tuple[str, str], float]:
    """Return the log-rank test's p-value for passes, of each pair of losses, after Holm.

    Pairs of which nobody arrives cannot differ: their p-value is 1.
    """
    found: dict[tuple[str, str], float] = {}
    for a, b in combinations(results, 2):
        own = [
            censored([o.passes for o in one.arrivals], [o.arrived for o in one.arrivals])
            for one in (a, b)
        ]
        found[a.loss, b.loss] = float(logrank(*own).pvalue) if a.arrived + b.arrived else 1.0
    return dict(zip(found, holm(list(found.values())), strict=True))
