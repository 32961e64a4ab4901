"""A pair of critic and generator, the latent distribution, and the initial weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
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


def initial_parameters(
    module: nn.Module, initialization: str, generator: torch.Generator
) -> Parameters:
    """Return initial parameters by name, drawn on the CPU from ``generator``.

    ``pytorch``: weights and biases U[-1/sqrt(m), 1/sqrt(m)], where m is the number of elements
    of weight[0], as in PyTorch's layers (for a transposed convolution m is out k^2, not its
    fan-in). ``he``: weights N(0, 2/fan_in), biases 0 (arXiv:1502.01852). ``normal``: weights
    N(0, 0.02^2), biases 0 (DCGAN, arXiv:1511.06434). Normalisation layers start at 1 and 0.
    """
    parameters: Parameters = {}
    for prefix, layer in module.named_modules():
        own = dict(layer.named_parameters(prefix=prefix, recurse=False))
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            inputs = layer.weight[0].numel() if initialization == "pytorch" else fan_in(layer)
            for name, parameter in own.items():
                is_weight = name.endswith("weight")
                parameters[name] = _draw(
                    parameter.shape, initialization, inputs, is_weight, generator
                )
        else:
            for name, parameter in own.items():
                start = 1.0 if name.endswith("weight") else 0.0
                parameters[name] = torch.full(parameter.shape, start)
    return parameters


def fan_in(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> float:
    """Return the number of inputs in the sum of one output, away from the border.

    A transposed convolution adds each input to k^2 outputs and has stride^2 outputs for each
    input. An output is therefore a sum over k^2 / stride^2 positions.
    """
    if isinstance(layer, nn.ConvTranspose2d):
        inputs, _, rows, columns = layer.weight.shape
        return inputs * rows * columns / (layer.stride[0] * layer.stride[1])
    return layer.weight[0].numel()


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
