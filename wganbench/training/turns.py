"""Processes of one machine that need the same programs at once: each is compiled by one of them.

Two stacks of a sweep that start together would both compile what either of them could load from
the cache that torch keeps on disk, and each would take a core for it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE_SECONDS = 900.0
"""How long to wait for another process: the largest network here compiles in six minutes."""


def in_turns(programs: Mapping[str, Callable[[], object]], key: str, folder: Path) -> None:
    """Call each program once, first those that no other process is calling under the same key.

    While a program is called here, others that come to it turn to their next one; they call it
    when it has been called, without waiting for each other. The locks are files in ``folder``
    and go with the process that holds them. Where none can be had programs are called in order.
    """
    taken: list[tuple[FileLock, Callable[[], object]]] = []
    for name, call in programs.items():
        lock = FileLock(folder / f"{hashlib.sha256(f'{key} {name}'.encode()).hexdigest()}.turn")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            taken.append((lock, call))
            continue
        except (OSError, NotImplementedError):  # a disk that is full, or has no locks
            logging.getLogger(__name__).debug("no lock for a program", exc_info=True)
        try:
            call()
        finally:
            lock.release()
    for lock, call in taken:
        _wait_for(lock)
        call()


def _wait_for(lock: FileLock) -> None:
    """Until nobody holds the lock, or patience ends."""
    try:
        with lock.acquire(timeout=PATIENCE_SECONDS):
            pass
    except (Timeout, OSError, NotImplementedError):
        logging.getLogger(__name__).debug("not waiting for another process", exc_info=True)
