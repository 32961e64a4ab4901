"""The runs behind the mode collapse study: which there are, and what comes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wganbench.presets import read_preset
from wganbench.studies.context import Context
from wganbench.studies.factorial import ARMS, BOTH, Effects, effects
from wganbench.studies.mode_loss import Order, order_of
from wganbench.studies.outcomes import Outcome, largest_kl, largest_w1, mode_weights, outcomes
from wganbench.training.inspect import Run

SATURATING = "bce_saturating"
TUNED = ("bce", SATURATING, "clip", "gp", "lp", "bce_gp", "bce_r1")
"""Losses with tuned settings."""
PACGAN = ("bce", "clip", "gp", "lp")


@dataclass(frozen=True)
class Measured:
    """Outcomes by arm, orders of events in runs at tuned settings, and the runs of the four."""

    common: Mapping[str, list[Outcome]]
    tuned: Mapping[str, list[Outcome]]
    pacgan: Mapping[str, list[Outcome]]
    orders: Mapping[str, list[Order]]
    runs: Mapping[str, list[Run]]
    worst_kl: float

    def values(self, quantity: str) -> Effects:
        return effects({a: [getattr(o, quantity) for o in self.common[a]] for a in ARMS})


def common_arms(context: Context) -> dict[str, list[str]]:
    """The four arms: all that is not the loss is equal."""
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
    """Every loss as it was tuned on the ring, over a share of its steps."""
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
    """PacGAN's networks, data, batch and rates, one step each, with other losses too."""
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
    """Length, batch and how often a run is measured."""
    every = max(1, round(context["evaluate_every_share"] * steps))
    return [
        f"train.steps={steps}", f"train.batch_size={context['batch_size']}",
        f"precision={context['precision']}", f"evaluate.every_n_steps={every}",
        f"evaluate.n={context['evaluate_n']}", f"evaluate.final_n={context['final_n']}",
        "evaluate.protocol=box", f"log.every_n_steps={every}", "log.tensorboard=false",
    ]  # fmt: skip


def gather(runs: Mapping[str, list[Run]]) -> Measured:
    """Outcomes and orders of events from the runs' records."""
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
    """Outcomes by arm, of arms on the same data."""
    if not arms:
        return {}
    worst = largest_kl(mode_weights(next(iter(arms.values()))[0]))
    worst_w1 = largest_w1([run for own in arms.values() for run in own])
    return {arm: outcomes(own, worst, worst_w1) for arm, own in arms.items()}


def lost_shares(runs: Sequence[Outcome]) -> list[float]:
    """Share of the modes that is lost: 1 - exp(-KL), m of K equal modes evenly kept give 1 - m/K.

    KL is that of all samples by their nearest mode: a run that is only blurred has lost none.
    """
    return [-math.expm1(-outcome.kl) for outcome in runs]
