"""Where a run is computed, and the global switches of torch that go with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from wganbench.config import ConfigError
from wganbench.config.schema import RunConfig
from wganbench.training.allocator import keep_freed_memory
from wganbench.training.products import set_products
from wganbench.training.stack import Stack


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
    decide. The runs' numbers depend on neither, but for those of compiled pictures, by rounding.
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
