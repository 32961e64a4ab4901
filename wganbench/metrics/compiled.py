"""Our C++ for distances: the exact assignment, and sums and minima over all pairs."""

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

FOLDER = Path(__file__).parent / "native"
SOURCES = (FOLDER / "assignment.cpp", FOLDER / "distances.cpp")

FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")


def prepare() -> None:
    """Build the C++ before it is needed; a machine without a compiler goes on without it."""
    library()


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled library, or None when it cannot be built."""
    try:
        found = build(SOURCES, FLAGS)
    except NoCompiler as error:
        logging.getLogger(__name__).info("exact transport is solved by POT: %s", error)
        return None
    pointer, whole = ctypes.c_void_p, ctypes.c_int
    found.assignment_new.restype = pointer
    found.assignment_new.argtypes = [whole, whole, pointer, pointer]
    found.assignment_advance.argtypes = [pointer, ctypes.c_int64]
    found.assignment_answer.argtypes = [pointer] * 6
    found.assignment_delete.argtypes = [pointer]
    found.assignment_delete.restype = None
    found.sum_of_distances.restype = ctypes.c_double
    found.sum_of_distances.argtypes = [whole, whole, whole, pointer, pointer]
    found.lower_to_transform.restype = None
    found.lower_to_transform.argtypes = [whole, whole, whole, *[pointer] * 4]
    return found


def address(array: np.ndarray) -> ctypes.c_void_p:
    """Return where a contiguous array begins."""
    return ctypes.c_void_p(array.ctypes.data)


# The cheapest one-to-one assignment of two clouds, by our own network simplex in C++.
SLICE = 3 * 10**7
"""Approximate number of arcs priced between two calls of ``check``: a tenth of a second."""

CERTIFIED = 1e-9
"""Largest relative difference between the value and its lower bound."""

ROUNDING = 1e-14
"""Allowed rounding of both, relative to the extent of the clouds: a few units in float64."""


@dataclass(frozen=True)
class Assignment:
    """An optimal assignment: for each x_i the index of its point of y, and a proof.

    The indices are a permutation. The potentials prove that it is optimal:
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
    """Return the assignment with the least sum of Euclidean distances between finite points.

    ``check`` is called about ten times a second and may raise to stop; Ctrl-C stops it too.
    Returns None without a compiler, and when the result fails its certificate: the lower bound
    from all n^2 arcs in double precision must equal the value to 1e-9.
    Sources: Bonneel et al. 2011 (network simplex); Schmitzer 2016 (coarse to fine).
    """
    code = library()
    exponent, scaled_x, scaled_y = _scaled(x, y)
    if code is None or not (np.isfinite(scaled_x).all() and np.isfinite(scaled_y).all()):
        return None
    n, d = x.shape
    handle = code.assignment_new(n, d, address(scaled_x), address(scaled_y))
    if not handle:
        raise MemoryError(f"an assignment of {n} points of dimension {d} does not fit into memory")
    try:
        while (ended := code.assignment_advance(handle, SLICE)) == 0:
            check()
        if ended < 0:
            raise MemoryError(f"an assignment of {n} points does not fit into memory")
        partners, u, v = np.empty(n, np.int32), np.empty(n), np.empty(n)
        primal, dual = ctypes.c_double(), ctypes.c_double()
        ended = code.assignment_answer(
            handle, *(address(a) for a in (partners, u, v)), *map(ctypes.byref, (primal, dual))
        )
    finally:
        code.assignment_delete(handle)
    if not ended or not _is_certified(partners, primal.value, dual.value):
        logging.getLogger(__name__).info("an assignment of %d points gave no answer", n)
        return None
    return Assignment(partners.astype(np.int64), np.ldexp(u, exponent), np.ldexp(v, exponent))


def _is_certified(partners: Int[np.ndarray, " n"], primal: float, dual: float) -> bool:
    """Return whether it is a permutation whose cost equals the bound, in units of the extent."""
    gap = abs(primal - dual)
    permutation = np.array_equal(np.sort(partners), np.arange(len(partners)))
    return permutation and bool(gap <= CERTIFIED * primal + ROUNDING)


def _scaled(
    x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "n d"]
) -> tuple[int, Float64[np.ndarray, "n d"], Float64[np.ndarray, "n d"]]:
    """Return a power of two, and both clouds centred at 0 and divided by it, of extent <= 1."""
    low = np.minimum(x.min(axis=0), y.min(axis=0))
    high = np.maximum(x.max(axis=0), y.max(axis=0))
    centre = low / 2 + high / 2
    with np.errstate(over="ignore"):  # an extent beyond 1e308 has no answer
        exponent = int(np.frexp((high - low).max())[1])
        parts = [np.ascontiguousarray(np.ldexp(cloud - centre, -exponent)) for cloud in (x, y)]
    return exponent, parts[0], parts[1]
