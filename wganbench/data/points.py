"""A user's own cloud of points, read from a file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Generator, Tensor

from wganbench.data.finite import resample


class Points:
    """The rows of a table, some of them held out for evaluation.

    ``seed`` decides which rows are held out. Of the rest, ``train_points`` rows are trained
    on (None: all).
    """

    def __init__(
        self,
        table: Float[Tensor, "n d"],
        held_out_share: float,
        train_points: int | None,
        seed: int,
    ) -> None:
        """Raises ValueError when fewer than 2 rows are left to train or to evaluate on."""
        n = len(table)
        n_held_out = round(n * held_out_share)
        if min(n_held_out, n - n_held_out) < 2:
            raise ValueError(
                f"data.path holds too few points: of {n}, data.held_out_share="
                f"{held_out_share:g} holds out {n_held_out}; at least 2 are needed on each side"
            )
        if train_points is not None and train_points > n - n_held_out:
            raise ValueError(
                f"data.train_points={train_points} is more than the {n - n_held_out} points "
                f"that data.held_out_share={held_out_share:g} leaves to train on"
            )
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        self.held_out_points = table[order[:n_held_out]]
        self.points = table[order[n_held_out:]][:train_points]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.points.shape[1:])

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """``n`` training rows, drawn with replacement."""
        return resample(self.points, n, generator)

    def held_out(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """``n`` held-out rows in random order.

        No row comes twice before every row has come once; with ``n`` above the number of
        held-out rows (``len(held_out_points)``) some must.
        """
        device = generator.device
        rows = self.held_out_points.to(device)
        passes = -(-n // len(rows))
        order = [
            torch.randperm(len(rows), generator=generator, device=device) for _ in range(passes)
        ]
        return rows[torch.cat(order)[:n]]


def read_table(path: str) -> Float[Tensor, "n d"]:
    """The table in a ``.npy`` or ``.csv`` file (commas; a first line of names is skipped).

    Raises ValueError, naming ``data.path``, for a missing or unreadable file, another
    ending, anything but n rows of d numbers, and values that are not finite in float32.
    """
    file = Path(path).expanduser()
    readers = {".npy": read_npy, ".csv": read_csv}
    if file.suffix.lower() not in readers:
        raise ValueError(f"data.path must end in .npy or .csv, got {path!r}")
    if not file.is_file():
        raise ValueError(f"data.path: there is no file {path!r}")
    try:
        table = readers[file.suffix.lower()](file)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"data.path: cannot read {path!r}: {error}") from error
    if table.ndim != 2 or table.shape[1] == 0 or table.dtype.kind not in "iuf":
        raise ValueError(
            f"data.path: {path!r} must hold numbers of shape (n, d), one point a row; "
            f"got {table.dtype} of shape {table.shape}"
        )
    with np.errstate(over="ignore"):
        values = table.astype(np.float32)
    broken = int((~np.isfinite(values)).sum())
    if broken:
        raise ValueError(f"data.path: {path!r} holds {broken} non-finite of {values.size} values")
    return torch.from_numpy(values)


def read_npy(file: Path) -> NDArray[np.generic]:
    table = np.load(file, allow_pickle=False)
    if not isinstance(table, np.ndarray):
        raise ValueError("it is an archive, not one array")
    return table


def read_csv(file: Path) -> NDArray[np.generic]:
    with file.open(encoding="utf-8-sig") as lines:
        names = int(not all(is_number(cell) for cell in lines.readline().split(",")))
    with warnings.catch_warnings():
        # NumPy warns of a file without rows; too few points is an error of its own.
        warnings.simplefilter("ignore", UserWarning)
        return np.loadtxt(file, delimiter=",", skiprows=names, ndmin=2, encoding="utf-8-sig")


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
