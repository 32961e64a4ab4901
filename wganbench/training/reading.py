"""The reading of one run at one step: CPU arrays from which all results are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wganbench.drawing.samples import CriticGrid


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
