"""What a critic may be wrapped in: spectral norm, gradient normalisation, packs of points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.networks.pair import Parameters

Critic = Callable[[Tensor], Tensor]

TINY = 1e-30


def largest_singular_value(weight: Float[Tensor, "o i"]) -> Tensor:
    """Return sigma(W), exactly, by an SVD; its gradient is u v'.

    An SVD stacks under vmap, compiles, and needs no state, unlike power iteration over steps: a
    critic stays a function of its weights. On a GPU it waits for the host, so an iteration cannot
    be one CUDA graph. A matrix that is not finite has the value nan, where an SVD would raise.
    """
    finite = torch.nan_to_num(weight, nan=0.0, posinf=0.0, neginf=0.0)
    norm: Tensor = torch.linalg.matrix_norm(finite, ord=2) + (0 * weight.detach()).sum()
    return norm


def spectrally_normalised(parameters: Parameters) -> Parameters:
    """Return a critic's parameters with W / sigma(W) for each weight; biases stay.

    A convolution's weight is the matrix (out, in k k). Source: arXiv:1802.05957, eq. 8.
    """
    return {
        name: p / largest_singular_value(p.flatten(1)).clamp(min=TINY) if p.ndim > 1 else p
        for name, p in parameters.items()
    }


def gradient_normalised(critic: Critic) -> Critic:
    """Return x -> D(x) / (|grad D(x)|_2 + |D(x)|), for a critic that scores each point alone.

    Source: arXiv:2109.02235, eq. 12. It is 1/2 for D(x) = w x at x = 1, whatever w > 0.
    """

    def total(points: Tensor) -> tuple[Tensor, Tensor]:
        scores = critic(points)
        return scores.sum(), scores

    def normalised(x: Tensor) -> Tensor:
        gradients, scores = torch.func.grad(total, has_aux=True)(x)
        slopes = torch.linalg.vector_norm(gradients.flatten(1), dim=1)
        normal: Tensor = scores / (slopes + scores.abs()).clamp(min=TINY)
        return normal

    return normalised


# Packs: the critic sees m points at a time (arXiv:1712.04086).
def packed_shape(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Return the shape of a pack of points, joined along their first axis."""
    return (size * shape[0], *shape[1:])


def packed(x: Float[Tensor, "n ..."], size: int) -> Float[Tensor, "k ..."]:
    """Return packs of ``size`` consecutive points, joined along their first axis.

    The last pack is filled with the first points when ``size`` does not divide n.

    >>> packed(torch.arange(6.0).reshape(3, 2), 2).tolist()
    [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 0.0, 1.0]]
    """
    if size == 1:
        return x
    missing = -len(x) % size
    if missing:
        x = torch.cat([x, *[x] * (missing // len(x)), x[: missing % len(x)]])
    return x.reshape(len(x) // size, *packed_shape(tuple(x.shape[1:]), size))


def spread(values: Float[Tensor, " k"], size: int, n: int) -> Float[Tensor, " n"]:
    """Return for each of n points the value of its pack."""
    return values if size == 1 else values.repeat_interleave(size)[:n]
