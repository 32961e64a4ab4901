"""The reference for images: a judge, features, the training and the held-out images."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.errors import ConfigError, reason_of
from wganbench.metrics.cache import judge_for
from wganbench.metrics.fidelity import nearest_training_distance
from wganbench.metrics.judge import BATCH, Judge

# Features of images, by a user's callable, whose output is checked.
Features = Callable[[Tensor], Tensor]
"""A function from CPU images (n, c, h, w) in [-1, 1] to features (n, f)."""


_typed: set[str] = set()


def allow_features(*names: str | None) -> None:
    """Allow to run the code of these names, given by the command line or the program.

    A name from a stored file only is not trusted and never imported.
    """
    _typed.update(name for name in names if name is not None)


def check_allowed(name: str | None) -> None:
    """Raise ConfigError for a name that was not allowed; the message says how to allow it."""
    if name is not None and name not in _typed:
        raise ConfigError(
            f"evaluate.features={name} is named by a stored file, and is code: it is run only "
            f"when the command line names it too. If you trust it, add --features {name} (in "
            "Python load_run(path, features=...))"
        )


def load_features(name: str) -> Features:
    """Return the callable ``package.module:callable``, also from the current folder.

    Raises ValueError, in one line, when there is none, and ConfigError for a name that was not
    allowed.
    """
    check_allowed(name)
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ValueError(f"evaluate.features={name}: write package.module:callable")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        # Importing a user's module may raise any error.
        reason = reason_of(error)
        raise ValueError(f"evaluate.features={name} cannot be imported: {reason}") from error
    if not callable(found):
        raise ValueError(f"evaluate.features={name} is no callable but a {type(found).__name__}")
    return found


def read_features(extract: Features, points: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
    """Return features of all points in float64, computed in batches without gradients.

    Raises ValueError when a batch of n points does not give (n, f) numbers.
    """
    with torch.no_grad():
        batches = torch.split(points.detach().float().cpu(), BATCH)
        parts = [torch.as_tensor(extract(batch)).detach().cpu().double() for batch in batches]
    for batch, part in zip(batches, parts, strict=True):
        if part.ndim != 2 or len(part) != len(batch):
            raise ValueError(
                f"evaluate.features gave shape {tuple(part.shape)} for images of shape "
                f"{tuple(batch.shape)}: (n, f) is needed"
            )
    return torch.cat(parts)


REFERENCE_SEED = 20170402
"""Seed for the training and held-out images of the floors, which are equal for all runs."""

NEAREST_POINTS = 1000
"""Most images whose nearest training image is searched."""


class ImageReference:
    """The data that all evaluations of one target of images share, computed when needed.

    ``judge`` is None for images without classes. Features come from ``extract``, the user's
    function, or else from the judge.
    """

    def __init__(self, target: Any, judge: Judge | None, extract: Features | None = None) -> None:
        self.target, self.judge, self.extract = target, judge, extract
        self._training: dict[int, Tensor] = {}

    @property
    def has_features(self) -> bool:
        return self.extract is not None or self.judge is not None

    @property
    def quick(self) -> bool:
        """Whether the features are cheap enough for every evaluation."""
        return self.extract is None and self.judge is not None

    def features(self, points: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """Return features in float64. Raises ValueError if there are none, or a wrong shape."""
        extract = self.extract or (self.judge.features if self.judge else None)
        if extract is None:
            raise ValueError("images without classes have features only by evaluate.features")
        return read_features(extract, points)

    def training_features(self, n: int) -> Float[Tensor, "n f"]:
        """Return features of ``n`` training images drawn like those of a memorising generator."""
        if n not in self._training:
            generator = torch.Generator().manual_seed(REFERENCE_SEED)
            self._training[n] = self.features(self.target.sample(n, generator))
        return self._training[n]

    def distinct(self, n: int) -> int:
        """Return how many of the first ``n`` held-out points are surely not repeated."""
        return n if self.target.stacked > 1 else min(n, len(self.target.held_out_images))

    @cached_property
    def class_shares(self) -> Float[Tensor, " K"]:
        """The class shares of a perfect generator: those held out, or uniform when stacked."""
        target = self.target
        if target.stacked > 1:
            return torch.full((target.class_count,), 1 / target.class_count, dtype=torch.float64)
        labels = target.held_out_labels.cpu().long()
        counts = torch.bincount(labels, minlength=target.class_count).double()
        return counts / counts.sum()

    def nearest_training(self, points: Float[Tensor, "n c h w"]) -> float:
        """Return the mean distance of the first points to the nearest training image."""
        base, stacked = self.target.base, self.target.stacked
        return nearest_training_distance(points[:NEAREST_POINTS], base.images, base.scaled, stacked)

    @cached_property
    def nearest_floor(self) -> float:
        """`nearest_training` of held-out images, the value of new images of this kind."""
        generator = torch.Generator().manual_seed(REFERENCE_SEED)
        held_out = self.target.held_out(self.distinct(NEAREST_POINTS), generator)
        return self.nearest_training(held_out)


def image_reference(target: Any, features: str | None = None) -> ImageReference | None:
    """Return the reference of a target of images, with its judge; None for other targets.

    ``features`` names a user's function. Raises as `load_features`.
    """
    if target.base is None:
        return None
    extract = None if features is None else load_features(features)
    return ImageReference(target, judge_for(target), extract)
