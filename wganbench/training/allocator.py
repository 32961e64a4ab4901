"""Memory that a step frees is kept for the next step, not handed back to the system.

Stacked activations are megabytes each. The C library gives such blocks back as soon as they
are free, and the system hands them out again one zeroed page at a time. An iteration of 8 runs
of width 128 (WGAN-GP, fp32, one thread, twice each) took 20.4 and 19.8 ms a run so, and 14.3
and 14.8 with memory kept; 16 runs of width 64 in bf16 took 4.4 and 2.7 ms.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h: free bytes that go back, size of what has a mapping of its own."""

KEPT_BYTES, LARGEST_BLOCK_BYTES = 2**30, 2**28


@cache
def keep_freed_memory() -> bool:
    """Ask glibc's malloc to keep up to `KEPT_BYTES` that are free, for the whole process.

    Whether it does: another C library has no such setting, and MALLOC_TRIM_THRESHOLD_ or
    MALLOC_MMAP_THRESHOLD_ in the environment is left to decide.
    """
    if {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK_BYTES)
    )
