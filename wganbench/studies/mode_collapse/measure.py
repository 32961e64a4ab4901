"""The runs of the mode collapse study, and their measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from wganbench.presets import read_preset
from wganbench.runs.table import Cell, series
from wganbench.studies.evidence import Outcome, largest_kl, largest_w1, mode_weights, outcomes
from wganbench.studies.study import Context
from wganbench.training.run import Run

# The 2 x 2 arms: the effect of each factor and their interaction.
PLAIN, WASSERSTEIN, PENALISED, BOTH = "bce", "wasserstein", "bce_gp", "gp"
ARMS = (PLAIN, WASSERSTEIN, PENALISED, BOTH)
"""Neither factor, the objective alone, the penalty alone, both."""


@dataclass(frozen=True)
class Effects:
    """The effects, each with one number per seed; y is the outcome of an arm at that seed.

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
    """Return the effects by seed. Raises ValueError for arms with different numbers of seeds."""
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


# The step at which a run loses modes for good, and earlier drops of the generator's signal.
LASTING = 3
"""A loss of modes counts if at least this many evaluations, up to the last, show it."""

HISTORY = 3
"""The fewest earlier evaluations in the running median for a drop."""

DROP = 0.5
"""A signal has dropped if it is below this share of its running median."""

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Order:
    """The steps of the first lasting loss of a mode, and of the first drop of each signal.

    A step is None if there was none. ``best`` is the largest coverage before the loss.
    """

    loss: int | None
    feedback: int | None
    gradient: int | None
    best: float


def order_of(table: Mapping[str, Sequence[Cell]], modes: int) -> Order:
    """Return the steps of the events, to the resolution of the run's evaluations."""
    steps, coverage = series(table, "modes/coverage")
    loss = first_lasting_loss(steps, coverage, modes)
    before = [c for s, c in zip(steps, coverage, strict=True) if loss is None or s < loss]
    return Order(
        loss=loss,
        feedback=first_drop(*series(table, "critic/feedback")),
        gradient=first_drop(*series(table, "grad_norm/sample")),
        best=max(before, default=0.0),
    )


def first_lasting_loss(steps: Sequence[int], coverage: Sequence[float], modes: int) -> int | None:
    """Return the first step from which coverage stays at least a mode below its earlier best.

    t = min {t : max_{u >= t} coverage_u <= max_{s < t} coverage_s - 1/K}, with at least
    `LASTING` evaluations from t on; None if modes were never lost, or never covered.

    >>> first_lasting_loss([0, 1, 2, 3, 4], [0.5, 1.0, 0.5, 0.5, 0.25], 4)
    2
    >>> first_lasting_loss([0, 1, 2, 3, 4], [0.5, 1.0, 0.5, 0.5, 1.0], 4) is None
    True
    """
    values = np.asarray(coverage, dtype=np.float64)
    for t in range(1, len(values) - LASTING + 1):
        if values[t:].max() <= values[:t].max() - 1 / modes + TOLERANCE:
            return steps[t]
    return None


def first_drop(steps: Sequence[int], signal: Sequence[float]) -> int | None:
    """Return the first step with a signal below `DROP` times the median of all before it.

    >>> first_drop([1, 2, 3, 4, 5], [1.0, 1.2, 0.9, 0.7, 0.3])
    5
    """
    for t in range(HISTORY, len(signal)):
        if signal[t] < DROP * float(np.median(signal[:t])):
            return steps[t]
    return None


def precedence(loss: int | None, drop: int | None) -> float | None:
    """Return 1 if the signal dropped before modes were lost, -1 if not, 0 at the same step.

    Returns None if no mode was lost, because there is no order then.
    """
    if loss is None:
        return None
    if drop is None or drop > loss:
        return -1.0
    return 1.0 if drop < loss else 0.0


SATURATING = "bce_saturating"
TUNED = ("bce", SATURATING, "clip", "gp", "lp", "bce_gp", "bce_r1")
"""Losses with tuned settings."""
PACGAN = ("bce", "clip", "gp", "lp")


@dataclass(frozen=True)
class Measured:
    """Outcomes by arm, orders of events in the tuned runs, and the runs of the four arms."""

    common: Mapping[str, list[Outcome]]
    tuned: Mapping[str, list[Outcome]]
    pacgan: Mapping[str, list[Outcome]]
    orders: Mapping[str, list[Order]]
    runs: Mapping[str, list[Run]]
    worst_kl: float

    def values(self, quantity: str) -> Effects:
        return effects({a: [getattr(o, quantity) for o in self.common[a]] for a in ARMS})


def common_arms(context: Context) -> dict[str, list[str]]:
    """Return the four arms, equal in everything but the loss."""
    shared = [
        f"data={context['data']}", "tuned=none", f"loss.n_critic={context['n_critic']}",
        "train.optimizer=adam", "train.decay=linear", f"train.betas={context['betas']}",
        f"train.critic_lr={context['critic_lr']}", f"train.generator_lr={context['generator_lr']}",
        *schedule(context, context["steps"]),
    ]  # fmt: skip
    penalty = [f"loss.gp_lambda={context['gp_lambda']}"]
    return {
        loss: [f"loss={loss}", *shared, *(penalty if loss.endswith("gp") else [])] for loss in ARMS
    }


def tuned_arms(context: Context) -> dict[str, list[str]]:
    """Return every loss as it was tuned on the ring, over a share of its steps."""
    share = context["tuned_share"]
    if not share:
        return {}
    arms = {}
    for loss in TUNED:
        steps = round(share * read_preset("tuned", f"{loss}-ring8")["train"]["steps"])
        own = [f"loss={loss}", f"data={context['data']}", f"tuned={loss}-ring8"]
        arms[loss] = [*own, *schedule(context, max(1, steps))]
    return arms


def pacgan_arms(context: Context) -> dict[str, list[str]]:
    """Return PacGAN's setting (networks, data, batch, rates, one critic step) for more losses."""
    if not context["pacgan_steps"]:
        return {}
    knobs = {"clip": ["loss.clip_value=0.1"], "bce": []}
    penalty = [f"loss.gp_lambda={context['gp_lambda']}"]
    return {
        loss: ["experiment=pacgan_ring8", f"loss={loss}", "loss.n_critic=1",
               f"train.steps={context['pacgan_steps']}", *knobs.get(loss, penalty)]
        for loss in PACGAN
    }  # fmt: skip


def schedule(context: Context, steps: int) -> list[str]:
    """Return the overrides for length, batch and interval of evaluations."""
    every = max(1, round(context["evaluate_every_share"] * steps))
    return [
        f"train.steps={steps}", f"train.batch_size={context['batch_size']}",
        f"precision={context['precision']}", f"evaluate.every_n_steps={every}",
        f"evaluate.n={context['evaluate_n']}", f"evaluate.final_n={context['final_n']}",
        "evaluate.protocol=box", f"log.every_n_steps={every}", "log.tensorboard=false",
    ]  # fmt: skip


def gather(runs: Mapping[str, list[Run]]) -> Measured:
    """Return outcomes and orders of events from the runs' records."""
    groups: dict[str, dict[str, list[Run]]] = {"common": {}, "tuned": {}, "pacgan": {}}
    for name, own in runs.items():
        group, _, arm = name.partition("/")
        groups[group][arm] = own
    modes = mode_weights(groups["common"][BOTH][0])
    return Measured(
        **{group: ended(arms) for group, arms in groups.items()},
        orders={
            arm: [order_of(run.table, len(modes)) for run in own]
            for arm, own in groups["tuned"].items()
        },
        runs=groups["common"],
        worst_kl=largest_kl(modes),
    )


def ended(arms: Mapping[str, list[Run]]) -> dict[str, list[Outcome]]:
    """Return outcomes by arm, for arms on the same data."""
    if not arms:
        return {}
    worst = largest_kl(mode_weights(next(iter(arms.values()))[0]))
    worst_w1 = largest_w1([run for own in arms.values() for run in own])
    return {arm: outcomes(own, worst, worst_w1) for arm, own in arms.items()}


def lost_shares(runs: Sequence[Outcome]) -> list[float]:
    """Return the lost shares of modes, 1 - exp(-KL); evenly kept m of K equal modes give 1 - m/K.

    The KL is that of all samples by nearest mode, so that a run that only blurs has lost none.
    """
    return [-math.expm1(-outcome.kl) for outcome in runs]
