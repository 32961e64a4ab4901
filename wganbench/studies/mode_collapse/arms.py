"""The runs of the mode collapse study: six arms, at drawn settings and at each arm's best."""

from __future__ import annotations

from collections.abc import Sequence

from wganbench.presets import preset_names, read_preset
from wganbench.studies.neutral import Arm, arms_of, overrides
from wganbench.studies.study import Context
from wganbench.tuning.space import composed_name

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
