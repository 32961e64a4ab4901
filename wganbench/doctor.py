"""What this machine can do: the report of ``wganbench doctor``."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "torch", "torchvision", "hydra-core", "typer", "tensorboard", "matplotlib", "POT", "scipy",
    "scikit-learn", "jaxtyping", "rich", "numpy", "pyyaml",
)  # fmt: skip


def print_report() -> None:
    """Print the findings, each with what it means for a run where that is not plain."""
    from rich.table import Table

    from wganbench.terminal import PlainConsole

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, finding in report():
        table.add_row(name, finding)
    PlainConsole().print(table)


def report() -> list[tuple[str, str]]:
    """``(what, finding)`` rows."""
    import torch

    return [
        ("wganbench", installed("wganbench")),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", platform.platform()),
        ("cpu threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores"),
        *devices(),
        ("compiler", compiler()),
        ("outputs", writable(Path("outputs"))),
        *((package, installed(package)) for package in PACKAGES),
    ]


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def devices() -> list[tuple[str, str]]:
    """What ``device=auto`` picks, and each CUDA device with its memory and bf16 support."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    rows = [("device=auto", "cuda" if count else "cpu (torch finds no CUDA device)")]
    rows.append(("torch's CUDA", torch.version.cuda or "none: torch was built for the CPU"))
    for index in range(count):
        card = torch.cuda.get_device_properties(index)
        bf16 = "yes" if card.major >= 8 else "emulated: precision=bf16 is slow here"
        rows.append(
            (f"cuda:{index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB, bf16: {bf16}")
        )
    flags = cpu_flags()
    fast = {"avx512_bf16", "amx_bf16", "bf16"} & flags
    rows.append(
        ("cpu bf16", f"yes ({', '.join(sorted(fast))})" if fast else "emulated: may be slow here")
    )
    return rows


def cpu_flags() -> set[str]:
    """What the processor says it can do; empty where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    lines = [line for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return set(lines[0].split()) if lines else set()


def compiler() -> str:
    """The C++ compiler that torch.compile would use."""
    from wganbench.nativecode import find_compiler

    return find_compiler() or "none: compile=auto falls back to eager training, a fourth as fast"


def writable(folder: Path) -> str:
    """Whether runs can be written to the default folder."""
    from wganbench.config.stored import check_writable
    from wganbench.errors import ConfigError

    try:
        check_writable(folder)
    except ConfigError as error:
        return str(error)
    return f"{folder.absolute()} can be written"
