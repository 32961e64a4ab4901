"""The dual value of a potential by its c-transform: a lower bound of W1 for every potential."""

from __future__ import annotations

import torch
from jaxtyping import Num
from torch import Tensor

from wganbench.metrics.distances import MOST_BY_DIFFERENCES, ROWS_AT_ONCE
from wganbench.metrics.transport import as_finite_points


def c_transform_dual(
    x: Num[Tensor, "n d"], potential: Num[Tensor, " n"], y: Num[Tensor, "m d"]
) -> float:
    """Return E phi(x) + E phi^c(y), where phi^c(y) = min_i ||x_i - y|| - phi(x_i).

    ``potential`` holds phi(x_i). phi(x) + phi^c(y) <= ||x - y|| for every pair, so the value is at
    most the exact W1 between the two clouds, for any phi; it is W1 for a Kantorovich potential.
    It does not change when a constant is added to phi.

    Raises ValueError for shapes that do not fit and for points that are not finite.
    Source: Mallasto et al., arXiv:1910.03875.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [4.0]])
    >>> c_transform_dual(x, -x[:, 0], y), c_transform_dual(x, torch.zeros(2), y)
    (3.0, 2.5)
    """
    from_points, to_points = (
        torch.from_numpy(as_finite_points(points, name)) for points, name in ((x, "x"), (y, "y"))
    )
    if from_points.shape[1] != to_points.shape[1] or potential.shape != (len(from_points),):
        raise ValueError(
            f"x {tuple(x.shape)}, its potential {tuple(potential.shape)} and y {tuple(y.shape)} "
            "do not fit: (n, d), (n,) and (m, d) do"
        )
    phi, centre = potential.detach().cpu().double(), from_points.mean(dim=0)
    exact = from_points.shape[1] <= MOST_BY_DIFFERENCES
    mode = f"{'donot_use' if exact else 'use'}_mm_for_euclid_dist"
    at, other = from_points - centre, to_points - centre
    parts = [
        (torch.cdist(other[i : i + ROWS_AT_ONCE], at, compute_mode=mode) - phi).amin(dim=1)
        for i in range(0, len(other), ROWS_AT_ONCE)
    ]
    return float(phi.mean() + torch.cat(parts).mean())
