"""How steep a critic is: bounds of its Lipschitz constant from below and from above."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.metrics.gradients import slopes

FINEST = 1e-3
"""The last steps of a climb, as a part of its first ones."""


def steepest(
    critic: Callable[[Tensor], Tensor],
    starts: Float[Tensor, "n d"],
    source: torch.Generator,
    climbers: int,
    rounds: int,
    reach: float,
) -> float:
    """The largest ||grad_x D(x)|| found by climbing: a lower bound of the Lipschitz constant.

    The steepest ``climbers`` of the starts move at random, ``reach`` far at first and a
    thousandth of it in the end, and stay where it is steeper. Following the derivative of
    the slope instead would stand still: a ReLU network is linear in pieces, its slope is
    constant on each. nan if the slope at any start is.

    >>> w = torch.tensor([3.0, 4.0])
    >>> steepest(lambda x: x @ w, torch.zeros(2, 2), torch.Generator(), 2, 5, 1.0)
    5.0
    """
    found = slopes(critic, starts)
    if not bool(found.isfinite().all()):
        return math.nan
    best, chosen = found.topk(min(climbers, len(starts)))
    x = starts[chosen]
    for k in range(rounds):
        step = reach * FINEST ** (k / max(rounds - 1, 1))
        noise = torch.randn(x.shape, generator=source, device=source.device, dtype=x.dtype)
        moved = x + step * noise
        slope = slopes(critic, moved)
        steeper = slope > best
        x = torch.where(steeper[:, None], moved, x)
        best = torch.where(steeper, slope, best)
    return float(best.max())


def spectral_product(parameters: Mapping[str, Tensor]) -> float:
    """prod_l ||W_l||_2: an upper bound of the Lipschitz constant of a ReLU MLP.

    ReLU moves no two points apart, biases move none; a layer stretches by its largest
    singular value at most. Source: arXiv:1312.6199, section 4.3.
    """
    weights = [p.double() for p in parameters.values() if p.ndim == 2]
    return float(torch.stack([torch.linalg.matrix_norm(w, ord=2) for w in weights]).prod())


def clip_bound(parameters: Mapping[str, Tensor], clip_value: float) -> float:
    """prod_l c sqrt(fan_in fan_out): what clipping at c grants whatever the weights are.

    ||W||_2 <= ||W||_F <= c sqrt(fan_in fan_out) when all |w| <= c.
    """
    sizes = [p.numel() for p in parameters.values() if p.ndim == 2]
    return math.prod(clip_value * math.sqrt(size) for size in sizes)
