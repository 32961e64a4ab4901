"""The toy distributions of the literature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.data.drawn import Drawn
from wganbench.data.mixture import Mixture
from wganbench.draws import Draws


def ring(modes: int, radius: float, sigma: float) -> Mixture:
    """Equal Gaussians at ``radius`` (cos, sin)(2 pi k / modes), k = 0 .. modes - 1.

    Source: the 8 Gaussians of arXiv:1704.00028 (Fig. 1a) and arXiv:1705.07761 (Sec. 4.1).
    """
    # The end of the circle is its beginning: the angles stop one step before 2 pi.
    angles = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
    centres = radius * torch.stack((angles.cos(), angles.sin()), dim=1)
    return Mixture(centres, torch.ones(modes), sigma)


def grid(side: int, spacing: float, sigma: float) -> Mixture:
    """``side`` x ``side`` equal Gaussians, ``spacing`` apart, centred on the origin.

    Source: the 25 Gaussians of arXiv:1704.00028 (Fig. 1a) and arXiv:1705.07761 (Sec. 4.1).
    """
    line = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
    return Mixture(torch.cartesian_prod(line, line), torch.ones(side * side), sigma)


def two_gaussians(distance: float, dimension: int, sigma: float) -> Mixture:
    """Two equal Gaussians in R^dimension with means at ± distance/2 along the first axis."""
    centres = torch.zeros(2, dimension, dtype=torch.float64)
    centres[0, 0], centres[1, 0] = -distance / 2, distance / 2
    return Mixture(centres, torch.ones(2), sigma)


def mixture(
    centres: Sequence[Sequence[float]], weights: Sequence[float] | None, sigma: float
) -> Mixture:
    """Gaussians at ``centres``, by ``weights`` (None: equal).

    Raises ValueError for equal centres: a perfect sampler would not cover both.
    """
    modes = torch.tensor(centres, dtype=torch.float64)
    first: dict[tuple[float, ...], int] = {}
    for k, centre in enumerate(modes.float().tolist()):
        if (j := first.setdefault(tuple(centre), k)) != k:
            raise ValueError(
                f"data.centres[{j}] and data.centres[{k}] are equal (in float32): give each centre "
                "once, and what it weighs in data.weights"
            )
    shares = torch.ones(len(modes)) if weights is None else torch.tensor(weights)
    return Mixture(modes, shares.double(), sigma)


class SwissRoll(Drawn):
    """The Swiss roll seen from its side, a spiral in the plane of about ± 2.

    t ~ U[1.5 pi, 4.5 pi], x = ((t cos t, t sin t) + noise N(0, I)) / 7.5: columns 0 and 2
    of scikit-learn's ``make_swiss_roll(noise=noise)``, as arXiv:1704.00028's code scales them.
    """

    shape: tuple[int, ...] = (2,)

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 2"]:
        """``n`` independent points."""
        t = 1.5 * math.pi * (1 + 2 * draws.uniform(n))
        spiral = torch.stack((t * t.cos(), t * t.sin()), dim=-1)
        return (spiral + self.noise * draws.normal(n, 2)) / 7.5
