"""A table of points, and which of its columns are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class TableFile:
    """Numbers (n, d), the names of the columns, and what a person should know of the reading."""

    values: Float64[np.ndarray, "n d"]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


class ColumnsError(ValueError):
    """``data.columns`` names what the file does not have."""


def transposed(values: np.ndarray) -> tuple[str, ...]:
    n, d = values.shape
    if d <= max(n, 10):
        return ()
    return (f"{n} points of {d} coordinates: a point is a row; if these are columns save array.T",)


def label(i: int, d: int) -> str:
    """How a column without a name is called."""
    return "xyz"[i] if d <= 3 else f"column {i}"


def choose(columns: Sequence[str] | None, names: Sequence[str] | None, d: int) -> list[int]:
    """Numbers of the columns asked for, by name first; raises ColumnsError."""
    if columns is None:
        return list(range(d))
    if not columns:
        raise ColumnsError("data.columns is empty; null takes all columns")
    chosen = []
    for column in columns:
        found = [i for i, name in enumerate(names or ()) if name.strip() == column.strip()]
        if not found and column.strip().isdecimal() and int(column) < d:
            found = [int(column)]
        if len(found) != 1:
            have = ", ".join(repr(name) for name in names) if names else f"0 to {d - 1}, no names"
            many = "there are several" if found else "there is none"
            raise ColumnsError(f"data.columns: {column!r}: {many}; the file has {have}")
        chosen += found
    if len(set(chosen)) < len(chosen):
        raise ColumnsError(f"data.columns names a column twice: {list(columns)}")
    return chosen
