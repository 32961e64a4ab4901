"""Evaluations of the runs of a stack: points are read on the device, numbers computed of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.config.schema import RunConfig, identity_of_data
from wganbench.data.contents import contents_digest
from wganbench.data.mixtures import endless
from wganbench.data.points import as_given, unit_of
from wganbench.data.registry import BUILT_IN
from wganbench.data.target import Target
from wganbench.drawing.samples import CriticGrid
from wganbench.draws import Keyed, keyed
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
from wganbench.training.device import products
from wganbench.training.process import available_cores, unstopped
from wganbench.training.stack import Stack
from wganbench.training.streams import Streams, held_out_sampler

# Readings of a stack: CPU arrays from which metrics and figures of one step are computed.
# Interpolation between latents.
NEARLY_PARALLEL = 1e-4
"""Smallest sine of the angle for which interpolation is spherical."""


def interpolated(
    z0: Float[Tensor, "n ..."], z1: Float[Tensor, "n ..."], steps: int, spherical: bool
) -> Float[Tensor, "n steps ..."]:
    """Return latents from z0 to z1, both included.

    Spherical: sin((1-t) a)/sin(a) z0 + sin(t a)/sin(a) z1 with a the angle between them. This
    is for latents from N(0, I), because norms on a straight line are too small for it
    (arXiv:1609.04468, Sec. 2.1). Linear: (1-t) z0 + t z1, for latents from a cube, which
    contains the line, and for pairs with the same or opposite directions.
    """
    t = torch.linspace(0, 1, steps, device=z0.device).reshape(1, steps)
    flat0, flat1 = z0.flatten(1), z1.flatten(1)
    first, second = (1 - t).expand(len(z0), steps), t.expand(len(z0), steps)
    if spherical:
        cosine = torch.cosine_similarity(flat0, flat1, dim=1).clamp(-1, 1)
        angle = cosine.arccos().unsqueeze(1)
        sine = angle.sin()
        apart = sine.abs() > NEARLY_PARALLEL
        first = torch.where(apart, ((1 - t) * angle).sin() / sine, first)
        second = torch.where(apart, (t * angle).sin() / sine, second)
    path = first.unsqueeze(2) * flat0.unsqueeze(1) + second.unsqueeze(2) * flat1.unsqueeze(1)
    return path.reshape(len(z0), steps, *z0.shape[1:])


GRID = 128
"""Points on each side of the grid for the critic's scores (arXiv:1704.00028, Fig. 1a)."""

MARGIN = 0.25
"""Margin of the grid around the reals, as a share of their extent."""

WATCHED = 64
"""Number of latents whose images are shown throughout training."""

PAIRS, STEPS = 8, 10
"""Number of interpolated pairs of latents, and of images for each pair."""


def read_runs(stack: Stack, n: int, draw: int = 0) -> list[Reading]:
    """Return a reading of each run on ``n`` held-out reals and fresh fakes, without figure_data.

    ``draw`` numbers independent repetitions. The state of training does not change by a bit.
    """
    points = stack.probe(n, draw)
    averaged = stack.probe(n, draw, averaged=True) if stack.state.average else [{}] * len(points)
    clips = stack.algorithm.recipe.clips
    looked_at = clips or stack.config.log.tensorboard
    weights = stack.critic_weights() if looked_at else [torch.empty(0)] * len(points)
    return [
        Reading(
            seed=config.seed,
            step=stack.steps_done,
            points=points[run],
            averaged=averaged[run],
            weights=weights[run],
            clip_value=config.loss.coefficients["clip_value"] if clips else None,
        )
        for run, config in enumerate(stack.configs)
    ]


def with_figure_data(stack: Stack, run: int, reading: Reading, between: bool = False) -> Reading:
    """Return the reading with the data of figures; ``between`` adds interpolations."""
    reals = reading.points["reals"]
    if len(stack.target.shape) == 3:
        rows, spherical = between_latents(stack, run) if between else (None, False)
        reals, fakes = watched_reals(stack, run), watched_fakes(stack, run)
        figure_data = FigureData(reals=reals, fakes=fakes, between=rows, spherical=spherical)
    elif reals.shape[1:] == (2,):
        figure_data = FigureData(grid=critic_grid(stack, run, reals))
    else:
        figure_data = FigureData()
    return replace(reading, figure_data=figure_data)


def critic_grid(stack: Stack, run: int, reals: Tensor) -> CriticGrid:
    """Return the scores of one run's critic on a grid around planar reals."""
    low, high = reals.amin(dim=0), reals.amax(dim=0)
    reach = MARGIN * float((high - low).max())
    x, y = (torch.linspace(float(low[i]) - reach, float(high[i]) + reach, GRID) for i in (0, 1))
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
    critic = stack.exact_algorithm.critic(stack.run_parameters(run, "critic"))
    with torch.no_grad(), products(stack.device):
        scores = critic(stack.exact_algorithm.alone(points.to(stack.device)))
        scores = scores.reshape(GRID, GRID).cpu()
    x, y = as_given(torch.stack((x, y), dim=1), stack.target).unbind(dim=1)
    return CriticGrid(np.asarray(x), np.asarray(y), np.asarray(scores))


def watched_fakes(stack: Stack, run: int) -> Float[Tensor, "n ..."]:
    """Return a run's fakes of `WATCHED` latents that are the same at every step, on the CPU.

    The latents come from a separate stream, so training does not change. Equal latents show
    how each image forms.
    """
    z = stack.algorithm.pair.latent.draw(_draws(stack, run, "picture_latent"), WATCHED)
    return generate(stack, run, z)


def watched_reals(stack: Stack, run: int) -> Float[Tensor, "n ..."]:
    """Return held-out reals to show beside the watched fakes, the same at every step."""
    streams = Streams([stack.configs[run].seed], stack.device)
    sampler = held_out_sampler(stack.target, 1)
    return streams.draw(sampler, "picture_real", [0], WATCHED)[0, 0].cpu()


def between_latents(stack: Stack, run: int) -> tuple[np.ndarray, bool]:
    """Return images (pairs, steps, c, h, w) between fixed pairs of latents, and ``spherical``.

    Interpolation is spherical for normal latents and linear for uniform ones, see
    `interpolated`."""
    latent = stack.algorithm.pair.latent
    z = latent.draw(_draws(stack, run, "picture_interpolation"), 2 * PAIRS)
    spherical = latent.distribution == "normal"
    path = interpolated(z[:PAIRS], z[PAIRS:], STEPS, spherical)
    fakes = generate(stack, run, path.reshape(PAIRS * STEPS, *z.shape[1:]))
    return fakes.reshape(PAIRS, STEPS, *fakes.shape[1:]).numpy(), spherical


def generate(stack: Stack, run: int, z: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Return G(z) of one run, computed in fp32, on the CPU."""
    generator = stack.exact_algorithm.generator(stack.run_parameters(run, "generator"))
    with torch.no_grad(), products(stack.device):
        return generator(z).cpu()


def _draws(stack: Stack, run: int, stream: str) -> Keyed:
    return keyed(stack.configs[run].seed, stream, 0, stack.device)


# What a reading holds.
class _Sent:
    """Pickles tensors as arrays: for a view, torch would send the whole storage."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: _sent(value) for name, value in vars(self).items()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update({name: _received(value) for name, value in state.items()})


@dataclass(frozen=True)
class _Array:
    values: np.ndarray


def _sent(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sent(item) for key, item in value.items()}
    return _Array(value.numpy()) if isinstance(value, Tensor) else value


def _received(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _received(item) for key, item in value.items()}
    return torch.from_numpy(value.values) if isinstance(value, _Array) else value


@dataclass(frozen=True)
class FigureData(_Sent):
    """Data of figures besides the measured points; None when it does not apply.

    grid: scores of the critic around planar points. reals, fakes: the watched images; their
    reals and latents are the same at all steps. between: images from G(z0) to G(z1), one row
    for each pair. spherical: whether that interpolation is spherical.
    """

    grid: CriticGrid | None = None
    reals: Tensor | None = None
    fakes: Tensor | None = None
    between: np.ndarray | None = None
    spherical: bool = False


@dataclass(frozen=True)
class Reading(_Sent):
    """One run's points at a step, see `Algorithm.probe`, and all else that its results need.

    averaged: the points of the averaged generator, empty without one.
    weights: all weights of the critic in one row; empty when they are not needed.
    clip_value: the bound on the weights, None without clipping.
    """

    seed: int
    step: int
    points: dict[str, Tensor]
    averaged: dict[str, Tensor]
    weights: Tensor
    clip_value: float | None
    figure_data: FigureData = FigureData()

    @property
    def nbytes(self) -> int:
        """The bytes of all its arrays."""
        grid = self.figure_data.grid
        tensors = [*self.points.values(), *self.averaged.values(), self.weights]
        pictures = [self.figure_data.reals, self.figure_data.fakes, self.figure_data.between]
        arrays = [*tensors, *pictures, *((grid.x, grid.y, grid.score) if grid else ())]
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def finite(self) -> bool:
        """Whether all fakes are finite."""
        return bool(self.points["fakes"].isfinite().all())


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
    """Return the number of modes of a mixture, or of classes of images; 0 without either.

    A mode of weight 0 is not counted, as in `mode_coverage`: no sample of the data shows it.
    """
    if target.modes is None:
        return target.class_count
    return len(target.modes) if target.weights is None else int((target.weights > 0).sum())


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
