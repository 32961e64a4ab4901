"""The cheapest one-to-one assignment of two clouds, by our own network simplex in C++.

It prices the n^2 arcs on the fly and keeps none of them: where a solver with a matrix of costs
takes 4 GB at n = 10 000, this takes 100 MB. What is handed back has passed a certificate.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int

from wganbench.nativecode import NoCompiler, build

SOURCE = Path(__file__).parent / "native" / "assignment.cpp"

FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")

SLICE = 3 * 10**7
"""Arcs priced, about, before Python is asked whether to go on: a tenth of a second."""

CERTIFIED = 1e-9
"""What the bound may miss of the value, relative."""

ROUNDING = 1e-14
"""And what both may be off by, relative to the extent of the clouds: a few units of rounding."""


@dataclass(frozen=True)
class Assignment:
    """For each x_i the index of its point of y, a permutation; and potentials that prove it.

    u_i + v_j <= ||x_i - y_j||, with equality along the assignment.
    """

    partners: Int[np.ndarray, " n"]
    u: Float64[np.ndarray, " n"]
    v: Float64[np.ndarray, " n"]


def assign(
    x: Float64[np.ndarray, "n d"],
    y: Float64[np.ndarray, "n d"],
    check: Callable[[], None] = lambda: None,
) -> Assignment | None:
    """The assignment with the least sum of Euclidean distances between finite points.

    ``check`` is called ten times a second or so and may raise, to break it off; so does Ctrl-C.
    None where there is no compiler, and where no answer passed: all n^2 arcs are priced in
    double precision, and the bound that follows must equal the value to 1e-9.
    Sources: Bonneel et al. 2011 (network simplex); Schmitzer 2016 (coarse to fine).
    """
    library = _library()
    exponent, scaled_x, scaled_y = _scaled(x, y)
    if library is None or not (np.isfinite(scaled_x).all() and np.isfinite(scaled_y).all()):
        return None
    n, d = x.shape
    handle = library.assignment_new(n, d, _address(scaled_x), _address(scaled_y))
    if not handle:
        raise MemoryError(f"an assignment of {n} points of dimension {d} does not fit into memory")
    try:
        while (ended := library.assignment_advance(handle, SLICE)) == 0:
            check()
        if ended < 0:
            raise MemoryError(f"an assignment of {n} points does not fit into memory")
        partners, u, v = np.empty(n, np.int32), np.empty(n), np.empty(n)
        primal, dual = ctypes.c_double(), ctypes.c_double()
        ended = library.assignment_answer(
            handle, *(_address(a) for a in (partners, u, v)), *map(ctypes.byref, (primal, dual))
        )
    finally:
        library.assignment_delete(handle)
    if not ended or not _is_certified(partners, primal.value, dual.value):
        logging.getLogger(__name__).info("an assignment of %d points gave no answer", n)
        return None
    return Assignment(partners.astype(np.int64), np.ldexp(u, exponent), np.ldexp(v, exponent))


def _is_certified(partners: Int[np.ndarray, " n"], primal: float, dual: float) -> bool:
    """Whether it is a permutation whose cost equals the bound; costs in units of the extent."""
    gap = abs(primal - dual)
    permutation = np.array_equal(np.sort(partners), np.arange(len(partners)))
    return permutation and bool(gap <= CERTIFIED * primal + ROUNDING)


def _scaled(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "n d"]
) -> tuple[int, Float64[np.ndarray, "n d"], Float64[np.ndarray, "n d"]]:
    """Both clouds around 0 and of extent 1, and the power of two that was taken out."""
    low = np.minimum(x.min(axis=0), y.min(axis=0))
    high = np.maximum(x.max(axis=0), y.max(axis=0))
    centre = low / 2 + high / 2
    with np.errstate(over="ignore"):  # beyond 1e308 there is no answer
        exponent = int(np.frexp((high - low).max())[1])
        parts = [np.ascontiguousarray(np.ldexp(cloud - centre, -exponent)) for cloud in (x, y)]
    return exponent, parts[0], parts[1]


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@cache
def _library() -> ctypes.CDLL | None:
    """The compiled code, or None where there is none to have."""
    try:
        library = build([SOURCE], FLAGS)
    except NoCompiler as error:
        logging.getLogger(__name__).info("exact transport is solved by POT: %s", error)
        return None
    pointer, whole = ctypes.c_void_p, ctypes.c_int
    library.assignment_new.restype = pointer
    library.assignment_new.argtypes = [whole, whole, pointer, pointer]
    library.assignment_advance.argtypes = [pointer, ctypes.c_int64]
    library.assignment_answer.argtypes = [pointer] * 6
    library.assignment_delete.argtypes = [pointer]
    library.assignment_delete.restype = None
    return library
