"""Random streams: what a run draws depends on its seed, the stream's name and the step alone.

Draws come in blocks of `BLOCK_STEPS` steps counted from step 0. Each block has a
generator of its own, seeded with a hash of (seed, stream, block), so a resumed run
regenerates its block and no generator state is ever saved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

BLOCK_STEPS = 64

STREAM_FORMAT = 1
"""Raise when equal (seed, stream, step) give other draws, by another hash, block or order of its
parts: a checkpoint of another format would go on with other data, so it is refused."""

Draw = Callable[[int, torch.Generator], Tensor]
"""Draws (n, ...) values from a generator, in one call."""


def stream_seed(seed: int, stream: str, block: int) -> int:
    """64-bit hash of (seed, stream, block)."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{block}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def stream_generator(
    seed: int, stream: str, block: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The generator of one block of one stream of one run."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream, block))


def draw_block(
    draw: Draw, seed: int, stream: str, block: int, batch_size: int, device: torch.device | str
) -> Tensor:
    """All batches of one block: shape (BLOCK_STEPS, batch_size, ...)."""
    generator = stream_generator(seed, stream, block, device)
    drawn = draw(BLOCK_STEPS * batch_size, generator)
    return drawn.reshape(BLOCK_STEPS, batch_size, *drawn.shape[1:])
