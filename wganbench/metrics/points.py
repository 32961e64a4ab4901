"""Clouds of points as every metric reads them: float64 arrays on the CPU."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from torch import Tensor


def as_values(values: np.ndarray | Tensor) -> Float64[np.ndarray, " *shape"]:
    """The same numbers as a float64 numpy array, detached and on the CPU."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def as_points(points: np.ndarray | Tensor, name: str) -> Float64[np.ndarray, "n d"]:
    """A cloud of n >= 1 points of dimension d; raises ValueError for any other shape."""
    array = as_values(points)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must be a cloud of shape (n, d), got {array.shape}")
    return array


def as_finite_points(points: np.ndarray | Tensor, name: str) -> Float64[np.ndarray, "n d"]:
    """As `as_points`; a coordinate that is nan or infinite raises ValueError too."""
    array = as_points(points, name)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds coordinates that are not finite")
    return array
