"""The precision of fp32 products on a GPU: true fp32, or rounded to TF32."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
