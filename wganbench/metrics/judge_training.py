"""How a judge learns its classes: once a data set, always in the same way."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from wganbench.metrics.judge import JudgeNetwork, Pictures, judge_network

JUDGE_SEED = 20170331
"""Weights, batches and shifts of every judge come from one generator with this seed."""

BATCH = 64
EPOCHS = 12
LEAST_STEPS, MOST_STEPS = 60, 2500
"""The schedule: passes over the training pictures, within so many steps."""

RATE = 3e-3
"""Learning rate of AdamW, falling to 0 along a cosine."""

WEIGHT_DECAY = 1e-2

SMOOTHING = 0.05
"""Share of each label that is spread over all classes."""

SHIFTED_PART = 16
"""A batch is moved at random by at most a sixteenth of its side: a pixel in 28, none in 8."""


def train_judge(pictures: Pictures) -> JudgeNetwork:
    """A network trained on the training pictures alone; held-out ones play no part.

    Takes nothing from the global random state and leaves gradients switched on or off as
    they were. Equal pictures give equal weights on equal machines.
    Raises ValueError for pictures without classes.
    """
    labels = pictures.labels
    if labels is None or not pictures.class_names:
        raise ValueError("a judge needs pictures with classes")
    generator = torch.Generator().manual_seed(JUDGE_SEED)
    images, labels = pictures.images.cpu(), labels.long().cpu()
    network = judge_network(images.shape[1], len(pictures.class_names), generator)
    steps = max(LEAST_STEPS, min(MOST_STEPS, EPOCHS * math.ceil(len(images) / BATCH)))
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
    """Row numbers of every step: all pictures come once before one comes twice."""
    passes = -(-steps * BATCH // m)
    rows = torch.cat([torch.randperm(m, generator=generator) for _ in range(passes)])
    return list(torch.split(rows[: steps * BATCH], BATCH))


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by a random number of pixels; what comes in is the darkest value."""
    height, width = x.shape[2:]
    most = min(height, width) // SHIFTED_PART
    down, right = (int(torch.randint(2 * most + 1, (), generator=generator)) for _ in range(2))
    wide = pad(x, (most,) * 4, value=-1.0)
    return wide[:, :, down : down + height, right : right + width]
