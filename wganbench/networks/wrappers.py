"""What a critic may be wrapped in: spectral norm, gradient normalisation, packs of points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.networks.pair import Parameters

Critic = Callable[[Tensor], Tensor]

SQUARINGS = 8
"""Squarings of W'W before its first eigenvector is read off: 2^8 = 256 power iterations."""

TINY = 1e-30


def largest_singular_value(weight: Float[Tensor, "o i"]) -> Tensor:
    """Return sigma(W) = |W v|, with the first right singular vector v as a constant.

    Its gradient is u v', that of the norm. v is a column of (W'W)^256, found by squaring. Such
    products stack under vmap, compile and can be part of a CUDA graph, which an SVD cannot; and
    unlike power iteration over steps they need no state, so that a critic is a function of its
    weights. The value is at most sigma, and below it by less than 1 % of their difference where
    the second singular value is up to 0.99 of the first.
    """
    matrix = weight if weight.shape[0] >= weight.shape[1] else weight.t()
    held = matrix.detach()
    power = held.t() @ held
    for _ in range(SQUARINGS):
        power = power / power.diagonal().sum().clamp(min=TINY)
        power = power @ power
    # The column with the largest diagonal element is not orthogonal to the eigenvector.
    diagonal = power.diagonal()
    chosen = torch.arange(len(diagonal), device=power.device) == diagonal.argmax()
    column = (power * chosen).sum(dim=1)
    vector = column / torch.linalg.vector_norm(column).clamp(min=TINY)
    norm: Tensor = torch.linalg.vector_norm(matrix @ vector)
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
