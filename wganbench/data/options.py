"""The options of each kind of data: types and ranges; the values are in YAML.

A field's metadata gives its range: ``least`` and ``most`` (smallest and largest value allowed),
``above`` and ``below`` (bounds that are not allowed themselves). This module does not import
torch, so that a configuration is checked before torch is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from wganbench import bounds


def count(most: int) -> Any:
    return field(metadata={"least": 1, "most": most})


def length() -> Any:
    """Return a field for a number above 0 whose square float32 can hold too."""
    return field(metadata={"above": 0, "least": bounds.SMALLEST, "most": bounds.LARGEST})


def share() -> Any:
    return field(metadata={"least": 0, "most": bounds.LARGEST})


def seed() -> Any:
    return field(metadata={"least": 0, "most": bounds.SEEDS})


def within(most: float) -> Any:
    return field(metadata={"least": -most, "most": most})


def coordinate() -> Any:
    return within(bounds.LARGEST)


@dataclass(kw_only=True)
class Options:
    """The options of all kinds: a fixed training set of ``train_points`` (null: none)."""

    train_points: int | None = count(bounds.TRAINING_POINTS)
    train_seed: int = seed()


@dataclass(kw_only=True)
class RingOptions(Options):
    modes: int = count(bounds.MODES)
    radius: float = length()
    sigma: float = length()


@dataclass(kw_only=True)
class GridOptions(Options):
    side: int = count(math.isqrt(bounds.MODES))
    spacing: float = length()
    sigma: float = length()


@dataclass(kw_only=True)
class TwoGaussiansOptions(Options):
    distance: float = length()
    dimension: int = count(bounds.DIMENSIONS)
    sigma: float = length()


@dataclass(kw_only=True)
class MixtureOptions(Options):
    """``centres``: one list of coordinates a mode; ``weights``: one number a mode (null: equal)."""

    centres: list[list[float]] = coordinate()
    weights: list[float] | None = share()
    sigma: float = length()

    def __post_init__(self) -> None:
        if not self.centres or not self.centres[0]:
            raise ValueError("data.centres must hold at least one centre of one coordinate")
        lengths = sorted({len(centre) for centre in self.centres})
        if len(lengths) > 1:
            raise ValueError(f"data.centres must be of equal length, got lengths {lengths}")
        if self.weights is None:
            return
        if len(self.weights) != len(self.centres):
            raise ValueError(
                f"data.weights must hold one number per centre: {len(self.weights)} weights "
                f"for {len(self.centres)} centres"
            )
        if not sum(self.weights) > 0:
            raise ValueError("data.weights must sum to something above 0")


@dataclass(kw_only=True)
class SwissRollOptions(Options):
    noise: float = share()


@dataclass(kw_only=True)
class ChainOptions(Options):
    """``decades``: powers of ten between the largest and the smallest weight."""

    modes: int = count(bounds.MODES)
    spacing: float = length()
    decades: float = field(metadata={"least": 0, "most": bounds.DECADES})
    sigma: float = length()


@dataclass(kw_only=True)
class LinesOptions(Options):
    offset: float = length()


@dataclass(kw_only=True)
class PointMassesOptions(Options):
    offset: float = length()
    dimension: int = count(bounds.DIMENSIONS)


@dataclass(kw_only=True)
class GaussianPairOptions(Options):
    """Means of d numbers, and covariances of d rows of d numbers."""

    mean: list[float] = coordinate()
    covariance: list[list[float]] = coordinate()
    source_mean: list[float] = coordinate()
    source_covariance: list[list[float]] = coordinate()

    def __post_init__(self) -> None:
        d = len(self.mean)
        if d == 0 or len(self.source_mean) != d:
            raise ValueError(
                "data.mean and data.source_mean must hold as many numbers as the space has "
                f"dimensions, got {d} and {len(self.source_mean)}"
            )
        for name in ("covariance", "source_covariance"):
            rows = getattr(self, name)
            if [len(row) for row in rows] != [d] * d:
                raise ValueError(f"data.{name} must hold {d} rows of {d} numbers, as data.mean has")


@dataclass(kw_only=True)
class CircleOptions(Options):
    radius: float = length()


@dataclass(kw_only=True)
class SegmentsOptions(Options):
    """``ends``: x, y, x', y' of each segment, the coordinates of its two ends."""

    ends: list[list[float]] = coordinate()

    def __post_init__(self) -> None:
        if not self.ends or any(len(each) != 4 for each in self.ends):
            raise ValueError("data.ends must hold four numbers for each segment: x, y, x', y'")
        if any(each[:2] == each[2:] for each in self.ends):
            raise ValueError("data.ends: the two ends of a segment must differ")


@dataclass(kw_only=True)
class MoonsOptions(Options):
    noise: float = share()


@dataclass(kw_only=True)
class CheckerboardOptions(Options):
    """``squares``: number along a side, even; ``edge``: side of a square."""

    squares: int = field(metadata={"least": 2, "most": bounds.MODES})
    edge: float = length()

    def __post_init__(self) -> None:
        if self.squares % 2:
            raise ValueError(f"data.squares must be even, got {self.squares}")


@dataclass(kw_only=True)
class SpiralsOptions(Options):
    turns: float = field(metadata={"above": 0, "most": bounds.TURNS})
    jitter: float = share()
    noise: float = share()


@dataclass(kw_only=True)
class FunnelsOptions(Options):
    """``clusters``: number of funnels; ``centre_seed``: where they lie and how high.

    ``centres`` (one list of coordinates a funnel) and ``offsets`` (one number a funnel) take the
    place of the seed's.
    """

    dimension: int = count(bounds.SOBOL)
    clusters: int = count(bounds.FUNNELS)
    centre_seed: int = seed()
    centres: list[list[float]] | None = within(bounds.FUNNELS_BOX)
    offsets: list[float] | None = within(bounds.FUNNELS_OFFSET)

    def __post_init__(self) -> None:
        if self.centres is not None:
            sizes = sorted({len(centre) for centre in self.centres})
            if len(self.centres) != self.clusters or sizes != [self.dimension]:
                raise ValueError(
                    f"data.centres must hold {self.clusters} lists (data.clusters) of "
                    f"{self.dimension} numbers (data.dimension); got {len(self.centres)} of "
                    f"{' and '.join(map(str, sizes)) or 'none'}"
                )
        if self.offsets is not None and len(self.offsets) != self.clusters:
            raise ValueError(
                f"data.offsets must hold {self.clusters} numbers (data.clusters), "
                f"got {len(self.offsets)}"
            )
        if self.centres is not None and self.offsets is not None and self.centre_seed:
            raise ValueError(
                f"data.centre_seed={self.centre_seed} is not used where data.centres and "
                "data.offsets are given: leave it out"
            )


@dataclass(kw_only=True)
class HeldOutOptions(Options):
    """A finite set, of which ``held_out_share`` is not used for training."""

    held_out_share: float = field(metadata={"above": 0, "below": 1})


@dataclass(kw_only=True)
class OwnFileOptions(HeldOutOptions):
    """A file or a folder of the user's own at ``path``.

    ``found_at`` is the absolute place of ``path`` when it was given, because a run may be used
    from another folder later.
    """

    path: str
    found_at: str | None

    @property
    def place(self) -> str:
        """The path from which the data are read."""
        return self.found_at or self.path


@dataclass(kw_only=True)
class PointsOptions(OwnFileOptions):
    """``columns``: names, or numbers from 0 (null: all); ``standardize``: mean 0, spread 1."""

    columns: list[str] | None
    standardize: bool


@dataclass(kw_only=True)
class DownloadOptions(Options):
    """A published set with its own split, in files under ``root``."""

    root: str
    download: bool


@dataclass(kw_only=True)
class ImageFolderOptions(OwnFileOptions):
    """``size``: pixels a side (null: unchanged); ``channels``: 1 (grey) or 3 (colour)."""

    size: int | None = count(bounds.PIXELS)
    channels: int

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"data.channels must be 1 (grey) or 3 (colour), got {self.channels}")


ADDED_LATER: dict[str, dict[str, Any]] = {
    "points": {"columns": None, "standardize": False, "found_at": None},
    "image_folder": {"found_at": None},
    "funnels": {"centres": None, "offsets": None},
}
"""Options that were added to a kind later, with their values in older configurations.

With these values they are not part of a run's identity, so that older runs keep their names.
"""
