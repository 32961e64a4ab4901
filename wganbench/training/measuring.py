"""From a stack's networks to numbers: evaluations of every run in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wganbench.config.schema import WHERE_DATA_LIES, RunConfig
from wganbench.data.contents import contents_digest
from wganbench.data.options import ADDED_LATER
from wganbench.data.units import unit_of
from wganbench.metrics import (
    EXACT_POINTS,
    Evaluation,
    Floor,
    Judge,
    PictureReference,
    cached_floor,
    measure,
    picture_reference,
)
from wganbench.training.stack import Stack


@dataclass(frozen=True)
class Measurement:
    """One run's values by tag, and the point-by-point tensors they come from."""

    values: dict[str, float]
    points: dict[str, Tensor]


def unstopped() -> None:
    """Nobody asks to stop."""


def measure_stack(
    stack: Stack,
    n: int,
    draw: int = 0,
    final: bool = True,
    check: Callable[[], None] = unstopped,
) -> list[Measurement]:
    """Evaluate every run at the stack's present step on ``n`` held-out reals and fresh fakes.

    ``draw`` numbers independent repetitions; without ``final`` what is costly on pictures
    is left out. Training is left as it is, bit for bit. ``check`` is called before every run
    and may raise, to break it off.
    With generator averaging on, the averaged weights' values stand under ``averaged/``.
    """
    measurements = []
    stack_floor(stack, n, check)  # before it is asked for: it takes longest
    for run, points in enumerate(stack.probe(n, draw)):
        check()
        measurements.append(Measurement(measure(_evaluation(stack, run, points, final)), points))
    if stack.state.average:
        for run, points in enumerate(stack.probe(n, draw, averaged=True)):
            check()
            values = measure(_evaluation(stack, run, points, final))
            measurements[run].values.update(
                {f"averaged/{tag}": v for tag, v in values.items() if tag.startswith(GENERATOR)}
            )
    return measurements


GENERATOR = ("modes/", "wasserstein/exact", "wasserstein/excess", "wasserstein/sliced", "fidelity/")
"""Tags that depend on the generator alone."""


def measure_final(stack: Stack, check: Callable[[], None] = unstopped) -> list[Measurement]:
    """The figures that are reported: means over ``evaluate.final_draws`` independent draws.

    A tag is averaged over the draws where it applies. Points are those of the first draw.
    ``check`` is that of `measure_stack`.
    """
    settings = stack.config.evaluate
    draws = [
        measure_stack(stack, settings.final_n, k + 1, check=check)
        for k in range(settings.final_draws)
    ]
    return [
        Measurement(_mean([draw[run].values for draw in draws]), draws[0][run].points)
        for run in range(len(stack.configs))
    ]


def _mean(draws: list[dict[str, float]]) -> dict[str, float]:
    tags = dict.fromkeys(tag for values in draws for tag in values)
    found = {tag: [values[tag] for values in draws if tag in values] for tag in tags}
    return {tag: sum(values) / len(values) for tag, values in found.items()}


def stack_floor(stack: Stack, n: int, check: Callable[[], None] = unstopped) -> Floor | None:
    """The distance a perfect generator would score, from the cache or computed once.

    ``check`` is called between its parts and may raise, to break it off.
    """
    if len(stack.target.shape) != 1:
        return None
    n = min(n, EXACT_POINTS)
    if n not in stack.floors:
        pairs = stack.config.evaluate.floor_pairs
        stack.floors[n] = cached_floor(floor_key(stack.config), stack.target, n, pairs, check)
    return stack.floors[n]


def stack_reference(stack: Stack) -> PictureReference | None:
    """What a stack's pictures are measured against, found once; None for other points."""
    if stack.pictures is None:
        stack.pictures = picture_reference(stack.target, stack.config.evaluate.features)
    return stack.pictures


def stack_judge(stack: Stack) -> Judge | None:
    """Who tells the classes of a stack's pictures; None where there are none.

    Its ``predict`` gives the class of each point. Trained on the first call for a data set
    that no cache knows.
    """
    reference = stack_reference(stack)
    return None if reference is None else reference.judge


def mode_count(target: object) -> int:
    """Modes of a mixture, or classes that a judge counts in pictures; 0 where there are none."""
    modes = getattr(target, "modes", None)
    return int(getattr(target, "class_count", 0)) if modes is None else len(modes)


def judge_record(stack: Stack, metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """What run.json keeps of the judge behind a run's figures; None where none was asked."""
    judge = stack.pictures.judge if stack.pictures else None
    if judge is None:
        return None
    ceiling = metrics.get("modes/ceiling")
    return {"accuracy": judge.accuracy, "sha256": judge.sha256, "ceiling": ceiling}


def floor_key(config: RunConfig) -> str:
    """What the target distribution depends on, as text; a file counts with its content."""
    options = config.data.options
    plain = ADDED_LATER.get(config.data.kind, {})
    key = {"kind": config.data.kind} | {
        name: value
        for name, value in options.items()
        if name not in WHERE_DATA_LIES and (name, value) not in plain.items()
    }
    place = options.get("found_at") or options.get("path")
    if place and Path(place).expanduser().is_file():
        key["content"] = contents_digest(options, config.data.kind)
    return json.dumps(key, sort_keys=True)


def _evaluation(stack: Stack, run: int, points: dict[str, Tensor], final: bool) -> Evaluation:
    recipe, settings = stack.algorithm.recipe, stack.config.evaluate
    return Evaluation(
        target=stack.target,
        reals=points["reals"],
        fakes=points["fakes"],
        score_real=points["score_real"],
        score_fake=points["score_fake"],
        slopes_hat=points["slopes_hat"],
        slopes_real=points["slopes_real"],
        slopes_fake=points["slopes_fake"],
        fake_gradients=points["fake_gradients"],
        feedback=points["feedback"],
        bce=recipe.objective.bce,
        weights_at_clip=_weights_at_clip(stack, run) if recipe.clips else None,
        protocol=settings.protocol,
        projections=settings.projections,
        floor=stack_floor(stack, len(points["fakes"])),
        pictures=stack_reference(stack),
        final=final,
        unit=unit_of(stack.target),
    )


def _weights_at_clip(stack: Stack, run: int) -> float:
    """Share of the critic's parameters that lie at plus or minus the clip value."""
    clip_value = stack.coefficients["clip_value"][stack.places.own[run]].cpu()
    weights = torch.cat([p.flatten() for p in stack.run_parameters(run, "critic").values()]).cpu()
    return float((weights.abs() >= clip_value).float().mean())
