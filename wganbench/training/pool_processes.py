"""The processes of a pool: how they are started, kept and ended.

Python takes seconds to import what measuring needs.

- `fork_early` saves them: it copies a process that has imported everything and has not yet used a
  GPU. A worker of a sweep does it before its first stack, and keeps the copies for all stacks.
- `start` is for any other process. What it starts ends with its pool.

Either way there is one process first, which forks one for each further connection
(`pool_worker.serve_all`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import NoReturn

from wganbench.training.pool_worker import serve_all
from wganbench.training.process import python_running

ALONE = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""The environment of a worker process: no GPU, one thread."""


@dataclass
class Processes:
    """Worker processes: the first one's id, which is also their group's, and their connections.

    ``wait`` waits for the first one's end. ``kept``: they outlive a pool that leaves them idle.
    """

    pid: int
    connections: list[Connection]
    wait: Callable[[], object]
    kept: bool = False
    ended: bool = field(default=False, init=False)

    def kill(self) -> None:
        """Kill the processes, which ends every wait on a connection; a second call does nothing."""
        if self.ended:
            return
        self.ended = True
        for kill in (os.killpg, os.kill):  # of a process just forked there is no group yet
            with contextlib.suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)
        self.wait()

    def end(self) -> None:
        """Kill the processes and close the connections, which nobody may use any more."""
        self.kill()
        for connection in self.connections:
            connection.close()


_kept: list[Processes] = []
"""The processes that this one has forked early, if it has."""


def processes_of(count: int) -> Processes:
    """Return ``count`` processes or more: the kept ones if they suffice, else new ones."""
    for kept in _kept:
        if not kept.ended and len(kept.connections) >= count:
            return kept
    return start(count)


def start(count: int) -> Processes:
    """Start ``count`` processes in a new Python."""
    pairs = [Pipe() for _ in range(count)]
    theirs = [other.fileno() for _, other in pairs]
    process = subprocess.Popen(
        python_running("wganbench.training.pool_worker", *map(str, (os.getpid(), *theirs))),
        pass_fds=theirs,
        env=os.environ | ALONE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for _, other in pairs:
        other.close()
    return Processes(process.pid, [ours for ours, _ in pairs], process.wait)


def fork_early(count: int, not_theirs: Sequence[int] = ()) -> None:
    """Fork ``count`` processes and keep them. This process must not have used a GPU.

    ``not_theirs`` are file descriptors that they close.
    """
    if count < 1:
        return
    parent, pairs = os.getpid(), [Pipe() for _ in range(count)]
    pid = os.fork()
    if pid == 0:
        _become_workers(parent, pairs, not_theirs)
    for _, other in pairs:
        other.close()
    _kept.append(Processes(pid, [ours for ours, _ in pairs], lambda: os.waitpid(pid, 0), kept=True))


def _become_workers(
    parent: int, pairs: Sequence[tuple[Connection, Connection]], not_theirs: Sequence[int]
) -> NoReturn:
    """Serve in the forked process, then exit; never return to the caller's code."""
    try:
        os.setsid()
        for descriptor in not_theirs:
            os.close(descriptor)
        for ours, _ in pairs:
            ours.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nothing, standard)
        os.environ.update(ALONE)
        serve_all(parent, [other.fileno() for _, other in pairs])
    finally:
        os._exit(0)
