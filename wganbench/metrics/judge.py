"""The judge, a small classifier of images that gives the class of each fake."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, max_pool2d, pad

CHANNELS = (16, 32, 64)
"""Numbers of feature maps of the three convolutions; images are halved between them."""

LARGEST_SIDE = 32
"""Largest side in pixels; larger images are averaged down to it before they are judged."""

FEATURES = 64
"""Number of features of an image, which are the activations of the last hidden layer."""

SURE_OF = 0.95
"""Share of held-out images that a judge is sure of; it determines the threshold."""

BATCH = 500
"""Number of images that the judge, or a user's features, read at once."""


@runtime_checkable
class LabelledImages(Protocol):
    """A set of images with classes, as a judge needs it."""

    images: UInt8[Tensor, "m c h w"]
    held_out_images: UInt8[Tensor, "k c h w"]
    labels: Int[Tensor, " m"] | None
    held_out_labels: Int[Tensor, " k"] | None
    class_names: tuple[str, ...]

    def scaled(self, pictures: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]: ...


class JudgeNetwork(nn.Module):
    """Three convolutions with batch norm, one hidden layer (the features), the classes.

    It takes images of any size from 1x1 on: larger ones are made smaller first, and halved
    sides are rounded up.
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
        """Return the hidden layer's activations, which are not negative."""
        if max(x.shape[2:]) > LARGEST_SIDE:
            x = adaptive_avg_pool2d(x, LARGEST_SIDE)
        for i, block in enumerate(self.blocks):
            x = block(x if i == 0 else max_pool2d(x, 2, ceil_mode=True))
        activations: Tensor = self.hidden(adaptive_avg_pool2d(x, 2).flatten(1)).relu()
        return activations

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n K"]:
        """Return the scores of the classes."""
        scores: Tensor = self.classes(self.features(x))
        return scores


def judge_network(channels: int, classes: int, generator: torch.Generator) -> JudgeNetwork:
    """Return an untrained network with weights drawn from the generator (He et al. 2015)."""
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
class Judged:
    """The result of a judge: the points' classes (-1: none), and whether it is sure of them."""

    classes: Int[Tensor, " n"]
    sure: Bool[Tensor, " n"]


@dataclass(frozen=True)
class Judge:
    """A trained network that classifies points, with its accuracy and threshold.

    classes: the number K of classes of single images.
    accuracy: share of held-out single images that it classifies correctly.
    threshold: it is sure of an image whose largest class probability reaches this, as 95 % of
    the held-out images do. Noise also gets a class, but the judge is rarely sure of it.
    stacked: number s of images in a point, each a group of channels. The class of a point is a
    number in base K, 0 .. K^s - 1, whose digits are the classes of its images.
    """

    network: JudgeNetwork
    classes: int
    accuracy: float = math.nan
    threshold: float = math.nan
    stacked: int = 1

    @property
    def sha256(self) -> str:
        """The digest of the weights in hex; judges with equal digests are equal."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def judge(self, points: Float[Tensor, "n c h w"]) -> Judged:
        """Return the class of each point, and whether the judge is sure of all its images.

        Stacked images of classes a, b and c have class 100a + 10b + c when K = 10. A point with
        a pixel that is not finite has class -1.
        """
        probability, digits = self.probabilities(points).max(dim=2)
        places = self.classes ** torch.arange(self.stacked - 1, -1, -1)
        finite = torch.isfinite(points).flatten(1).all(dim=1).cpu()
        classes = torch.where(finite, (digits * places).sum(dim=1), -1)
        return Judged(classes, finite & (probability >= self.threshold).all(dim=1))

    def predict(self, points: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Return the class of each point, see `judge`."""
        return self.judge(points).classes

    def probabilities(self, points: Float[Tensor, "n c h w"]) -> Float[Tensor, "n s K"]:
        """Return the class probabilities of each image of a point."""
        single = self._each(points, lambda x: self.network(x).softmax(dim=1))
        return single.view(-1, self.stacked, self.classes)

    def features(self, points: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """Return the features of each point; those of stacked images are concatenated."""
        return self._each(points, self.network.features).reshape(len(points), -1)

    def _each(self, points: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        """Return ``read`` of every single image in the points, (n stacked, ...)."""
        n, channels, *size = points.shape
        singles = points.detach().float().cpu()
        singles = singles.reshape(n * self.stacked, channels // self.stacked, *size)
        with torch.no_grad():
            return torch.cat([read(part) for part in torch.split(singles, BATCH)])


def calibrated(network: JudgeNetwork, pictures: LabelledImages, stacked: int = 1) -> Judge:
    """Return the judge of a trained network; held-out images give accuracy and threshold.

    Raises ValueError for images without classes.
    """
    if pictures.held_out_labels is None:
        raise ValueError("images without classes cannot be judged")
    judge = Judge(network, len(pictures.class_names))
    batches = torch.split(pictures.held_out_images, BATCH)
    found = [judge.probabilities(pictures.scaled(batch))[:, 0].max(dim=1) for batch in batches]
    classes = torch.cat([part.indices for part in found])
    right = (classes == pictures.held_out_labels.cpu()).double().mean()
    probability = torch.cat([part.values for part in found]).sort().values
    threshold = probability[int((1 - SURE_OF) * len(probability))]
    return replace(judge, accuracy=float(right), threshold=float(threshold), stacked=stacked)


# The training of a judge: once for each data set, always in the same way.
JUDGE_SEED = 20170331
"""Seed of the generator for a judge's weights, batches and shifts."""

TRAINING_BATCH = 64
EPOCHS = 12
LEAST_STEPS, MOST_STEPS = 120, 2500
"""The schedule: `EPOCHS` passes over the training images, within these numbers of steps."""

RATE = 3e-3
"""Initial learning rate of AdamW, which falls to 0 along a cosine."""

WEIGHT_DECAY = 1e-2

SMOOTHING = 0.05
"""Share of each label that is spread over all classes."""

SHIFTED_PART = 16
"""A batch is shifted at random by at most 1/16 of its side: 1 pixel of 28, 0 of 8."""


def train_judge(pictures: LabelledImages) -> JudgeNetwork:
    """Return a network trained on the training images; held-out images are not used.

    The global random state and gradient mode do not change. Equal images give equal weights
    on equal machines.
    Raises ValueError for images without classes.
    """
    labels = pictures.labels
    if labels is None or not pictures.class_names:
        raise ValueError("a judge needs images with classes")
    generator = torch.Generator().manual_seed(JUDGE_SEED)
    images, labels = pictures.images.cpu(), labels.long().cpu()
    network = judge_network(images.shape[1], len(pictures.class_names), generator)
    steps = max(LEAST_STEPS, min(MOST_STEPS, EPOCHS * math.ceil(len(images) / TRAINING_BATCH)))
    network.train()
    with torch.enable_grad():
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
        for step, rows in zip(range(steps), _batches(len(images), steps, generator), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
            x = _shifted(pictures.scaled(images[rows]), generator)
            loss = cross_entropy(network(x), labels[rows], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            optimizer.step()
    return network.eval().requires_grad_(False)


def _batches(m: int, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Return the row numbers of each step; all images occur once before one occurs twice."""
    batch = min(TRAINING_BATCH, m)
    passes = -(-steps * batch // m)
    rows = torch.cat([torch.randperm(m, generator=generator) for _ in range(passes)])
    return list(torch.split(rows[: steps * batch], batch))


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return the batch shifted by a random number of pixels; the border gets value -1."""
    height, width = x.shape[2:]
    most = min(height, width) // SHIFTED_PART
    down, right = (int(torch.randint(2 * most + 1, (), generator=generator)) for _ in range(2))
    wide = pad(x, (most,) * 4, value=-1.0)
    return wide[:, :, down : down + height, right : right + width]
