"""A worker that trains nothing and misbehaves as its stacks' names ask it to."""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from wganbench.runs.folder import ELSEWHERE, RunOutcome
from wganbench.sweeps.backend import Advanced, Ended, OutOfMemory, Refused, Started

FITTING = 2


class Plan:
    """Stands for a StackPlan, whose own module imports torch: 3 s for each of these workers."""

    jobs: tuple[Any, ...]
    step: int


class Stacks(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return Plan if name == "StackPlan" else super().find_class(module, name)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection, device = Connection(int(sys.argv[1])), sys.argv[2]
    while True:
        try:
            stack: Plan = Stacks(io.BytesIO(connection.recv_bytes())).load()
        except EOFError:
            return
        name, folder = stack.jobs[0].config.name, stack.jobs[0].folder.parent
        with (folder / "log.txt").open("a") as file:
            file.write(f"{device} {len(stack.jobs)} {os.getpid()}\n")
        connection.send(Started(4, stack.step, device))
        connection.send(Advanced(2, [{"modes/covered": 3.0} for _ in stack.jobs]))
        deaths = (folder / "log.txt").read_text().count("\n")
        if name == "dies" or (name == "dies_once" and deaths == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "too_large" and len(stack.jobs) > FITTING:
            connection.send(OutOfMemory("CUDA out of memory"))
        elif name == "ended_by_others" and deaths == 1:
            connection.send(Ended([ended(job.folder, "interrupted") for job in stack.jobs]))
        elif name == "shared" and deaths == 1:
            first, *others = (ended(job.folder, "completed") for job in stack.jobs)
            connection.send(Ended([replace(first, status=ELSEWHERE), *others]))
        elif name == "refuses":
            connection.send(Refused("it is in use"))
        elif name == "waits":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            (folder / "waiting").touch()
            signal.sigwait([signal.SIGTERM])
            connection.send(Ended([ended(job.folder, "interrupted") for job in stack.jobs]))
        else:
            connection.send(Ended([ended(job.folder, "completed") for job in stack.jobs]))


def ended(path: Path, status: str) -> RunOutcome:
    return RunOutcome(path, status, 4, {}, [], 0.0)


if __name__ == "__main__":
    main()
