"""The C++ of this folder as a shared library: built once on a machine, kept in the user's cache."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from wganbench.files import write_atomic
from wganbench.metrics.floors import cache_folder
from wganbench.training.toolchain import find_compiler

SOURCES = Path(__file__).parent
MAIN = "native.cpp"

FLAGS = (
    "-std=gnu++17",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
    "-pthread",
)

LONGEST_SECONDS = 300.0
"""How long a compiler may take, and how long another process is waited for that runs one."""


class NotBuilt(RuntimeError):
    """There is no library; the message says in one line why."""


@cache
def native_library(activation: int) -> ctypes.CDLL:
    """The library for networks of one activation. Raises NotBuilt.

    It is found in the cache by its sources, flags, compiler and processor; where the cache cannot
    be written it is built for this process alone.
    """
    compiler = find_compiler()
    if compiler is None:
        raise NotBuilt("no C++ compiler found")
    flags = all_flags(activation)
    file = cached_file(compiler, flags)
    if file is not None:
        try:
            return _cached(file, compiler, flags)
        except OSError:
            pass  # a folder that cannot be written, or programs that may not be loaded from it
    with tempfile.TemporaryDirectory() as own:
        file = Path(own) / "native.so"
        build(compiler, flags, file)
        return _loaded(file)


def has_library(activation: int) -> bool:
    """Whether the library is in the cache."""
    compiler = find_compiler()
    file = cached_file(compiler, all_flags(activation)) if compiler else None
    return file is not None and file.exists()


def all_flags(activation: int) -> list[str]:
    """What the compiler is told."""
    return [*FLAGS, *machine_flags(), f"-DACTIVATION={activation}"]


def cached_file(compiler: str, flags: list[str]) -> Path | None:
    """Where the library is kept; None without a home directory."""
    folder = cache_folder()
    name = f"native-{fingerprint(compiler, flags)}.so"
    return None if folder is None else folder / "native" / name


def machine_flags() -> list[str]:
    """What makes code for this very processor."""
    wide = ["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []
    return ["-march=native", *wide]


def fingerprint(compiler: str, flags: list[str]) -> str:
    """Names a library by all that it depends on."""
    parts = [os.path.realpath(compiler), str(Path(compiler).stat().st_mtime_ns), *flags]
    parts += [platform.machine(), processor()]
    digest = hashlib.sha256("\n".join(parts).encode())
    for file in source_files():
        digest.update(file.name.encode() + b"\n" + file.read_bytes())
    return digest.hexdigest()[:32]


def source_files() -> list[Path]:
    """The C++ files, in order."""
    return sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")])


def processor() -> str:
    """What the system says of the processor's instructions; empty where it does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("flags", "Features", "model name", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def build(compiler: str, flags: list[str], file: Path) -> None:
    """Compile the library. Raises NotBuilt with the compiler's first complaint."""
    command = [compiler, *flags, str(SOURCES / MAIN), "-o", str(file)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(f"{compiler}: {next(iter(str(error).splitlines()), '')}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        first = next((line for line in lines if "error" in line), lines[0] if lines else "")
        raise NotBuilt(f"{compiler} failed: {first[:200]}")


def _cached(file: Path, compiler: str, flags: list[str]) -> ctypes.CDLL:
    """From the cache, built there by one process while others wait. Raises OSError, NotBuilt."""
    try:
        return _loaded(file)
    except OSError:
        file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.with_suffix(".lock"))
    with contextlib.suppress(Timeout, NotImplementedError):  # without it both build it
        lock.acquire(timeout=LONGEST_SECONDS)
    try:
        try:
            return _loaded(file)
        except OSError:
            with tempfile.TemporaryDirectory() as own:
                built = Path(own) / file.name
                build(compiler, flags, built)
                write_atomic(file, built.read_bytes())
            return _loaded(file)
    finally:
        lock.release()


def _loaded(file: Path) -> ctypes.CDLL:
    """Raises OSError where there is no such library."""
    library = ctypes.CDLL(str(file))
    address, whole = ctypes.c_void_p, ctypes.c_int64
    library.wgan_open.argtypes, library.wgan_open.restype = [address], address
    library.wgan_close.argtypes, library.wgan_close.restype = [address], None
    library.wgan_threads.argtypes, library.wgan_threads.restype = [address], whole
    library.wgan_advance.argtypes = [address, whole, whole, whole, address]
    library.wgan_draw.argtypes = [address, whole, whole, whole, address]
    return library
