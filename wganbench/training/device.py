"""The device of a run, its precision, and the settings of torch and of memory that fit it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wganbench.config import ConfigError
from wganbench.config.schema import RunConfig
from wganbench.networks import Parameters

if TYPE_CHECKING:
    from wganbench.training.stack import Stack


# The precision of fp32 products on a GPU: true fp32, or rounded to TF32.
@contextmanager
def products(device: torch.device, tf32: bool = False) -> Iterator[None]:
    """Set matrix products and convolutions to TF32 or to true fp32 in the block.

    torch has a switch for each, with different defaults: TF32 for convolutions only. Both are
    restored afterwards. A CPU has no TF32.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    wanted = ("high" if tf32 else "highest", tf32)
    if before == wanted:  # the case at every step of a process that trains in fp32
        yield
        return
    set_products(*wanted)
    try:
        yield
    finally:
        set_products(*before)


def set_products(matrices: str, convolutions: bool) -> None:
    """Set torch's two switches for the whole process."""
    # torch 2.9 to 2.11 have new names for them, which other libraries do not use yet.
    warnings.filterwarnings("ignore", message="Please use the new API settings to control TF32")
    torch.set_float32_matmul_precision(matrices)
    torch.backends.cudnn.allow_tf32 = convolutions


# The process keeps memory that a step frees for the next step.
#
# Stacked activations have megabytes each. By default the C library returns such blocks to the
# system, which later provides them again one zeroed page at a time. With 8 runs of width 128
# (WGAN-GP, fp32, one thread, measured twice) an iteration took 20.4 and 19.8 ms a run by default,
# and 14.3 and 14.8 ms with memory kept. With 16 runs of width 64 in bf16 it took 4.4 ms by
# default and 2.7 ms with memory kept.
#
# The steps of our C++ keep their own memory. A single run allocates for evaluations alone, and
# returns it: the default run reached 0.76 to 0.82 GB with memory kept or by default, and 0.72 GB
# with it returned, and took 10.2 s instead of 9.8. A sweep of 32 runs with five evaluations each
# took 25.7 s with it returned and 23.3 s with it kept (medians of 3), so stacks keep it.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters in glibc's malloc.h: free bytes that are returned to the system, and the size from
which a block gets its own mapping."""

KEPT = {M_TRIM_THRESHOLD: 2**30, M_MMAP_THRESHOLD: 2**28}
RETURNED = {M_TRIM_THRESHOLD: 2**23, M_MMAP_THRESHOLD: 2**22}


def set_malloc(thresholds: Mapping[int, int]) -> bool:
    """Set thresholds of glibc's malloc, in bytes, for the whole process; return whether it did.

    It returns False with another C library, which has no such setting, and when
    MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_ is set in the environment.
    """
    if {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return all(mallopt(parameter, size) for parameter, size in thresholds.items())


def pick_device(name: str) -> torch.device:
    """Return the device for ``device=auto|cpu|cuda|cuda:1`` on this machine.

    Raises ConfigError when it does not exist or the name is not a device.
    """
    device = _device_of(name)
    if device.type == "cuda":
        fix_workspace()
    return device


def _device_of(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, index = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (colon and not index.isdecimal())):
        raise ConfigError(f"device={name} is not a device; use auto, cpu, cuda or cuda:1")
    if kind == "cpu":
        return torch.device(kind)
    count = gpu_count()
    if count == 0:
        raise ConfigError(f"device={name}: no CUDA GPU is found here; use device=cpu or auto")
    if index and int(index) >= count:
        raise ConfigError(f"device={name}: this machine has {count}, numbered from cuda:0")
    return torch.device(kind, int(index)) if index else torch.device(kind)


def gpu_count() -> int:
    """Return the number of CUDA GPUs that this process can use.

    Until torch uses one, it counts those of the machine. Where they are divided (MIG), CUDA gives
    a process one part: so several are counted by the driver.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count > 1:
        with contextlib.suppress(OSError, AttributeError):
            driver, found = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
            if not driver.cuInit(0) and not driver.cuDeviceGetCount(ctypes.byref(found)):
                count = min(count, found.value)
    return count


def fix_workspace() -> None:
    """Give cuBLAS a fixed workspace, without which it is not deterministic.

    It reads the setting at the first product of the process. So the setting is made for every use
    of a GPU: a later run in this process may be deterministic.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def here_or_auto(name: str) -> str:
    """Return the name of a device, or ``auto`` when this machine does not have it.

    A run may be finished on another machine: the device is no part of its identity.
    """
    try:
        pick_device(name)
    except ConfigError:
        return "auto"
    return name


def prepare(config: RunConfig, device: torch.device) -> None:
    """Set up the process for training on a GPU; fp32 is true fp32 except in steps with TF32.

    A device with a number becomes the process's current one.
    """
    if device.type == "cuda":
        fix_workspace()
        set_products("highest", convolutions=False)
        if device.index is not None:
            torch.cuda.set_device(device)
        torch.use_deterministic_algorithms(config.deterministic)


def precision_notes(config: RunConfig, kind: str) -> tuple[str, ...]:
    """Return a line when the device, ``cpu`` or ``cuda``, does not have the ``precision``."""
    if config.precision == "tf32" and kind == "cpu":
        return ("precision=tf32 is fp32 here: a CPU has no TF32",)
    return ()


SMALL_PRODUCT = 4e6
"""Floating-point operations of a stack's largest product below which one thread is used."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in the block, as in a worker process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def fitting_cpu(stack: Stack) -> Iterator[None]:
    """Set memory and threads of the process for training on a CPU.

    Freed memory is kept from then on, or returned if our C++ trains a single run. Small stacks
    train on one thread, larger ones on torch's own number of threads: dividing a product of two
    million operations gains little on an idle machine and loses much on a busy one.
    OMP_NUM_THREADS overrides this choice. The results do not depend on threads or memory, except
    by rounding for compiled image runs.
    """
    if stack.device.type != "cpu":
        yield
        return
    alone = stack.executor == "native" and stack.places.size == 1
    set_malloc(RETURNED if alone else KEPT)
    largest = max(p[0].numel() for p in stack.state.critic.values())
    product = 2 * stack.places.size * stack.config.train.batch_size * largest
    if product >= SMALL_PRODUCT or "OMP_NUM_THREADS" in os.environ:
        yield
        return
    with one_thread():
        yield


# Measure a stack in parts that fit the device's memory, and copy them to the CPU.
PROBED_AT_ONCE = 2**18
"""Most points of all runs together that a GPU measures in one pass. A pass of 2^18 takes a few
milliseconds; larger passes would only need more memory."""


def runs_at_once(runs: int, points: int, device: torch.device) -> Iterator[slice]:
    """Yield slices of runs that are measured together, with ``points`` points of each run.

    On a CPU one slice holds all runs, because the rounding of an exponential depends on their
    number there.
    """
    most = max(1, PROBED_AT_ONCE // points) if device.type == "cuda" else runs
    for first in range(0, runs, most):
        yield slice(first, first + most)


def to_host(values: Tensor) -> Tensor:
    """Return a copy on the CPU; a CPU tensor itself. From a GPU, valid after `wait_for_host`."""
    if values.device.type != "cuda":
        return values.cpu()
    copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return copy.copy_(values, non_blocking=True)


def wait_for_host(device: torch.device) -> None:
    """Wait until a GPU has done all its work so far."""
    if device.type == "cuda":
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(device))
        event.synchronize()


def in_parts(
    probe: Callable[..., dict[str, Tensor]],
    networks: Sequence[Parameters],
    points: Sequence[Tensor],
    size: int,
) -> dict[str, Tensor]:
    """Return ``probe`` of all runs' ``points`` (R, n, ...), computed by parts, on the CPU.

    One pass measures ``size`` points of a run.
    """
    (runs, n), device = points[0].shape[:2], points[0].device
    rows = []
    for some in runs_at_once(runs, min(n, size), device):
        own = [{name: p[some] for name, p in network.items()} for network in networks]
        parts = []
        for i in range(0, n, size):
            part = probe(*own, *(values[some, i : i + size] for values in points))
            # The generator's loss is a mean over all n points, not over those of a part.
            part["fake_gradients"] *= part["fakes"].shape[1] / n
            parts.append({name: to_host(values) for name, values in part.items()})
        rows.append(parts)
    wait_for_host(device)
    return joined(rows)


def joined(parts: Sequence[Sequence[dict[str, Tensor]]]) -> dict[str, Tensor]:
    """Join parts, a list by runs of lists by points, into tensors (runs, points, ...)."""
    return {
        name: _cat([_cat([part[name] for part in row], dim=1) for row in parts], dim=0)
        for name in parts[0][0]
    }


def _cat(tensors: list[Tensor], dim: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=dim)
