"""The C++ of this folder as a library, for networks of one activation."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from pathlib import Path

from wganbench.nativecode import build, is_built

SOURCES = Path(__file__).parent
MAIN = "native.cpp"

FLAGS = (
    "-std=gnu++17",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-pthread",
)


@cache
def native_library(activation: int) -> ctypes.CDLL:
    """The library for networks of one activation. Raises NoCompiler."""
    library = build([SOURCES / MAIN], all_flags(activation))
    declare(library)
    return library


def has_library(activation: int) -> bool:
    """Whether this machine has it already."""
    return is_built([SOURCES / MAIN], all_flags(activation))


def all_flags(activation: int) -> list[str]:
    """What the compiler is told beside what it is told of all our C++."""
    wide = ["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []
    return [*FLAGS, *wide, f"-DACTIVATION={activation}"]


def declare(library: ctypes.CDLL) -> None:
    """Say what its functions take and give."""
    address, whole = ctypes.c_void_p, ctypes.c_int64
    library.wgan_open.argtypes, library.wgan_open.restype = [address], address
    library.wgan_close.argtypes, library.wgan_close.restype = [address], None
    library.wgan_threads.argtypes, library.wgan_threads.restype = [address], whole
    library.wgan_advance.argtypes = [address, whole, whole, whole, address]
    library.wgan_probe.argtypes = [address, ctypes.c_int, whole, address, address]
    library.wgan_draw.argtypes = [address, whole, whole, whole, address]
