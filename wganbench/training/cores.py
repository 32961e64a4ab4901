"""The cores of this machine, and how a process of ours is started; without torch."""

from __future__ import annotations

import os
import sys


def available_cores() -> int:
    """CPU cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def python_running(module: str, *words: str) -> list[str]:
    """The command line of a Python that runs a module of ours, as ``python -m`` would.

    That would look for every module in the current folder first, and a stranger's torch.py
    may lie there.
    """
    code = (
        "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-c", code, *words]
