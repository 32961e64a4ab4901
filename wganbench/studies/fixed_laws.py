"""Laws of fakes that never move, and of reals at a distance that is known."""

from __future__ import annotations

import torch
from torch import Tensor

from wganbench.config import RunConfig
from wganbench.data import Target, build
from wganbench.training.streams import Draw


def target_of(config: RunConfig) -> Target:
    """The target distribution of a run."""
    return build(config.data.kind, config.data.options)


def noisy(draw: Draw, noise: float) -> Draw:
    """What ``draw`` gives, plus N(0, noise^2 I): a generator that is blurred, not collapsed."""

    def law(n: int, source: torch.Generator) -> Tensor:
        points = draw(n, source)
        return points + noise * torch.randn(points.shape, generator=source, device=source.device)

    return law


def gaussian(centre: float, sigma: float, dimension: int = 2) -> Draw:
    """N(centre e_1, sigma^2 I); sigma = 0 is a point mass."""

    def law(n: int, source: torch.Generator) -> Tensor:
        points = sigma * torch.randn(n, dimension, generator=source, device=source.device)
        points[:, 0] += centre
        return points

    return law
