"""Ways through the space of latents."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

NEARLY_PARALLEL = 1e-4
"""Below this sine of the angle a great circle is not told from a line."""


def interpolated(
    z0: Float[Tensor, "n ..."], z1: Float[Tensor, "n ..."], steps: int, spherical: bool
) -> Float[Tensor, "n steps ..."]:
    """Latents from z0 to z1, both included.

    Spherical: sin((1-t) a)/sin(a) z0 + sin(t a)/sin(a) z1 with a the angle between them,
    for latents from N(0, I), whose norms a straight line would leave (arXiv:1609.04468,
    Sec. 2.1). Linear: (1-t) z0 + t z1, for latents from a cube, which a line stays in, and
    for pairs that point the same way or opposite ways.
    """
    t = torch.linspace(0, 1, steps, device=z0.device).reshape(1, steps)
    flat0, flat1 = z0.flatten(1), z1.flatten(1)
    first, second = (1 - t).expand(len(z0), steps), t.expand(len(z0), steps)
    if spherical:
        cosine = torch.cosine_similarity(flat0, flat1, dim=1).clamp(-1, 1)
        angle = cosine.arccos().unsqueeze(1)
        sine = angle.sin()
        apart = sine.abs() > NEARLY_PARALLEL
        first = torch.where(apart, ((1 - t) * angle).sin() / sine, first)
        second = torch.where(apart, (t * angle).sin() / sine, second)
    path = first.unsqueeze(2) * flat0.unsqueeze(1) + second.unsqueeze(2) * flat1.unsqueeze(1)
    return path.reshape(len(z0), steps, *z0.shape[1:])
