"""What is read of one run at one step: arrays on the CPU, from which all else is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wganbench.drawing.samples import CriticGrid


class _Sent:
    """Tensors go to another process as arrays: of a view, torch would send all that it views."""

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
class Looks(_Sent):
    """What images show beside the points that are measured; None where it does not apply.

    grid: scores of the critic around planar points. reals, fakes: the images that are watched,
    the same at every step. between: images from G(z0) to G(z1), a row a pair, and whether the
    way is ``spherical``.
    """

    grid: CriticGrid | None = None
    reals: Tensor | None = None
    fakes: Tensor | None = None
    between: np.ndarray | None = None
    spherical: bool = False


@dataclass(frozen=True)
class Reading(_Sent):
    """One run's points at a step, see `Algorithm.probe`, and what else its figures depend on.

    averaged: the points of the averaged generator, empty without one.
    weights: all of the critic's, in one row; empty where nobody looks at them.
    clip_value: the bound that holds them, None without clipping.
    """

    seed: int
    step: int
    points: dict[str, Tensor]
    averaged: dict[str, Tensor]
    weights: Tensor
    clip_value: float | None
    looks: Looks = Looks()

    @property
    def finite(self) -> bool:
        """Whether all fakes are."""
        return bool(self.points["fakes"].isfinite().all())
