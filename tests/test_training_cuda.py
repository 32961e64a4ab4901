"""Our CUDA kernel on a CPU: the definition's numbers, for every loss, size and division.

`cuda_on_cpu.cpp` runs the kernel's threads in turn. What only a GPU can show is in test_gpu.py.
"""

from __future__ import annotations

import ctypes
import hashlib
from pathlib import Path
from typing import Any

import pytest
from stepwise import PLAIN, assert_a_step_is_the_same
from training_configs import CPU, alike, tiny

from wganbench.nativecode import build
from wganbench.training.compiling import lacking
from wganbench.training.cuda.executor import (
    FOLDER,
    SOURCE,
    Arguments,
    Kernel,
    headers,
    sizes_of,
    why_no_kernel,
)
from wganbench.training.cuda.sizes import Sizes
from wganbench.training.native.executor import Traced, native_samplers
from wganbench.training.stack import Stack

pytestmark = pytest.mark.skipif(lacking(CPU) is not None, reason="no C++ compiler here")

EMULATOR = Path(__file__).parent / "cuda_on_cpu.cpp"


class OnCpu:
    """The kernel for some sizes, by threads that take turns."""

    def __init__(self, sizes: Sizes) -> None:
        texts = b"".join(path.read_bytes() for path in (SOURCE, *headers()))
        mark = f"-DMARK={int(hashlib.sha256(texts).hexdigest()[:8], 16)}"
        flags = ["-O1", "-std=gnu++17", "-DONE_LANE", f"-I{FOLDER}", mark, *sizes.macros]
        self.library = build([EMULATOR], flags)
        self.library.emulate.argtypes = [ctypes.c_void_p, *[ctypes.c_int64] * 4]

    def iterate(
        self, arguments: Arguments, runs: int, critic_step: int, n_critic: int, step: int
    ) -> None:
        self.library.emulate(ctypes.addressof(arguments), runs, critic_step, n_critic, step)


def emulated(stack: Stack, blocks: int, wide: int) -> Sizes:
    """Let the kernel train a stack on the CPU; return its sizes."""
    config, recipe = stack.config, stack.algorithm.recipe
    shapes = stack.target.shape, stack.algorithm.pair.latent.shape
    assert not why_no_kernel(config, recipe, *shapes)
    sizes = Sizes(**vars(sizes_of(config, recipe, *shapes)) | {"blocks": blocks, "wide": wide})
    kernel = Kernel(
        sizes,
        config,
        recipe,
        stack.state,
        Traced(stack.coefficients, stack.critic_lr, stack.generator_lr),
        native_samplers(recipe, stack.samplers, stack.streams.seeds, *shapes),
        stack.places.own,
        OnCpu(sizes),
    )
    stack.execution.advance = kernel.advance  # type: ignore[method-assign]
    return sizes


def both(loss: str, runs: int, blocks: int, wide: int, **settings: Any) -> tuple[Stack, Stack]:
    """An eager stack, and one that the kernel trains."""
    eager = Stack(alike(loss, runs, compile="false", **settings), CPU)
    other = Stack(alike(loss, runs, compile="auto", **settings), CPU)
    emulated(other, blocks, wide)
    return eager, other


@pytest.mark.parametrize(
    ("loss", "width", "depth", "batch", "blocks", "wide"),
    [
        ("gp", 64, 3, 256, 1, 2),
        ("gp", 64, 3, 100, 8, 1),
        ("gp", 16, 2, 300, 2, 1),
        ("gp", 32, 1, 64, 1, 2),
        ("rpgan", 32, 2, 70, 2, 1),
        ("rpgan_r1r2", 64, 2, 64, 2, 1),
    ],
)
def test_every_size_and_division_steps_as_the_definition_does(
    loss: str, width: int, depth: int, batch: int, blocks: int, wide: int
) -> None:
    sizes = {"network.width": width, "network.depth": depth, "train.batch_size": batch}
    stacks = both(loss, 2, blocks, wide, **PLAIN, **sizes)
    for _ in range(2):
        assert_a_step_is_the_same(*stacks, 2e-5)


@pytest.mark.parametrize(
    ("loss", "reason"), [("ragan", "means of scores"), ("dragan", "perturbed")]
)
def test_what_needs_the_whole_batch_is_left_to_torch(loss: str, reason: str) -> None:
    stack = Stack([tiny(loss, compile="auto", **{"network.width": 16})], CPU)
    assert stack.executor == "native"
    assert reason in why_no_kernel(stack.config, stack.algorithm.recipe, (2,), (2,))
