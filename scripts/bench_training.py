"""How fast a run trains, against the loop that everybody writes and against JAX.

    pip install -e '.[bench]'
    python scripts/bench_training.py                 # the table of scripts/README.md
    python scripts/bench_training.py --widths 64 --repeats 7

WGAN-GP on ring8, batch 256, n_critic 5, three hidden layers. Our side includes reading
and writing the records every 50 steps. Sides alternate, and each figure is a median
over the repeats, because the machine is shared; ratios are what counts. Beside them
stand the floating-point operations that an iteration needs, the rate of matrix products
measured at those very sizes, by torch and by NumPy, whichever is faster here, and the share
of it that is reached. First it checks that all sides reach the same loss. JAX (`jax_loop.py`)
is left out, and said to be, where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from textbook import TextbookGAN, mlp, ring8, same_loss

from wganbench import bounds
from wganbench.config import RunConfig, compose
from wganbench.runs.folder import RunFolder
from wganbench.training.device import fitting_cpu
from wganbench.training.loop import Clock, train_loop
from wganbench.training.process import StopRequest
from wganbench.training.recorder import Recorder, columns
from wganbench.training.stack import Stack

BATCH, N_CRITIC = 256, 5
SETTINGS = ["loss=gp", "data=ring8", "tuned=none", "loss.gp_lambda=0.1", "train.betas=[0.5,0.9]"]
RATES = ["train.critic_lr=5e-3", "train.generator_lr=1e-3", "train.decay=none"]
NEVER = bounds.STEPS  # more than are taken


def has_jax() -> bool:
    return importlib.util.find_spec("jax") is not None


def config(width: int, seed: int, precision: str) -> RunConfig:
    return compose(
        [
            *SETTINGS,
            *RATES,
            f"network.width={width}",
            f"seed={seed}",
            f"precision={precision}",
            f"train.steps={NEVER}",
            f"checkpoint.every_n_steps={NEVER}",
            "evaluate.every_n_steps=0",
            "compile=true",
            "device=cpu",
        ]
    )


def textbook(width: int) -> TextbookGAN:
    torch.manual_seed(0)
    return TextbookGAN(
        mlp(2, width, 1),
        mlp(2, width, 2),
        2,
        ring8(),
        batch_size=BATCH,
        n_critic=N_CRITIC,
        gp_lambda=0.1,
        critic_lr=5e-3,
        generator_lr=1e-3,
        betas=(0.5, 0.9),
    )


ONE_CORE = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


class Side(Protocol):
    """What is timed."""

    def advance(self, steps: int) -> None: ...


class Ours:
    """A stack with its recorders, advanced some steps at a time."""

    def __init__(self, width: int, seeds: range, precision: str, folder: Path) -> None:
        configs = [config(width, seed, precision) for seed in seeds]
        self.stack = Stack(configs, torch.device("cpu"))
        tags = columns(self.stack)
        self.recorders = [
            Recorder(RunFolder(folder / f"{width}-{precision}-{seeds}-{c.seed}").lock(), c, tags, 0)
            for c in configs
        ]
        self.advance(3)

    def advance(self, steps: int) -> None:
        train = self.stack.config.train
        end, train.steps = train.steps, self.stack.steps_done + steps
        clock = Clock(0.0, self.stack.steps_done)
        with fitting_cpu(self.stack):
            train_loop(self.stack, self.recorders, clock, StopRequest(), lambda step, values: None)
        train.steps = end


class SideBySide:
    """Runs divided over processes, one for every core, advanced together."""

    def __init__(self, make: Callable[..., Side], width: int, runs: int, *words: Any) -> None:
        context = multiprocessing.get_context("spawn")
        each = -(-runs // torch.get_num_threads())
        self.pipes, self.processes = [], []
        for first in range(0, runs, each):
            ours, theirs = context.Pipe()
            arguments = (theirs, make, width, range(first, first + each), *words)
            self.processes.append(context.Process(target=serve, args=arguments, daemon=True))
            self.processes[-1].start()
            self.pipes.append(ours)
        self.advance(3)

    def advance(self, steps: int) -> None:
        for pipe in self.pipes:
            pipe.send(steps)
        for pipe in self.pipes:
            pipe.recv()

    def end(self) -> None:
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.send(0)
            process.join()


def serve(pipe: Connection, make: Callable[..., Side], width: int, *words: Any) -> None:
    """What such a process does: advance by as many steps as it is told; none is the end."""
    torch.set_num_threads(1)
    os.environ["XLA_FLAGS"] = ONE_CORE
    side = make(width, *words)
    while steps := pipe.recv():
        side.advance(steps)
        pipe.send(None)


def in_jax(width: int, seeds: range) -> Side:
    """The same training in JAX."""
    from jax_loop import JaxGAN

    return JaxGAN(width, len(seeds), seeds[0])


def milliseconds(work: Callable[[], object], per: int) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / per * 1e3


def operations(width: int) -> float:
    """Floating-point operations of one iteration's matrix products, for one run.

    A pass of one network over one batch costs 2 n (2 w + 2 w^2 + out w). A critic step
    takes 11 passes (fakes 1, three forwards 3, slope 1, its derivative 2, two backwards
    of two passes each 4), the generator step 5.
    """
    one_pass = 2 * BATCH * (2 * width + 2 * width**2 + 1.5 * width)
    return one_pass * (11 * N_CRITIC + 5)


def product_rate(width: int, runs: int, dtype: torch.dtype) -> float:
    """Floating-point operations per second of the hidden layers' batched product."""
    x, w = torch.randn(runs, BATCH, width).to(dtype), torch.randn(runs, width, width).to(dtype)
    repeats = max(1, int(2e9 / (2 * runs * BATCH * width**2)))

    def by_torch() -> None:
        for _ in range(repeats):
            torch.bmm(x, w)

    def by_numpy() -> None:
        left, right = x.numpy(), w.numpy()
        for _ in range(repeats):
            np.matmul(left, right)

    ways = [by_torch, by_numpy] if dtype == torch.float32 else [by_torch]
    for way in ways:
        way()
    per = min(statistics.median(milliseconds(way, repeats) for _ in range(5)) for way in ways)
    return 2 * runs * BATCH * width**2 / per * 1e3


def bench_width(width: int, repeats: int, steps: int, folder: Path) -> None:
    loop = textbook(width)
    loop.iterate()
    sides: dict[tuple[int, str, str], Side] = {
        (1, "fp32", "one stack"): Ours(width, range(1), "fp32", folder),
        (8, "fp32", "one stack"): Ours(width, range(8), "fp32", folder),
        (8, "bf16", "a stack per core"): SideBySide(Ours, width, 8, "bf16", folder),
    }
    if has_jax():
        sides[1, "fp32", "JAX"] = in_jax(width, range(1))
        sides[8, "fp32", "JAX on each core"] = SideBySide(in_jax, width, 8)
        for side in sides.values():
            side.advance(steps)  # JAX compiles each number of steps by itself
    base: list[float] = []
    times: dict[tuple[int, str, str], list[float]] = {side: [] for side in sides}
    for _ in range(repeats):
        base.append(milliseconds(lambda: [loop.iterate() for _ in range(steps)], steps))
        for side, ours in sides.items():
            times[side].append(milliseconds(lambda: ours.advance(steps), steps * side[0]))  # noqa: B023
    for side in sides.values():
        if isinstance(side, SideBySide):
            side.end()
    textbook_ms = statistics.median(base)
    print(f"width {width}: textbook loop {textbook_ms:.2f} ms an iteration")
    for (runs, precision, how), measured in times.items():
        ours_ms = statistics.median(measured)
        ratio = statistics.median(t / o for t, o in zip(base, measured, strict=True))
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        rate = product_rate(width, runs, dtype)
        reached = operations(width) / ours_ms * 1e3
        print(
            f"  {runs} {precision} {how:16s}: {ours_ms:6.2f} ms a run, "
            f"{ratio:5.2f}x  | {operations(width) / 1e6:7.0f} MFLOP, {reached / 1e9:6.1f} of "
            f"{rate / 1e9:6.1f} GFLOP/s: {reached / rate:.2f}",
            flush=True,
        )


def cost_of_measuring(repeats: int, folder: Path) -> None:
    """Share of the default run's training time that records and evaluations take."""
    from wganbench.training.measuring import stack_floor

    defaults = compose(["train.steps=1000000", "compile=true", "device=cpu"])
    stack = Stack([defaults], torch.device("cpu"))
    stack_floor(stack, defaults.evaluate.n)
    recorder = Recorder(RunFolder(folder / "default").lock(), defaults, columns(stack), 0)
    stack.iterate()
    steps, shares = defaults.log.picture_every_n_steps, []
    iterate, spent = stack.iterate, [0.0]

    def timed() -> None:
        start = time.perf_counter()
        iterate()
        spent[0] += time.perf_counter() - start

    for _ in range(repeats):
        # From a multiple of the longest cadence to the next one: all that is due once.
        while stack.steps_done % steps:
            stack.iterate()
        end, stack.config.train.steps = stack.config.train.steps, stack.steps_done + steps
        clock, spent[0] = Clock(0.0, stack.steps_done), 0.0
        stack.iterate = timed  # type: ignore[method-assign]
        with fitting_cpu(stack):
            start = time.perf_counter()
            train_loop(stack, [recorder], clock, StopRequest(), lambda step, values: None)
            shares.append(1 - spent[0] / (time.perf_counter() - start))
        stack.iterate = iterate  # type: ignore[method-assign]
        stack.config.train.steps = end
    print(
        f"records, evaluations, images and checkpoints of the default run: "
        f"{100 * statistics.median(shares):.1f} % of its training time"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100, help="steps of one measurement")
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    same_loss(textbook(64), Stack([config(64, 0, "fp32")], torch.device("cpu")), 400)
    if has_jax():
        from jax_loop import JaxGAN

        peer = JaxGAN(64, 1)
        peer.advance(400)
        losses = peer.losses[0, 200:].tolist()
        print(f"JAX {statistics.mean(losses):.4f} (sd {statistics.stdev(losses):.4f})\n")
    else:
        print("JAX is not installed: pip install -e '.[bench]'\n")
    with tempfile.TemporaryDirectory() as folder:
        for width in arguments.widths:
            bench_width(width, arguments.repeats, arguments.steps, Path(folder))
        cost_of_measuring(min(arguments.repeats, 3), Path(folder))


if __name__ == "__main__":
    main()
