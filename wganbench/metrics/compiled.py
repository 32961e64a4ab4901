"""Our C++ for distances: the exact assignment, and sums and minima over all pairs."""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from pathlib import Path

import numpy as np

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
