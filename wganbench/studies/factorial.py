"""Two times two arms: the effect of each factor, and of the two together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

PLAIN, WASSERSTEIN, PENALISED, BOTH = "bce", "wasserstein", "bce_gp", "gp"
ARMS = (PLAIN, WASSERSTEIN, PENALISED, BOTH)
"""Neither factor, the objective alone, the penalty alone, both."""


@dataclass(frozen=True)
class Effects:
    """One number a seed for each, with y the outcome of an arm at that seed.

    penalty = ((y_bce_gp + y_gp) - (y_bce + y_wasserstein)) / 2
    objective = ((y_wasserstein + y_gp) - (y_bce + y_bce_gp)) / 2
    interaction = (y_gp - y_wasserstein) - (y_bce_gp - y_bce)
    penalty_over_objective = penalty - objective = y_bce_gp - y_wasserstein
    objective_with_penalty = y_gp - y_bce_gp
    """

    penalty: list[float]
    objective: list[float]
    interaction: list[float]
    penalty_over_objective: list[float]
    objective_with_penalty: list[float]


def effects(arms: Mapping[str, Sequence[float]]) -> Effects:
    """The effects, seed by seed. Raises ValueError for arms with unequal numbers of seeds."""
    if len({len(arms[name]) for name in ARMS}) > 1:
        raise ValueError("the four arms need the same seeds")
    plain, objective, penalty, both = (column(arms[name]) for name in ARMS)
    return Effects(
        penalty=listed((penalty + both - plain - objective) / 2),
        objective=listed((objective + both - plain - penalty) / 2),
        interaction=listed((both - objective) - (penalty - plain)),
        penalty_over_objective=listed(penalty - objective),
        objective_with_penalty=listed(both - penalty),
    )


def column(values: Sequence[float]) -> Float64[np.ndarray, " n"]:
    return np.asarray(values, dtype=np.float64)


def listed(values: Float64[np.ndarray, " n"]) -> list[float]:
    return [float(value) for value in values]
