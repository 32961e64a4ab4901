"""Evaluations of the runs of a stack: numbers computed from readings."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from wganbench.config.schema import RunConfig, identity_of_data
from wganbench.data.contents import contents_digest
from wganbench.data.mixtures import endless
from wganbench.data.points import unit_of
from wganbench.data.registry import BUILT_IN
from wganbench.data.target import Target
from wganbench.errors import expanded
from wganbench.losses.recipes import RECIPES
from wganbench.metrics import (
    EXACT_POINTS,
    Evaluation,
    Floor,
    ImageReference,
    Judge,
    cached_floor,
    compiled,
    draws_digest,
    image_reference,
    measure,
)
from wganbench.tags.lookup import averaged_name
from wganbench.training.probing import Reading, read_runs
from wganbench.training.process import available_cores, unstopped
from wganbench.training.stack import Stack


def prepare_beside(target: Target) -> None:
    """Build and load the C++ of exact W1 in a thread; with a single core it waits until needed."""
    if len(target.shape) == 1 and available_cores() > 1:
        threading.Thread(target=compiled.prepare, daemon=True).start()


NO_TRAINING_SET = {"train_points": None, "train_seed": 0}
"""The options of data that are drawn anew at each step."""


class Subject(Protocol):
    """The inputs of evaluations besides readings: a stack, or its part in another process."""

    config: RunConfig
    target: Target
    floors: dict[int, Floor]
    images: ImageReference | None


@dataclass
class RebuiltSubject:
    """A subject without networks, built from a configuration in a process without a stack."""

    config: RunConfig
    target: Target
    floors: dict[int, Floor] = field(default_factory=dict)
    images: ImageReference | None = None


def measure_stack(
    stack: Stack, n: int, draw: int = 0, final: bool = True
) -> list[dict[str, float]]:
    """Return each run's values by tag, on ``n`` held-out reals and fresh fakes at this step.

    ``draw`` numbers independent repetitions. Without ``final`` costly measurements on images
    are left out. The state of training does not change by a bit.
    With generator averaging, the values of the averaged weights have the prefix ``averaged/``.
    """
    return [measure_reading(stack, reading, final) for reading in read_runs(stack, n, draw)]


def measure_reading(subject: Subject, reading: Reading, final: bool = True) -> dict[str, float]:
    """Return all values by tag, computed from a reading alone, see `measure_stack`."""
    values = measure(_evaluation(subject, reading, reading.points, final))
    if reading.averaged:
        found = measure(_evaluation(subject, reading, reading.averaged, final))
        values |= {name: v for tag, v in found.items() if (name := averaged_name(tag))}
    return values


def mean_values(draws: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return means over independent draws; each tag is averaged over the draws that have it."""
    tags = dict.fromkeys(tag for values in draws for tag in values)
    found = {tag: [values[tag] for values in draws if tag in values] for tag in tags}
    return {tag: sum(values) / len(values) for tag, values in found.items()}


def stack_floor(subject: Subject, n: int, check: Callable[[], None] = unstopped) -> Floor | None:
    """Return the distance that a perfect generator would score, cached or computed once.

    None for images. ``check`` is called between its parts and may raise to stop it.
    """
    if len(subject.target.shape) != 1:
        return None
    n = min(n, EXACT_POINTS)
    if n not in subject.floors:
        # A perfect generator does not repeat a training set that was drawn from the target.
        target = endless(subject.target)
        key = floor_key(subject.config, drawn=target is not subject.target)
        if subject.config.data.kind not in BUILT_IN:
            key += draws_digest(target, n)
        pairs = subject.config.evaluate.floor_pairs
        subject.floors[n] = cached_floor(key, target, n, pairs, check)
    return subject.floors[n]


def stack_reference(subject: Subject) -> ImageReference | None:
    """Return the reference that a stack's images are measured against; None for other points."""
    if subject.images is None:
        subject.images = image_reference(subject.target, subject.config.evaluate.features)
    return subject.images


def stack_judge(subject: Subject) -> Judge | None:
    """Return the judge, which classifies a stack's images; None when there are no classes.

    Its ``predict`` gives the class of each point. The first call for a data set that is not in
    a cache trains the judge.
    """
    reference = stack_reference(subject)
    return None if reference is None else reference.judge


def mode_count(target: Target) -> int:
    """Return the number of modes of a mixture, or of classes of images; 0 without either."""
    return target.class_count if target.modes is None else len(target.modes)


def judge_record(subject: Subject, metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """Return the entry of run.json on the judge behind a run's numbers; None without one."""
    judge = subject.images.judge if subject.images else None
    if judge is None:
        return None
    ceiling = metrics.get("modes/ceiling")
    return {"accuracy": judge.accuracy, "sha256": judge.sha256, "ceiling": ceiling}


def floor_key(config: RunConfig, drawn: bool = False) -> str:
    """Return as text all that the target distribution depends on, a file's content included.

    Only the code of a user's own kind is not part of it, see `draws_digest`. A training set that
    was ``drawn`` from the target, whose floor is that without the set, is none of it.
    """
    key, options = identity_of_data(config.data), config.data.options
    key |= NO_TRAINING_SET if drawn else {}
    place = options.get("found_at") or options.get("path")
    if place and expanded(place, "data.path").is_file():
        key["content"] = contents_digest(options, config.data.kind)
    return json.dumps(key, sort_keys=True)


def _evaluation(
    subject: Subject, reading: Reading, points: Mapping[str, Tensor], final: bool
) -> Evaluation:
    loss, settings = subject.config.loss, subject.config.evaluate
    return Evaluation(
        target=subject.target,
        reals=points["reals"],
        fakes=points["fakes"],
        score_real=points["score_real"],
        score_fake=points["score_fake"],
        slopes_hat=points["slopes_hat"],
        slopes_real=points["slopes_real"],
        slopes_fake=points["slopes_fake"],
        fake_gradients=points["fake_gradients"],
        feedback=points["feedback"],
        bce=RECIPES[loss.name].objective.bce,
        packing=loss.packing,
        weights_at_clip=_weights_at_clip(reading),
        protocol=settings.protocol,
        projections=settings.projections,
        floor=stack_floor(subject, len(points["fakes"])),
        images=stack_reference(subject),
        final=final,
        unit=unit_of(subject.target),
        source_gradients=points.get("source_gradients"),
    )


def _weights_at_clip(reading: Reading) -> float | None:
    """Return the share of the critic's parameters at plus or minus the clip value."""
    if reading.clip_value is None:
        return None
    bound = torch.tensor(reading.clip_value, dtype=torch.float32)
    return float((reading.weights.abs() >= bound).float().mean())
