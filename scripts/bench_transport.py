"""How fast exact W1 is, ours against POT, in one process.

    python scripts/bench_transport.py                            # n = 1 000, 2 500, 5 000
    python scripts/bench_transport.py --sizes 10000 --only ours  # with the memory it took
    python scripts/bench_transport.py --floors 200               # what floors would cost

Fakes of three kinds against stratified reals of ring8: as a trained generator gives them
(converged), all on one mode (collapsed), and a Gaussian over all of them (scattered). Sides
alternate, each repeat has its own draw, and a figure is a median of processor seconds, because
the machine is shared. Every value of ours is compared with POT's.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial.distance import cdist

from wganbench.data import load
from wganbench.metrics import transport

KINDS = ("converged", "collapsed", "scattered")


def clouds(kind: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fakes of a kind, and reals."""
    target = load("ring8")
    generator = torch.Generator().manual_seed(seed)
    reals = target.held_out(n, generator).double().numpy()
    modes = target.modes.double().numpy()
    rng = np.random.default_rng(seed)
    noise = target.sigma * rng.normal(size=(n, 2))
    if kind == "collapsed":
        return modes[0] + noise, reals
    if kind == "scattered":
        return rng.normal(size=(n, 2)) * reals.std(axis=0), reals
    # Modes a little unequal, a little wider than they should be, and one point in 25 between two.
    mode = rng.choice(8, n, p=rng.dirichlet([60] * 8))
    fakes, between = modes[mode] + 1.1 * noise, rng.random(n) < 0.04
    share = rng.random((between.sum(), 1))
    fakes[between] = modes[mode[between]] * (1 - share) + modes[(mode[between] + 1) % 8] * share
    return fakes, reals


def ours(x: np.ndarray, y: np.ndarray) -> float:
    return transport.wasserstein_exact(x, y)


def pot(x: np.ndarray, y: np.ndarray) -> float:
    return float(transport._solve(cdist(x, y))[1])


def timed(solve: Callable[[np.ndarray, np.ndarray], float], x: np.ndarray, y: np.ndarray):
    """Processor seconds of this thread, and the value."""
    began = time.thread_time()
    value = solve(x, y)
    return time.thread_time() - began, value


def bench(n: int, repeats: int, sides: list[str]) -> None:
    solvers = {"ours": ours, "pot": pot}
    for kind in KINDS:
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        off = 0.0
        for repeat in range(repeats):
            x, y = clouds(kind, n, repeat)
            found = {}
            for side in sides if repeat % 2 else sides[::-1]:
                taken, found[side] = timed(solvers[side], x, y)
                seconds[side].append(taken)
            off = max(off, *(abs(value / found[sides[0]] - 1) for value in found.values()))
        medians = {side: statistics.median(taken) for side, taken in seconds.items()}
        line = ", ".join(f"{side} {1e3 * taken:.0f} ms" for side, taken in medians.items())
        if len(sides) == 2:
            ratios = [b / a for a, b in zip(seconds["ours"], seconds["pot"], strict=True)]
            line += f": {statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f})"
            line += f", values within {off:.0e}"
        print(f"n = {n} {kind}: {line}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"n = {n}: peak resident memory so far {peak:.0f} MB", flush=True)


def bench_floors(pairs: int) -> None:
    """Extrapolated from 5 pairs of each size that the shipped floors have."""
    for n in (2500, 10000):
        generator = torch.Generator().manual_seed(0)
        target, taken = load("ring8"), []
        for _ in range(5):
            x, y = target.held_out(n, generator).numpy(), target.sample(n, generator).numpy()
            taken.append(timed(ours, x, y)[0])
        each = statistics.median(taken)
        print(f"floor of ring8 at n = {n}: {each:.2f} s a pair, {pairs} pairs {pairs * each:.0f} s")


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 2500, 5000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["ours", "pot"])
    parser.add_argument("--floors", type=int, default=0, metavar="PAIRS")
    words = parser.parse_args()
    warm = np.random.default_rng(0).normal(size=(transport.NATIVE_POINTS, 2))
    for side in (ours, pot) if words.only != "ours" else (ours,):
        side(warm, warm + 1)  # compiled and imported before anything is timed
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak resident memory with everything imported: {peak:.0f} MB")
    if words.floors:
        bench_floors(words.floors)
        return
    for n in words.sizes:
        bench(n, words.repeats, [words.only] if words.only else ["ours", "pot"])


if __name__ == "__main__":
    main()
