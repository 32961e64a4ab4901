"""A user's cloud of points, read from a file of numbers in text or in NumPy's formats."""

from __future__ import annotations

import csv
import gzip
import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from wganbench.data.drawn import DrawnTarget
from wganbench.data.mixtures import SHOWN_COORDINATES, TrainingSet, far_warning
from wganbench.data.table_text import (
    ColumnsError,
    TableFile,
    choose,
    columns_word,
    from_text,
    label,
    transposed,
)
from wganbench.data.target import Target
from wganbench.draws import Draws, Resident
from wganbench.errors import expanded, printable, reason_of, shortened
from wganbench.files import open_regular

# Tables of points in files: text with any separator, and NumPy's formats.
TEXT = (".csv", ".tsv", ".txt")
ENDINGS = ".npy, .npz, .csv, .tsv or .txt (these three also as .gz)"
LARGEST = 2**31
"""Most bytes of text that are read, and most bytes that a compressed file is unpacked to."""


def read_table_file(path: str, columns: Sequence[str] | None = None) -> TableFile:
    """Return the table in a file; ``columns`` selects by name, or by number from 0.

    Raises ValueError, one line that names ``data.path`` or ``data.columns``.
    """
    file = expanded(path, "data.path")
    if file.is_dir():
        raise ValueError(
            f"data.path: {path!r} is a folder: give a file of points; data=image_folder takes one"
        )
    endings = [suffix.lower() for suffix in file.suffixes]
    if endings[-1:] == [".gz"]:
        endings = endings[-2:-1] if endings[-2:-1] and endings[-2] in TEXT else []
    ending = endings[-1] if endings else ""
    if ending not in (".npy", ".npz", *TEXT):
        raise ValueError(f"data.path must end in {ENDINGS}; got {path!r}")
    try:
        with open_regular(file, follow=True) as opened:
            if ending in TEXT:
                packed = file.suffix.lower() == ".gz"
                return from_text(read_text(opened, packed), ending, columns)
            return from_array(read_array(opened, ending), columns)
    except FileNotFoundError:
        raise ValueError(f"data.path: there is no file {path!r}") from None
    except ColumnsError:
        raise
    except UNREADABLE as error:
        raise ValueError(f"data.path: cannot read {path!r}: {reason_of(error)}") from error


ZIP, EMPTY_ZIP, GZIP = b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b"
"""The first bytes of compressed files."""

UNREADABLE = (
    OSError, EOFError, ValueError, MemoryError, OverflowError, csv.Error, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
"""The errors that readers raise for a file that is damaged or has another format."""


# NumPy's files.
def read_array(opened: BinaryIO, ending: str) -> np.ndarray:
    """Return the array in one of NumPy's files. Raises one of `UNREADABLE`, also if encrypted."""
    try:
        return loaded_array(opened, ending)
    except (tokenize.TokenError, SyntaxError) as error:
        raise ValueError("its header is damaged") from error
    except RuntimeError as error:  # encrypted, or packed in a way that zipfile does not know
        raise ValueError(str(error)) from error
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError("it holds Python objects; save it as array.astype(float)") from error


def loaded_array(opened: BinaryIO, ending: str) -> np.ndarray:
    begin = opened.read(6)
    opened.seek(0)
    if begin and not begin.startswith((b"\x93NUMPY", ZIP, EMPTY_ZIP)):
        raise ValueError("it is no file of NumPy's")
    loaded = np.load(opened, allow_pickle=False)
    if ending == ".npy":
        if not isinstance(loaded, np.ndarray):
            raise ValueError("it is an archive, not one array: call it .npz")
        return loaded
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        names = loaded.files
        if len(names) == 1 or "fakes" in names:
            # `wganbench sample --out x.npz` writes its points under "fakes".
            name = names[0] if len(names) == 1 else "fakes"
            member = loaded.zip.NameToInfo.get(f"{name}.npy")
            if member is not None and member.file_size > max(LARGEST, member.compress_size):
                raise ValueError(f"it unpacks to more than {LARGEST:,} bytes; save it as .npy")
            return np.asarray(loaded[name])
    held = f"{len(names)} arrays ({', '.join(names[:5])})" if names else "no array"
    raise ValueError(f"it holds {held}: save one alone")


def from_array(array: np.ndarray, columns: Sequence[str] | None) -> TableFile:
    names: list[str] | None = None
    if array.dtype.names and array.ndim == 1:
        names = list(array.dtype.names)
        array = from_fields(array, names, choose(columns, names, len(names)))
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "iuf":
        more = "; save it as array.reshape(-1, 1)" if array.ndim == 1 and array.size else ""
        raise ValueError(
            f"it must hold numbers of shape (n, d), one point a row; got {array.dtype} of shape "
            f"{array.shape}{more}"
        )
    chosen = choose(columns if names is None else None, names, array.shape[1])
    values = array[:, chosen].astype(np.float64)
    shown = [names[i] if names else label(i, array.shape[1]) for i in chosen]
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        i, k = broken[0]
        raise ValueError(
            f"row {i} (from 0), column {shown[k]}, is {values[i, k]}: {len(broken)} of "
            f"{values.size} values are not finite"
        )
    return TableFile(values, tuple(shown), transposed(values))


def from_fields(array: np.ndarray, names: list[str], chosen: list[int]) -> np.ndarray:
    """Return the chosen fields of a table (n,) as columns (n, d), and cut ``names`` to them.

    Raises ValueError for a field that holds no numbers.
    """
    numbers = [name for name in names if array.dtype[name].kind in "iuf"]
    for i in chosen:
        if names[i] not in numbers:
            remedy = f"; {columns_word(numbers)} takes the numbers" if numbers else ""
            raise ValueError(
                f"its field {names[i]} holds {array.dtype[names[i]]}, no number{remedy}"
            )
    names[:] = [names[i] for i in chosen]
    return np.stack([array[name] for name in names], axis=1)


# Text.
def read_text(opened: BinaryIO, packed: bool) -> str:
    """Return the text of a file in UTF-8, in UTF-16 if it has the mark, else in Latin-1.

    A wrong guess of Latin-1 changes names only."""
    if packed:
        with gzip.open(opened) as unpacked:
            content = unpacked.read(LARGEST + 1)
    else:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes of text; save it as .npy")
    if content.startswith(GZIP):
        raise ValueError("it is compressed by gzip: give its name the ending .gz")
    if content.startswith(ZIP):
        raise ValueError("it is a zip archive or a spreadsheet: unpack it, or save it as CSV")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    if b"\0" in content[:4096]:
        raise ValueError("it is no text; UTF-16 needs its mark at the beginning")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


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

UNLIKE_SPREADS = 1e3
"""Ratio of two coordinates' spreads above which distances neglect the smaller one."""

LONGEST_NAME = 20
"""Most characters of a column's name in a line."""


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
    lines: list[str] = []
    spreads, ranges = read.values.std(axis=0), np.ptp(read.values, axis=0)
    if not standardize:
        lines += far_warning(units.centre, units.scale, "data.standardize=true moves them there")
    constant = [named(read.names[k]) for k in np.flatnonzero(ranges == 0)]
    if constant:
        hidden = len(constant) - SHOWN_COORDINATES
        more = f" and {hidden} more" if hidden > 0 else ""
        lines.append(
            f"warning: {', '.join(constant[:SHOWN_COORDINATES])}{more}: one value in all rows; "
            "data.columns leaves a column out"
        )
    moving = [int(k) for k in np.argsort(spreads) if ranges[k] > 0 < spreads[k]]
    if moving and spreads[moving[0]] * UNLIKE_SPREADS < spreads[moving[-1]]:
        small, large = (named(read.names[k]) for k in (moving[0], moving[-1]))
        lines.append(
            f"warning: {large} varies {spreads[moving[-1]] / spreads[moving[0]]:.2g} times as "
            f"much as {small}, which distances will not see: give both like units"
        )
    return lines
