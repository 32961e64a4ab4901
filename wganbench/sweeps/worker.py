"""A worker process: trains one stack after another and tells how it goes.

Started by `nursery.py`, as a fork or with the words FD DEVICE THREADS PARENT, with a
connection at the file descriptor. It ignores the terminal's Ctrl-C
and obeys its parent: on SIGTERM, or when the parent is gone, it saves what it trains and ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

from wganbench.output import unbreakable
from wganbench.sweeps.messages import Message, TellingView
from wganbench.sweeps.planning import StackPlan
from wganbench.sweeps.training import train_stack

PARENT_CHECK_SECONDS = 0.25


def main(arguments: list[str]) -> None:
    device = arguments[1]
    descriptor, threads, parent = (int(arguments[i]) for i in (0, 2, 3))
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
        tell_of(stack, device, connection)


def _leave_with(parent: int) -> None:
    """Ask this process to save and end once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def tell_of(stack: StackPlan, device: str, connection: Connection) -> None:
    """Train a stack and send what happens; a parent that no longer listens ends the process."""

    def tell(message: Message) -> None:
        try:
            connection.send(message)
        except OSError:
            os.kill(os.getpid(), signal.SIGTERM)

    tell(train_stack(stack, device, TellingView(tell, device)))


if __name__ == "__main__":
    with unbreakable():
        main(sys.argv[1:])
