"""A worker process: trains one stack after another and sends messages about them.

`fork_server.py` starts it, as a fork or with the arguments FD DEVICE THREADS PARENT; FD is the
file descriptor of the connection to the sweep. A worker ignores Ctrl-C. On SIGTERM, or when the
process that started it is gone, it saves its runs and ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

from wganbench.errors import ConfigError, ran_out
from wganbench.output import unbreakable
from wganbench.sweeps.backend import Ended, Message, Note, OutOfMemory, Refused, ReportingView
from wganbench.sweeps.plan import StackPlan


# Training a stack of a sweep, in a worker process, a Ray task or a Slurm job.
def usable_device(gpu: bool, where: str, send: Callable[[Message], None]) -> str:
    """Return ``cuda`` if a GPU was given and is usable, else ``cpu``; report a missing GPU."""
    import torch

    if gpu and not torch.cuda.is_available():
        send(Note(f"{where}: no CUDA device is usable, training on its CPU"))
    return "cuda" if gpu and torch.cuda.is_available() else "cpu"


def train_stack(stack: StackPlan, device: str, view: ReportingView) -> Message:
    """Train the jobs of a stack on a device; return their outcomes, or why training failed.

    The sender has checked that the user typed all names of code in the stack. Nothing of the
    stack stays in this process afterwards.
    """
    from wganbench.training.compiling import forget_programs

    try:
        return _trained(stack, device, view)
    finally:
        forget_programs()


def _trained(stack: StackPlan, device: str, view: ReportingView) -> Message:
    from wganbench.metrics import allow_features
    from wganbench.training.runs import train_runs

    configs, folders = [job.config for job in stack.jobs], [job.folder for job in stack.jobs]
    allow_features(*(config.evaluate.features for config in configs))
    try:
        return Ended(train_runs(configs, folders, view, device, stack.places, several=True))
    except ConfigError as error:
        return Refused(str(error))
    except Exception as error:
        if not ran_out(error):
            traceback.print_exc()
            return Refused(f"{type(error).__name__}: {error}")
        return OutOfMemory(first_sentences(str(error)) or "memory ran out")


def first_sentences(text: str) -> str:
    """Return the first two sentences: torch goes on with a page of advice.

    >>> first_sentences("CUDA out of memory. Tried to allocate 64.00 MiB. GPU 0 has a total ...")
    'CUDA out of memory. Tried to allocate 64.00 MiB'
    """
    return ". ".join(" ".join(text.split()).split(". ")[:2])


PARENT_CHECK_SECONDS = 0.25


def main(descriptor: int, device: str, threads: int, parent: int) -> None:
    """Train the stacks that arrive through a connection, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    connection = Connection(descriptor)
    while True:
        try:
            stack: StackPlan = connection.recv()
        except EOFError:
            return
        train_and_send(stack, device, connection)


def _leave_with(parent: int) -> None:
    """Wait until the parent process is gone, then ask this process to save and end."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def train_and_send(stack: StackPlan, device: str, connection: Connection) -> None:
    """Train a stack and send its messages; if sending fails, ask this process to save and end."""

    def send(message: Message) -> None:
        try:
            connection.send(message)
        except OSError:
            os.kill(os.getpid(), signal.SIGTERM)

    send(train_stack(stack, device, ReportingView(send, device)))


if __name__ == "__main__":
    words = sys.argv[1:]
    with unbreakable():
        main(int(words[0]), words[1], int(words[2]), int(words[3]))
