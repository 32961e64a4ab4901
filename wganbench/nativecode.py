"""C++ of our own, compiled once a machine with the system's compiler and loaded by ctypes.

What is built depends on the sources' content, the flags, the compiler and the processor, and
its name says so: whatever of these changes, another file is built. It lies in the user's cache
folder, or in a temporary one that only the user can write where that is not possible.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from wganbench.errors import printable, shortened
from wganbench.files import cache_folder
from wganbench.leftovers import remove_leftovers_once, temporary_name

COMPILE_SECONDS = 300
"""How long the compiler may take; ours takes two seconds."""

SHARED = ("-std=c++17", "-shared", "-fPIC")
"""Flags of every build."""

NATIVE = "-march=native"
"""Left out again where the compiler does not know it."""

HEADERS = ("*.h", "*.hpp")
"""Files beside a source that it may include: their content counts too."""


class NoCompiler(RuntimeError):
    """Native code cannot be built or loaded here; the message says why in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(shortened(printable(" ".join(reason.split()))))


def find_compiler() -> str | None:
    """Path of the C++ compiler that torch.compile would use too, ``CXX`` first."""
    names = (os.environ.get("CXX", ""), "g++", "c++", "clang++", "cl")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def build(sources: Sequence[Path], flags: Sequence[str] = ()) -> ctypes.CDLL:
    """The library of some C++ sources, compiled unless this machine has it, and loaded.

    ``flags`` come after those of every build. Calls release Python's lock. The first answer
    for the same arguments is kept for the process, a refusal too. Safe from several threads
    and processes: one compiles, the others wait for it.
    Raises NoCompiler where there is no compiler, it refuses, or nothing can be written.
    """
    asked = (tuple(sources), tuple(flags), find_compiler())
    with _lock:
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
    """Whether this machine has the library of some sources already."""
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
_built: dict[tuple[object, ...], ctypes.CDLL | NoCompiler] = {}


def _build(sources: tuple[Path, ...], flags: tuple[str, ...], compiler: str | None) -> ctypes.CDLL:
    if compiler is None:
        raise NoCompiler("no C++ compiler was found: install g++ or clang++, or set CXX to one")
    try:
        name = _name(sources, flags, compiler)
    except OSError as error:
        raise NoCompiler(f"a source of native code cannot be read: {error}") from error
    reasons = []
    for folder in (_cached, _temporary):
        try:
            return _load(folder() / name, [str(source) for source in sources], flags, compiler)
        except OSError as error:  # not writable, no space left, or mounted so that nothing runs
            reasons.append(str(error))
    raise NoCompiler(f"native code can be kept nowhere: {'; '.join(reasons)}")


def _load(library: Path, sources: list[str], flags: tuple[str, ...], compiler: str) -> ctypes.CDLL:
    """The library at this path, compiled first where it is missing or cannot be loaded."""
    with suppress(OSError):
        return ctypes.CDLL(str(library))
    with _one_at_a_time(library.parent):
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
    """Run the compiler; raises NoCompiler with its first error."""
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
                start_new_session=True,  # Ctrl-C is ours to answer
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoCompiler(f"the C++ compiler {compiler} cannot be run: {error}") from error
        if done.returncode == 0:
            return
        lines = done.stderr.splitlines()
        refusal = next((line for line in lines if "error" in line), lines[0] if lines else "")
        refusal = refusal or f"exit status {done.returncode}"
    raise NoCompiler(f"the C++ compiler {compiler} refused native code: {refusal}")


def _identity(sources: tuple[Path, ...], flags: tuple[str, ...], compiler: str) -> str:
    """A checksum of everything that the library depends on."""
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
    """What tells processors apart that run different code: folders may be shared by machines."""
    told = [platform.system(), platform.machine(), platform.processor()]
    with suppress(OSError):
        names = ("model name", "flags", "Features", "CPU part", "isa")
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        told += sorted({line for line in lines if line.startswith(names)})
    return "\n".join(told)


def _cached() -> Path:
    """The folder in the user's cache, made where it is missing; raises OSError."""
    above = cache_folder()
    if above is None:
        raise OSError("there is no home directory")
    folder = above / "native"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _temporary() -> Path:
    """A folder in the temporary one that nobody else can write; raises OSError.

    Others may write beside it: what they put under its name is not loaded.
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
    """A new temporary folder, which the process takes with it when it ends well."""
    folder = tempfile.TemporaryDirectory(prefix="wganbench-native-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """A lock on the folder between processes, where its file system has locks."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
