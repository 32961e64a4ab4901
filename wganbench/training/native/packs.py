"""Packs of points in what our C++ measures: the last one is filled with the first points."""

from __future__ import annotations

import torch
from torch import Tensor


def filled(values: Tensor, size: int) -> Tensor:
    """Return values (R, n, ...) of the points of whole packs, filled as `packed` does it.

    >>> filled(torch.tensor([[1.0, 2.0, 3.0]]), 2).tolist()
    [[1.0, 2.0, 3.0, 1.0]]
    """
    return values.contiguous() if size == 1 else values[:, _points(values.shape[1], size)]


def packs_of(n: int, size: int) -> int:
    """Return the number of packs of so many points."""
    return -(-n // size)


def of_points(values: Tensor, n: int, size: int, sums: bool = False) -> Tensor:
    """Return what n points have of their packs: parts of (R, k, size d), or the values (R, k).

    With ``sums`` a point that also fills the last pack has the sum of its parts.
    """
    if values.ndim == 2:
        return values.repeat_interleave(size, dim=1)[:, :n]
    runs, packs, numbers = values.shape
    apart = values.reshape(runs, packs * size, numbers // size)
    if not sums:
        return apart[:, :n]
    total = torch.zeros(runs, n, numbers // size)
    return total.index_add_(1, _points(n, size), apart)


def _points(n: int, size: int) -> Tensor:
    """Return the point at each place of the packs."""
    return torch.arange(packs_of(n, size) * size) % n
