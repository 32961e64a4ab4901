"""Build and launch of our CUDA kernels: NVRTC, which comes with torch, and the driver's functions.

A kernel is built once on each machine for its sizes and the kind of GPU; the result is kept in the
user's cache folder.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from wganbench.errors import one_line
from wganbench.files import cache_folder, write_atomic
from wganbench.leftovers import remove_leftovers_once

MOST_SHARED_MEMORY, MOST_SHARED_BYTES, CLUSTER_DIMENSION = 8, 97, 4
"""The driver's numbers: a function's attribute that allows it more shared memory, a device's
attribute that says how much a block can have, and a launch's attribute."""


class NoKernel(RuntimeError):
    """A kernel cannot be built or started here; the message gives the reason in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


def compiled(source: Path, headers: Sequence[Path], options: Sequence[str]) -> bytes:
    """Return the machine code of a CUDA source, from the cache if this machine has built it.

    ``headers`` are the files that the source includes, for the checksum; it finds them beside it.
    Raises NoKernel.
    """
    path = _kept(source, headers, options)
    if path is not None:
        with suppress(OSError):
            return path.read_bytes()
    code = _compile(source, options)
    if path is not None:
        with suppress(OSError):  # a folder that cannot be written costs the time to build again
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers_once(path.parent)
            write_atomic(path, code)
    return code


def is_compiled(source: Path, headers: Sequence[Path], options: Sequence[str]) -> bool:
    """Return whether this machine has already built a source with these options."""
    path = _kept(source, headers, options)
    return path is not None and path.is_file()


def _kept(source: Path, headers: Sequence[Path], options: Sequence[str]) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    parts = [str(torch.version.cuda), *options]
    texts = [path.read_bytes() for path in (source, *headers)]
    digest = hashlib.sha256(b"\0".join([part.encode() for part in parts] + texts)).hexdigest()
    return folder / "cuda" / f"{source.stem}-{digest[:20]}.cubin"


def _compile(source: Path, options: Sequence[str]) -> bytes:
    nvrtc, program = _nvrtc(), ctypes.c_void_p()
    words = [*options, "--std=c++17", "-default-device", f"--include-path={source.parent}"]
    array = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
    name, text = source.name.encode(), source.read_bytes()
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, name, 0, None, None):
        raise NoKernel("NVRTC cannot be started")
    try:
        if nvrtc.nvrtcCompileProgram(program, len(words), array):
            log = _text_of(nvrtc, "ProgramLog", program).decode(errors="replace").splitlines()
            error = next((line for line in log if "error" in line), log[0] if log else "no reason")
            raise NoKernel(f"NVRTC cannot compile {source.name}: {error}")
        return _text_of(nvrtc, "CUBIN", program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _text_of(nvrtc: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, text)
    return text.raw


@cache
def _nvrtc() -> ctypes.CDLL:
    """Return NVRTC, from torch's packages or from the system. Raises NoKernel."""
    version = str(torch.version.cuda).split(".")[0]
    names = [f"libnvrtc.so.{version}", "libnvrtc.so"]
    folders = [Path(torch.__file__).parent / "lib"]
    folders += [p for place in sys.path for p in sorted(Path(place).glob("nvidia/*/lib"))]
    for folder in folders:
        for name in names[:1]:
            if (folder / name).is_file():
                # NVRTC looks for these by name only.
                for beside in sorted(folder.glob("libnvrtc-builtins.so*")):
                    with suppress(OSError):
                        ctypes.CDLL(str(beside), mode=ctypes.RTLD_GLOBAL)
                with suppress(OSError):
                    return ctypes.CDLL(str(folder / name))
    for name in names:
        with suppress(OSError):
            return ctypes.CDLL(name)
    raise NoKernel("NVRTC was not found: it comes with torch's builds for CUDA")


_loaded: dict[tuple[int, bytes], ctypes.c_void_p] = {}
_lock = threading.Lock()


class Module:
    """A kernel's machine code on one device. Raises NoKernel."""

    def __init__(self, code: bytes, device: torch.device) -> None:
        self._device = device
        self._driver = _driver()
        with _lock, torch.cuda.device(device):
            torch.cuda.synchronize()  # torch's context is the current one
            key = (torch.cuda.current_device(), hashlib.sha256(code).digest())
            if key not in _loaded:
                module = ctypes.c_void_p()
                self._check(self._driver.cuModuleLoadData(ctypes.byref(module), code))
                _loaded[key] = module
            self._module = _loaded[key]

    def function(self, name: str, shared_bytes: int = 0) -> ctypes.c_void_p:
        """Return a function of the module, allowed so much shared memory."""
        found, driver = ctypes.c_void_p(), self._driver
        with torch.cuda.device(self._device):
            self._check(
                driver.cuModuleGetFunction(ctypes.byref(found), self._module, name.encode())
            )
            if shared_bytes:
                self._check(driver.cuFuncSetAttribute(found, MOST_SHARED_MEMORY, shared_bytes))
        return found

    def launch(
        self,
        function: ctypes.c_void_p,
        blocks: int,
        threads: int,
        shared_bytes: int,
        arguments: Sequence[ctypes.Structure | ctypes._SimpleCData[int]],
    ) -> None:
        """Start a function on torch's current stream of the device."""
        addresses = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
        with torch.cuda.device(self._device):
            stream = ctypes.c_void_p(torch.cuda.current_stream(self._device).cuda_stream)
            grid, block = (blocks, 1, 1), (threads, 1, 1)
            self._check(
                self._driver.cuLaunchKernel(
                    function, *grid, *block, shared_bytes, stream, addresses, None
                )
            )

    def clusters(self, name: str, launch: ctypes.Structure) -> int:
        """Return the driver's number of clusters that run at a time."""
        found, number = self.function(name, launch.shared_bytes), ctypes.c_int()
        with torch.cuda.device(self._device):
            self._check(
                self._driver.cuOccupancyMaxActiveClusters(
                    ctypes.byref(number), found, ctypes.byref(launch)
                )
            )
        return number.value

    def _check(self, code: int) -> None:
        if code:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(code, ctypes.byref(text))
            reason = (text.value or b"unknown error").decode(errors="replace")
            raise NoKernel(f"the GPU's driver says: {reason} ({code})")


@cache
def _driver() -> ctypes.CDLL:
    for name in ("libcuda.so.1", "libcuda.so"):
        with suppress(OSError):
            return ctypes.CDLL(name)
    raise NoKernel("the GPU's driver library libcuda.so.1 was not found")


def shared_bytes_of(device: torch.device) -> int:
    """Return the shared memory that one block of threads can have on a device, in bytes."""
    driver, number, found = _driver(), ctypes.c_int(), ctypes.c_int()
    index = torch.cuda.current_device()
    if device.index is not None:
        index = device.index
    driver.cuInit(0)
    driver.cuDeviceGet(ctypes.byref(number), index)
    driver.cuDeviceGetAttribute(ctypes.byref(found), MOST_SHARED_BYTES, number)
    return found.value


class _Attribute(ctypes.Structure):
    """The driver's attribute of a launch: here the number of blocks of a cluster."""

    _fields_ = [
        ("id", ctypes.c_int),
        ("unused", ctypes.c_int),
        ("blocks", ctypes.c_uint * 3),
        ("rest", ctypes.c_ubyte * 52),
    ]


class _Launch(ctypes.Structure):
    """The driver's description of a launch."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("count", ctypes.c_uint),
    ]


def clusters_at_once(
    module: Module, function: str, blocks: int, threads: int, shared_bytes: int
) -> int:
    """Return how many clusters of so many blocks a GPU can run at a time. Raises NoKernel.

    A cluster lies within a group of processors, so that some of them may stay free.
    """
    attribute = _Attribute(CLUSTER_DIMENSION, 0, (blocks, 1, 1))
    launch = _Launch(
        (blocks, 1, 1), (threads, 1, 1), shared_bytes, None, ctypes.addressof(attribute), 1
    )
    return module.clusters(function, launch)
