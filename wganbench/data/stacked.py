"""Stacked pictures: three of a kind in the three channels, so that modes can be counted."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from wganbench.data.drawn import Drawn
from wganbench.data.images import Images
from wganbench.draws import Draws, Generated, Resident


class StackedImages(Drawn):
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
            self.points = self.triples(Generated(seeded), train_points)
        self._resident = None if self.points is None else Resident(self.points)

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

    def triples(self, draws: Draws, n: int) -> Int[Tensor, "*lead n 3"]:
        """``n`` times three rows of ``base.images``, all as likely."""
        return draws.below(len(self.base.images), n, self.stacked)

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 3 h w"]:
        """``n`` training points on the draws' device; of a fixed set with replacement."""
        if self._resident is None:
            rows = self.triples(draws, n)
        else:
            points = self._resident.on(draws.device)
            rows = points[draws.below(len(points), n)]
        return self.scaled(self.base.on_device(draws.device)[rows].squeeze(-3))

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 3 h w"]:
        """``n`` triples of held-out pictures.

        Within a channel no picture comes twice before each has come once.
        """
        pictures = self.base.held_out_on_device(draws.device)
        channels = [draws.each_once(len(pictures), n) for _ in range(self.stacked)]
        return self.scaled(pictures[torch.stack(channels, dim=-1)].squeeze(-3))

    def scaled(self, pictures: UInt8[Tensor, "*lead 3 h w"]) -> Float[Tensor, "*lead 3 h w"]:
        """Pictures in the generator's range [-1, 1]."""
        return self.base.scaled(pictures)
