# mypy: ignore-errors
"""Tiles of the persistent kernel: how matrices, vectors and points are read and written.

Rows and columns are padded to powers of two, with zeros.
"""

import os

import triton
import triton.language as tl

COMPILED = tl.constexpr(os.environ.get("TRITON_INTERPRET") != "1")


@triton.jit
def opaque(run):
    """The same number, of which a compiler knows nothing.

    Else it works out hundreds of addresses before the loops, for which there are no registers.
    """
    if COMPILED:
        run = tl.inline_asm_elementwise(
            "mov.b64 $0, $1;", "=l,l", [run], dtype=tl.int64, is_pure=False, pack=1
        )
    return run


@triton.jit
def places_in(ROWS: tl.constexpr, COLS: tl.constexpr, PR: tl.constexpr, PC: tl.constexpr):
    rows, cols = tl.arange(0, PR)[:, None], tl.arange(0, PC)[None, :]
    return rows * COLS + cols, (rows < ROWS) & (cols < COLS)


@triton.jit
def read_matrix(start, ROWS: tl.constexpr, COLS: tl.constexpr, PR: tl.constexpr, PC: tl.constexpr):
    places, mask = places_in(ROWS, COLS, PR, PC)
    if ROWS == PR and COLS == PC:
        values = tl.load(start + places)
    else:
        values = tl.load(start + places, mask=mask, other=0.0)
    return values


@triton.jit
def read_vector(start, SIZE: tl.constexpr, PADDED: tl.constexpr):
    places = tl.arange(0, PADDED)
    return tl.load(start + places, mask=places < SIZE, other=0.0)


@triton.jit
def put(start, values, ROWS: tl.constexpr, COLS: tl.constexpr, PR: tl.constexpr, PC: tl.constexpr):
    places, mask = places_in(ROWS, COLS, PR, PC)
    tl.store(start + places, values, mask=mask)


@triton.jit
def read_weight(
    net, LAYER: tl.constexpr, run, OUT: tl.constexpr, IN: tl.constexpr, PO: tl.constexpr,
    PI: tl.constexpr,
):  # fmt: skip
    return read_matrix(net[2 * LAYER] + opaque(run) * OUT * IN, OUT, IN, PO, PI)


@triton.jit
def read_points(start, ROWS: tl.constexpr, COLS: tl.constexpr, PC: tl.constexpr):
    """Rows of points, with a 1 after the last coordinate.

    A weight has zeros there, and its gradient's column there is that of the bias.
    """
    places, mask = places_in(ROWS, COLS, ROWS, PC)
    ones = tl.where(tl.arange(0, PC)[None, :] == COLS, 1.0, 0.0)
    return tl.load(start + places, mask=mask, other=0.0) + ones
