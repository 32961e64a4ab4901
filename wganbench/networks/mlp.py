"""Multi-layer perceptrons for critic and generator: ordinary modules, written for one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wganbench.networks.layers import (
    ACTIVATIONS,
    NORMALIZATIONS,
    Activation,
    Linear,
    Maxout,
    normalization,
)
from wganbench.networks.pair import INITIALIZATIONS, LATENTS, Latent, Pair, one_of, pair_with, size


@dataclass(kw_only=True)
class MLPOptions:
    """Size, activation, normalisation, initialisation and latent of a pair of MLPs."""

    width: int = size("width")
    depth: int = size("depth")
    activation: str = one_of(ACTIVATIONS)
    critic_normalization: str = one_of(NORMALIZATIONS)
    generator_normalization: str = one_of(NORMALIZATIONS)
    initialization: str = one_of(INITIALIZATIONS)
    latent: str = one_of(LATENTS)
    latent_dim: int = size("latent_dim")


@dataclass(kw_only=True)
class PacGANOptions:
    """PacGAN's maxout discriminator and batch-normalised generator."""

    generator_width: int = size("generator_width")
    generator_depth: int = size("generator_depth")
    critic_width: int = size("critic_width")
    critic_depth: int = size("critic_depth")
    critic_pieces: int = size("critic_pieces", least=2)
    initialization: str = one_of(INITIALIZATIONS)
    latent: str = one_of(LATENTS)
    latent_dim: int = size("latent_dim")


Block = Callable[[int, int, "torch.dtype | None"], nn.Module]


class MLP(nn.Module):
    """Hidden blocks in sequence and a linear output.

    The first and the last layer, which get or return data, compute in fp32. The others compute
    in ``compute_dtype`` if it is given. The output is fp32 of shape (n, out), or, if ``out`` is
    None, a critic's scores (n,).
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        depth: int,
        out: int | None,
        block: Block,
        compute_dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(
            block(inputs if i == 0 else width, width, None if i == 0 else compute_dtype)
            for i in range(depth)
        )
        self.output = Linear(width, 1 if out is None else out, None)
        self.is_critic = out is None

    def forward(self, x: Float[Tensor, "n d"]) -> Tensor:
        for block in self.hidden:
            x = block(x)
        x = self.output(x)
        return x.squeeze(-1) if self.is_critic else x


def plain_block(activation: str, norm: str) -> Block:
    """Return a builder of blocks: linear, normalisation, activation."""

    def build(inputs: int, width: int, dtype: torch.dtype | None) -> nn.Module:
        return nn.Sequential(
            Linear(inputs, width, dtype), *normalization(norm, width), Activation(activation)
        )

    return build


def maxout_block(pieces: int) -> Block:
    """Return a builder of maxout blocks (Goodfellow et al., arXiv:1302.4389)."""

    def build(inputs: int, width: int, dtype: torch.dtype | None) -> nn.Module:
        return Maxout(inputs, width, pieces, dtype)

    return build


def build_mlp(options: MLPOptions, shape: tuple[int, ...], dtype: torch.dtype | None) -> Pair:
    """Return critic and generator of equal width and depth."""
    (dimension,) = shape
    size = (options.width, options.depth)
    critic = plain_block(options.activation, options.critic_normalization)
    generator = plain_block(options.activation, options.generator_normalization)
    return pair_with(
        options,
        MLP(dimension, *size, None, critic, dtype),
        MLP(options.latent_dim, *size, dimension, generator, dtype),
    )


def build_pacgan(options: PacGANOptions, shape: tuple[int, ...], dtype: torch.dtype | None) -> Pair:
    """Return a maxout critic and a batch-norm ReLU generator (arXiv:1712.04086, app. B)."""
    (dimension,) = shape
    critic = maxout_block(options.critic_pieces)
    generator = plain_block("relu", "batch")
    return Pair(
        critic=MLP(dimension, options.critic_width, options.critic_depth, None, critic, dtype),
        generator=MLP(
            options.latent_dim,
            options.generator_width,
            options.generator_depth,
            dimension,
            generator,
            dtype,
        ),
        latent=Latent(options.latent, (options.latent_dim,)),
        initialization=options.initialization,
        critic_is_pointwise=True,
    )
