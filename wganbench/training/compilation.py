"""When a step is compiled, with which settings, and what happens when it cannot be."""

from __future__ import annotations

import gc
import inspect
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch

from wganbench.config.schema import RunConfig
from wganbench.errors import ran_out
from wganbench.training.toolchain import lacking, prepare_toolchain

WORTH_COMPILING_STEPS = 1000
"""With ``compile=auto``, shorter runs stay eager: compiling takes as long as they do."""


def wants_compilation(config: RunConfig) -> bool:
    """Whether a run is to be compiled; depends on its configuration, never on what is left."""
    if config.compile != "auto":
        return config.compile == "true"
    return config.train.steps >= WORTH_COMPILING_STEPS


LOOP_OF_A_THREAD = 16384
"""Elements that a thread gets of a compiled loop over points, at least."""

LARGEST_WHOLE_BATCH = 512
"""Batch up to which no thread, with that many elements each, gets a part of a sum.

torch divides a sum over the batch when it has 300 times as many terms as there are blocks of up
to 16 sums: for threads with 16 384 elements each that takes a batch of 784 and more.
"""


class Program:
    """A program that is compiled at its first call, or runs as it is once that has failed."""

    def __init__(self, program: Callable[..., Any], fast: Callable[..., Any]) -> None:
        self._program, self._fast = program, fast
        self.compiled: bool | None = None
        """Whether it is the compiled one that runs; None before the first call."""

    def __call__(self, *arguments: Any) -> Any:
        if self.compiled is not None:
            return (self._fast if self.compiled else self._program)(*arguments)
        # Not at the head: whoever does not compile need not wait for the compiler's modules.
        from torch._dynamo.exc import TorchDynamoException

        try:
            result = self._fast(*arguments)
        except (TorchDynamoException, OSError) as error:  # OSError: nowhere to keep what it makes
            if ran_out(error):  # eager steps need more
                raise
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            warnings.warn(f"torch.compile failed ({reason}): training without it", stacklevel=2)
            self.compiled = False
            return self._program(*arguments)
        self.compiled = True
        return result


def compiled(
    program: Callable[..., Any],
    config: RunConfig,
    device: torch.device,
    pictures: bool,
    first: bool = True,
) -> Callable[..., Any]:
    """The program compiled whole, or as it is, with a warning when compiling fails.

    ``first``: of its stack, so that programs of earlier ones may be forgotten.

    On the CPU the generated loops are divided among torch's threads where no sum is: else a
    run's numbers would depend on how many share its stack. Those of pictures do anyway, by
    rounding.
    """
    if not wants_compilation(config):
        return program
    missing = lacking(device)
    if missing:
        warnings.warn(f"{missing}: training without torch.compile", stacklevel=2)
        return program
    # Whoever asked for true fp32 knows that products could be faster.
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    # A CUDA toolkit without a GPU is no news to somebody who trains on the CPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    prepared = prepare_toolchain() if device.type == "cpu" else {}
    return Program(program, _compile(program, _options(config, device, pictures) | prepared, first))


GPU_OPTIONS: dict[str, Any] = {"loop_ordering_after_fusion": False}
"""Inductor's options on a GPU. Loop reordering and the foreach kernels of Adam do not go together
in torch 2.11: the generator of a single run was left uncompiled (an assertion in its scheduler)."""


def _options(config: RunConfig, device: torch.device, pictures: bool) -> dict[str, Any]:
    if device.type == "cuda":
        return dict(GPU_OPTIONS)
    if pictures:
        # Else convolutions copy every picture to channels-last and back.
        return {"layout_optimization": False}
    if config.train.batch_size > LARGEST_WHOLE_BATCH:
        return {"cpp.threads": 1}
    return {"cpp.min_chunk_size": LOOP_OF_A_THREAD}


def _compile(
    program: Callable[..., Any], options: dict[str, Any], first: bool
) -> Callable[..., Any]:
    """One program for one stack: its shapes and settings never change.

    Where torch can keep the programs of several stacks apart, the checks before each call
    (0.4 ms, more than a small step takes) are therefore left out.
    """
    compile_program: Callable[..., Callable[..., Any]] = torch.compile
    settings: dict[str, Any] = {"fullgraph": True, "dynamic": False}
    if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
        options |= {"guard_filter_fn": lambda guards: [False] * len(guards)}
        settings["isolate_recompiles"] = True
    elif first:
        torch._dynamo.reset()
    return compile_program(program, options=options, **settings)


def forget_programs() -> None:
    """Let go of what was compiled and recorded for stacks that have ended, and of its memory.

    torch keeps every program, with the tensors and the pool of its graphs, until it is told.
    """
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
