"""Where a run is computed, and the global switches of torch that go with it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from wganbench.config import ConfigError
from wganbench.config.schema import RunConfig
from wganbench.training.precision import set_products
from wganbench.training.stack import Stack

# Memory that a step frees is kept for the next step, not handed back to the system.
#
# Stacked activations are megabytes each. The C library gives such blocks back as soon as they
# are free, and the system hands them out again one zeroed page at a time. An iteration of 8 runs
# of width 128 (WGAN-GP, fp32, one thread, twice each) took 20.4 and 19.8 ms a run so, and 14.3
# and 14.8 with memory kept; 16 runs of width 64 in bf16 took 4.4 and 2.7 ms.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h: free bytes that go back, size of what has a mapping of its own."""

KEPT_BYTES, LARGEST_BLOCK_BYTES = 2**30, 2**28


@cache
def keep_freed_memory() -> bool:
    """Ask glibc's malloc to keep up to `KEPT_BYTES` that are free, for the whole process.

    Whether it does: another C library has no such setting, and MALLOC_TRIM_THRESHOLD_ or
    MALLOC_MMAP_THRESHOLD_ in the environment is left to decide.
    """
    if {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK_BYTES)
    )


def pick_device(name: str) -> torch.device:
    """The device that ``device=auto|cpu|cuda|cuda:1`` means here.

    Raises ConfigError when it does not exist, or the name is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise ConfigError(f"device={name} is not a device; use auto, cpu, cuda or cuda:1")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise ConfigError(f"device={name}: no CUDA GPU is found here; use device=cpu or auto")
        if index and int(index) >= count:
            raise ConfigError(f"device={name}: this machine has {count}, numbered from cuda:0")
    return torch.device(name)


def prepare(config: RunConfig, device: torch.device) -> None:
    """The process's switches for training on a GPU: true fp32 but for steps that ask for TF32."""
    if device.type == "cuda":
        # cuBLAS repeats bit for bit only with a fixed workspace. It is read at the first product
        # of the process: whoever asks for repeats may be the second one to train here.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        set_products("highest", convolutions=False)
        torch.use_deterministic_algorithms(config.deterministic)


def told_of_precision(config: RunConfig, kind: str) -> tuple[str, ...]:
    """A line where the device, ``cpu`` or ``cuda``, cannot do what ``precision`` asks for."""
    if config.precision == "tf32" and kind == "cpu":
        return ("precision=tf32 is fp32 here: a CPU has no TF32",)
    return ()


SMALL_PRODUCT = 4e6
"""Floating-point operations of the largest product under which threads only wait."""


@contextmanager
def one_thread() -> Iterator[None]:
    """While the block lasts torch has one thread, as a process that only measures has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def fitting_cpu(stack: Stack) -> Iterator[None]:
    """Memory and threads of the process as training on a CPU wants them.

    Freed memory is kept from then on. Small stacks train on one thread, larger ones on
    torch's own number: dividing a product of two million operations gains little on an idle
    machine and loses much on a busy one. OMP_NUM_THREADS, where it is set, is left to
    decide. The runs' numbers depend on neither, but for those of compiled images, by rounding.
    """
    if stack.device.type != "cpu":
        yield
        return
    keep_freed_memory()
    largest = max(p[0].numel() for p in stack.state.critic.values())
    product = 2 * stack.places.size * stack.config.train.batch_size * largest
    if product >= SMALL_PRODUCT or "OMP_NUM_THREADS" in os.environ:
        yield
        return
    with one_thread():
        yield
