"""Stacked pictures: three of a kind in the three channels, so that modes can be counted."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, UInt8
from torch import Generator, Tensor

from wganbench.data.images import Images, each_once


class StackedImages:
    """Three grey pictures of ``base``, each drawn on its own, as the channels of one point.

    With 10 classes a channel there are 1 000 modes, which a judge of `base` can count. Points
    are drawn afresh for ever, or from a fixed set of ``train_points`` triples, a function of
    ``train_seed`` alone. Held-out points are triples of held-out pictures.

    Source: the stacked MNIST of arXiv:1611.02163; as 128 000 fixed points arXiv:1712.04086.
    """

    stacked = 3
    """How many pictures of `base` one point is made of."""

    def __init__(self, base: Images, train_points: int | None, train_seed: int) -> None:
        """Raises ValueError when the pictures of ``base`` have more than one channel."""
        if base.shape[0] != 1:
            raise ValueError(f"pictures to stack must have 1 channel; these have {base.shape[0]}")
        self.base = base
        # Which three pictures, not their pixels: 3 MB for 128 000 points instead of 300.
        self.points: Int[Tensor, "m 3"] | None = None
        """The training set: the three rows of ``base.images`` of each point; None: endless."""
        if train_points is not None:
            seeded = torch.Generator().manual_seed(train_seed)
            self.points = self.triples(train_points, seeded)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.stacked, *self.base.shape[1:])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of one channel."""
        return self.base.class_names

    @property
    def class_count(self) -> int:
        """Classes a point can have: the modes; 0 where the base has no classes."""
        return int(self.base.class_count**self.stacked)

    @property
    def top(self) -> int:
        return self.base.top

    def triples(self, n: int, generator: Generator) -> Int[Tensor, "n 3"]:
        """``n`` times three rows of ``base.images``, all as likely."""
        device, m = generator.device, len(self.base.images)
        return torch.randint(m, (n, self.stacked), generator=generator, device=device)

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n 3 h w"]:
        """``n`` training points on the generator's device; of a fixed set with replacement."""
        device = generator.device
        if self.points is None:
            rows = self.triples(n, generator)
        else:
            points = self.points.to(device)
            rows = points[torch.randint(len(points), (n,), generator=generator, device=device)]
        return self.scaled(self.base.on_device(device)[rows].flatten(1, 2))

    def held_out(self, n: int, generator: Generator) -> Float[Tensor, "n 3 h w"]:
        """``n`` triples of held-out pictures.

        Within a channel no picture comes twice before each has come once.
        """
        pictures = self.base.held_out_images
        channels = [each_once(len(pictures), n, generator) for _ in range(self.stacked)]
        rows = torch.stack(channels, dim=1).to(pictures.device)
        return self.scaled(pictures[rows].flatten(1, 2).to(generator.device))

    def scaled(self, pictures: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """Pictures in the generator's range [-1, 1]."""
        return self.base.scaled(pictures)
