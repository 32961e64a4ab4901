"""Optimal transport between two clouds: exact and sliced distances."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Num
from scipy.spatial.distance import cdist
from torch import Tensor

from wganbench.metrics.compiled import assign


# Conversion of clouds to the form that all metrics use: float64 arrays on the CPU.
def as_values(values: np.ndarray | Tensor) -> Float64[np.ndarray, " *shape"]:
    """Return the same numbers as a float64 numpy array, detached and on the CPU."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def as_points(points: np.ndarray | Tensor, name: str) -> Float64[np.ndarray, "n d"]:
    """Return a cloud of n >= 1 points of dimension d. Raises ValueError for another shape."""
    array = as_values(points)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must be a cloud of shape (n, d), got {array.shape}")
    return array


def as_finite_points(points: np.ndarray | Tensor, name: str) -> Float64[np.ndarray, "n d"]:
    """Return `as_points`; also raises ValueError for a coordinate that is nan or infinite."""
    array = as_points(points, name)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds coordinates that are not finite")
    return array


NATIVE_POINTS = 300
"""Smallest size of equal clouds for our own simplex; below it POT takes only 10 ms."""

SOLVER_ITERATIONS = 10**7
"""Most pivots of POT's network simplex; its default stops too early on collapsed clouds."""

EXACT_POINTS = 5000
"""Most points of an exact plan. Without a compiler 5 000 points take 1.2 GB and 4 s, and 10 000
take 4.2 GB and 20 s; with one they take 100 MB and 0.6 s, and 150 MB and 3 s. A floor takes the
time for each of its pairs."""

AT_ONCE = 4096
"""Number of points whose distances to all modes are in memory at once."""

SHADOW_VALUES = 2 * 10**7
"""Most numbers (points times lines) of a sliced distance in memory at once."""


@dataclass(frozen=True)
class Transport:
    """An exact plan between clouds x and y: its cost, and the partner in y of each x_i.

    The potentials satisfy u_i + v_j <= ||x_i - y_j|| up to rounding, and mean(u) + mean(v) =
    cost."""

    distance: float
    partners: Float64[np.ndarray, "n d"]
    u: Float64[np.ndarray, " n"]
    v: Float64[np.ndarray, " m"]


def exact_transport(
    x: Num[np.ndarray, "n d"] | Num[Tensor, "n d"],
    y: Num[np.ndarray, "m d"] | Num[Tensor, "m d"],
    check: Callable[[], None] = lambda: None,
) -> Transport:
    """Return the optimal plan P between two clouds of equal masses, as a `Transport`.

        distance = min_P sum_ij P_ij ||x_i - y_j||
        partner of x_i = sum_j P_ij y_j / sum_j P_ij

    Clouds of equal size are matched one to one, so a partner is a point of y. For unequal sizes
    it is the barycentre of the points that x_i is sent to. `assign` solves equal clouds of
    `NATIVE_POINTS` or more: 0.02 s at n = 1 000, 0.1 to 0.2 s at 2 500. POT solves all others,
    and all without a compiler: 0.1 s and 0.9 s. Both give the same value, but may choose
    different plans of equal cost.

    `assign` calls ``check`` now and then, which may raise to stop it.
    Raises ValueError for shapes that do not fit or points that are not finite, and
    RuntimeError when the solver stops before the optimum.
    Source: Bonneel et al. 2011, the network simplex.
    """
    from_points, to_points = as_finite_points(x, "x"), as_finite_points(y, "y")
    if from_points.shape[1] != to_points.shape[1]:
        raise ValueError(f"x is {from_points.shape[1]}-D and y {to_points.shape[1]}-D")
    n = len(from_points)
    found = assign(from_points, to_points, check) if NATIVE_POINTS <= n == len(to_points) else None
    if found is not None:
        partners = to_points[found.partners]
        return Transport(_mean_distance(from_points, partners), partners, found.u, found.v)
    plan, cost, u, v = _solve(cdist(from_points, to_points))
    if n == len(to_points):
        # An optimal vertex is a permutation; barycentres would only add rounding.
        partners = to_points[plan.argmax(axis=1)]
    else:
        partners = (plan @ to_points) / plan.sum(axis=1, keepdims=True)
    return Transport(cost, partners, u, v)


def _mean_distance(x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "n d"]) -> float:
    """Return mean_i ||x_i - y_i||, scaled so that squares neither overflow nor underflow."""
    ways = x - y
    exponent = int(np.frexp(np.abs(ways).max())[1])
    lengths = np.linalg.norm(np.ldexp(ways, -exponent), axis=1)
    return float(np.ldexp(lengths.mean(), exponent))


def evenly(
    points: Float[Tensor, "n d"], count: int, modes: Float[Tensor, "K d"] | None
) -> Float[Tensor, "count d"]:
    """Return ``count`` of the points; for a mixture in the proportions of its modes.

    Held-out points of a mixture have exact proportions; the result has them to one point of
    each mode.
    """
    n = len(points)
    if count >= n:
        return points
    if modes is None:
        return points[:count]
    at = modes.to(points.device)
    parts = [points[i : i + AT_ONCE] for i in range(0, n, AT_ONCE)]
    nearest = torch.cat([torch.cdist(part, at).argmin(dim=1) for part in parts])
    chosen = torch.arange(count, device=points.device) * n // count
    return points[torch.sort(nearest, stable=True).indices[chosen]]


def _solve(
    costs: Float64[np.ndarray, "n m"],
) -> tuple[Float64[np.ndarray, "n m"], float, Float64[np.ndarray, " n"], Float64[np.ndarray, " m"]]:
    """Return POT's optimal plan between uniform masses, its cost and its potentials."""
    import ot  # slow to import: it loads scikit-learn

    n, m = costs.shape
    # POT's tolerances are absolute, so costs far below 1 would all be equal to it.
    exponent = int(np.frexp(costs.max())[1])
    scaled = np.ldexp(costs, -exponent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd(
            np.full(n, 1 / n), np.full(m, 1 / m), scaled, numItermax=SOLVER_ITERATIONS, log=True
        )
    if log["warning"] is not None:
        raise RuntimeError(f"exact transport did not converge: {log['warning']}")
    cost, u, v = (np.ldexp(log[name], exponent) for name in ("cost", "u", "v"))
    return np.asarray(plan), float(cost), u, v


def wasserstein_exact(
    x: Num[np.ndarray, "n d"] | Num[Tensor, "n d"],
    y: Num[np.ndarray, "m d"] | Num[Tensor, "m d"],
    check: Callable[[], None] = lambda: None,
) -> float:
    """Return the earth mover's distance W1 between two clouds, with Euclidean ground metric.

    It is exact for the clouds. As an estimate for their distributions it is biased upwards,
    so it is compared with the floor. Raises as `exact_transport`.

    >>> wasserstein_exact(np.zeros((4, 2)), np.zeros((4, 2)) + [3.0, 4.0])
    5.0
    """
    return exact_transport(x, y, check).distance


def wasserstein_sliced(
    x: Num[np.ndarray, "n d"] | Num[Tensor, "n d"],
    y: Num[np.ndarray, "m d"] | Num[Tensor, "m d"],
    projections: int,
    generator: torch.Generator,
) -> float:
    """Return the mean W1 of the clouds' projections on random lines, a cheap lower bound of W1.

        SW = mean_u integral_0^1 |F_x.u^-1(q) - F_y.u^-1(q)| dq, u uniform on the sphere

    A shift by v gives ||v|| E|u_1|, which is 2/pi ||v|| in the plane.
    Raises ValueError for shapes that do not fit or points that are not finite.
    Source: Bonneel et al. 2015; p = 1.
    """
    from_points, to_points = as_finite_points(x, "x"), as_finite_points(y, "y")
    n, m, dimension = len(from_points), len(to_points), from_points.shape[1]
    if to_points.shape[1] != dimension:
        raise ValueError(f"x is {dimension}-D and y {to_points.shape[1]}-D")
    lines = torch.randn(
        projections, dimension, generator=generator, device=generator.device, dtype=torch.float64
    )
    directions = torch.nn.functional.normalize(lines, dim=1).cpu().numpy().T
    # The quantile functions are constant between the levels i/n and j/m: in units of 1/(nm)
    # all levels are whole numbers.
    levels = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    widths = np.diff(levels, prepend=0) / (n * m)
    at_once = max(1, SHADOW_VALUES // len(levels))
    distances = []
    for i in range(0, projections, at_once):
        lines_now = directions[:, i : i + at_once]
        shadow_x = np.sort(from_points @ lines_now, axis=0)[(levels - 1) // m]
        shadow_y = np.sort(to_points @ lines_now, axis=0)[(levels - 1) // n]
        distances.append(widths @ np.abs(shadow_x - shadow_y))
    return float(np.concatenate(distances).mean())
