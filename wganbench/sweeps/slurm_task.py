"""A stack as a Slurm job: trains, tells by a file, and is saved and requeued when preempted."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from wganbench.runs.folder import RunOutcome
from wganbench.sweeps.backend import (
    Ended,
    Message,
    OutOfMemory,
    Refused,
    Said,
    TellingView,
    failed,
    standing,
)
from wganbench.sweeps.plan import StackPlan
from wganbench.sweeps.worker import train_stack, usable_device

CHECK_SECONDS = 1.0
STOP = "stop"
"""A file of this name in a sweep's submitit folder asks all of its jobs to save and end."""
LENGTH_BYTES = 8


@dataclass
class Mail:
    """Messages from a job to the process that waits for it, and its wish that the job end.

    A file of pickles, each after its length, which outlives the job's being requeued, and
    another that says stop; both in the sweep's folder, which all nodes see.
    """

    folder: Path
    number: int

    @property
    def path(self) -> Path:
        return self.folder / f"{self.number}.messages"

    @property
    def stop(self) -> Path:
        return self.folder / STOP

    def tell(self, message: Message) -> None:
        content = pickle.dumps(message)
        with self.path.open("ab") as file:
            file.write(len(content).to_bytes(LENGTH_BYTES, "big") + content)

    def read(self, offset: int) -> tuple[list[Message], int]:
        """Whole messages from a byte on, and where the next begins."""
        if not self.path.exists():
            return [], offset
        with self.path.open("rb") as file:
            file.seek(offset)
            content = file.read()
        messages: list[Message] = []
        begin = 0
        while len(content) - begin >= LENGTH_BYTES:
            first = begin + LENGTH_BYTES
            end = first + int.from_bytes(content[begin:first], "big")
            if end > len(content):  # still being written
                break
            messages.append(pickle.loads(content[first:end]))
            begin = end
        return messages, offset + begin


@dataclass
class SlurmTask:
    """What submitit calls on the node, and asks for a successor when the job is preempted."""

    stack: StackPlan
    mail: Mail
    gpu: bool
    threads: int
    working_directory: str
    resumed: bool = False

    def __call__(self) -> Message:
        import torch

        # The user's own data may be named by a path from there.
        os.chdir(self.working_directory)
        torch.set_num_threads(self.threads)
        stacks = self.stack.again() if self.resumed else [self.stack]
        ended: dict[Path, RunOutcome] = {}
        with Preemption() as preempted, stopping(self.mail.stop):
            while stacks and not preempted and not self.mail.stop.exists():
                stack = stacks.pop(0)
                message = train_stack(stack, *self._place())
                match message:
                    case OutOfMemory() if smaller := stack.smaller():
                        self.mail.tell(Said(f"{len(stack.jobs)} runs do not fit: halved"))
                        stacks[:0] = smaller
                    case OutOfMemory(reason) | Refused(reason):
                        ended |= {j.folder: failed(j, reason) for j in stack.jobs}
                    case Ended(outcomes):
                        ended |= {outcome.path: outcome for outcome in outcomes}
            preempted.requeue()
        return Ended([ended.get(job.folder) or standing(job) for job in self.stack.jobs])

    def _place(self) -> tuple[str, TellingView]:
        """The device to train on, and a view that tells."""
        import socket

        where = f"{socket.gethostname()} {'GPU' if self.gpu else 'CPU'}"
        device = usable_device(self.gpu, where, self.mail.tell)
        return device, TellingView(self.mail.tell, where)

    def checkpoint(self) -> Any:
        """The job that takes this one's place. Every run was saved before."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(replace(self, resumed=True))


class Preemption:
    """Submitit's signal asks the training to save; submitit is told of it only afterwards."""

    def __init__(self) -> None:
        from submitit.core.job_environment import JobEnvironment

        self.number = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked

    def __enter__(self) -> Preemption:
        self._before: Any = signal.signal(self.number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(self.number, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            os.kill(os.getpid(), signal.SIGTERM)

    def requeue(self) -> None:
        """If asked to: leave the process, with `SlurmTask.checkpoint` as its successor."""
        if self.asked:
            self._before(self.number, None)


@contextlib.contextmanager
def stopping(wish: Path) -> Iterator[None]:
    """While in the block, a file that appears asks the training to save and end."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(CHECK_SECONDS):
            if wish.exists():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
