"""Between the units of the user's data and those in which they are trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True)
class Units:
    """Data x are trained on as (x - centre) / scale: one scale, so that distances keep a meaning.

    ``centre`` has a number a coordinate; ``scale`` is in the data's own unit.
    """

    centre: tuple[float, ...]
    scale: float

    def restored(self, points: Tensor | np.ndarray) -> Float64[Tensor, "n d"]:
        """Points in the data's own units, in float64: float32 may not tell them apart."""
        values = torch.as_tensor(points).detach().cpu().double()
        return values * self.scale + torch.tensor(self.centre, dtype=torch.float64)

    def record(self) -> dict[str, Any]:
        """What run.json keeps of them."""
        return {"centre": list(self.centre), "scale": self.scale}


def units_from(record: object) -> Units | None:
    """The inverse of `Units.record`; None for anything else."""
    if not isinstance(record, Mapping):
        return None
    try:
        return Units(tuple(float(value) for value in record["centre"]), float(record["scale"]))
    except (KeyError, TypeError, ValueError):
        return None


def own_units(target: object) -> Units | None:
    """The units of a target that is trained on in other ones than its own; else None."""
    units = getattr(target, "units", None)
    return units if isinstance(units, Units) else None


def unit_of(target: object) -> float:
    """The length of the unit in which a target is trained on, in that of its data."""
    units = own_units(target)
    return 1.0 if units is None else units.scale


def as_given(points: Tensor, target: object) -> Tensor:
    """Points of a target in the units of its data: in float64 where it has such."""
    units = own_units(target)
    return points if units is None else units.restored(points)
