"""The workers of this machine: start them by a fork server, signal them, wait for them.

A worker takes seconds of a core to import torch, its compiler and the metrics. Workers are
therefore forked from a process that has imported everything and done nothing else
(`fork_server.py`). It starts while the sweep is still being planned, and ends with the sweep.

multiprocessing has a fork server too, but only one per process. User code shares it, with the
imports and the environment of its first user, and it cannot be ended. It imports from the current
folder, where a foreign torch.py may lie. It runs the user's script again, starts nothing for a
process of multiprocessing.Pool, and fixes the start method for the user.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import send_handle

from wganbench.training.process import available_cores, python_running

ATTEMPTS = 5
"""How often to start a worker if the fork server is killed each time."""


@dataclass(frozen=True)
class Worker:
    """A worker process and the connection to it, which closes when the worker ends."""

    pid: int
    connection: Connection
    workers: Workers

    def signal(self, number: int) -> None:
        """Send it a signal; its process id is not reused before `wait` has returned."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int | None:
        """Wait for its end and return the exit code, negative for a signal; None if unknown."""
        return self.workers.wait(self.pid)


class Workers:
    """Starts workers in the environment of its creation. Close it after all workers."""

    def __init__(self) -> None:
        self._start_server()

    def _start_server(self) -> None:
        self._connection, theirs = Pipe()
        # Workers with similar stacks share the kernels that they compile. Each worker has as
        # many compiler processes as cores, so that none waits for a kernel of another.
        environment = {"TORCHINDUCTOR_COMPILE_THREADS": str(available_cores())} | os.environ
        # A library that asks for GPUs while it is imported must not start the driver.
        environment |= {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        with theirs:
            self._server = subprocess.Popen(
                python_running("wganbench.sweeps.fork_server", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,  # the terminal's signals are for the parent alone
            )

    def start(self, device: str, threads: int, compiles: bool = True) -> Worker:
        """Start a worker in the current folder and return it; a dead server is replaced.

        ``compiles``: whether torch's compiler will train there. Raises OSError if no worker can
        be started.
        """
        for _ in range(ATTEMPTS):
            try:
                if self._server.poll() is None:
                    return self._start(device, threads, compiles)
            except (OSError, EOFError):
                logging.getLogger(__name__).debug("the fork server is gone", exc_info=True)
            self.close()
            self._start_server()
        raise OSError("no worker could be started: what starts them is killed each time")

    def _start(self, device: str, threads: int, compiles: bool) -> Worker:
        ours, theirs = Pipe()
        try:
            with theirs:
                self._connection.send(("start", device, threads, os.getcwd(), compiles))
                send_handle(self._connection, theirs.fileno(), self._server.pid)
            return Worker(self._connection.recv(), ours, self)
        except BaseException:
            ours.close()
            raise

    def wait(self, pid: int) -> int | None:
        """Wait for a worker and return its exit code; None if the server that started it died."""
        try:
            self._connection.send(("wait", pid))
            code: int | None = self._connection.recv()
        except (OSError, EOFError):
            return None
        return code

    def close(self) -> None:
        """End the server. Workers that still run save their runs and end too."""
        self._connection.close()
        self._server.kill()
        self._server.wait()


_in_use: ContextVar[Workers | None] = ContextVar("_in_use", default=None)


@contextlib.contextmanager
def workers_in_use() -> Iterator[Workers]:
    """Give the `Workers` in use, or new ones that are closed at the end of the block."""
    current = _in_use.get()
    if current is not None:
        yield current
        return
    current = Workers()
    token = _in_use.set(current)
    try:
        yield current
    finally:
        _in_use.reset(token)
        current.close()


def early_workers(arguments: Sequence[str]) -> contextlib.AbstractContextManager[object]:
    """Return `workers_in_use` if the typed arguments are a local sweep, else a null context."""
    # Plugin files must be known before the server starts, which passes its environment on.
    late = ("-", "hydra/launcher=", "plugins=")
    elsewhere = any(word.startswith(late) for word in arguments)
    return contextlib.nullcontext() if elsewhere else workers_in_use()
