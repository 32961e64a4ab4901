"""What pictures are measured against: a judge, features, the training set and the held-out one."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.metrics.features import Features, load_features, read_features
from wganbench.metrics.judge import Judge
from wganbench.metrics.judge_cache import judge_for
from wganbench.metrics.nearest import nearest_training_distance

REFERENCE_SEED = 20170402
"""Training and held-out pictures behind the floors are the same for every run."""

NEAREST_POINTS = 1000
"""Pictures, at most, whose nearest training picture is looked for."""


class PictureReference:
    """All that evaluations of one target of pictures share; made once, filled when asked.

    ``judge`` is None where the pictures have no classes. Features are those of ``extract``,
    a user's own, and of the judge without it.
    """

    def __init__(self, target: Any, judge: Judge | None, extract: Features | None = None) -> None:
        self.target, self.judge, self.extract = target, judge, extract
        self._training: dict[int, Tensor] = {}

    @property
    def has_features(self) -> bool:
        return self.extract is not None or self.judge is not None

    @property
    def quick(self) -> bool:
        """Whether the features are few and read fast enough for every evaluation."""
        return self.extract is None and self.judge is not None

    def features(self, points: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """Features in float64. Raises ValueError without any, or when a user's do not fit."""
        extract = self.extract or (self.judge.features if self.judge else None)
        if extract is None:
            raise ValueError("pictures without classes have features only by evaluate.features")
        return read_features(extract, points)

    def training_features(self, n: int) -> Float[Tensor, "n f"]:
        """Of ``n`` training pictures, as a generator that only repeats them would draw them."""
        if n not in self._training:
            generator = torch.Generator().manual_seed(REFERENCE_SEED)
            self._training[n] = self.features(self.target.sample(n, generator))
        return self._training[n]

    def distinct(self, n: int) -> int:
        """How many of ``n`` held-out points, in their order, are surely not repeated."""
        return n if self.target.stacked > 1 else min(n, len(self.target.held_out_images))

    @cached_property
    def class_shares(self) -> Float[Tensor, " K"]:
        """What a perfect generator's classes would be: the held-out ones; stacked uniform."""
        target = self.target
        if target.stacked > 1:
            return torch.full((target.class_count,), 1 / target.class_count, dtype=torch.float64)
        labels = target.held_out_labels.cpu().long()
        counts = torch.bincount(labels, minlength=target.class_count).double()
        return counts / counts.sum()

    def nearest_training(self, points: Float[Tensor, "n c h w"]) -> float:
        """Mean distance of the first points to the nearest training picture, in pixel units."""
        base, stacked = self.target.base, self.target.stacked
        return nearest_training_distance(points[:NEAREST_POINTS], base.images, base.scaled, stacked)

    @cached_property
    def nearest_floor(self) -> float:
        """`nearest_training` of held-out pictures: what new pictures of this kind score."""
        generator = torch.Generator().manual_seed(REFERENCE_SEED)
        held_out = self.target.held_out(self.distinct(NEAREST_POINTS), generator)
        return self.nearest_training(held_out)


def picture_reference(target: Any, features: str | None = None) -> PictureReference | None:
    """The reference of a target of pictures, its judge found or trained; None for another.

    ``features`` names a user's own, see `load_features`. Raises ValueError as that does.
    """
    if getattr(target, "base", None) is None:
        return None
    extract = None if features is None else load_features(features)
    return PictureReference(target, judge_for(target), extract)
