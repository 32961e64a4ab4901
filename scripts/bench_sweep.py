"""How fast a sweep is, against as many runs of the loop that everybody writes.

    python scripts/bench_sweep.py                           # both parts, width 64
    python scripts/bench_sweep.py --width 16 --precision fp32
    python scripts/bench_sweep.py --only stacks             # cost per run by stack size
    python scripts/bench_sweep.py --only launchers          # Ray against the local launcher
    python scripts/bench_sweep.py --only measuring          # an evaluation here and in a process

Sweep: ``loss=gp loss.gp_lambda=0.1,1,10,100 'seed=range(0,8)'``, 32 runs of 1 000 steps,
from the command to the last file: start-up, compilation with an empty cache, logging and
evaluation; against 32 textbook runs one after another, extrapolated from 4 of them that are timed
before, between and after the sweeps. Stacks: milliseconds a run and iteration at R = 1 to
64, and the operations that are dispatched for a run and iteration, eager and compiled,
which is what a GPU's launches follow.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from bench_training import config, textbook
from torch._inductor import config as inductor
from torch.profiler import ProfilerActivity, profile

from wganbench.config import RunConfig
from wganbench.training.device import fitting_cpu
from wganbench.training.jobs import Evaluate
from wganbench.training.measuring import read_runs, stack_floor, with_figure_data
from wganbench.training.pool import pool_for
from wganbench.training.stack import Stack

LAMBDAS, SEEDS = "0.1,1,10,100", "range(0,8)"
RUNS, STEPS, TIMED = 32, 1000, 4


def textbook_seconds(width: int, steps: int) -> float:
    """Seconds of one textbook run."""
    loop = textbook(width)
    began = time.perf_counter()
    for _ in range(steps):
        loop.iterate()
    return time.perf_counter() - began


def command_seconds(words: list[str]) -> float:
    """Seconds of ``wganbench sweep`` in a new folder, with nothing compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "wganbench", "sweep", *words, f"output_dir={folder}/runs"]
        # The second holds the header of compiled programs, the third our C++.
        own = {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/compiled", "TMPDIR": folder,
               "XDG_CACHE_HOME": f"{folder}/cache"}  # fmt: skip
        began = time.perf_counter()
        subprocess.run(command, env=os.environ | own, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def sweep_seconds(width: int, precision: str, steps: int) -> float:
    """Seconds of the whole sweep."""
    return command_seconds(
        [
            *("loss=gp", f"loss.gp_lambda={LAMBDAS}", f"seed={SEEDS}", f"train.steps={steps}"),
            *(f"network.width={width}", f"precision={precision}", "sweep.devices=cpu"),
        ]
    )


def bench_sweep(width: int, precisions: list[str], repeats: int, steps: int) -> None:
    ratios: dict[str, list[float]] = {precision: [] for precision in precisions}
    for _ in range(repeats):
        single = [textbook_seconds(width, steps // 2) for _ in range(TIMED // 2)]
        sweeps = {p: sweep_seconds(width, p, steps) for p in precisions}
        single += [textbook_seconds(width, steps // 2) for _ in range(TIMED // 2)]
        alone = RUNS * 2 * statistics.mean(single)
        for precision, seconds in sweeps.items():
            ratios[precision].append(alone / seconds)
            print(
                f"width {width}: {RUNS} textbook runs {alone:.0f} s (from {TIMED} half ones), "
                f"sweep in {precision} {seconds:.0f} s: {alone / seconds:.1f}x",
                flush=True,
            )
    for precision, found in ratios.items():
        print(f"width {width}, {precision}: median {statistics.median(found):.1f}x")


def bench_launchers(repeats: int) -> None:
    """Seconds that a small sweep takes on Ray more than without it, on the same cores."""
    for _ in range(repeats):
        seconds = {}
        for launcher in ("stack", "ray"):
            words = ["loss=gp", "seed=range(0,8)", "train.steps=500", "compile=false"]
            seconds[launcher] = command_seconds(
                [*words, "device=cpu", f"hydra/launcher={launcher}"]
            )
        more = seconds["ray"] - seconds["stack"]
        print(f"local {seconds['stack']:.1f} s, Ray {seconds['ray']:.1f} s: {more:.1f} s more")


def dispatched(configs: list[RunConfig], iterations: int = 4) -> float:
    """Operations dispatched in an iteration, compiled regions counted as what they call."""
    stack = Stack(configs, torch.device("cpu"))
    with inductor.patch({"cpp.enable_kernel_profile": True}):
        stack.iterate()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(iterations):
            stack.iterate()
    names = [event.name for event in seen.events()]
    return sum("aten::" in name or "cpp_fused" in name for name in names) / iterations


def bench_stacks(width: int, precision: str, sizes: list[int]) -> None:
    torch.set_num_threads(1)
    print(f"width {width}, {precision}, one thread: a run and iteration in a stack of R")
    for runs in sizes:
        configs = [config(width, seed, precision) for seed in range(runs)]
        stack = Stack(configs, torch.device("cpu"))
        times = []
        with fitting_cpu(stack):
            stack.iterate()
            for _ in range(5):
                began = time.perf_counter()
                for _ in range(max(4, 64 // runs)):
                    stack.iterate()
                times.append((time.perf_counter() - began) / max(4, 64 // runs) / runs * 1e3)
        compiled = dispatched(configs) / runs
        for own in configs:
            own.compile = "false"
        eager = dispatched(configs) / runs
        print(
            f"  R = {runs:2d}: {statistics.median(times):6.2f} ms; operations dispatched: "
            f"eager {eager:7.1f}, compiled {compiled:6.1f}",
            flush=True,
        )


def bench_measuring(runs: int = 4, repeats: int = 5) -> None:
    """What an evaluation costs here and in a process beside: arithmetic, and the way there."""
    stack = Stack([config(64, seed, "fp32") for seed in range(runs)], torch.device("cpu"))
    stack_floor(stack, 1000)
    torch.set_num_threads(1)
    with pool_for(stack, 1, print) as pool:
        for shows in (False, True):
            readings = read_runs(stack, 1000)
            if shows:
                readings = [with_figure_data(stack, run, r) for run, r in enumerate(readings)]
            jobs = [Evaluate(r, dict(stack.floors), shows=shows) for r in readings]
            pool.submit(jobs[0]).get()
            here, beside, packing = list[float](), list[float](), list[float]()
            for _ in range(repeats):
                for times, does in (
                    (here, lambda: [job(stack) for job in jobs]),  # noqa: B023
                    (beside, lambda: [a.get() for a in [pool.submit(j) for j in jobs]]),  # noqa: B023
                    (packing, lambda: [pickle.dumps(job, protocol=5) for job in jobs]),  # noqa: B023
                ):
                    began = time.perf_counter()
                    does()
                    times.append((time.perf_counter() - began) / runs * 1e3)
            size = len(pickle.dumps(jobs[0], protocol=5)) / 1e3
            print(f"an evaluation{' with an image' if shows else ''}, ms a run:", flush=True)
            print(f"  here {statistics.median(here):.1f}, beside {statistics.median(beside):.1f};")
            print(f"  packing takes {statistics.median(packing):.2f} for {size:.0f} kB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--only", choices=["sweep", "stacks", "launchers", "measuring"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    arguments = parser.parse_args()
    if arguments.only in (None, "sweep"):
        bench_sweep(arguments.width, arguments.precision, arguments.repeats, arguments.steps)
    if arguments.only in (None, "stacks"):
        for precision in arguments.precision:
            bench_stacks(arguments.width, precision, arguments.sizes)
    if arguments.only == "measuring":
        bench_measuring()
    if arguments.only == "launchers":
        bench_launchers(arguments.repeats)


if __name__ == "__main__":
    main()
