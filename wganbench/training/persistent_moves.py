# mypy: ignore-errors
"""The optimizer steps of the persistent kernel: torch's rules, and the norms of gradients."""

import triton
import triton.language as tl

from wganbench.training.persistent_tiles import opaque, places_in


@triton.jit
def _correction(taken, log_beta):
    """1 - beta^taken, to rounding where it is small too."""
    y = taken * log_beta
    series = -y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4 * (1 + y / 5 * (1 + y / 6 * (1 + y / 7))))))
    return tl.where(y > -0.25, series, 1 - tl.exp(y))


@triton.jit
def corrections_at(taken, log_betas):
    """What Adam's moments are multiplied with, the second one's root for the second."""
    first, second = _correction(taken, log_betas[0]), _correction(taken, log_betas[1])
    return 1 / first, 1 / tl.sqrt(second)


@triton.jit
def factor_of_rate(step, steps, DECAY: tl.constexpr):
    factor = 0.0 * step + 1
    if DECAY == "linear":
        factor = 1 - step / steps
    if DECAY == "cosine":
        factor = (1 + tl.cos(3.141592653589793 * (step / steps))) / 2
    return factor


@triton.jit
def _move(
    nets, LAYER: tl.constexpr, run, SIZE: tl.constexpr, places, mask, g, rate, corrections, betas,
    clip, OPTIMIZER: tl.constexpr, CLIPS: tl.constexpr, AVERAGES: tl.constexpr,
):  # fmt: skip
    """One optimizer step of one tensor; the square of its gradient's norm.

    ``nets`` are parameters, first and second moment, average; ``LAYER`` counts tensors.
    Everything is read before anything is written: threads may hold the same element.
    """
    start = opaque(run) * SIZE + places
    g = tl.where(mask, g, 0.0)
    p = tl.load(nets[0][LAYER] + start, mask=mask, other=0.0)
    m = tl.load(nets[1][LAYER] + start, mask=mask, other=0.0)
    if OPTIMIZER != "sgd":
        v = tl.load(nets[2][LAYER] + start, mask=mask, other=0.0)
    if AVERAGES:
        average = tl.load(nets[3][LAYER] + start, mask=mask, other=0.0)
    tl.debug_barrier()
    if OPTIMIZER == "adam":
        near = m + betas[1] * (g - m)  # torch.lerp
        m = tl.where(betas[1] < 0.5, near, g - betas[0] * (g - m))
        v = v * betas[2] + betas[3] * (g * g)
        size = tl.sqrt(v) * corrections[1] + 1e-8
        p = p - rate * (m * corrections[0] / size)
    elif OPTIMIZER == "rmsprop":
        v = v * betas[2] + betas[3] * (g * g)
        g_scaled = g / (tl.sqrt(v) + 1e-8)
        m = tl.where(betas[0] > 0, m * betas[0] + g_scaled, m)
        p = p - rate * tl.where(betas[0] > 0, m, g_scaled)
    else:
        m = tl.where(betas[0] > 0, m * betas[0] + g, m)
        p = p - rate * tl.where(betas[0] > 0, m, g)
    if CLIPS:
        p = tl.where(p > clip, clip, tl.where(p < -clip, -clip, p))
    tl.store(nets[0][LAYER] + start, p, mask=mask)
    tl.store(nets[1][LAYER] + start, m, mask=mask)
    if OPTIMIZER != "sgd":
        tl.store(nets[2][LAYER] + start, v, mask=mask)
    if AVERAGES:
        tl.store(nets[3][LAYER] + start, average + betas[4] * (p - average), mask=mask)
    return tl.sum(g * g)


@triton.jit
def _move_matrix(
    nets, LAYER: tl.constexpr, run, ROWS: tl.constexpr, COLS: tl.constexpr, PR: tl.constexpr,
    PC: tl.constexpr, g, rate, corrections, betas, clip, OPTIMIZER: tl.constexpr,
    CLIPS: tl.constexpr, AVERAGES: tl.constexpr,
):  # fmt: skip
    places, mask = places_in(ROWS, COLS, PR, PC)
    return _move(nets, LAYER, run, ROWS * COLS, places, mask, g, rate, corrections, betas, clip,
                 OPTIMIZER, CLIPS, AVERAGES)  # fmt: skip


@triton.jit
def _move_vector(
    nets, LAYER: tl.constexpr, run, SIZE: tl.constexpr, PADDED: tl.constexpr, g, rate,
    corrections, betas, clip, OPTIMIZER: tl.constexpr, CLIPS: tl.constexpr,
    AVERAGES: tl.constexpr,
):  # fmt: skip
    places = tl.arange(0, PADDED)
    return _move(nets, LAYER, run, SIZE, places, places < SIZE, g, rate, corrections, betas, clip,
                 OPTIMIZER, CLIPS, AVERAGES)  # fmt: skip


@triton.jit
def _column(values, COLUMN: tl.constexpr, COLS: tl.constexpr):
    return tl.sum(tl.where(tl.arange(0, COLS)[None, :] == COLUMN, values, 0.0), 1)


@triton.jit
def note(table, column: tl.constexpr, value, finite):
    tl.store(table + column, value)
    return finite & (tl.abs(value) < float("inf"))


@triton.jit
def move_all(
    nets, run, gw, gb, g_out, gb_out, OUT: tl.constexpr, PO: tl.constexpr, IN: tl.constexpr,
    PI: tl.constexpr, W: tl.constexpr, WP: tl.constexpr, DEPTH: tl.constexpr, rate, corrections,
    betas, clip, OPTIMIZER: tl.constexpr, CLIPS: tl.constexpr, AVERAGES: tl.constexpr, table,
    FIRST: tl.constexpr, finite,
):  # fmt: skip
    """Every tensor of a network moved; norms of its gradients in the table from ``FIRST`` on."""
    total = 0.0
    for layer in tl.static_range(DEPTH):
        bias = _column(gw[0], IN, PI) if layer == 0 else _column(gb[layer - 1], 0, 16)
        if layer == 0:
            square = _move_matrix(nets, 0, run, W, IN, WP, PI, gw[0], rate, corrections, betas,
                                  clip, OPTIMIZER, CLIPS, AVERAGES)  # fmt: skip
        else:
            square = _move_matrix(nets, 2 * layer, run, W, W, WP, WP, gw[layer], rate,
                                  corrections, betas, clip, OPTIMIZER, CLIPS, AVERAGES)  # fmt: skip
        square += _move_vector(nets, 2 * layer + 1, run, W, WP, bias, rate, corrections,
                               betas, clip, OPTIMIZER, CLIPS, AVERAGES)  # fmt: skip
        total += square
        finite = note(table, FIRST + 1 + layer, tl.sqrt(square), finite)
    square = _move_matrix(nets, 2 * DEPTH, run, OUT, W, PO, WP, g_out, rate, corrections, betas,
                          clip, OPTIMIZER, CLIPS, AVERAGES)  # fmt: skip
    square += _move_vector(nets, 2 * DEPTH + 1, run, OUT, PO, gb_out, rate, corrections, betas,
                           clip, OPTIMIZER, CLIPS, AVERAGES)  # fmt: skip
    finite = note(table, FIRST + 1 + DEPTH, tl.sqrt(square), finite)
    finite = note(table, FIRST, tl.sqrt(total + square), finite)
    tl.debug_barrier()
    return finite
