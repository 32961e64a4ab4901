"""What images are measured against: a judge, features, the training set and the held-out one."""

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

from wganbench.errors import ConfigError
from wganbench.metrics.cache import judge_for
from wganbench.metrics.fidelity import nearest_training_distance
from wganbench.metrics.judge import Judge

# Features of images: a user's own callable by its name, and its output checked.
Features = Callable[[Tensor], Tensor]
"""From images (n, c, h, w) in [-1, 1], on the CPU, to features (n, f)."""

BATCH = 500
"""Images given to a user's features at once."""


_typed: set[str] = set()


def allow_features(*names: str | None) -> None:
    """This command line, or this program, has typed these names: their code may be run.

    A name that only a stored file holds may be anybody's: it is never imported.
    """
    _typed.update(name for name in names if name is not None)


def check_allowed(name: str | None) -> None:
    """Raise ConfigError, which says how to allow it, for a name that nobody has typed."""
    if name is not None and name not in _typed:
        raise ConfigError(
            f"evaluate.features={name} is named by a stored file, and is code: it is run only "
            f"when the command line names it too. If you trust it, add --features {name} (in "
            "Python load_run(path, features=...))"
        )


def load_features(name: str) -> Features:
    """The callable that ``package.module:callable`` names; the current folder counts too.

    Raises ValueError, in one line, when there is none, or the name was not typed.
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
        # A user's module may raise anything while it is imported.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"evaluate.features={name} cannot be imported: {reason}") from error
    if not callable(found):
        raise ValueError(f"evaluate.features={name} is no callable but a {type(found).__name__}")
    return found


def read_features(extract: Features, points: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
    """Features of all points in float64, read in batches without gradients.

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
"""Training and held-out images behind the floors are the same for every run."""

NEAREST_POINTS = 1000
"""Images, at most, whose nearest training image is looked for."""


class PictureReference:
    """All that evaluations of one target of images share; made once, filled when asked.

    ``judge`` is None where the images have no classes. Features are those of ``extract``,
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
            raise ValueError("images without classes have features only by evaluate.features")
        return read_features(extract, points)

    def training_features(self, n: int) -> Float[Tensor, "n f"]:
        """Of ``n`` training images, as a generator that only repeats them would draw them."""
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
        """Mean distance of the first points to the nearest training image, in pixel units."""
        base, stacked = self.target.base, self.target.stacked
        return nearest_training_distance(points[:NEAREST_POINTS], base.images, base.scaled, stacked)

    @cached_property
    def nearest_floor(self) -> float:
        """`nearest_training` of held-out images: what new images of this kind score."""
        generator = torch.Generator().manual_seed(REFERENCE_SEED)
        held_out = self.target.held_out(self.distinct(NEAREST_POINTS), generator)
        return self.nearest_training(held_out)


def picture_reference(target: Any, features: str | None = None) -> PictureReference | None:
    """The reference of a target of images, its judge found or trained; None for another.

    ``features`` names a user's own, see `load_features`. Raises ValueError as that does.
    """
    if target.base is None:
        return None
    extract = None if features is None else load_features(features)
    return PictureReference(target, judge_for(target), extract)
