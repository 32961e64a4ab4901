"""torch.compile for the steps: when, with which options, and the fallback when it fails."""

from __future__ import annotations

import contextlib
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
from wganbench.errors import first_line, ran_out
from wganbench.files import RunBusy, RunLock, UnusableFile, wait_until_free
from wganbench.nativecode import find_compiler

# The C++ compiler behind torch.compile on a CPU: find it, and prepare it early.
#
# This part uses internal modules of torch (`torch._inductor`'s codecache, cpp_builder and
# cpu_vec_isa), which may change; seen to work with torch 2.11 and 2.14, November 2026. When they
# are missing or behave differently, nothing is prepared and torch finds everything by itself.
OLDEST_OF_TRITON = 7
"""First number of the lowest compute capability that Triton supports."""


def find_c_compiler() -> str | None:
    """Return the path of the C compiler for Triton's kernel launchers, ``CC`` first."""
    names = (os.environ.get("CC", ""), "gcc", "clang")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def lacking(device: torch.device) -> str | None:
    """Return what torch.compile lacks here to build code for the device; None when it can."""
    if device.type != "cuda":
        return None if find_compiler() else "no C++ compiler found"
    if torch.cuda.get_device_capability(device)[0] < OLDEST_OF_TRITON:
        return "this GPU is too old for Triton"
    return None if find_c_compiler() else "no C compiler found"


def cache_folder() -> Path:
    """Return torch's folder of compiled code, which processes share.

    It is the temporary folder when torch's own cannot be found."""
    try:
        from torch._inductor.runtime.cache_dir_utils import cache_dir

        return Path(cache_dir())
    except (ImportError, OSError):
        return Path(tempfile.gettempdir())


HEADERS = "cpp_cache_precompile_headers"


@cache
def prepare_toolchain() -> dict[str, bool]:
    """Return options that fit the compiler here, and start compiling the header early.

    A program becomes one C++ file that also calls the matrix products. By default torch makes
    a library for every loop, which starts the compiler thirty times for a stack's two programs.

    The first time on a machine, torch tests the processor's vector instructions by building and
    loading eleven small libraries, which takes 10 s of a core. This function skips that test
    when the processor has the instructions and the compiler knows them.

    Every such file includes one header, which is compiled once on a machine (another 5 s). torch
    starts that when the first file is written; this function starts it while the program is
    traced. torch names the header by a checksum that ``openssl`` computes. Without ``openssl``
    that would fail, so every file then reads the header's text. The function runs once in a
    process, because a stack compiles two programs.
    """
    try:
        # Import all that the thread needs before it starts: torch's modules import each other
        # in circles, and two threads that import them at once fail.
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
    """Return whether the compiler accepts the flags of all vector extensions of this x86 CPU.

    False on other processors, and when the environment sets ``vec_isa_ok``.
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


@cache
def start_compilers() -> None:
    """Start the processes that compile Triton's kernels.

    They take seconds to import torch, and would otherwise start when the first program has been
    traced. The function runs once in a process.
    """
    with contextlib.suppress(Exception):  # compiling itself starts them, or says why not
        from torch._inductor.async_compile import AsyncCompile

        AsyncCompile.warm_pool()


def _quietly(task: Callable[[], object]) -> None:
    try:
        task()
    except Exception:  # whatever is wrong, compiling itself will say it
        logging.getLogger(__name__).debug("the header was not compiled early", exc_info=True)


WORTH_COMPILING_STEPS = 1000
"""With ``compile=auto``, shorter runs stay eager: compiling would take as long as the run."""


def wants_compilation(config: RunConfig) -> bool:
    """Return whether to compile a run; depends on its configuration, not on its step."""
    if config.compile != "auto":
        return config.compile == "true"
    return config.train.steps >= WORTH_COMPILING_STEPS


LOOP_OF_A_THREAD = 16384
"""Smallest number of elements of a compiled loop over points that a thread gets."""

LARGEST_WHOLE_BATCH = 512
"""Largest batch for which no sum is divided among threads of `LOOP_OF_A_THREAD` elements.

torch divides a sum over the batch when it has 300 times as many terms as there are blocks of up
to 16 sums. With 16 384 elements for each thread, that happens from a batch of 784 on.
"""


class Program:
    """A program that is compiled at its first call, and runs uncompiled if that fails."""

    def __init__(self, program: Callable[..., Any], fast: Callable[..., Any]) -> None:
        self._program, self._fast = program, fast
        self.compiled: bool | None = None
        """Whether the compiled program is used; None before the first call."""

    def __call__(self, *arguments: Any) -> Any:
        if self.compiled is not None:
            return (self._fast if self.compiled else self._program)(*arguments)
        # Imported here: runs that are not compiled need not load the compiler's modules.
        from torch._dynamo.exc import TorchDynamoException

        try:
            result = self._fast(*arguments)
        except (TorchDynamoException, OSError) as error:  # OSError: the cache cannot be written
            if ran_out(error):  # eager steps need even more memory
                raise
            warnings.warn(
                f"torch.compile failed ({first_line(error)}): training without it", stacklevel=2
            )
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
    """Return the program compiled as a whole, or unchanged when it is not to be compiled.

    Warns when compiling fails. ``first``: this is the stack's first program, so that programs
    of earlier stacks may be freed.

    On the CPU only loops without sums are divided among torch's threads. Otherwise a run's
    results would depend on the number of runs in its stack. For images they depend on it
    anyway, by rounding.
    """
    if not wants_compilation(config):
        return program
    missing = lacking(device)
    if missing:
        warnings.warn(f"{missing}: training without torch.compile", stacklevel=2)
        return program
    # The user chose true fp32: torch's advice to use TF32 is not needed.
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    # Training on a CPU needs no warning that there is a CUDA toolkit but no GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    prepared = {}
    if device.type == "cpu":
        prepared = prepare_toolchain()
    else:
        start_compilers()
    return Program(program, _compile(program, _options(config, device, pictures) | prepared, first))


GPU_OPTIONS: dict[str, Any] = {"loop_ordering_after_fusion": False}
"""Inductor's options on a GPU. In torch 2.11 loop reordering fails with Adam's foreach kernels
(an assertion in the scheduler), so that the generator of a single run stayed uncompiled."""


def _options(config: RunConfig, device: torch.device, pictures: bool) -> dict[str, Any]:
    if device.type == "cuda":
        try:
            from wganbench.training.products_on_gpu import SmallProducts
        except ImportError:  # a torch without the internal module that the pass is made of
            return GPU_OPTIONS
        return GPU_OPTIONS | {"post_grad_custom_pre_pass": SmallProducts()}
    if pictures:
        # Otherwise convolutions copy every image to channels-last and back.
        return {"layout_optimization": False}
    if config.train.batch_size > LARGEST_WHOLE_BATCH:
        return {"cpp.threads": 1}
    return {"cpp.min_chunk_size": LOOP_OF_A_THREAD}


def _compile(
    program: Callable[..., Any], options: dict[str, Any], first: bool
) -> Callable[..., Any]:
    """Return the compiled program of one stack, whose shapes and settings never change.

    torch's checks before each call take 0.4 ms, more than a small step. They are left out when
    torch can keep the programs of several stacks apart.
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
    """Free the programs and graphs of stacks that have ended, and their memory.

    torch keeps every program, with its tensors and its graphs' memory pool, until it is reset.
    """
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


# When processes of one machine need the same programs, one process compiles each program.
#
# Otherwise two stacks of a sweep that start together would both compile every program, each on a
# core of its own, although one of them could load it from torch's cache on disk.
PATIENCE_SECONDS = 900.0
"""Longest wait for another process; the largest network here compiles in six minutes."""


def compile_once(programs: Mapping[str, Callable[[], object]], key: str, folder: Path) -> None:
    """Call each program once, first those that no other process is calling under the same key.

    A process that finds a program locked skips it, and calls it after the other process's call
    has ended; such later calls do not wait for each other. The locks are files in
    ``folder`` and end with the process that holds them. Without locks, programs are called in
    order.
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
        except (OSError, UnusableFile):  # the disk is full or has no locks
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
