"""A stack as a Slurm job: sends messages by a file; saved and requeued when preempted."""

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

from wganbench.files import append_whole
from wganbench.runs.folder import RunOutcome
from wganbench.sweeps.backend import (
    Ended,
    Message,
    Note,
    OutOfMemory,
    Refused,
    ReportingView,
    failed,
    outcome_on_disk,
)
from wganbench.sweeps.plan import StackPlan
from wganbench.sweeps.worker import train_stack, usable_device

CHECK_SECONDS = 1.0
STOP = "stop"
"""Name of the file in a sweep's submitit folder that asks all jobs to save and end."""
LENGTH_BYTES = 8


@dataclass
class Mail:
    """Messages from a job to the waiting process, and that process's request to stop.

    The messages are pickles in a file, each after its length; the file is kept when the job is
    requeued. A second file requests the stop. Both lie in the sweep's folder, which all nodes see.
    """

    folder: Path
    number: int

    @property
    def path(self) -> Path:
        return self.folder / f"{self.number}.messages"

    @property
    def stop(self) -> Path:
        return self.folder / STOP

    def send(self, message: Message) -> None:
        """Write a message, or nothing if that fails: later ones stay readable. Raises OSError."""
        content = pickle.dumps(message)
        with self.path.open("ab", buffering=0) as file:
            append_whole(file, len(content).to_bytes(LENGTH_BYTES, "big") + content)

    def read(self, offset: int) -> tuple[list[Message], int]:
        """Return the complete messages from a byte offset on, and the offset of the next."""
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
    """The callable that submitit runs on the node; `checkpoint` gives the next job if preempted."""

    stack: StackPlan
    mail: Mail
    gpu: bool
    threads: int
    working_directory: str
    resumed: bool = False

    def __call__(self) -> Message:
        import torch

        # Paths of the user's data may be relative to the working folder.
        os.chdir(self.working_directory)
        torch.set_num_threads(self.threads)
        stacks = self.stack.remaining() if self.resumed else [self.stack]
        ended: dict[Path, RunOutcome] = {}
        with Preemption() as preempted, stopping(self.mail.stop, preempted):
            while stacks and not preempted and not self.mail.stop.exists():
                stack = stacks.pop(0)
                message = train_stack(stack, *self._place())
                match message:
                    case OutOfMemory() if smaller := stack.smaller():
                        self.mail.send(Note(f"{len(stack.jobs)} runs do not fit: halved"))
                        stacks[:0] = smaller
                    case OutOfMemory(reason) | Refused(reason):
                        ended |= {j.folder: failed(j, reason) for j in stack.jobs}
                    case Ended(outcomes):
                        ended |= {outcome.path: outcome for outcome in outcomes}
            preempted.requeue()
        return Ended([ended.get(job.folder) or outcome_on_disk(job) for job in self.stack.jobs])

    def _place(self) -> tuple[str, ReportingView]:
        """Return the device to train on, and a view that sends messages."""
        import socket

        where = f"{socket.gethostname()} {'GPU' if self.gpu else 'CPU'}"
        device = usable_device(self.gpu, where, self.mail.send)
        return device, ReportingView(self.mail.send, where)

    def checkpoint(self) -> Any:
        """Return the job that replaces this one; every run has been saved before."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(replace(self, resumed=True))


class Preemption:
    """Handles submitit's signal: the training saves first, then submitit's handler requeues."""

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
        self.asked = True  # `stopping` sends SIGTERM

    def requeue(self) -> None:
        """After a preemption, leave the process, with `SlurmTask.checkpoint` as the next job."""
        if self.asked:
            self._before(self.number, None)


@contextlib.contextmanager
def stopping(wish: Path, preempted: Preemption) -> Iterator[None]:
    """While in the block, ask the training to save and end, again and again.

    This begins when the file ``wish`` exists or the job is preempted. A single SIGTERM would be
    lost while the training is being prepared: nobody heeds it then.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(CHECK_SECONDS):
            if preempted or wish.exists():
                os.kill(os.getpid(), signal.SIGTERM)

    # Between trainings SIGTERM means nothing: they are not begun any more.
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGTERM, before)
