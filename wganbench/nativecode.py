"""Build of our C++ by the system's compiler, once on each machine; loaded by ctypes.

A library's name has a checksum of the sources, the flags, the compiler and the processor, so a
change of any of them builds another file. It is in the user's cache folder, or, if that is not
possible, in a temporary folder that only the user can write.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from wganbench.errors import of_the_system, one_line
from wganbench.files import cache_folder, wait_for_lock
from wganbench.leftovers import remove_leftovers_once, temporary_name

COMPILE_SECONDS = 300
"""Longest time for the compiler, which usually takes two seconds."""

SHARED = ("-std=c++17", "-shared", "-fPIC")
"""Flags of every build."""

NATIVE = "-march=native"
"""A flag that is left out when the compiler does not know it."""

HEADERS = ("*.h", "*.hpp")
"""Patterns of headers beside a source, whose content is part of the checksum."""


class NoCompiler(RuntimeError):
    """C++ cannot be built or loaded here; the message gives the reason in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


def find_compiler() -> str | None:
    """Return the path of the C++ compiler, ``CXX`` first; torch.compile uses the same one."""
    names = (os.environ.get("CXX", ""), "g++", "c++", "clang++", "cl")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def build(sources: Sequence[Path], flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Return the loaded library of some C++ sources, compiled if this machine does not have it.

    ``flags`` follow those of every build. Calls into the library release Python's lock. The
    process keeps the first result for the same arguments, a failure too. Several threads and
    processes may call it: one compiles a source, and the others wait. Two sources are compiled
    beside each other.
    Raises NoCompiler when there is no compiler, it fails, or no folder can be written.
    """
    asked = (tuple(sources), tuple(flags), find_compiler())
    with _lock:
        lock = _locks.setdefault(asked[0], threading.Lock())
    with lock:
        if asked not in _built:
            try:
                _built[asked] = _build(*asked)
            except NoCompiler as error:
                _built[asked] = error
        found = _built[asked]
    if isinstance(found, NoCompiler):
        raise NoCompiler(str(found))
    return found


def is_built(sources: Sequence[Path], flags: Sequence[str] = ()) -> bool:
    """Return whether this machine has already built the library of some sources."""
    compiler = find_compiler()
    if compiler is None:
        return False
    try:
        name = _name(tuple(sources), tuple(flags), compiler)
        return any((folder() / name).is_file() for folder in (_cached, _temporary))
    except OSError:
        return False


def _name(sources: tuple[Path, ...], flags: tuple[str, ...], compiler: str) -> str:
    return f"{sources[0].stem}-{_identity(sources, flags, compiler)}.so"


_lock = threading.Lock()
_locks: dict[tuple[Path, ...], threading.Lock] = {}
_built: dict[tuple[object, ...], ctypes.CDLL | NoCompiler] = {}


def _build(sources: tuple[Path, ...], flags: tuple[str, ...], compiler: str | None) -> ctypes.CDLL:
    if compiler is None:
        raise NoCompiler("no C++ compiler was found: install g++ or clang++, or set CXX to one")
    try:
        name = _name(sources, flags, compiler)
    except OSError as error:
        raise NoCompiler(
            f"a source of native code cannot be read: {of_the_system(error)}"
        ) from error
    reasons = []
    for folder in (_cached, _temporary):
        try:
            return _load(folder() / name, [str(source) for source in sources], flags, compiler)
        except OSError as error:  # not writable, no space left, or mounted without execution
            reasons.append(of_the_system(error))
    raise NoCompiler(f"native code can be kept nowhere: {'; '.join(reasons)}")


def _load(library: Path, sources: list[str], flags: tuple[str, ...], compiler: str) -> ctypes.CDLL:
    """Return the library at this path; compile it first if it is missing or does not load."""
    with suppress(OSError):
        return ctypes.CDLL(str(library))
    with _one_at_a_time(library):
        with suppress(OSError):
            return ctypes.CDLL(str(library))
        remove_leftovers_once(library.parent)
        made = library.parent / temporary_name()
        try:
            _compile(sources, flags, compiler, made)
            os.replace(made, library)
        finally:
            made.unlink(missing_ok=True)
    return ctypes.CDLL(str(library))


def _compile(sources: list[str], flags: tuple[str, ...], compiler: str, made: Path) -> None:
    """Run the compiler. Raises NoCompiler with its first error."""
    refusal = ""
    for machine in ([NATIVE], []):
        command = [compiler, *SHARED, *machine, *flags, *sources, "-o", str(made)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMPILE_SECONDS,
                start_new_session=True,  # this process handles Ctrl-C, not the compiler
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoCompiler(
                f"the C++ compiler {compiler} cannot be run: {of_the_system(error)}"
            ) from error
        if done.returncode == 0:
            return
        lines = done.stderr.splitlines()
        refusal = next((line for line in lines if "error" in line), lines[0] if lines else "")
        refusal = refusal or f"exit status {done.returncode}"
    raise NoCompiler(f"the C++ compiler {compiler} refused native code: {refusal}")


def _identity(sources: tuple[Path, ...], flags: tuple[str, ...], compiler: str) -> str:
    """Return a checksum of everything that the library depends on."""
    headers = {h for source in sources for kind in HEADERS for h in source.parent.glob(kind)}
    program = os.stat(compiler)
    parts = [
        *(source.read_bytes() for source in (*sources, *sorted(headers))),
        repr((SHARED, NATIVE, flags)).encode(),
        repr((os.path.realpath(compiler), program.st_size, program.st_mtime_ns)).encode(),
        _processor().encode(),
    ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode() + part)
    return digest.hexdigest()[:32]


@cache
def _processor() -> str:
    """Return a text that differs for processors that need different code.

    Machines with different processors may share a cache folder."""
    facts = [platform.system(), platform.machine(), platform.processor()]
    with suppress(OSError):
        names = ("model name", "flags", "Features", "CPU part", "isa")
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        facts += sorted({line for line in lines if line.startswith(names)})
    return "\n".join(facts)


def _cached() -> Path:
    """Return the folder in the user's cache, created if missing. Raises OSError."""
    above = cache_folder()
    if above is None:
        raise OSError("there is no home directory")
    folder = above / "native"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _temporary() -> Path:
    """Return a folder in the temporary folder that only the user can write. Raises OSError.

    Other users may have created its name first; such a folder is not used.
    """
    folder = Path(tempfile.gettempdir()) / f"wganbench-native-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return folder
    return _of_this_process()


@cache
def _of_this_process() -> Path:
    """Return a new temporary folder, which is deleted when the process ends normally."""
    folder = tempfile.TemporaryDirectory(prefix="wganbench-native-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


@contextmanager
def _one_at_a_time(library: Path) -> Iterator[None]:
    """Hold a lock on all libraries of a source between processes, if the file system has locks."""
    lock = library.with_name(f".lock-{library.name.partition('-')[0]}")
    with ExitStack() as held:
        with suppress(OSError):
            held.enter_context(wait_for_lock(lock))
        yield
