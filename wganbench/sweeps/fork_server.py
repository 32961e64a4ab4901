"""The process that workers are forked from: it imports what all of them need, and forks.

`workers.py` starts it, with a connection at the file descriptor FD, and ends it. It is asked
("start", device, threads, folder), followed by the handle of the worker's own connection, and
answers with the worker's process id; or ("wait", pid), and answers with the exit code.

A CUDA driver does not survive a fork: nothing here starts it, and a worker whose GPU cannot be
used all the same runs Python anew. So does every worker where there is no Linux.
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
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import NoReturn

from wganbench.output import unbreakable
from wganbench.training.process import python_running

IMPORTED_BY_ALL = (
    "wganbench.training.runs",
    "torch._inductor.compile_fx",
    "torch.utils.cpp_extension",
    "ot",
)
WORKER = "wganbench.sweeps.worker"


def main(descriptor: int) -> None:
    """Import, then start workers and wait for them as asked, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The only threads here are OpenBLAS's, which it stops for a fork and starts again.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    with Connection(descriptor) as connection:
        import_all()
        while True:
            try:
                request = connection.recv()
            except (EOFError, OSError):
                return
            match request:
                case "start", device, threads, folder:
                    connection.send(_fork_worker(connection, device, threads, folder))
                case "wait", pid:
                    connection.send(_exit_code(pid))


def import_all() -> None:
    """Import what every worker needs."""
    # Silences a warning about a CUDA toolkit without a GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    for module in IMPORTED_BY_ALL:
        # What cannot be imported is missed by the worker that needs it, which says so.
        with contextlib.suppress(Exception):
            importlib.import_module(module)


def _exit_code(pid: int) -> int | None:
    """The exit code of a worker that has ended or soon will; None for one of another server."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


def _fork_worker(connection: Connection, device: str, threads: int, folder: str) -> int:
    """The process id of a new worker; in the worker it never returns."""
    handle, parent = recv_handle(connection), os.getpid()
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become_worker(handle, device, threads, parent, folder)
    os.close(handle)
    return pid


def _become_worker(handle: int, device: str, threads: int, parent: int, folder: str) -> NoReturn:
    """In the fork: work until the end; never return to what the server was doing."""
    code = 1
    try:
        os.chdir(folder)
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


def can_stay(device: str) -> bool:
    """Whether a fork can use the device: a GPU where it can start the driver itself."""
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
