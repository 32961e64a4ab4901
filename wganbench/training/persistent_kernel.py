# mypy: ignore-errors
"""Algorithm 1 for MLPs as one Triton kernel: a program trains one run for a whole iteration.

The batch goes through the networks in tiles of ``B`` rows. Activations and the gradients
of the weights stay in registers; parameters, moments, fakes and interpolates pass through
global memory, between barriers that only the threads of the program wait at. What is
computed is `step.py`; the gradients are written out by hand, the penalty's double backward
included: with g the critic's gradient at x_hat and u = dP/dg, the tangents t_0 = u and
t_l = m_l * (W_l t_{l-1}) give dP/dW_l = delta_l (outer) t_{l-1}, where m is the activation's
derivative and delta the derivative of the score.

Names: N rows of a batch, D dimensions of a point, K of a latent, W units of a hidden layer;
DP, KP, WP are those padded to powers of two, with zeros. A network is a tuple of pointers,
weight and bias of each layer in turn, each of shape (runs, ...).
"""

import triton
import triton.language as tl

from wganbench.training.persistent_moves import corrections_at, factor_of_rate, move_all, note
from wganbench.training.persistent_tiles import (
    put,
    read_matrix,
    read_points,
    read_vector,
    read_weight,
)


# Layers.
@triton.jit
def _factor(a, SLOPE: tl.constexpr):
    """The activation's derivative, from its value: of equal sign with its argument."""
    return tl.where(a > 0, 1.0, SLOPE)


@triton.jit
def _linear(
    x, net, run, LAYER: tl.constexpr, OUT: tl.constexpr, IN: tl.constexpr, PO: tl.constexpr,
    PI: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    weight = read_weight(net, LAYER, run, OUT, IN, PO, PI)
    bias = read_vector(net[2 * LAYER + 1] + run * OUT, OUT, PO)
    return tl.dot(x, tl.trans(weight), input_precision=P) + bias[None, :]


@triton.jit
def _hidden(
    x, net, run, IN: tl.constexpr, PI: tl.constexpr, W: tl.constexpr, WP: tl.constexpr,
    DEPTH: tl.constexpr, SLOPE: tl.constexpr, P: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """Activations of all hidden layers."""
    a = _linear(x, net, run, 0, W, IN, WP, PI, NARROW)
    a = a * _factor(a, SLOPE)
    activations = (a,)
    for layer in tl.static_range(1, DEPTH):
        a = _linear(a, net, run, layer, W, W, WP, WP, P)
        a = a * _factor(a, SLOPE)
        activations = activations + (a,)
    return activations


@triton.jit
def _back(
    delta, activations, x, net, run, gw, gb, B: tl.constexpr, W: tl.constexpr, WP: tl.constexpr,
    DEPTH: tl.constexpr, SLOPE: tl.constexpr, P: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """Adds the gradients of all hidden layers, given that of the last one's output.

    Those of biases are products with ones, all columns equal: cheaper than sums.
    """
    weights = ()
    biases = ()
    ones = tl.full((B, 16), 1.0, tl.float32)
    for layer in tl.static_range(DEPTH - 1, -1, -1):
        delta = delta * _factor(activations[layer], SLOPE)
        if layer > 0:
            biases = (tl.dot(tl.trans(delta), ones, acc=gb[layer - 1], input_precision=P),) + biases
            before = activations[layer - 1]
            g = tl.dot(tl.trans(delta), before, acc=gw[layer], input_precision=P)
            weight = read_weight(net, layer, run, W, W, WP, WP)
            delta = tl.dot(delta, weight, input_precision=P)
        else:
            g = tl.dot(tl.trans(delta), x, acc=gw[0], input_precision=NARROW)
        weights = (g,) + weights
    return weights, biases


@triton.jit
def _descent(
    delta, activations, net, run, W: tl.constexpr, WP: tl.constexpr,
    DEPTH: tl.constexpr, SLOPE: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Derivatives with respect to every hidden layer's argument, by layer."""
    delta = delta * _factor(activations[DEPTH - 1], SLOPE)
    deltas = (delta,)
    for layer in tl.static_range(DEPTH - 1, 0, -1):
        weight = read_weight(net, layer, run, W, W, WP, WP)
        delta = tl.dot(delta, weight, input_precision=P) * _factor(activations[layer - 1], SLOPE)
        deltas = (delta,) + deltas
    return deltas


# Losses, point by point.
@triton.jit
def _softplus(x):
    e = tl.exp(-tl.abs(x))
    series = e * (1 - e * (1 / 2 - e * (1 / 3 - e / 4)))
    return tl.where(x > 0, x, 0.0 * x) + tl.where(e < 0.01, series, tl.log(1 + e))


@triton.jit
def _of_score(score, target, OBJECTIVE: tl.constexpr):
    """Loss of one score and its derivative; ``target`` 1 wants it high, -1 low."""
    if OBJECTIVE == "wasserstein":
        loss, slope = -target * score, 0.0 * score - target
    else:
        loss, slope = _softplus(-target * score), -target / (1 + tl.exp(target * score))
    return loss, slope


@triton.jit
def _of_fake(score, OBJECTIVE: tl.constexpr):
    """The generator's loss of one score and its derivative."""
    # Saturating: minus the loss of a critic that wants it low.
    sign: tl.constexpr = -1.0 if OBJECTIVE == "bce_saturating" else 1.0
    loss, slope = _of_score(score, sign, OBJECTIVE)
    return sign * loss, sign * slope


# Critic and generator.
@triton.jit
def _make_points(
    points, x, z, eps, net, run, N: tl.constexpr, B: tl.constexpr, D: tl.constexpr,
    DP: tl.constexpr, K: tl.constexpr, KP: tl.constexpr, W: tl.constexpr, WP: tl.constexpr,
    DEPTH: tl.constexpr, SLOPE: tl.constexpr, P: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """Reals, fakes and interpolates, one below the other."""
    for row in range(0, N, B):
        noise = read_points(z + row * K, B, K, KP)
        hidden = _hidden(noise, net, run, K, KP, W, WP, DEPTH, SLOPE, P, NARROW)
        fakes = _linear(hidden[DEPTH - 1], net, run, DEPTH, D, W, DP, WP, NARROW)
        reals = read_matrix(x + row * D, B, D, B, DP)
        share = tl.load(eps + row + tl.arange(0, B))[:, None]
        put(points + row * D, reals, B, D, B, DP)
        put(points + (N + row) * D, fakes, B, D, B, DP)
        put(points + (2 * N + row) * D, share * reals + (1 - share) * fakes, B, D, B, DP)
    tl.debug_barrier()


@triton.jit
def _zeros(
    DEPTH: tl.constexpr, WP: tl.constexpr, PI: tl.constexpr
):  # fmt: skip
    weights = (tl.zeros((WP, PI), tl.float32),)
    biases = ()
    for _ in tl.static_range(1, DEPTH):
        weights = weights + (tl.zeros((WP, WP), tl.float32),)
        biases = biases + (tl.zeros((WP, 16), tl.float32),)
    return weights, biases


@triton.jit
def _gathered(rows, WP: tl.constexpr):
    """What is kept of rows whose sum is wanted: all while registers last, else the sum."""
    if WP >= 128:
        rows = tl.sum(rows, 0)[None, :]
    return rows


@triton.jit
def _scored(
    points, net, run, gw, gb, N: tl.constexpr, B: tl.constexpr, D: tl.constexpr,
    DP: tl.constexpr, W: tl.constexpr, WP: tl.constexpr, DEPTH: tl.constexpr,
    SLOPE: tl.constexpr, OBJECTIVE: tl.constexpr, P: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """Adds the objective's gradients; means of loss, real scores and fake scores."""
    out = tl.load(net[2 * DEPTH + 1] + run)
    last = read_vector(net[2 * DEPTH] + run * W, W, WP)
    g_out = _gathered(tl.zeros((B, WP), tl.float32), WP)
    gb_out = tl.zeros((B,), tl.float32)
    losses = tl.zeros((B,), tl.float32)
    on_real = tl.zeros((B,), tl.float32)
    on_fake = tl.zeros((B,), tl.float32)
    for row in range(0, 2 * N, B):
        x = read_points(points + row * D, B, D, DP)
        hidden = _hidden(x, net, run, D, DP, W, WP, DEPTH, SLOPE, P, NARROW)
        score = tl.sum(hidden[DEPTH - 1] * last[None, :], 1) + out
        target = tl.where(row < N, 1.0, -1.0)
        loss, slope = _of_score(score, target, OBJECTIVE)
        slope = slope / N
        losses += loss
        on_real += tl.where(row < N, score, 0.0)
        on_fake += tl.where(row < N, 0.0, score)
        g_out += _gathered(hidden[DEPTH - 1] * slope[:, None], WP)
        gb_out += slope
        delta = slope[:, None] * last[None, :]
        gw, gb = _back(delta, hidden, x, net, run, gw, gb, B, W, WP, DEPTH, SLOPE, P, NARROW)
    means = (tl.sum(losses) / N, tl.sum(on_real) / N, tl.sum(on_fake) / N)
    return gw, gb, g_out, tl.sum(gb_out), means


@triton.jit
def _penalised(
    points, net, run, gw, g_out, coefficient, N: tl.constexpr, B: tl.constexpr, D: tl.constexpr,
    DP: tl.constexpr, W: tl.constexpr, WP: tl.constexpr, DEPTH: tl.constexpr,
    SLOPE: tl.constexpr, PENALTY: tl.constexpr, P: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """Adds the penalty's gradients; its mean. Biases have none."""
    last = read_vector(net[2 * DEPTH] + run * W, W, WP)
    penalties = tl.zeros((B,), tl.float32)
    for row in range(0, N, B):
        x = read_points(points + row * D, B, D, DP)
        hidden = _hidden(x, net, run, D, DP, W, WP, DEPTH, SLOPE, P, NARROW)
        ones = tl.full((B, 1), 1.0, tl.float32)
        deltas = _descent(ones * last[None, :], hidden, net, run, W, WP, DEPTH, SLOPE, P)
        weight = read_weight(net, 0, run, W, D, WP, DP)
        g = tl.dot(deltas[0], weight, input_precision=NARROW)
        square = tl.sum(g * g, 1)
        if PENALTY == "r1":
            penalties += coefficient / 2 * square
            t = g * (coefficient / N)
        else:
            slope = tl.sqrt(square)
            excess = slope - 1
            if PENALTY == "one_sided":
                excess = tl.where(excess < 0, 0.0, excess)
            penalties += coefficient * (excess * excess)
            # At slope 0 the norm's gradient is taken to be 0.
            scale = tl.where(slope == 0, 0.0, 2 * coefficient / N * excess / slope)
            t = g * scale[:, None]
        weights = (tl.dot(tl.trans(deltas[0]), t, acc=gw[0], input_precision=NARROW),)
        t = tl.dot(t, tl.trans(weight), input_precision=NARROW) * _factor(hidden[0], SLOPE)
        for layer in tl.static_range(1, DEPTH):
            after = tl.dot(tl.trans(deltas[layer]), t, acc=gw[layer], input_precision=P)
            weights = weights + (after,)
            square_weight = read_weight(net, layer, run, W, W, WP, WP)
            t = tl.dot(t, tl.trans(square_weight), input_precision=P)
            t = t * _factor(hidden[layer], SLOPE)
        gw = weights
        g_out += _gathered(t, WP)
    return gw, g_out, tl.sum(penalties) / N


@triton.jit
def _fooled(
    z, critic, generator, run, gw, gb, N: tl.constexpr, B: tl.constexpr, D: tl.constexpr,
    DP: tl.constexpr, K: tl.constexpr, KP: tl.constexpr, W: tl.constexpr, WP: tl.constexpr,
    DEPTH: tl.constexpr, SLOPE: tl.constexpr, OBJECTIVE: tl.constexpr, P: tl.constexpr,
    NARROW: tl.constexpr,
):  # fmt: skip
    """Adds the generator's gradients; the mean of its loss."""
    out = tl.load(critic[2 * DEPTH + 1] + run)
    last = read_vector(critic[2 * DEPTH] + run * W, W, WP)
    g_out = tl.zeros((DP, WP), tl.float32)
    gb_out = tl.zeros((DP,), tl.float32)
    losses = tl.zeros((B,), tl.float32)
    for row in range(0, N, B):
        noise = read_points(z + row * K, B, K, KP)
        own = _hidden(noise, generator, run, K, KP, W, WP, DEPTH, SLOPE, P, NARROW)
        fakes = _linear(own[DEPTH - 1], generator, run, DEPTH, D, W, DP, WP, NARROW)
        hidden = _hidden(fakes, critic, run, D, DP, W, WP, DEPTH, SLOPE, P, NARROW)
        score = tl.sum(hidden[DEPTH - 1] * last[None, :], 1) + out
        loss, slope = _of_fake(score, OBJECTIVE)
        losses += loss
        delta = (slope / N)[:, None] * last[None, :]
        deltas = _descent(delta, hidden, critic, run, W, WP, DEPTH, SLOPE, P)
        first = read_weight(critic, 0, run, W, D, WP, DP)
        per_point = tl.dot(deltas[0], first, input_precision=NARROW)
        g_out = tl.dot(tl.trans(per_point), own[DEPTH - 1], acc=g_out, input_precision=NARROW)
        gb_out += tl.sum(per_point, 0)
        weight = read_weight(generator, DEPTH, run, D, W, DP, WP)
        delta = tl.dot(per_point, weight, input_precision=NARROW)
        gw, gb = _back(delta, own, noise, generator, run, gw, gb, B, W, WP, DEPTH, SLOPE, P, NARROW)
    return gw, gb, g_out, gb_out, tl.sum(losses) / N


@triton.jit
def _critic_step(
    critics, generator, x, z, eps, points, run, rate, corrections, betas, coefficient, table,
    finite, N: tl.constexpr, B: tl.constexpr, D: tl.constexpr, DP: tl.constexpr,
    K: tl.constexpr, KP: tl.constexpr, W: tl.constexpr, WP: tl.constexpr, DEPTH: tl.constexpr,
    SLOPE: tl.constexpr, OBJECTIVE: tl.constexpr, PENALTY: tl.constexpr, CLIPS: tl.constexpr,
    OPTIMIZER: tl.constexpr, P: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """One critic step; whether all noted numbers have been finite up to here."""
    critic = critics[0]
    EXTRA: tl.constexpr = 0 if PENALTY == "none" else 1
    START: tl.constexpr = 0 if PENALTY == "r1" else 2 * N * D
    _make_points(
        points, x, z, eps, generator, run, N, B, D, DP, K, KP, W, WP, DEPTH, SLOPE, P, NARROW
    )
    gw, gb = _zeros(DEPTH, WP, DP)
    gw, gb, g_out, gb_out, means = _scored(
        points, critic, run, gw, gb, N, B, D, DP, W, WP, DEPTH, SLOPE, OBJECTIVE, P, NARROW
    )
    loss = means[0]
    if PENALTY != "none":
        gw, g_out, penalty = _penalised(
            points + START, critic, run, gw, g_out, coefficient, N, B, D, DP, W, WP, DEPTH,
            SLOPE, PENALTY, P, NARROW,
        )  # fmt: skip
        loss += penalty
        finite = note(table, 4, penalty, finite)
    finite = note(table, 0, loss, finite)
    finite = note(table, 1, means[1] - means[2], finite)
    finite = note(table, 2, means[1], finite)
    finite = note(table, 3, means[2], finite)
    tl.debug_barrier()
    return move_all(
        critics, run, gw, gb, tl.sum(g_out, 0)[None, :], gb_out, 1, 1, D, DP, W, WP, DEPTH,
        rate, corrections, betas, coefficient, OPTIMIZER, CLIPS, False, table,
        4 + EXTRA, finite,
    )  # fmt: skip


@triton.jit(do_not_specialize=["n_critic", "steps"])
def iteration(
    critics, generators, x, z, eps, z_generator, points, critic_lr, generator_lr, coefficient,
    step, critic_step, diverged_at, critic_table, generator_table, arrived, n_critic, steps,
    betas, log_betas, N: tl.constexpr, B: tl.constexpr, D: tl.constexpr, DP: tl.constexpr,
    K: tl.constexpr, KP: tl.constexpr, W: tl.constexpr, WP: tl.constexpr, DEPTH: tl.constexpr,
    SLOPE: tl.constexpr, OBJECTIVE: tl.constexpr, PENALTY: tl.constexpr, CLIPS: tl.constexpr,
    OPTIMIZER: tl.constexpr, DECAY: tl.constexpr, AVERAGES: tl.constexpr, P: tl.constexpr,
    NARROW: tl.constexpr,
):  # fmt: skip
    """``n_critic`` critic steps and a generator step of the run that the program's number says.

    The last program to end advances both counts of steps: the others have read them by then.
    """
    run = tl.program_id(0).to(tl.int64)
    runs = tl.num_programs(0)
    now, critic_now = tl.load(step), tl.load(critic_step)
    factor = factor_of_rate(now, steps, DECAY)
    coefficient = tl.load(coefficient + run)
    rate = tl.load(critic_lr + run) * factor
    finite = run >= 0
    critic_table += run * (6 + DEPTH + (PENALTY != "none"))
    generator_table += run * (3 + DEPTH)
    points += run * 3 * N * D
    critic, generator = critics[0], generators[0]
    for i in range(n_critic):
        number = i * runs + run
        taken = critic_now + i + 1
        finite = _critic_step(
            critics, generators[0], x + number * N * D, z + number * N * K, eps + number * N,
            points, run, rate, corrections_at(taken, log_betas), betas, coefficient,
            critic_table, finite, N, B, D, DP, K, KP, W, WP, DEPTH, SLOPE, OBJECTIVE, PENALTY,
            CLIPS, OPTIMIZER, P, NARROW,
        )  # fmt: skip
    gw, gb = _zeros(DEPTH, WP, KP)
    gw, gb, g_out, gb_out, loss = _fooled(
        z_generator + run * N * K, critic, generator, run, gw, gb, N, B, D, DP, K, KP, W, WP,
        DEPTH, SLOPE, OBJECTIVE, P, NARROW,
    )  # fmt: skip
    finite = note(generator_table, 0, loss, finite)
    corrections = corrections_at(now + 1, log_betas)
    rate = tl.load(generator_lr + run) * factor
    tl.debug_barrier()
    finite = move_all(
        generators, run, gw, gb, g_out, gb_out, D, DP, K, KP, W, WP, DEPTH, rate, corrections,
        betas, coefficient, OPTIMIZER, False, AVERAGES, generator_table, 1, finite,
    )  # fmt: skip
    first = tl.load(diverged_at + run)
    tl.debug_barrier()
    tl.store(
        diverged_at + run, tl.where((first < 0) & (finite == 0), (now + 1).to(tl.int64), first)
    )
    if tl.atomic_add(arrived, 1) == runs - 1:
        tl.store(arrived, 0)
        tl.store(step, now + 1)
        tl.store(critic_step, critic_now + n_critic)
