"""Pairs of distributions with a known W1 distance: funnels, after arXiv:2206.07767."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.quasirandom import SobolEngine

from wganbench.bounds import FUNNELS_BOX
from wganbench.data.drawn import DrawnTarget
from wganbench.data.target import Distance, KnownPair
from wganbench.draws import Draws, Generated, Resident, keyed

HALF_WIDTH = FUNNELS_BOX
"""The box of the source distribution is [-2.5, 2.5]^d."""

DEGREE = 8
"""A point at the share t of its ray moves to the share t^8."""

OFFSET = 0.1
"""Standard deviation of the funnels' offsets b_k."""

LEAST_APART = 1e-4
"""Different centres that lie nearer to each other make the move inexact in float32."""

EXACT = "donot_use_mm_for_euclid_dist"
"""How distances are computed: cdist's form with a product of matrices is too coarse in float32."""

SHIFTS, POINTS, POINTS_ABOVE_1000 = 16, 4096, 256
"""Number of shifted point sets of the known distance, and their sizes up to d = 1000 and above."""


class Funnels(DrawnTarget, KnownPair):
    """The reals x of a pair (x, source y) whose W1 distance and potential are known.

    u(y) = min_k ||y - a_k|| + b_k, with a_k uniform in the box [-2.5, 2.5]^d and b_k from
    0.1 N(0, 1). The source y is uniform in the box; k is the index of its minimum. On the ray
    from a_k through y, t is 0 at a_k and 1 where the ray leaves the cell of k or the box. Moving
    y from t to t^8 gives x. The move follows the gradient of u, which is 1-Lipschitz, so

        W1 = E||x - y|| = E u(y) - E u(x).

    The potential here is -u, because critics are high on the reals. Source: arXiv:2206.07767,
    Sec. 4. Differs: the centres are our own, a function of (d, K, seed), unless ``centres`` (K
    lists of d numbers) and ``offsets`` (K numbers) are given.
    """

    pair: KnownPair

    def __init__(
        self,
        dimension: int,
        clusters: int,
        centre_seed: int,
        centres: list[list[float]] | None = None,
        offsets: list[float] | None = None,
    ) -> None:
        self.pair = self
        draws = keyed(centre_seed, "funnel_centres")
        self.centres = HALF_WIDTH * (2 * draws.uniform(clusters, dimension) - 1)
        self.offsets = OFFSET * draws.normal(clusters)
        if centres is not None:
            self.centres = torch.tensor(centres, dtype=torch.float32)
        if offsets is not None:
            self.offsets = torch.tensor(offsets, dtype=torch.float32)
        self._check_centres()
        self._centres, self._offsets = Resident(self.centres), Resident(self.offsets)

    def _check_centres(self) -> None:
        """Raise ValueError for centres that float32 merges; note funnels without points."""
        apart = torch.cdist(self.centres, self.centres, compute_mode=EXACT).double()
        apart.fill_diagonal_(torch.inf)
        near = (apart > 0) & (apart < LEAST_APART)
        if near.any():
            i, j = near.nonzero()[0].tolist()
            raise ValueError(
                f"data.centres[{i}] and data.centres[{j}] are closer than {LEAST_APART:g}: float32 "
                "merges their funnels; give one of them"
            )
        lower = (apart + self.offsets) < self.offsets.unsqueeze(1)
        hidden = lower.any(dim=1).nonzero().flatten().tolist()
        self.notes = tuple(
            f"funnel {k} has no points: another one is lower everywhere, by data.offsets"
            for k in hidden
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.centres.shape[1:])

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` independent reals: moved points of the source."""
        return self.moved(self._draw_source(draws, n))

    def source(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """Return ``n`` points y of the source distribution, uniform in the box."""
        return self._draw_source(Generated(generator), n)

    def _draw_source(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        return HALF_WIDTH * (2 * draws.uniform(n, *self.shape) - 1)

    def moved(self, y: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n d"]:
        """Return the partners x of source points y, which an optimal plan moves there."""
        a, b, values = self._funnels(y)
        k = values.argmin(dim=-1)
        way = y - a[k]
        r = torch.linalg.vector_norm(way, dim=-1, keepdim=True)
        v = way / r.clamp(min=torch.finfo(y.dtype).tiny)
        whole = torch.minimum(_to_box(a[k], v), _to_cell(a, b, k, v)).unsqueeze(-1)
        share: Tensor = (r / whole).clamp(max=1)
        x: Tensor = a[k] + whole * share**DEGREE * v
        return x

    def potential(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n"]:
        """Return -u(x): E potential(reals) - E potential(source) = W1."""
        _, _, values = self._funnels(x)
        return -values.amin(dim=-1)

    def potential_gradient(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n d"]:
        """Return (a_k - x) / ||a_k - x||, of length 1 but at the centres, where it is 0."""
        a, _, values = self._funnels(x)
        return torch.nn.functional.normalize(a[values.argmin(dim=-1)] - x, dim=-1, eps=1e-30)

    def _funnels(
        self, x: Float[Tensor, "*lead n d"]
    ) -> tuple[Float[Tensor, "K d"], Float[Tensor, " K"], Float[Tensor, "*lead n K"]]:
        """Return centres and offsets as ``x`` is, and ||x - a_k|| + b_k."""
        a, b = (held.on(x.device).to(x.dtype) for held in (self._centres, self._offsets))
        return a, b, torch.cdist(x, a, compute_mode=EXACT) + b

    @cached_property
    def distance(self) -> Distance:
        """W1 = 7/(d + 8) E r with r = ||y - a_k||, and the standard error of the value.

        Given its ray, of length R, y has r/R = t with density d t^(d-1). The move t - t^8 has the
        mean 7 d / ((d + 1)(d + 8)), and t has the mean d/(d + 1). E r is a mean over a Sobol set
        under 16 random shifts modulo 1; the error comes from the spread of the 16 means.
        """
        (d,) = self.shape
        n = POINTS if d <= 1000 else POINTS_ABOVE_1000
        even = SobolEngine(d).draw(n, dtype=torch.float64)  # type: ignore[no-untyped-call]
        shifts = keyed(0, "funnel_shifts").uniform(SHIFTS, d).double()
        means = torch.stack([self._mean_radius((even + shift) % 1) for shift in shifts])
        values = (DEGREE - 1) / (d + DEGREE) * means
        return Distance(float(values.mean()), float(values.std()) / SHIFTS**0.5)

    def _mean_radius(self, shares: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        a, b, values = self._funnels(HALF_WIDTH * (2 * shares - 1))
        lowest, k = values.min(dim=-1)
        return (lowest - b[k]).mean()


def _to_box(a: Float[Tensor, "*n d"], v: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
    """Return the length of the rays from ``a`` along the unit vectors ``v`` within the box."""
    lengths = (HALF_WIDTH * v.sign() - a) / v
    return torch.where(v == 0, torch.inf, lengths).amin(dim=-1)


def _to_cell(
    a: Float[Tensor, "K d"], b: Float[Tensor, " K"], k: Int[Tensor, "*n"], v: Float[Tensor, "*n d"]
) -> Float[Tensor, "*n"]:
    """Return the length of the rays from a_k along ``v`` to the border of the cell of k.

    With c = a_j - a_k and e = b_k - b_j the funnels j and k are equal, ||s v - c|| = s + e, at
    s = (||c||^2 - e^2) / (2 (v.c + e)). Where v.c + e <= 0 the ray does not meet that border.
    """
    squares = torch.cdist(a, a, compute_mode=EXACT).square()
    e = b[k].unsqueeze(-1) - b
    slope = v @ a.T - (v * a[k]).sum(dim=-1, keepdim=True) + e
    other = k.unsqueeze(-1) != torch.arange(len(a), device=k.device)
    meets = (slope > 0) & other
    lengths = (squares[k] - e.square()) / (2 * slope)
    return torch.where(meets, lengths, torch.inf).amin(dim=-1)
