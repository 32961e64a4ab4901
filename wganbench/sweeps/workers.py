"""Where the workers of this machine come from: a process that imports what all need, and splits.

A worker takes five seconds of a core to import torch, its compiler and what measures. So workers
are forked from a process that has imported everything and done nothing; it begins while the sweep
is still being planned. Started by `Nursery`, by `python_running`.

A CUDA driver does not survive a fork: nothing in that process wakes it, and a worker for a GPU
that finds it spoilt all the same imports for itself. So do workers where there is no Linux.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import recv_handle, send_handle
from typing import NoReturn

from wganbench.output import unbreakable
from wganbench.training.process import available_cores, python_running

IMPORTED_BY_ALL = (
    "wganbench.training.runs",
    "torch._inductor.compile_fx",
    "torch.utils.cpp_extension",
    "ot",
)
WORKER = "wganbench.sweeps.worker"

BEGINNINGS = 5
"""How often one that is killed while it starts a worker is begun anew."""


@dataclass(frozen=True)
class Child:
    """A worker process, and the connection to it, which ends with it."""

    pid: int
    connection: Connection
    nursery: Nursery

    def signal(self, number: int) -> None:
        """Send it a signal; until it was waited for, no other process has its number."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int | None:
        """Its exit code once it has ended, negative for a signal; None where nobody knows."""
        return self.nursery.wait(self.pid)


class Nursery:
    """Starts workers in the environment of its own beginning. Close it after them."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._connection, theirs = Pipe()
        # Workers with like stacks compile the same kernels, each once for all of them: with
        # as many compilers as cores in each, none waits for a kernel that another builds.
        environment = {"TORCHINDUCTOR_COMPILE_THREADS": str(available_cores())} | os.environ
        # Where a library asks for GPUs as it is imported, the driver is not to be begun for it.
        environment |= {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        with theirs:
            self._process = subprocess.Popen(
                python_running("wganbench.sweeps.workers", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,
            )

    def start(self, device: str, threads: int) -> Child:
        """A new worker, in the present folder; of a new nursery where this one is gone.

        Raises OSError where none can be begun.
        """
        for _ in range(BEGINNINGS):
            try:
                if self._process.poll() is None:
                    return self._start(device, threads)
            except (OSError, EOFError):
                logging.getLogger(__name__).debug("what starts workers is gone", exc_info=True)
            self.close()
            self._begin()
        raise OSError("no worker could be started: what starts them is killed each time")

    def _start(self, device: str, threads: int) -> Child:
        ours, theirs = Pipe()
        try:
            with theirs:
                self._connection.send((device, threads, os.getcwd()))
                send_handle(self._connection, theirs.fileno(), self._process.pid)
            return Child(self._connection.recv(), ours, self)
        except BaseException:
            ours.close()
            raise

    def wait(self, pid: int) -> int | None:
        """The exit code of a worker; None when the nursery it came from is gone."""
        try:
            self._connection.send(pid)
            code: int | None = self._connection.recv()
        except (OSError, EOFError):
            return None
        return code

    def close(self) -> None:
        """End it. Workers that are left save what they train and end too."""
        self._connection.close()
        self._process.kill()
        self._process.wait()


_open: list[Nursery] = []


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    """The nursery of this process: the one in use, or a new one until the end of the block."""
    if _open:
        yield _open[-1]
        return
    _open.append(Nursery())
    try:
        yield _open[-1]
    finally:
        _open.pop().close()


def early_nursery(arguments: Sequence[str]) -> contextlib.AbstractContextManager[object]:
    """A nursery for a sweep that is going to need one, by what was typed; else nothing."""
    elsewhere = any(word.startswith(("-", "hydra/launcher=")) for word in arguments)
    return contextlib.nullcontext() if elsewhere else nursery()


# In the process itself.
def main(descriptor: int) -> None:
    """Import, then start and bury workers as asked, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The only threads here are OpenBLAS's, which it stops for a fork and starts again.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    with Connection(descriptor) as connection:
        _import_all()
        own = os.getpid()
        while True:
            try:
                request = connection.recv()
            except (EOFError, OSError):
                return
            if isinstance(request, int):
                connection.send(_bury(request))
                continue
            handle = recv_handle(connection)
            pid = os.fork()
            if pid == 0:
                connection.close()
                _become_worker(handle, own, *request)
            os.close(handle)
            connection.send(pid)


def _bury(pid: int) -> int | None:
    """The exit code of a worker that has ended or soon will; None for one of another nursery."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


def _import_all() -> None:
    # A CUDA toolkit without a GPU is no news to somebody who trains on the CPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    for module in IMPORTED_BY_ALL:
        # What cannot be imported is missed by the worker that needs it, which says so.
        with contextlib.suppress(Exception):
            importlib.import_module(module)


def _can_stay(device: str) -> bool:
    """Whether a fork can use the device: a GPU where it begins the driver itself."""
    if sys.platform != "linux":
        return False
    if device == "cpu":
        return True
    import torch

    try:
        return torch.zeros(1, device=device).item() == 0
    except Exception:  # no driver, or one that was begun before the fork
        logging.getLogger(__name__).debug("the driver cannot be begun here", exc_info=True)
        return False


def _become_worker(handle: int, parent: int, device: str, threads: int, folder: str) -> NoReturn:
    """In the fork: work until the end; never return to what the nursery was doing."""
    code, words = 1, [str(handle), device, str(threads), str(parent)]
    try:
        os.chdir(folder)
        if not _can_stay(device):
            os.set_inheritable(handle, True)
            os.execv(sys.executable, python_running(WORKER, *words))
        with unbreakable():
            importlib.import_module(WORKER).main(words)
        code = 0
    except BaseException:
        with unbreakable():
            traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
