"""A stack as a Ray task: trains on its node and sends messages and files to a mailbox."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wganbench.files import inside, is_plain_file, open_regular, write_atomic
from wganbench.plugin_files import VARIABLE
from wganbench.runs.record import CHECKPOINT
from wganbench.sweeps.backend import Message, ReportingView
from wganbench.sweeps.plan import StackPlan
from wganbench.sweeps.worker import train_stack, usable_device

# Files of run folders as bytes, sent between machines without a shared disk.
Files = dict[str, bytes | None]
"""Content by path inside the folder; None for a deleted file."""


class Changes:
    """Finds the files of a run's folder that changed since the last call, except hidden ones.

    Files that exist at the beginning count as changed unless ``seen`` is true.
    """

    def __init__(self, folder: Path, seen: bool = True) -> None:
        self.folder = folder
        self._seen = self._state() if seen else {}

    def at_checkpoint(self) -> Files:
        """Return all changes if there is a new checkpoint; without one they are of no use."""
        now, before = self._state().get(CHECKPOINT), self._seen.get(CHECKPOINT)
        return self.all() if now != before else {}

    def all(self) -> Files:
        """Return all changes. Reads the checkpoint first: rows may be newer, but not older."""
        now = self._state()
        changed = [name for name, state in now.items() if state != self._seen.get(name)]
        files: Files = dict.fromkeys(self._seen.keys() - now.keys())
        for name in sorted(changed, key=lambda name: not name.endswith(".pt")):
            path = self.folder / name
            with contextlib.suppress(FileNotFoundError), open_regular(path) as file:
                files[name] = file.read()
        self._seen = now
        return files

    def _state(self) -> dict[str, tuple[int, int]]:
        state = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder)
            if is_plain_file(path) and not any(part.startswith(".") for part in name.parts):
                found = path.stat()
                state[name.as_posix()] = (found.st_mtime_ns, found.st_size)
        return state


def put(folder: Path, files: Files) -> None:
    """Write changed files into a folder, the checkpoint last.

    Raises UnusableFile for a path outside the folder.
    """
    for name, content in sorted(files.items(), key=lambda item: item[0].endswith(".pt")):
        path = inside(folder, name)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)


SEND_SECONDS = 0.5

Parcel = tuple[int, list[Message], list[Files]]
"""One delivery of a task: its number, its messages, and the changed files of each run."""


class Mailbox:
    """The actor between the tasks and the process that started them."""

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.stopping = False

    def deliver(self, parcel: Parcel) -> bool:
        """Store a parcel; return whether the task should save and end."""
        self.parcels.append(parcel)
        return self.stopping

    def collect(self) -> list[Parcel]:
        """Return the parcels that have arrived since the last call."""
        parcels, self.parcels = self.parcels, []
        return parcels

    def stop(self) -> None:
        """Ask all tasks to save and end."""
        self.stopping = True


@dataclass(frozen=True)
class RemoteStack:
    """A stack as it is sent to a node.

    ``token`` names a file in the sweep's folder: a node that sees it writes the runs there. It is
    None if nodes must not try. ``files`` holds the existing files of each run.
    """

    number: int
    stack: StackPlan
    folder: Path
    token: str | None
    files: Sequence[Files]
    gpu: bool
    threads: int
    working_directory: str
    plugins: str
    """The plugin files of the sweep, as in `VARIABLE`: a running cluster has another environment"""


def train_remotely(remote: RemoteStack, mailbox: Any) -> Message:
    """Train a stack on this node, in the sweep's folder if shared, else in a temporary one."""
    if remote.plugins:
        os.environ[VARIABLE] = remote.plugins
    shared = bool(remote.token) and (remote.folder / str(remote.token)).is_file()
    if shared:
        # Paths of the user's data may be relative to the working folder.
        with contextlib.suppress(OSError):
            os.chdir(remote.working_directory)
        return _train(remote, remote.stack, mailbox, lambda last: [])
    scratch = Path(tempfile.mkdtemp(prefix="wganbench-"))
    try:
        jobs = [replace(job, folder=scratch / job.folder.name) for job in remote.stack.jobs]
        for job, files in zip(jobs, remote.files, strict=True):
            job.folder.mkdir()
            put(job.folder, files)
        changes = [Changes(job.folder) for job in jobs]
        stack = replace(remote.stack, jobs=tuple(jobs))
        return _train(
            remote,
            stack,
            mailbox,
            lambda last: [change.all() if last else change.at_checkpoint() for change in changes],
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _train(
    remote: RemoteStack, stack: StackPlan, mailbox: Any, files: Callable[[bool], list[Files]]
) -> Message:
    import torch

    torch.set_num_threads(remote.threads)
    with Reporter(remote.number, mailbox, files) as reporter:
        where = _place(remote.gpu)
        device = usable_device(remote.gpu, where, reporter.send)
        return train_stack(stack, device, ReportingView(reporter.send, where))


def _place(gpu: bool) -> str:
    """Return the node and its device as text for the user."""
    import ray

    node = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return f"{node} GPU {given}".strip() if gpu else f"{node} CPU"


class Reporter:
    """Sends a task's messages and files in batches; stops the task if its mailbox asks or is gone.

    ``files`` returns the files of each run to send; its argument says if it is the last batch.
    """

    def __init__(self, number: int, mailbox: Any, files: Callable[[bool], list[Files]]) -> None:
        self.number, self.mailbox, self.files = number, mailbox, files
        self._sent: deque[Message] = deque()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send_for_ever, daemon=True)

    def send(self, message: Message) -> None:
        self._sent.append(message)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._send(last=True)

    def _send_for_ever(self) -> None:
        while not self._over.wait(SEND_SECONDS):
            if self._send(last=False):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _send(self, last: bool) -> bool:
        """Send what is waiting; return whether the task should save and end."""
        import ray

        messages = [self._sent.popleft() for _ in range(len(self._sent))]
        try:
            parcel = (self.number, messages, self.files(last))
            return bool(ray.get(self.mailbox.deliver.remote(parcel)))
        except ray.exceptions.RayError:
            return True
