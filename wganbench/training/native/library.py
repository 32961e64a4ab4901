"""The libraries that are built from this folder's C++, one for each activation and wrapper.

It does not import torch, so that a build can begin while torch is imported.
"""

from __future__ import annotations

import ctypes
import platform
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from wganbench.config.schema import RunConfig
from wganbench.nativecode import NoCompiler, build, is_built

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


SPECTRAL = 1
"""The number of spectral norm among the wrappers."""

NUMBERS = {"relu": 0, "leaky_relu": 1, "tanh": 2, "softplus": 3}
"""The numbers of the activations in native.cpp."""


@cache
def native_library(activation: int, wrapper: int = 0) -> ctypes.CDLL:
    """Return the library for one activation and wrapper of the critic. Raises NoCompiler."""
    library = build([SOURCES / MAIN], all_flags(activation, wrapper))
    declare(library, wrapper)
    return library


def has_library(activation: int, wrapper: int) -> bool:
    """Return whether this machine has built that library."""
    return is_built([SOURCES / MAIN], all_flags(activation, wrapper))


def all_flags(activation: int, wrapper: int) -> list[str]:
    """Return the compiler's flags besides those of all our C++."""
    wide = ["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []
    return [*FLAGS, *wide, f"-DACTIVATION={activation}", f"-DWRAPPER={wrapper}"]


def declare(library: ctypes.CDLL, wrapper: int) -> None:
    """Declare the argument and result types of the library's functions."""
    address, whole = ctypes.c_void_p, ctypes.c_int64
    library.wgan_open.argtypes, library.wgan_open.restype = [address], address
    library.wgan_close.argtypes, library.wgan_close.restype = [address], None
    library.wgan_advance.argtypes = [address, whole, whole, whole, address]
    library.wgan_probe.argtypes = [address, ctypes.c_int, whole, address, address]
    if wrapper == SPECTRAL:
        library.wgan_singular.argtypes = [address, whole, whole, address, address]
        library.wgan_singular.restype = ctypes.c_double
    library.wgan_draw.argtypes = [address, whole, whole, whole, address]


def build_early(config: RunConfig) -> None:
    """Begin to build the library that a run will probably need, in a thread.

    It needs none on a GPU, for images and for what torch trains; a wrapped critic needs another.
    A wrong guess occupies a core for some seconds, once.
    """
    activation = NUMBERS.get(config.network.options.get("activation", ""))
    ours = config.compile != "false" and config.precision != "bf16"
    on_cpu = config.device == "cpu" or (config.device == "auto" and not GPU.exists())
    if activation is None or not (ours and on_cpu):
        return
    sources, flags = [SOURCES / MAIN], all_flags(activation, 0)

    def run() -> None:
        with suppress(NoCompiler):  # who needs it will be told
            build(sources, flags)

    if not is_built(sources, flags):
        threading.Thread(target=run, daemon=True).start()


GPU = Path("/dev/nvidiactl")
"""Where Linux has a GPU's driver."""
