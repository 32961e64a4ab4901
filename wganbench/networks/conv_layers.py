"""Convolutions and normalisations, with fp32 parameters and products in a chosen precision.

Images are tensors (n, c, h, w). Under vmap a stack of R runs becomes one convolution with
R groups. Layers with ``by_patches`` are products of matrices instead, R of them under vmap.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wganbench.networks.layers import Linear

COLOURS = 3
"""Most channels of an image. On a CPU two operations are slow: a transposed convolution to so few
channels, and the slope of a convolution of one channel. As products of patches they take a tenth
of the time."""


def of_patches(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Return the convolution of (n, i, h, w) by (o, i, k, k) as one product of all its patches.

    A patch is a row of i k^2 values for each place of the output. The images returned lie in
    memory with their channels last, as the product makes them.
    """
    size = weight.shape[-1]
    grid = -(-x.shape[2] // stride), -(-x.shape[3] // stride)
    patches = F.unfold(x, size, padding=(size - 1) // 2, stride=stride)
    rows = patches.mT.reshape(-1, patches.shape[1])
    images = F.linear(rows, weight.flatten(1), bias).reshape(len(x), *grid, -1)
    return images.permute(0, 3, 1, 2)


def to_patches(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the doubling transposed convolution of (n, i, h, w) by (i, o, 4, 4) as one product.

    The product makes a patch of o 4^2 values from each pixel; where patches overlap they are
    added.
    """
    n, inputs, height, width = x.shape
    rows = x.flatten(2).mT.reshape(-1, inputs) @ weight.flatten(1)
    patches = rows.reshape(n, height * width, -1).mT
    images: Tensor = F.fold(patches, (2 * height, 2 * width), 4, padding=1, stride=2)
    return images + bias[:, None, None]


def exact(x: Tensor) -> Tensor:
    """Return x in fp32 if its precision is lower."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Conv(nn.Conv2d):
    """nn.Conv2d that computes in ``compute_dtype`` and keeps its parameters in fp32.

    The output has h / stride rows for an odd kernel with stride 1 and for kernel 4, stride 2.
    """

    by_patches = False

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        compute_dtype: torch.dtype | None,
        stride: int = 1,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2)
        self.compute_dtype = compute_dtype

    def forward(self, input: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        dtype = self.compute_dtype or self.weight.dtype
        assert self.bias is not None
        x, weight, bias = input.to(dtype), self.weight.to(dtype), self.bias.to(dtype)
        if self.by_patches:
            return of_patches(x, weight, bias, self.stride[0])
        if self.in_channels > 1:
            return F.conv2d(x, weight, bias, self.stride, self.padding)
        size, stride = self.kernel_size[0], self.stride[0]
        _, _, height, width = x.shape
        patches = F.unfold(x, size, padding=(size - 1) // 2, stride=stride)
        grid = -(-height // stride), -(-width // stride)
        products = weight.flatten(1) @ patches + bias[:, None]
        return products.reshape(len(x), -1, *grid)


class UpConv(nn.ConvTranspose2d):
    """nn.ConvTranspose2d with kernel 4 and stride 2, which doubles height and width.

    It computes in ``compute_dtype`` and keeps its parameters in fp32.
    """

    by_patches = False

    def __init__(self, inputs: int, outputs: int, compute_dtype: torch.dtype | None) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1)
        self.compute_dtype = compute_dtype

    def forward(
        self, input: Float[Tensor, "n i h w"], output_size: list[int] | None = None
    ) -> Float[Tensor, "n o h2 w2"]:
        dtype = self.compute_dtype or self.weight.dtype
        assert self.bias is not None
        x, weight, bias = input.to(dtype), self.weight.to(dtype), self.bias.to(dtype)
        if self.by_patches:
            return to_patches(x, weight, bias)
        if self.out_channels > COLOURS:
            return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
        size = 2 * x.shape[2], 2 * x.shape[3]
        patches = weight.flatten(1).t() @ x.flatten(2)
        products: Tensor = F.fold(patches, size, 4, padding=1, stride=2)
        return products + bias[:, None, None]


def use_patches(network: nn.Module) -> None:
    """Make every convolution of a network a product of patches.

    On a GPU that is much faster for small images: cuDNN has no good kernels for the groups of a
    stack and for the second derivatives of a gradient penalty.
    """
    for layer in network.modules():
        if isinstance(layer, Conv | UpConv):
            layer.by_patches = True


class Grid(nn.Module):
    """A linear map from vectors to images of ``channels`` x ``size`` x ``size``."""

    def __init__(self, inputs: int, channels: int, size: int) -> None:
        super().__init__()
        self.linear = Linear(inputs, channels * size * size, None)
        self.picture = (channels, size, size)

    def forward(self, z: Float[Tensor, "n i"]) -> Float[Tensor, "n c s s"]:
        picture: Tensor = self.linear(z).reshape(-1, *self.picture)
        return picture


class PictureBatchNorm(nn.BatchNorm2d):
    """Batch norm in fp32 with the statistics of the batch, without running statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, track_running_stats=False)

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return super().forward(exact(input))


class PictureLayerNorm(nn.Module):
    """Layer norm over a whole image, then a scale and a shift for each channel, in fp32.

    y = weight[c] (x - mean(x)) / sqrt(var(x) + 1e-5) + bias[c], with mean and variance over
    (c, h, w). It equals GroupNorm with one group. Source: arXiv:1607.06450, as in WGAN-GP.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        normed = F.layer_norm(exact(x), x.shape[1:])
        return normed * self.weight[:, None, None] + self.bias[:, None, None]


def picture_normalization(name: str, channels: int) -> list[nn.Module]:
    """Return the normalisation ``none``, ``layer`` or ``batch`` as a list of 0 or 1 layers."""
    if name == "none":
        return []
    return [{"layer": PictureLayerNorm, "batch": PictureBatchNorm}[name](channels)]
