"""A pair of critic and generator, wrappers of a critic, the latents, and the initial weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wganbench.bounds import network_most
from wganbench.draws import Draws, Generated

Parameters = dict[str, Tensor]

INITIALIZATIONS = ("pytorch", "he", "normal")
"""The distributions of initial weights, see `initial_parameters`."""

LATENTS = ("normal", "uniform")
"""The distributions of z, see `Latent`."""


def size(name: str, least: int = 1) -> Any:
    """Return a field for a size from ``least`` to the bound for its name."""
    return field(metadata={"least": least, "most": network_most(name)})


def one_of(names: Iterable[str]) -> Any:
    """Return a field for one of these names."""
    return field(metadata={"choices": tuple(names)})


@dataclass(frozen=True)
class Latent:
    """The distribution of z: ``normal`` is N(0, I), ``uniform`` is U[-1, 1]."""

    distribution: str
    shape: tuple[int, ...]

    def draw(self, draws: Draws, n: int) -> Float[Tensor, ...]:
        """Return ``n`` latents for each index of the leading axes: (*lead, n, *shape)."""
        if self.distribution == "normal":
            return draws.normal(n, *self.shape)
        return draws.uniform(n, *self.shape) * 2 - 1

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n ..."]:
        """Return ``n`` latents on the generator's device."""
        return self.draw(Generated(generator), n)


@dataclass(frozen=True)
class Pair:
    """Two modules without weights (they are on device ``meta``), and their latents.

    ``critic`` maps (n, *shape) to scores (n,); ``generator`` maps (n, *latent) to
    (n, *shape). ``critic_is_pointwise`` is False when D(x)[i] depends on x[j].
    """

    critic: nn.Module
    generator: nn.Module
    latent: Latent
    initialization: str
    critic_is_pointwise: bool


def pair_with(options: Any, critic: nn.Module, generator: nn.Module) -> Pair:
    """Return two networks with the latents and initial weights that their options name."""
    latent = Latent(options.latent, (options.latent_dim,))
    pointwise = options.critic_normalization != "batch"
    return Pair(critic, generator, latent, options.initialization, pointwise)


def initial_parameters(
    module: nn.Module, initialization: str, generator: torch.Generator
) -> Parameters:
    """Return initial parameters by name, drawn on the CPU from ``generator``.

    ``pytorch``: weights and biases U[-1/sqrt(m), 1/sqrt(m)], where m is the number of elements
    of weight[0], as in PyTorch's layers (for a transposed convolution m is out k^2, not its
    fan-in). ``he``: weights N(0, 2/fan_in), biases 0 (arXiv:1502.01852). ``normal``: weights
    N(0, 0.02^2), biases 0 (DCGAN, arXiv:1511.06434). A weight is any parameter of two axes or
    more. Normalisation layers start at 1 and 0, and so does every other parameter of one axis: at
    1 if its name ends in ``weight``.
    """
    parameters: Parameters = {}
    for prefix, layer in module.named_modules():
        own = dict(layer.named_parameters(prefix=prefix, recurse=False))
        weights = [] if isinstance(layer, NORMS) else [p for p in own.values() if p.ndim >= 2]
        for name, parameter in own.items():
            is_weight = any(parameter is weight for weight in weights)
            if is_weight or (weights and name.endswith("bias")):
                weight = parameter if is_weight else weights[0]
                pytorch = initialization == "pytorch"
                inputs = math.prod(weight.shape[1:]) if pytorch else fan_in(layer, weight)
                parameters[name] = _draw(
                    parameter.shape, initialization, inputs, is_weight, generator
                )
            else:
                parameters[name] = torch.full(parameter.shape, _start(layer, name))
    return parameters


NORMS = (nn.LayerNorm, nn.RMSNorm)
"""The normalisations whose weight may have several axes."""


def _start(layer: nn.Module, name: str) -> float:
    if isinstance(layer, nn.PReLU):
        return layer.init
    return 1.0 if name.endswith("weight") else 0.0


def fan_in(layer: nn.Module, weight: Tensor) -> float:
    """Return the number of inputs in the sum of one output, away from the border.

    A transposed convolution adds each input to k^2 outputs and has stride^2 outputs for each
    input. An output is therefore a sum over k^2 / stride^2 positions.
    """
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        inputs, _, *kernel = weight.shape
        return inputs * math.prod(kernel) / math.prod(layer.stride)
    return math.prod(weight.shape[1:])


def _draw(
    shape: torch.Size, scheme: str, inputs: float, is_weight: bool, generator: torch.Generator
) -> Tensor:
    if scheme == "pytorch":
        bound = 1 / math.sqrt(inputs)
        return torch.rand(shape, generator=generator).mul_(2 * bound).sub_(bound)
    if not is_weight:
        return torch.zeros(shape)
    deviation = math.sqrt(2 / inputs) if scheme == "he" else 0.02
    return torch.randn(shape, generator=generator).mul_(deviation)


# What a critic may be wrapped in: spectral norm, gradient normalisation, packs of points.
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
