"""The file format of MNIST and of the sets that followed it."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

UNSIGNED_BYTES = b"\x00\x00\x08"
"""How an IDX file of bytes begins; the number of its dimensions comes next."""


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """The array of bytes in an IDX file, which may be compressed (``.gz``).

    Two zeros, 08 for bytes, the number of dimensions, each dimension as 4 bytes (high byte
    first), then the values. Raises ValueError, naming the file, when it is not that, is cut
    short or, compressed, fails its checksum.
    Source: the file formats at the end of yann.lecun.com/exdb/mnist.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file} is damaged or cannot be read: {error}") from error
    head = 4 + 4 * dimensions
    if content[:4] != UNSIGNED_BYTES + bytes([dimensions]) or len(content) < head:
        raise ValueError(f"{file} is damaged: no IDX file of bytes in {dimensions} dimensions")
    sizes = struct.unpack(f">{dimensions}I", content[4:head])
    if len(content) - head != math.prod(sizes):
        raise ValueError(
            f"{file} is damaged: it holds {len(content) - head} values, its head says "
            f"{math.prod(sizes)}"
        )
    return np.frombuffer(bytearray(content[head:]), dtype=np.uint8).reshape(sizes)
