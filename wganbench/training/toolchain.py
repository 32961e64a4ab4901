"""The C++ compiler behind torch.compile on a CPU: is there one, and getting it ready early.

What is asked here are torch's own modules, which may change: a torch that lacks them, or
answers otherwise, is left to find everything out by itself.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from wganbench.nativecode import find_compiler

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
