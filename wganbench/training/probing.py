"""Readings of a stack: CPU arrays from which metrics and figures of one step are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.data.points import as_given
from wganbench.drawing.samples import CriticGrid
from wganbench.draws import Keyed, keyed
from wganbench.training.precision import products
from wganbench.training.stack import Stack
from wganbench.training.streams import Streams, held_out_sampler

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
