"""All access to files: atomic writes, locks, and paths that stay inside a folder.

A folder of runs may have been unpacked or cloned from anywhere. Names in it are data: they never
lead out of the folder, links are not followed, and only regular files of a bounded size are read.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO

from wganbench.errors import ConfigError
from wganbench.leftovers import remove_leftovers, remove_leftovers_once, temporary_name

RECORD_BYTES = 64 * 2**20
"""The largest run.json or metrics.csv that is read: a thousand times those of a long run."""

SWEEP_BYTES = 512 * 2**20
"""The largest sweep.json that is read: a hundred thousand runs of 4 kB each, rounded up."""

LARGEST_INTEGER = 2**63 - 1
"""The largest absolute value of a whole number in a record."""

DEEPEST = 32
"""The deepest nesting of values in a record; ours have five levels."""


# Atomic writes.
@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a temporary file that replaces ``path`` when the block ends without an exception.

    It lies in the same folder under a name that begins with ``.tmp-``, is flushed to the disk
    and then renamed, so a reader finds the old content or the new one. If the block raises, or
    the process dies, ``path`` is unchanged. The first write into a folder also removes the
    temporary files of dead processes. Raises OSError, with the path and the reason, if the folder
    cannot be written.
    """
    temporary = path.parent / temporary_name()
    remove_leftovers_once(path.parent)
    with explained(path):
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _flush_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_atomic(path: Path, content: bytes) -> None:
    """Write this content to ``path`` atomically."""
    with replacing(path) as file:
        file.write(content)


def append_whole(file: Any, content: bytes) -> None:
    """Append to an unbuffered file, or leave it as it was if that fails. Raises OSError."""
    length = os.fstat(file.fileno()).st_size
    left = memoryview(content)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(file.fileno(), length)
        raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill that replaces ``path`` when the block ends, as `replacing` does.

    ``path`` must be missing or an empty folder.
    """
    path = path.absolute()
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        temporary = path.parent / temporary_name()
        temporary.mkdir()
        try:
            yield temporary
            temporary.replace(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def is_plain_file(path: Path) -> bool:
    """Return whether the path is a regular file: not a link, folder, FIFO or device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into one that names the path that cannot be written.

    A RuntimeError in its place is torch's, which meets the file's error and raises its own.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        met = error if isinstance(error, OSError) else error.__context__
        if not isinstance(met, OSError):
            raise
        raise OSError(met.errno, f"cannot write {path}: {met.strerror or met}") from error


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Locks: one process at a time.
MOMENT_SECONDS = 0.1
"""How long to try for a lock; a process that only checks whether it is free holds it shorter."""

ENDING = "ending"


class RunBusy(ConfigError):
    """Another process has locked the run; ``pid`` is its process id, None if unknown.

    ``ending`` is true if it was asked to save and end; it will then release the lock by itself.
    """

    def __init__(self, folder: Path, holder: str) -> None:
        pid, host, ending = [*holder.split(" "), "", "", ""][:3]
        self.pid = int(pid) if pid.isdecimal() else None
        self.ending = ending == ENDING
        where = f" on {host}" if host and host != socket.gethostname() else ""
        self.holder = f"process {self.pid}{where}" if self.pid is not None else "another process"
        super().__init__(
            f"{folder} is in use by {self.holder}: wait for it or stop it, then try again"
        )


class RunLock:
    """An exclusive lock (flock) on a file, held until `release` or the process ends.

    The file stays after the release, with the last holder's process id in it. A forked child
    closes its copy at once, so the lock never outlives the process that took it. Raises RunBusy
    if another process has the lock, UnusableFile if the path is a link or a device, OSError if
    the file cannot be written or locked.
    """

    def __init__(self, path: Path) -> None:
        descriptor = _try_lock(path)
        while not _lies_at(descriptor, path):  # its last holder removed it, as `rm` does
            os.close(descriptor)
            descriptor = _try_lock(path)
        self._descriptor: int | None = descriptor
        _held.add(descriptor)

    @property
    def held(self) -> bool:
        """Whether this process still has the lock; a forked child never has it."""
        return self._descriptor in _held

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
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


def wait_for_lock(path: Path, patience: float = math.inf) -> RunLock:
    """Return the lock on a file, which other processes and threads hold for a while only.

    Raises RunBusy after ``patience`` seconds, and what `RunLock` raises.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return RunLock(path)  # it tries for `MOMENT_SECONDS`
        except RunBusy:
            if time.monotonic() > end:
                raise


def holder_of(path: Path) -> RunBusy | None:
    """Return the holder of the lock on a file as a RunBusy, else None; write nothing.

    Otherwise it raises what `RunLock` raises.
    """
    try:
        descriptor = open_own(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return RunBusy(path.parent, _read_holder(descriptor))
        raise
    finally:
        os.close(descriptor)
    return None


def wait_until_free(path: Path, patience: float) -> bool:
    """Wait until the lock on a file is free; return False after ``patience`` seconds.

    Waiting processes do not hold the lock, so they do not wait for each other. Raises what
    `holder_of` raises.
    """
    end = time.monotonic() + patience
    while holder_of(path) is not None:
        if time.monotonic() > end:
            return False
        time.sleep(MOMENT_SECONDS)
    return True


def tell_ending() -> None:
    """Write into every lock file of this process that it was asked to save and end."""
    for descriptor in tuple(_held):
        with suppress(OSError):
            os.pwrite(descriptor, _holder() + f" {ENDING}".encode(), 0)


def _try_lock(path: Path) -> int:
    """Open and lock a file, and write the holder into it; raises what `RunLock` raises."""
    with explained(path):
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
    try:
        with explained(path):
            _take(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _holder(), 0)
    except OSError as error:
        holder = _read_holder(descriptor)
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise RunBusy(path.parent, holder) from None
        raise
    return descriptor


def _lies_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one that now has this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _take(descriptor: int) -> None:
    """Lock a file; raises OSError if another process holds it longer than `MOMENT_SECONDS`."""
    end = time.monotonic() + MOMENT_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            busy = error.errno in (errno.EWOULDBLOCK, errno.EACCES)
            if not busy or time.monotonic() > end:
                raise
        time.sleep(MOMENT_SECONDS / 10)


def _holder() -> bytes:
    return f"{os.getpid()} {socket.gethostname()}".encode()


def _read_holder(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace")


_held: set[int] = set()


def _forget_in_child() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_forget_in_child)


# Names and files that may come from a stranger.
class UnusableFile(ConfigError):
    """A file that must not be used: a link, not a regular file, too large, or malformed."""


def inside(folder: Path, name: str) -> Path:
    """Return ``folder / name`` for a name that comes from data.

    The folder itself may be reached through links, because the user named it. Raises UnusableFile
    for a name that is absolute or empty, contains ``..`` or NUL, is a link, or lies behind one.
    """
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or name.startswith("/") or ".." in parts:
        raise UnusableFile(f"{name!r} does not name a file inside {folder}")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise UnusableFile(f"{path} is a link: links inside a folder of runs are not followed")
    return path


def inside_regular(folder: Path, name: str) -> Path:
    """Return ``inside(folder, name)`` for a file that a library opens for writing.

    Raises UnusableFile also for what is no regular file: opening a FIFO would wait for ever.
    """
    path = inside(folder, name)
    if os.path.lexists(path) and not is_plain_file(path):
        raise UnusableFile(f"{path} is not a regular file")
    return path


def open_regular(path: Path, follow: bool = False) -> BinaryIO:
    """Open a regular file for reading; ``follow`` allows links, for files that the user named.

    Raises UnusableFile for a FIFO or a device, on which a reader could wait for ever, for a
    folder, and for a link unless ``follow``; FileNotFoundError, OSError.
    """
    return os.fdopen(open_own(path, os.O_RDONLY, follow), "rb")


def read_regular(path: Path, limit: int = RECORD_BYTES) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises UnusableFile for a larger file, and what `open_regular` raises.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UnusableFile(f"{path} is larger than the {limit:,} bytes that are read of it")
    return content


def open_own(path: Path, flags: int, follow: bool = False) -> int:
    """Return a descriptor on a file, never on a device, and through a link only to ``follow`` it.

    ``flags`` are those of `os.open`. Raises UnusableFile, OSError.
    """
    links = _no_follow(path, follow)
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | links, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnusableFile(f"{path} is not a regular file")
    return descriptor


def _no_follow(path: Path, follow: bool) -> int:
    """Return the flag by which the kernel refuses links; a check before gives the reason."""
    if follow:
        return 0
    if path.is_symlink():
        raise UnusableFile(f"{path} is a link: links inside a folder of runs are not followed")
    return os.O_NOFOLLOW


def read_json(path: Path, limit: int = RECORD_BYTES) -> dict[str, Any]:
    """Return a record: strict JSON with an object at the top and bounded numbers and depth.

    Raises FileNotFoundError, and UnusableFile with the path for any other fault.
    """
    try:
        content = json.loads(
            read_regular(path, limit).decode(),
            parse_constant=_refuse,
            parse_int=_bounded,
            parse_float=_finite,
        )
        _check_depth(content)
    except UnusableFile:
        raise
    except RecursionError:
        raise UnusableFile(f"{path} is nested too deeply to be a record") from None
    except ValueError as error:
        raise UnusableFile(f"{path} is not strict JSON: {error}") from error
    if not isinstance(content, dict):
        raise UnusableFile(f"{path} holds no record: expected an object at the top")
    return content


def strict_json(value: Any) -> Any:
    """Return a value as strict JSON holds it: nan and inf become null, arrays lists, paths text.

    Raises TypeError for a value without a plain form.

    >>> strict_json({"loss": float("nan"), "betas": (0.5, 0.9)})
    {'loss': None, 'betas': [0.5, 0.9]}
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): strict_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return strict_json(value.tolist())
    raise TypeError(f"JSON cannot hold a {type(value).__name__}: {value!r}")


def write_json(path: Path, content: Mapping[str, Any], indent: int = 1) -> None:
    """Write a record as strict JSON, atomically. Raises TypeError for other values, OSError."""
    text = json.dumps(strict_json(content), indent=indent, allow_nan=False)
    write_atomic(path, f"{text}\n".encode())


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _bounded(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > LARGEST_INTEGER:
        raise ValueError(f"a whole number of {len(digits.lstrip('-'))} digits is out of range")
    return int(digits)


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"the number {text[:20]} is out of range")
    return number


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > DEEPEST:
        raise ValueError("values are nested too deeply")
    if isinstance(value, Mapping):
        for item in value.values():
            _check_depth(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth(item, depth + 1)


# Paths that users read.
def from_here(path: Path, here: Path | None = None) -> Path:
    """Return the path relative to ``here``, by default the current folder, if it lies inside."""
    here = here or Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


# The folder of files that can be made again.
def cache_folder() -> Path | None:
    """Return ``$XDG_CACHE_HOME/wganbench``, by default in ~/.cache; None without a home."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(configured) if os.path.isabs(configured) else Path.home() / ".cache"
    except RuntimeError:
        return None
    return folder / "wganbench"
