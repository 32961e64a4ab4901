"""In which precision a GPU multiplies numbers of fp32: as they are, or rounded to TF32."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def products(device: torch.device, tf32: bool = False) -> Iterator[None]:
    """While the block lasts, matrix products and convolutions are in TF32 or in true fp32.

    The two are separate switches of torch, which begin apart: convolutions are in TF32 there.
    Afterwards both are as they were. A CPU has no TF32.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    wanted = ("high" if tf32 else "highest", tf32)
    if before == wanted:  # at every step of a process that trains in fp32
        yield
        return
    set_products(*wanted)
    try:
        yield
    finally:
        set_products(*before)


def set_products(matrices: str, convolutions: bool) -> None:
    """torch's two switches, for the whole process."""
    # torch 2.9 to 2.11 have new names for them, which other libraries do not know yet.
    warnings.filterwarnings("ignore", message="Please use the new API settings to control TF32")
    torch.set_float32_matmul_precision(matrices)
    torch.backends.cudnn.allow_tf32 = convolutions
