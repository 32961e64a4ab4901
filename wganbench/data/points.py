"""A user's cloud of points, read from a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from wganbench.data.drawn import DrawnTarget
from wganbench.data.mixtures import TrainingSet
from wganbench.data.table_files import read_table_file
from wganbench.data.table_text import TableFile
from wganbench.data.target import Target
from wganbench.draws import Draws, Resident
from wganbench.errors import expanded, printable, shortened


# Conversion between the units of the user's data and the units of training.
@dataclass(frozen=True)
class Units:
    """The units of training: (x - centre) / scale for data x; one scale preserves distances.

    ``centre`` has a number for each coordinate; ``scale`` is in the data's own unit.
    """

    centre: tuple[float, ...]
    scale: float

    def restored(self, points: Tensor | np.ndarray) -> Float64[Tensor, "n d"]:
        """Return points in the data's own units, in float64: float32 might merge them."""
        values = torch.as_tensor(points).detach().cpu().double()
        return values * self.scale + torch.tensor(self.centre, dtype=torch.float64)

    def fit(self, shape: Sequence[int]) -> bool:
        """Return whether these are units of points of a shape, all numbers finite."""
        finite = all(map(math.isfinite, (*self.centre, self.scale)))
        return finite and self.scale > 0 and [len(self.centre)] == list(shape)

    def record(self) -> dict[str, Any]:
        """Return the entry of run.json for these units."""
        return {"centre": list(self.centre), "scale": self.scale}


def units_from(record: object) -> Units | None:
    """Return the units in an entry of `Units.record`; None for anything else."""
    if not isinstance(record, Mapping):
        return None
    try:
        return Units(tuple(float(value) for value in record["centre"]), float(record["scale"]))
    except (KeyError, TypeError, ValueError):
        return None


def unit_of(target: Target) -> float:
    """Return the length of the unit of training in the unit of the target's data."""
    units = target.units
    return 1.0 if units is None else units.scale


def as_given(points: Tensor, target: Target) -> Tensor:
    """Return points of a target in the data's own units; float64 if they were scaled."""
    units = target.units
    return points if units is None else units.restored(points)


COARSE = 1e4
"""Points may merge when a coordinate's spread has fewer steps of float32 than this."""

FAR_MEAN, SMALL_SPREAD, LARGE_SPREAD = 100.0, 1e-3, 1e3
"""Data are far from a new network's range (mean 0, slope 1) with |mean| above this many spreads,
or with a spread outside these bounds."""

UNLIKE_SPREADS = 1e3
"""Ratio of two coordinates' spreads above which distances neglect the smaller one."""

SHOWN_COORDINATES, LONGEST_NAME = 4, 20


class Points(DrawnTarget):
    """The rows of a table, some of them held out for evaluation.

    ``seed`` decides which rows are held out. Runs train on ``train_points`` of the others
    (None: all). ``units`` belong to a table that was centred and scaled; ``notes`` are lines to
    show about the reading.
    """

    points: Tensor
    held_out_points: Tensor

    def __init__(
        self,
        table: Float[Tensor, "n d"],
        held_out_share: float,
        train_points: int | None,
        seed: int,
        units: Units | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Raise ValueError when training or evaluation has fewer than 2 rows."""
        n, d = table.shape
        n_held_out = round(n * held_out_share)
        if min(n_held_out, n - n_held_out) < 2:
            hint = f" (shape {(n, d)}: one point is a row; transposed?)" if d > 9 else ""
            raise ValueError(
                f"data.path holds too few points: of {n}, data.held_out_share="
                f"{held_out_share:g} holds out {n_held_out}; at least 2 are needed on each side"
                f"{hint}"
            )
        if train_points is not None and train_points > n - n_held_out:
            raise ValueError(
                f"data.train_points={train_points} is more than the {n - n_held_out} points "
                f"that data.held_out_share={held_out_share:g} leaves to train on"
            )
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        self.held_out_points = table[order[:n_held_out]]
        self.points = table[order[n_held_out:]][:train_points]
        self.units, self.notes = units, tuple(notes)
        self._training_set = TrainingSet(self.points)
        self._held_out = Resident(self.held_out_points)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.points.shape[1:])

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` training rows, drawn with replacement."""
        return self._training_set.draw(draws, n)

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` held-out rows in random order.

        Every row occurs once before one occurs twice. Rows are repeated only if ``n`` exceeds
        the number of held-out rows (``len(held_out_points)``).
        """
        rows = self._held_out.on(draws.device)
        return rows[draws.each_once(len(rows), n)]


@dataclass(frozen=True)
class PointsFile:
    """A file's points in the units of training, these units (None: the file's), lines to show."""

    table: Float[Tensor, "n d"]
    units: Units | None
    notes: tuple[str, ...]


def read_points(
    path: str, columns: tuple[str, ...] | None = None, standardize: bool = False
) -> PointsFile:
    """Return the points in a file, see `read_table_file`; it is read again when it changes.

    ``standardize`` subtracts each coordinate's mean and divides all by one spread, the root of
    the mean variance, in float64. Raises ValueError, naming ``data.path`` or ``data.columns``,
    also for values that float32 cannot hold or would merge.
    """
    try:
        state = expanded(path, "data.path").stat()
    except OSError:
        raise ValueError(f"data.path: there is no file {path!r}") from None
    now = (state.st_ino, state.st_size, state.st_mtime_ns)
    return _read(path, columns, standardize, now)


@lru_cache(maxsize=4)
def _read(
    path: str, columns: tuple[str, ...] | None, standardize: bool, now: tuple[int, ...]
) -> PointsFile:
    read = read_table_file(path, columns)
    with np.errstate(over="ignore", invalid="ignore"):
        units = units_of(read.values)
        moved = (read.values - np.array(units.centre)) / units.scale
        table = (moved if standardize else read.values).astype(np.float32)
    if not np.isfinite([*units.centre, units.scale]).all():
        raise ValueError(f"data.path: {path!r} holds numbers too large to centre; use another unit")
    check_range(path, read, table)
    if not standardize:
        check_merged(path, read.values, table, moved)
    lines = [what_was_read(read, units if standardize else None)]
    lines += [shortened(printable(note)) for note in read.notes]
    lines += warnings_of(read, units, standardize)
    return PointsFile(torch.from_numpy(table), units if standardize else None, tuple(lines))


def units_of(values: Float64[np.ndarray, "n d"]) -> Units:
    """Return the coordinates' means and the root of their mean variance (1 instead of 0)."""
    centre = values.mean(axis=0)
    scale = float(np.sqrt(((values - centre) ** 2).mean()))
    return Units(tuple(centre.tolist()), scale or 1.0)


def check_range(path: str, read: TableFile, table: Float[np.ndarray, "n d"]) -> None:
    """Raise ValueError when numbers are too large for float32."""
    wrong = np.argwhere(~np.isfinite(table))
    if len(wrong):
        i, k = wrong[0]
        raise ValueError(
            f"data.path: {path!r} holds {read.values[i, k]:g} in {read.names[k]}, beyond what "
            f"float32 holds (3.4e38), in {len(wrong)} of {table.size} values; use another unit or "
            "data.standardize=true"
        )


def check_merged(
    path: str, values: np.ndarray, table: Float[np.ndarray, "n d"], moved: np.ndarray
) -> None:
    """Raise ValueError when float32 merges points that centring and scaling would separate."""
    steps = np.spacing(np.abs(table).max(axis=0))
    if bool((values.std(axis=0) >= COARSE * steps).all()):
        return
    distinct, kept, could = (
        len(np.unique(rows, axis=0)) for rows in (values, table, moved.astype(np.float32))
    )
    if kept < could:
        raise ValueError(
            f"data.path: of {distinct} different points in {path!r} float32 keeps {kept} apart, "
            "for they lie far from 0 beside their spread; data.standardize=true centres and "
            "scales them, and undoes it in distances and samples"
        )


def what_was_read(read: TableFile, units: Units | None) -> str:
    """Return a line such as ``600 points in 2-D, x -1.1 to 1.1, y -1 to 1.2``."""
    n, d = read.values.shape
    low, high = read.values.min(axis=0), read.values.max(axis=0)
    shown = range(min(d, SHOWN_COORDINATES))
    parts = [f"{named(read.names[k])} {span(float(low[k]), float(high[k]))}" for k in shown]
    if d > SHOWN_COORDINATES:
        parts.append(f"... all within {span(float(low.min()), float(high.max()))}")
    if units is not None:
        parts.append(f"centred and divided by {units.scale:.4g}")
    return f"{n} points in {d}-D, " + ", ".join(parts)


def named(name: str) -> str:
    """Return a column's name in a form that can be shown."""
    text = shortened(printable(name), LONGEST_NAME)
    return f"column {text}" if text.isdecimal() else text or "without a name"


def span(low: float, high: float) -> str:
    """Return a range of two numbers, with enough digits to distinguish them.

    >>> span(-1.123, 1.06), span(388090.12, 388110.9)
    ('-1.12 to 1.06', '388090.1 to 388110.9')
    """
    reach = max(abs(low), abs(high))
    digits = 3 if high == low else 3 + int(max(0.0, np.log10(reach) - np.log10(high - low)))
    return f"{low:.{digits}g} to {high:.{digits}g}"


def warnings_of(read: TableFile, units: Units, standardize: bool) -> list[str]:
    """Return warnings of likely problems in training, with remedies."""
    lines = []
    spreads = read.values.std(axis=0)
    far = max(abs(value) for value in units.centre) > FAR_MEAN * units.scale
    if not standardize and (far or not SMALL_SPREAD <= units.scale <= LARGE_SPREAD):
        means = ", ".join(f"{value:.3g}" for value in units.centre[:SHOWN_COORDINATES])
        lines.append(
            f"warning: mean {means}, spread {units.scale:.3g}: far from where networks begin "
            "(mean 0, spread 1), so they may learn nothing; data.standardize=true moves them there"
        )
    if spreads.min() * UNLIKE_SPREADS < spreads.max():
        small, large = (named(read.names[int(k)]) for k in (spreads.argmin(), spreads.argmax()))
        lines.append(
            f"warning: {large} varies {spreads.max() / max(spreads.min(), 1e-300):.2g} times as "
            f"much as {small}, which distances will not see: give both like units"
        )
    return lines
