"""Freed memory stays with the process or is returned to the system, as is asked."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource
from wganbench.training.device import KEPT, RETURNED, set_malloc

def faults(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        held = bytearray(40 * 2**20)  # more than malloc keeps of its own accord
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(4)
given_back = faults(4)
kept = set_malloc(KEPT)
faults(40)  # until the heap has grown to what it needs
after = faults(4)
set_malloc(RETURNED)
print(kept, given_back, after, faults(4))
"""


def page_faults(environment: dict[str, str]) -> tuple[str, int, int, int]:
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "", "OMP_NUM_THREADS": "1"} | environment,
    )
    kept, *faults = done.stdout.split()
    before, after, returned = map(int, faults)
    return kept, before, after, returned


needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="a setting of glibc's malloc"
)


@needs_glibc
def test_kept_pages_are_faulted_in_once_only_and_returned_ones_again():
    kept, before, after, returned = page_faults({})
    # 4 steps of 40 MiB: 40 000 pages of 4 KiB, or 80 where the system makes pages of 2 MiB.
    assert kept == "True"
    assert before >= 80
    assert after < before / 10
    assert returned >= 80


@pytest.mark.slow
@needs_glibc
def test_the_users_own_setting_of_malloc_is_left_alone():
    assert page_faults({"MALLOC_TRIM_THRESHOLD_": "131072"})[0] == "False"


def test_where_the_c_library_has_no_such_setting_nothing_happens(monkeypatch):
    import ctypes

    from wganbench.training.device import KEPT, set_malloc

    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert set_malloc(KEPT) is False
