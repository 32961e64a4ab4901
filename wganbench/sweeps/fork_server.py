"""The fork server: a process that imports what all workers need and forks them.

`workers.py` starts it, with a connection at the file descriptor FD, and ends it. The requests are
("start", device, threads, folder, compiles), followed by the handle of the worker's own connection,
which is answered with the worker's process id; and ("wait", pid), which is answered with the exit
code.

A CUDA driver does not survive a fork, so nothing here starts it. A worker that still cannot use
its GPU starts Python anew. On systems other than Linux every worker starts Python anew.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import NoReturn

from wganbench.nativecode import find_compiler
from wganbench.output import unbreakable
from wganbench.training.process import python_running

IMPORTED_BY_ALL = ("wganbench.training.runs",)
IMPORTED_TO_COMPILE = ("torch._inductor.compile_fx", "torch.utils.cpp_extension")
"""What workers need whose runs torch compiles; it takes as long as all else."""
IMPORTED_WITHOUT_COMPILER = ("ot",)
"""What solves exact transport in place of our C++."""
WORKER = "wganbench.sweeps.worker"


def main(descriptor: int) -> None:
    """Import the shared modules, then handle requests until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The only threads here are those of OpenBLAS, which stops them for a fork and restarts them.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    with Connection(descriptor) as connection:
        import_all()
        while True:
            try:
                request = connection.recv()
            except (EOFError, OSError):
                return
            match request:
                case "start", device, threads, folder, compiles:
                    import_modules(IMPORTED_TO_COMPILE if compiles else ())
                    connection.send(_fork_worker(connection, device, threads, folder))
                case "wait", pid:
                    connection.send(_exit_code(pid))


def import_all() -> None:
    """Import the modules that every worker needs."""
    import_modules(IMPORTED_BY_ALL)
    import_modules(() if find_compiler() else IMPORTED_WITHOUT_COMPILER)


def import_modules(names: Sequence[str]) -> None:
    """Import modules; if one cannot be, the worker that needs it reports it."""
    # Silences a warning about a CUDA toolkit without a GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _exit_code(pid: int) -> int | None:
    """Wait for a worker and return its exit code; None for a worker of another server."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


def _fork_worker(connection: Connection, device: str, threads: int, folder: str) -> int:
    """Fork a worker and return its process id; in the worker this function never returns."""
    handle, parent = recv_handle(connection), os.getpid()
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become_worker(handle, device, threads, parent, folder)
    os.close(handle)
    return pid


def _become_worker(handle: int, device: str, threads: int, parent: int, folder: str) -> NoReturn:
    """Run the worker in the forked process, then exit; never return to the server's code."""
    code = 1
    try:
        os.chdir(folder)
        if device != "cpu":
            measure_beside(handle, threads)
        if not can_stay(device):
            os.set_inheritable(handle, True)
            words = map(str, (handle, device, threads, parent))
            os.execv(sys.executable, python_running(WORKER, *words))
        with unbreakable():
            importlib.import_module(WORKER).main(handle, device, threads, parent)
        code = 0
    except BaseException:
        with unbreakable():
            traceback.print_exc()
    finally:
        os._exit(code)


def measure_beside(handle: int, threads: int) -> None:
    """Fork the processes that measure beside a GPU, which need no import then."""
    if sys.platform == "linux":
        from wganbench.training import pool_processes

        pool_processes.fork_early(threads - 1, [handle])


def can_stay(device: str) -> bool:
    """Return whether a forked process can use the device; a GPU needs a driver not yet started."""
    if sys.platform != "linux":
        return False
    if device == "cpu":
        return True
    import torch

    try:
        return torch.zeros(1, device=device).item() == 0
    except Exception:  # no driver, or one that was started before the fork
        logging.getLogger(__name__).debug("the driver cannot be started here", exc_info=True)
        return False


if __name__ == "__main__":
    main(int(sys.argv[1]))
