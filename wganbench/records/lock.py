"""One process per run folder: an advisory lock that dies with its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType

from wganbench.records.atomic import explained


class RunBusy(RuntimeError):
    """Another process holds the run; ``pid`` says which, None where it is unknown."""

    def __init__(self, folder: Path, holder: str) -> None:
        pid, _, host = holder.partition(" ")
        self.pid = int(pid) if pid.isdecimal() else None
        where = f" on {host}" if host and host != socket.gethostname() else ""
        who = f"process {self.pid}{where}" if self.pid is not None else "another process"
        super().__init__(f"{folder} is in use by {who}: wait for it or stop it, then try again")


class RunLock:
    """An exclusive lock (flock) on a file, held until `release` or the process ends.

    The file stays when the lock goes, with the last holder's process id in it. A forked
    child gives its copy up at once, so the lock never outlives the process that took it.
    Raises RunBusy when it is taken, OSError when the file cannot be written or locked.
    """

    def __init__(self, path: Path) -> None:
        with explained(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with explained(path):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}".encode(), 0)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace")
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise RunBusy(path.parent, holder) from None
            raise
        self._descriptor: int | None = descriptor
        _held.add(descriptor)

    def release(self) -> None:
        """Let the lock go; harmless when it is gone already."""
        if self._descriptor in _held:
            _held.discard(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


_held: set[int] = set()


def _forget_in_child() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_forget_in_child)
