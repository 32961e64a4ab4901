"""The residual critic and generator of WGAN-GP for CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wganbench.networks.conv_layers import Conv, Grid, exact, picture_normalization
from wganbench.networks.dcgan import HALVINGS
from wganbench.networks.layers import NORMALIZATIONS, Activation, Linear
from wganbench.networks.pair import INITIALIZATIONS, LATENTS, Pair, one_of, pair_with, size

PLAIN_BLOCKS = 2
"""Number of the critic's blocks that keep the size, after two that halve it."""


@dataclass(kw_only=True)
class ResNetOptions:
    """Size, normalisation, initialisation and latent of a pair of residual networks."""

    width: int = size("width")
    critic_normalization: str = one_of(NORMALIZATIONS)
    generator_normalization: str = one_of(NORMALIZATIONS)
    initialization: str = one_of(INITIALIZATIONS)
    latent: str = one_of(LATENTS)
    latent_dim: int = size("latent_dim")


def halved(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """Return the means over squares of 2 x 2."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).mean(dim=(3, 5))


def doubled(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """Return every value repeated in a square of 2 x 2."""
    n, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)


class Block(nn.Module):
    """A residual block: x + conv(relu(norm(conv(relu(norm(x)))))), which may change the size.

    ``resize`` is ``up`` (before the first convolution), ``down`` (after the second) or
    ``none``. The shortcut's 1 x 1 convolution commutes with a change of size. It is computed at
    the smaller size, which takes a quarter of the products. Source: arXiv:1704.00028, appendix F.
    """

    def __init__(self, width: int, resize: str, norm: str, dtype: torch.dtype | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [*picture_normalization(norm, width), Activation("relu")]
            layers.append(Conv(width, width, 3, dtype))
        middle = len(layers) // 2 - 1
        self.before, self.after = nn.Sequential(*layers[:middle]), nn.Sequential(*layers[middle:])
        self.short = nn.Identity() if resize == "none" else Conv(width, width, 1, dtype)
        self.resize = resize

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        long: Tensor = self.before(x)
        short: Tensor
        if self.resize == "up":
            short, long = doubled(self.short(x)), self.after(doubled(long))
        elif self.resize == "down":
            short, long = self.short(halved(x)), halved(self.after(long))
        else:
            short, long = x, self.after(long)
        return short + long


class FirstBlock(nn.Module):
    """The first block, without norm and ReLU before its first convolution.

    Both layers that get the data compute in fp32.
    """

    def __init__(self, channels: int, width: int, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.long = nn.Sequential(
            Conv(channels, width, 3, None), Activation("relu"), Conv(width, width, 3, dtype)
        )
        self.short = Conv(channels, width, 1, None)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n width h2 w2"]:
        short: Tensor = self.short(halved(x))
        return short + halved(self.long(x))


class Critic(nn.Module):
    """Two halving blocks, two plain ones, ReLU, the mean of each channel, a linear score."""

    def __init__(self, options: ResNetOptions, channels: int, dtype: torch.dtype | None) -> None:
        super().__init__()
        resizes = ["down"] + ["none"] * PLAIN_BLOCKS
        norm = options.critic_normalization
        self.blocks = nn.Sequential(
            FirstBlock(channels, options.width, dtype),
            *[Block(options.width, resize, norm, dtype) for resize in resizes],
            Activation("relu"),
        )
        self.output = Linear(options.width, 1, None)

    def forward(self, x: Float[Tensor, "n c s s"]) -> Float[Tensor, " n"]:
        score: Tensor = self.output(exact(self.blocks(x)).mean(dim=(2, 3)))
        return score.squeeze(-1)


class Generator(nn.Module):
    """A linear map to a small grid, doubling blocks, norm, ReLU, a convolution, tanh."""

    def __init__(
        self, options: ResNetOptions, shape: tuple[int, ...], dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        channels, size, _ = shape
        width, norm = options.width, options.generator_normalization
        self.blocks = nn.Sequential(
            Grid(options.latent_dim, width, size >> HALVINGS[size]),
            *[Block(width, "up", norm, dtype) for _ in range(HALVINGS[size])],
            *picture_normalization(norm, width),
            Activation("relu"),
        )
        self.output = Conv(width, channels, 3, None)

    def forward(self, z: Float[Tensor, "n z"]) -> Float[Tensor, "n c s s"]:
        return torch.tanh(self.output(self.blocks(z)))


def build_resnet(options: ResNetOptions, shape: tuple[int, ...], dtype: torch.dtype | None) -> Pair:
    """Return WGAN-GP's residual networks (Gulrajani et al., arXiv:1704.00028, appendix F).

    Unlike there, the 1 x 1 convolutions also start by ``initialization``.
    """
    return pair_with(options, Critic(options, shape[0], dtype), Generator(options, shape, dtype))
