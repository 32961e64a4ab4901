"""DCGAN's critic and generator for square images of 8, 28 and 32 pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wganbench.networks.conv_layers import Conv, Grid, UpConv, picture_normalization
from wganbench.networks.layers import ACTIVATIONS, NORMALIZATIONS, Activation, Linear
from wganbench.networks.pair import INITIALIZATIONS, LATENTS, Pair, one_of, pair_with, size

HALVINGS = {8: 2, 28: 2, 32: 3}
"""Number of halvings for each size of image, which give a grid of side 2, 7 or 4."""


@dataclass(kw_only=True)
class DCGANOptions:
    """Size, activations, normalisation, initialisation and latent of a pair of DCGANs."""

    width: int = size("width")
    critic_activation: str = one_of(ACTIVATIONS)
    generator_activation: str = one_of(ACTIVATIONS)
    critic_normalization: str = one_of(NORMALIZATIONS)
    generator_normalization: str = one_of(NORMALIZATIONS)
    initialization: str = one_of(INITIALIZATIONS)
    latent: str = one_of(LATENTS)
    latent_dim: int = size("latent_dim")


class Critic(nn.Module):
    """Halving convolutions of width, 2 width, ... channels, then one linear score.

    The first convolution, which gets the data and has no norm (as in DCGAN), and the score
    compute in fp32; the others compute in ``dtype`` if it is given. It maps (n, c, s, s) to
    fp32 scores (n,).
    """

    def __init__(self, options: DCGANOptions, shape: tuple[int, ...], dtype: torch.dtype | None):
        super().__init__()
        channels, size, _ = shape
        widths = [options.width * 2**i for i in range(HALVINGS[size])]
        blocks: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip([channels, *widths], widths, strict=False)):
            norm = picture_normalization(options.critic_normalization if i else "none", outputs)
            conv = Conv(inputs, outputs, 4, dtype if i else None, stride=2)
            blocks.append(nn.Sequential(conv, *norm, Activation(options.critic_activation)))
        self.hidden = nn.ModuleList(blocks)
        self.output = Linear(widths[-1] * (size >> len(widths)) ** 2, 1, None)

    def forward(self, x: Float[Tensor, "n c s s"]) -> Float[Tensor, " n"]:
        for block in self.hidden:
            x = block(x)
        score: Tensor = self.output(x.flatten(1))
        return score.squeeze(-1)


class Generator(nn.Module):
    """A linear map to a small grid, then doubling convolutions with decreasing channels.

    The first layer, the last convolution (without norm, as in DCGAN) and the tanh compute in
    fp32; the others compute in ``dtype`` if it is given. It maps (n, latent) to (n, c, s, s) in
    [-1, 1].
    """

    def __init__(self, options: DCGANOptions, shape: tuple[int, ...], dtype: torch.dtype | None):
        super().__init__()
        channels, size, _ = shape
        widths = [options.width * 2**i for i in reversed(range(HALVINGS[size]))]

        def block(layer: nn.Module, width: int) -> nn.Module:
            norm = picture_normalization(options.generator_normalization, width)
            return nn.Sequential(layer, *norm, Activation(options.generator_activation))

        grid = Grid(options.latent_dim, widths[0], size >> len(widths))
        blocks = [block(grid, widths[0])]
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            blocks.append(block(UpConv(inputs, outputs, dtype), outputs))
        self.hidden = nn.ModuleList(blocks)
        self.output = UpConv(widths[-1], channels, None)

    def forward(self, z: Float[Tensor, "n z"]) -> Float[Tensor, "n c s s"]:
        x: Tensor = z
        for block in self.hidden:
            x = block(x)
        return torch.tanh(self.output(x))


def takes_pictures(shape: tuple[int, ...]) -> bool:
    """Return whether points of this shape are square images of a size in `HALVINGS`."""
    return len(shape) == 3 and shape[1] == shape[2] and shape[1] in HALVINGS


def build_dcgan(options: DCGANOptions, shape: tuple[int, ...], dtype: torch.dtype | None) -> Pair:
    """Return critic and generator with mirrored widths (Radford et al., arXiv:1511.06434)."""
    return pair_with(options, Critic(options, shape, dtype), Generator(options, shape, dtype))
