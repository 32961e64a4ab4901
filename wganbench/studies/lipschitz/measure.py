"""Critics with penalties or clipping, trained against fixed fakes, and their slopes."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from wganbench.config import RunConfig, compose
from wganbench.metrics.gradients import slopes
from wganbench.studies.frozen import (
    FrozenStack,
    clip_bound,
    noisy,
    spectral_product,
    steepest,
    target_of,
)
from wganbench.studies.study import Context
from wganbench.training.device import fitting_cpu, pick_device
from wganbench.training.streams import stream_generator

COEFFICIENT = {"gp": "gp_lambda", "lp": "gp_lambda", "clip": "clip_value"}

Row = dict[str, Any]
"""The measurements of one critic; None for a non-finite one."""

Course = list[tuple[int, float | None]]
"""Pairs of critic step and largest slope at interpolates, reals and fakes."""


def critics(context: Context, loss: str, values: Sequence[float]) -> list[Row]:
    """Train one stack, every coefficient with every seed, and measure each critic."""
    configs = list(configurations(context, loss, values))
    device = pick_device(context.settings.device)
    distribution = noisy(target_of(configs[0]).sample, context["noise"])
    stack = FrozenStack(configs, device, [distribution] * len(configs))
    courses: list[Course] = [[] for _ in configs]
    looks = context["looks"]
    with fitting_cpu(stack):
        for k in range(looks):
            stack.advance((k + 1) * context["steps"] // looks - stack.steps_done)
            for course, points in zip(courses, stack.probe(context["points"]), strict=True):
                seen = torch.cat([points[f"slopes_{kind}"] for kind in ("hat", "real", "fake")])
                course.append((stack.steps_done, finite(float(seen.max()))))
        probes = stack.probe(context["points"])
        return [look(context, stack, r, probes[r], courses[r]) for r in range(len(configs))]


def configurations(context: Context, loss: str, values: Sequence[float]) -> Iterator[RunConfig]:
    base = compose([
        f"loss={loss}", "data=ring8", "tuned=none", "compile=false", "train.decay=none",
        "train.optimizer=adam", f"train.steps={max(1, context['steps'])}",
        f"train.batch_size={context['batch_size']}", f"network.width={context['width']}",
        f"network.depth={context['depth']}", "train.betas=[0.0,0.9]",
    ])  # fmt: skip
    for value in values:
        for seed in context.seeds:
            config = copy.deepcopy(base)
            config.seed = seed
            config.loss.coefficients[COEFFICIENT[loss]] = value
            # Long steps would make every weight jump between -c and c.
            most = context["clip_rate"] * value if loss == "clip" else math.inf
            config.train.critic_lr = min(context["critic_lr"], most)
            yield config


def look(
    context: Context, stack: FrozenStack, run: int, points: dict[str, Tensor], course: Course
) -> Row:
    """Return one critic's slopes, where the constraint acts and where it does not."""
    config, parameters = stack.configs[run], stack.run_parameters(run, "critic")
    loss = config.loss.name
    value = config.loss.coefficients[COEFFICIENT[loss]]
    critic = stack.exact_algorithm.critic(parameters)
    reals = points["reals"].to(stack.device)
    places = {"between": (reals + reals.roll(1, 0)) / 2, "outside": context["far"] * reals}
    hat, real, fake = (points[f"slopes_{kind}"] for kind in ("hat", "real", "fake"))
    elsewhere = {name: slopes(critic, x).cpu() for name, x in places.items()}
    starts = torch.cat([reals, points["fakes"].to(stack.device), *places.values()])
    source = stream_generator(config.seed, "climb", 0, stack.device)
    largest = steepest(critic, starts, source, context["climbers"], context["rounds"], 1.0)
    seen = torch.cat([hat, real, fake, *elsewhere.values()])
    largest = max(largest, float(seen.max()))
    estimate = float(points["score_real"].mean() - points["score_fake"].mean())
    diverged = stack.diverged_at()[run] >= 0 or not math.isfinite(largest)
    return {
        "loss": loss, "coefficient": "inf" if math.isinf(value) else value, "seed": config.seed,
        "status": "diverged" if diverged else "completed",
        **{name: finite(number) for name, number in {
            "interpolates": mean(hat), "interpolates_sd": float(hat.std(correction=0)),
            "reals": mean(real), "fakes": mean(fake), "between": mean(elsewhere["between"]),
            "outside": mean(elsewhere["outside"]), "largest": largest,
            "spectral_product": spectral_product(parameters),
            "clip_bound": clip_bound(parameters, value) if loss == "clip" else math.nan,
            "estimate": estimate,
            "estimate_by_largest": estimate / largest if largest else math.nan,
        }.items()},
        "course": course,
    }  # fmt: skip


def mean(values: Tensor) -> float:
    return float(values.double().mean())


def finite(value: float) -> float | None:
    """Return a number that JSON can hold; None if it is not finite."""
    return value if math.isfinite(value) else None
