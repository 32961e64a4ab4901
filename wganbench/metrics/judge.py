"""A judge: a small classifier of pictures that says which class each fake belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

CHANNELS = (16, 32, 64)
"""Feature maps of the three convolutions; pictures are halved between them."""

LARGEST_SIDE = 32
"""Larger pictures are averaged down to this many pixels a side before they are judged."""

FEATURES = 64
"""Length of the features of one picture: the layer before the classes."""

BATCH = 500
"""Pictures judged at once."""


@runtime_checkable
class Pictures(Protocol):
    """What a judge needs of a set of pictures with classes."""

    images: UInt8[Tensor, "m c h w"]
    held_out_images: UInt8[Tensor, "k c h w"]
    labels: Int[Tensor, " m"] | None
    held_out_labels: Int[Tensor, " k"] | None
    class_names: tuple[str, ...]

    def scaled(self, pictures: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]: ...


class JudgeNetwork(nn.Module):
    """Three convolutions with batch norm, one hidden layer (the features), the classes.

    Any size from 1x1 on: sides are halved rounding up, larger pictures made smaller first.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        sizes = (channels, *CHANNELS)
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in zip(sizes, sizes[1:], strict=False)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.hidden = nn.Linear(4 * CHANNELS[-1], FEATURES)
        self.classes = nn.Linear(FEATURES, classes)

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """The hidden layer's activations, none negative."""
        if max(x.shape[2:]) > LARGEST_SIDE:
            x = adaptive_avg_pool2d(x, LARGEST_SIDE)
        for i, block in enumerate(self.blocks):
            x = block(x if i == 0 else max_pool2d(x, 2, ceil_mode=True))
        activations: Tensor = self.hidden(adaptive_avg_pool2d(x, 2).flatten(1)).relu()
        return activations

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n K"]:
        """The classes' scores."""
        scores: Tensor = self.classes(self.features(x))
        return scores


def judge_network(channels: int, classes: int, generator: torch.Generator) -> JudgeNetwork:
    """An untrained network, its weights drawn from the generator alone (He et al. 2015)."""
    with torch.device("meta"):
        network = JudgeNetwork(channels, classes)
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


@dataclass(frozen=True)
class Judge:
    """A trained network that tells the class of a point, and how far to trust it.

    accuracy: share of held-out single pictures that it puts into their own class.
    classes: K, of single pictures.
    stacked: pictures a point is made of, one a group of channels. With s of them a point's
    class is read as the digits of a number in base K, 0 .. K^s - 1.
    """

    network: JudgeNetwork
    accuracy: float
    classes: int
    stacked: int = 1

    @property
    def sha256(self) -> str:
        """Of the weights, in hex: equal digests judge alike."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def predict(self, points: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """The class of each point; -1 where a pixel is not finite.

        For stacked pictures of classes a, b and c: 100a + 10b + c when K = 10.
        """
        digits = self._each(points, lambda x: self.network(x).argmax(dim=1)).view(-1, self.stacked)
        places = self.classes ** torch.arange(self.stacked - 1, -1, -1)
        finite = torch.isfinite(points).flatten(1).all(dim=1).cpu()
        return torch.where(finite, (digits * places).sum(dim=1), -1)

    def features(self, points: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """What the classes are read from; of stacked pictures one after the other."""
        return self._each(points, self.network.features).reshape(len(points), -1)

    def _each(self, points: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        """``read`` of every single picture in the points, (n stacked, ...)."""
        n, channels, *size = points.shape
        singles = points.detach().float().cpu().reshape(n * self.stacked, -1, *size)
        with torch.inference_mode():
            parts = [read(part) for part in torch.split(singles, BATCH)]
        return torch.cat(parts).clone()


def share_right(network: JudgeNetwork, pictures: Pictures) -> float:
    """Share of the held-out pictures that the network puts into their own class."""
    labels = pictures.held_out_labels
    if labels is None:
        raise ValueError("pictures without classes cannot be judged")
    judge = Judge(network, 0.0, len(pictures.class_names))
    right = torch.zeros(())
    for rows in torch.split(torch.arange(len(labels)), BATCH):
        guess = judge.predict(pictures.scaled(pictures.held_out_images[rows]))
        right += (guess == labels[rows].cpu()).sum()
    return float(right) / len(labels)
