"""The outcomes of the mode collapse study, and its simple effects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wganbench.studies.evidence import Outcome, largest_kl, largest_w1, mode_weights, outcomes
from wganbench.studies.mode_collapse.arms import SATURATING, SATURATING_GP
from wganbench.training.run import Run

PENALTY = (("bce_gp", "bce"), (SATURATING_GP, SATURATING), ("gp", "wasserstein"))
"""The simple effects of the penalty: one under each objective."""
OBJECTIVE = (("wasserstein", "bce"), ("wasserstein", SATURATING), ("gp", "bce_gp"),
             ("gp", SATURATING_GP))  # fmt: skip
"""The simple effects of the Wasserstein objective: without and with the penalty."""
PENALTY_OVER_OBJECTIVE = (("bce_gp", "wasserstein"),)

COVERAGE, LOST = "coverage", "lost"
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Ended:
    """The outcomes by data set and arm, one per seed, and the number of modes by data set."""

    outcomes: Mapping[str, Mapping[str, Sequence[Outcome]]]
    modes: Mapping[str, int]

    def on(self, data: str) -> Ended:
        """Return the outcomes on one data set."""
        return Ended({data: self.outcomes[data]}, {data: self.modes[data]})

    def values(self, data: str, arm: str, quantity: str) -> list[float]:
        """Return a quantity by seed; more is better for coverage, less for the lost share."""
        own = self.outcomes[data][arm]
        return lost_shares(own) if quantity == LOST else [each.coverage for each in own]

    def modes_lost(self, arm: str) -> list[float]:
        """Return by seed the largest number of modes lost on a data set: K times the share."""
        columns = [
            [self.modes[data] * share for share in lost_shares(arms[arm])]
            for data, arms in self.outcomes.items()
            if arm in arms
        ]
        return [max(column) for column in zip(*columns, strict=True)]


def ended(runs: Mapping[str, Mapping[str, Sequence[Run]]]) -> Ended:
    """Return the outcomes from runs by data set and arm, the worst case for diverged ones."""
    found, modes = {}, {}
    for data, arms in runs.items():
        if not arms:
            continue
        weights = mode_weights(next(iter(arms.values()))[0])
        worst = largest_kl([weight / sum(weights) for weight in weights])
        worst_w1 = largest_w1([run for own in arms.values() for run in own])
        found[data] = {arm: outcomes(own, worst, worst_w1) for arm, own in arms.items()}
        modes[data] = len(weights)
    return Ended(found, modes)


def lost_shares(runs: Sequence[Outcome]) -> list[float]:
    """Return the lost shares of the data's mass, 1 - exp(-KL).

    Evenly kept m of K equal modes give 1 - m/K. The KL is that of all samples by nearest mode,
    so that a run that only blurs has lost nothing.
    """
    return [-math.expm1(-outcome.kl) for outcome in runs]


def simple_effects(found: Ended, pairs: Pairs, quantity: str) -> dict[str, list[float]]:
    """Return, for each pair that was run, by seed how much better the first arm is.

    The numbers are means over the data sets that have both arms. Coverage counts upwards, the
    lost share downwards.
    """
    sign = -1.0 if quantity == LOST else 1.0
    effects = {}
    for one, other in pairs:
        shared = [data for data, arms in found.outcomes.items() if {one, other} <= arms.keys()]
        if shared:
            columns = [
                np.subtract(found.values(data, one, quantity), found.values(data, other, quantity))
                for data in shared
            ]
            effects[f"{one} less {other}"] = (sign * np.mean(columns, axis=0)).tolist()
    return effects


def controls_lose(found: Ended, pairs: Pairs, quantity: str) -> dict[str, float]:
    """Return what the control of each of `simple_effects` loses: a mean share of the modes."""
    lost = {}
    for one, other in pairs:
        shared = [data for data, arms in found.outcomes.items() if {one, other} <= arms.keys()]
        if shared:
            values = [np.mean(found.values(data, other, quantity)) for data in shared]
            mean = float(np.mean(values))
            lost[f"{one} less {other}"] = mean if quantity == LOST else 1 - mean
    return lost
