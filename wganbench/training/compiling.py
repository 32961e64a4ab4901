"""When a step is compiled, with which settings, and what happens when it cannot be."""

from __future__ import annotations

import gc
import hashlib
import importlib
import inspect
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from wganbench.config.schema import RunConfig
from wganbench.errors import ran_out
from wganbench.files import RunBusy, RunLock, UnusableFile, wait_until_free
from wganbench.nativecode import find_compiler

# The C++ compiler behind torch.compile on a CPU: is there one, and getting it ready early.
#
# What is asked here are torch's own modules, which may change: a torch that lacks them, or
# answers otherwise, is left to find everything out by itself.
OLDEST_OF_TRITON = 7
"""Compute capability, its first number."""


def find_c_compiler() -> str | None:
    """Path of the C compiler with which Triton builds what launches its kernels, ``CC`` first."""
    names = (os.environ.get("CC", ""), "gcc", "clang")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def lacking(device: torch.device) -> str | None:
    """What torch.compile would need to build code for the device here; None where it can."""
    if device.type != "cuda":
        return None if find_compiler() else "no C++ compiler found"
    if torch.cuda.get_device_capability(device)[0] < OLDEST_OF_TRITON:
        return "this GPU is too old for Triton"
    return None if find_c_compiler() else "no C compiler found"


def has_compiler(device: torch.device) -> bool:
    """Whether torch.compile can build code for the device here."""
    return lacking(device) is None


def cache_folder() -> Path:
    """Where torch keeps what it compiled, for processes to share; the temporary folder where
    that cannot be found out."""
    try:
        from torch._inductor.runtime.cache_dir_utils import cache_dir

        return Path(cache_dir())
    except (ImportError, OSError):
        return Path(tempfile.gettempdir())


HEADERS = "cpp_cache_precompile_headers"


@cache
def prepare_toolchain() -> dict[str, bool]:
    """Options that fit the compiler here, and the start of what compiling would wait for.

    A program becomes one C++ file, the calls of matrix products included: torch's other way, a
    library for every loop, starts the compiler thirty times for the two programs of a stack.

    Whether the processor's vector instructions can be used torch finds out by building and
    loading eleven small libraries, the first time on a machine: 10 s of a core. Where the
    processor has them and the compiler knows them the answer is yes.

    The header that every such file includes is compiled once on a machine, another 5 s, and not
    before the first file is written: here it is begun while the program is still being traced.
    torch names that header by a checksum that it has ``openssl`` compute: on a machine without
    it every file reads the header's text instead, where compiling would fail. Once in a
    process: a stack compiles two programs.
    """
    try:
        # Before the thread, all that it needs: torch's modules import each other in circles,
        # which two threads that enter them at once do not survive.
        for module in ("torch._inductor.compile_fx", "torch.utils.cpp_extension"):
            importlib.import_module(module)
        from torch._inductor import codecache, config

        begin = codecache.CppWrapperCodeCache.load_async
        options = {"cpp_wrapper": True}
        if _knows_vector_instructions():
            options["cpp.vec_isa_ok"] = True
        if hasattr(config, HEADERS) and not shutil.which("openssl"):
            options[HEADERS] = False

        def build() -> None:
            with config.patch(options):
                begin("", "cpu", needs_vec_isa=True)

    except Exception:  # whatever is wrong, compiling itself will say it
        logging.getLogger(__name__).debug("the compiler was not prepared", exc_info=True)
        return {}
    threading.Thread(target=_quietly, args=(build,), daemon=True).start()
    return options


def _knows_vector_instructions() -> bool:
    """Whether the compiler takes the flags of every extension that an x86 processor here has.

    False elsewhere, and where the environment has decided.
    """
    from torch._inductor import config, cpp_builder, cpu_vec_isa

    present = cpu_vec_isa.x86_isa_checker()
    extensions = [
        extension
        for extension in cpu_vec_isa.supported_vec_isa_list
        if all(name in present for name in str(extension).split())
    ]
    if config.cpp.vec_isa_ok is not None or not extensions:
        return False
    flags = [flag for extension in extensions for flag in extension.build_arch_flags().split()]
    command = [cpp_builder.get_cpp_compiler(), "-x", "c++", "-fsyntax-only", *flags, os.devnull]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def _quietly(task: Callable[[], object]) -> None:
    try:
        task()
    except Exception:  # whatever is wrong, compiling itself will say it
        logging.getLogger(__name__).debug("the header was not compiled early", exc_info=True)


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
    run's numbers would depend on how many share its stack. Those of images do anyway, by
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
        # Else convolutions copy every image to channels-last and back.
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


# Processes of one machine that need the same programs at once: each is compiled by one of them.
#
# Two stacks of a sweep that start together would both compile what either of them could load from
# the cache that torch keeps on disk, and each would take a core for it.
PATIENCE_SECONDS = 900.0
"""How long to wait for another process: the largest network here compiles in six minutes."""


def compile_once(programs: Mapping[str, Callable[[], object]], key: str, folder: Path) -> None:
    """Call each program once, first those that no other process is calling under the same key.

    While a program is called here, others that come to it turn to their next one; they call it
    when it has been called, without waiting for each other. The locks are files in ``folder``
    and go with the process that holds them. Where none can be had programs are called in order.
    """
    taken: list[tuple[Path, Callable[[], object]]] = []
    for name, call in programs.items():
        path = folder / f"{hashlib.sha256(f'{key} {name}'.encode()).hexdigest()}.lock"
        lock = None
        try:
            lock = RunLock(path)
        except RunBusy:
            taken.append((path, call))
            continue
        except (OSError, UnusableFile):  # a disk that is full, or has no locks
            logging.getLogger(__name__).debug("no lock for a program", exc_info=True)
        try:
            call()
        finally:
            if lock is not None:
                lock.release()
    for path, call in taken:
        try:
            wait_until_free(path, PATIENCE_SECONDS)
        except (OSError, UnusableFile):
            logging.getLogger(__name__).debug("not waiting for a program", exc_info=True)
        call()
