"""The runs of the mode collapse study, six arms, and what is measured of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wganbench.errors import ConfigError
from wganbench.presets import preset_names, read_preset
from wganbench.studies.evidence import (
    Outcome,
    check_modes,
    largest_kl,
    largest_w1,
    mode_weights,
    outcomes,
)
from wganbench.studies.study import Context
from wganbench.training.run import Run
from wganbench.tuning.space import Arm, arms_of, composed_name, overrides

SATURATING, SATURATING_GP = "bce_saturating", "bce_saturating_gp"
ARMS = {
    **arms_of(("bce", SATURATING, "wasserstein", "bce_gp")),
    SATURATING_GP: Arm(SATURATING_GP, SATURATING, ("gp",)),
    **arms_of(("gp",)),
}
"""The objectives {non-saturating, saturating, Wasserstein}, without and with the penalty."""

TUNED = {**ARMS, **arms_of(("clip",))}
"""The arms that run at the best settings of their search, where there is a file of it."""

PACGAN = ("bce", "clip", "gp", "lp")


def check_settings(context: Context) -> None:
    """Raise ConfigError for data without modes, and for a swap that no step follows."""
    check_modes([*context["data"], *context["tuned_data"]])
    at, steps = context["swap_at"], context["swap_steps"]
    if at >= steps:
        raise ConfigError(f"swap_at={at} must be below swap_steps={steps}")


def drawn_arms(context: Context) -> dict[str, list[str]]:
    """Return the six arms at every drawn setting on every data set, by ``data/arm/number``.

    The penalty's coefficient is the only setting that some arms have and others lack.
    """
    return {
        f"{data}/{arm.name}/{number}": [
            *overrides(arm, context["first_trial"] + number, context["passes"]),
            f"data={data}", *measured(context, context["width"], context["batch_size"]),
        ]
        for data in context["data"]
        for arm in ARMS.values()
        for number in context.seeds
    }  # fmt: skip


def tuned_arms(context: Context) -> dict[str, list[str]]:
    """Return each arm at the best settings of its search, by ``data/arm``, for its full length.

    An arm without a file in conf/tuned is left out.
    """
    known = preset_names("tuned")
    return {
        f"{data}/{arm.name}": [
            *arm.words(), f"data={data}", f"tuned={tuned_name(arm, data)}",
            f"train.steps={tuned_steps(context, arm, data)}",
            *measured(context, context["tuned_width"], context["tuned_batch_size"]),
        ]
        for data in context["tuned_data"]
        for arm in TUNED.values()
        if tuned_name(arm, data) in known
    }  # fmt: skip


def untuned(context: Context) -> list[str]:
    """Return the arms that have no file of best settings, as ``arm on data``."""
    found = tuned_arms(context)
    return [
        f"{arm} on {data}"
        for data in context["tuned_data"]
        for arm in TUNED
        if f"{data}/{arm}" not in found
    ]


def tuned_name(arm: Arm, data: str) -> str:
    """Return the name of the file of an arm's best settings, as `wganbench tune` gives it."""
    return f"{composed_name(arm.loss, arm.penalties)}-{data}"


def tuned_steps(context: Context, arm: Arm, data: str) -> int:
    """Return the generator steps of a file of best settings, or a share of them."""
    steps = float(read_preset("tuned", tuned_name(arm, data))["train"]["steps"])
    return max(1, round(float(context["tuned_share"]) * steps))


def shortened(context: Context) -> str:
    """Return why claims at best settings are undecided: the arms did not train to their end."""
    share = context["tuned_share"]
    return f"the arms trained for {share:g} of their steps" if share < 1 else ""


def measured(context: Context, width: int, batch_size: int) -> list[str]:
    """Return the overrides for networks, batch, and what is measured at the end alone."""
    return [
        f"network.width={width}", f"train.batch_size={batch_size}",
        "evaluate.every_n_steps=0", f"evaluate.final_n={context['final_n']}",
        "evaluate.floor_pairs=2", "evaluate.protocol=box", "log.every_n_steps=1000000",
        "log.tensorboard=false",
    ]  # fmt: skip


def pacgan_arms(context: Context) -> dict[str, list[str]]:
    """Return PacGAN's setting (networks, data, batch, rates, one critic step) for more losses."""
    steps = context["pacgan_steps"]
    if not steps:
        return {}
    settings = {"clip": ["loss.clip_value=0.1"], "bce": []}
    return {
        loss: ["experiment=pacgan_ring8", f"loss={loss}", "loss.n_critic=1",
               f"train.steps={steps}", *settings.get(loss, ["loss.gp_lambda=0.1"]),
               "evaluate.every_n_steps=0", f"evaluate.final_n={context['final_n']}",
               "evaluate.protocol=box", "log.tensorboard=false"]
        for loss in PACGAN
    }  # fmt: skip


def few(seeds: Sequence[int], count: int) -> tuple[int, ...]:
    """Return the first seeds, at most ``count`` of them."""
    return tuple(seeds)[:count]


# The outcomes of the mode collapse study, and its simple effects.
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
