"""The libraries that are built from this folder's C++, one for each activation and wrapper,
and the number of threads that they use.

It does not import torch, so that a build can begin while torch is imported.
"""

from __future__ import annotations

import ctypes
import platform
import threading
from contextlib import suppress
from dataclasses import dataclass
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
    # The option of a user's network may have this name and any type.
    activation = NUMBERS.get(str(config.network.options.get("activation")))
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


# The number of threads: as many as pay on a machine that others use too.
WINDOW = 0.1
"""Seconds of iterations whose mean is compared: several turns of the system's scheduler."""

BETTER = 0.9
"""Another number of threads is taken when an iteration needs less than this share of the time."""

FIRST, LONGEST = 0.5, 16.0
"""Seconds between two trials: at first, and after trials that have not paid."""


@dataclass
class Threads:
    """The number of threads, found by trying fewer and more of them now and then.

    The threads of a run wait for each other several times in an iteration. One that shares its
    core with another program holds up all of them, so that fewer are then faster: on two cores,
    one of which was busy, two threads took four times as long as one. ``most`` is the number
    to begin with.
    """

    most: int

    def __post_init__(self) -> None:
        self._count, self._trial, self._trials = self.most, 0, 0
        self._base = 0.0
        self._interval = self._left = FIRST
        self._iterations, self._seconds = 0, 0.0

    def now(self, spared: int = 0) -> int:
        """Return the number for the next iteration, if ``spared`` of the cores are needed."""
        return max(1, min(self._trial or self._count, self.most - spared))

    def took(self, threads: int, seconds: float) -> None:
        """Note how long an iteration took."""
        if self.most == 1:
            return
        if threads != (self._trial or self._count):  # others needed cores
            self._iterations, self._seconds = 0, 0.0
            return
        self._iterations += 1
        self._seconds += seconds
        if self._seconds < WINDOW:
            return
        mean, spent = self._seconds / self._iterations, self._seconds
        self._iterations, self._seconds = 0, 0.0
        if self._trial:
            self._decide(mean)
            return
        self._base = mean
        self._left -= spent
        if self._left <= 0:
            self._try()

    def _try(self) -> None:
        """Begin the next trial: half, one fewer, one more and twice the number take turns."""
        count = self._count
        numbers = dict.fromkeys((count // 2, count - 1, count + 1, min(2 * count, self.most)))
        possible = [n for n in numbers if 1 <= n <= self.most and n != count]
        self._trial = possible[self._trials % len(possible)]
        self._trials += 1

    def _decide(self, mean: float) -> None:
        """Take the tried number if it was faster; else wait longer until the next trial."""
        if mean < BETTER * self._base:
            self._count, self._interval = self._trial, FIRST
        else:
            self._interval = min(2 * self._interval, LONGEST)
        self._trial, self._left = 0, self._interval
