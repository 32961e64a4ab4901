"""The persistent kernel on a CUDA card: equal to eager steps, and how fast.

    python scripts/gpu_persistent.py
    DEVICE=cpu TRITON_INTERPRET=1 python scripts/gpu_persistent.py    # a tiny rehearsal

WGAN-GP on ring8, batch 256, n_critic 5, three hidden layers. All kernels are compiled at once,
which takes most of the time (a minute on 16 cores). Then for each: the largest difference of an
iteration from the eager stack, relative to the largest value of its part (Adam moves the last
bias by rounding: see the moments), and milliseconds an iteration by R. Lists to choose from:
WIDTHS, PRECISIONS, RUNS, TILES (rows x warps, as in 64x4,64x8).
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch
from torch import Tensor

from wganbench.config import RunConfig, compose
from wganbench.training.persistent import Persistent, Tiling
from wganbench.training.stack import Stack
from wganbench.training.state import State

REAL = os.environ.get("DEVICE", "cuda") != "cpu"
DEVICE = torch.device("cuda" if REAL else "cpu")
BATCH, N_CRITIC, REPEATS = (256, 5, 50) if REAL else (32, 2, 1)
CHECKED = 8 if REAL else 2  # runs of the stack that is compared with eager steps
LONGEST_PHASE_SECONDS = int(os.environ.get("PHASE_SECONDS", "90"))  # compiling, then measuring, all
LONGEST_SECONDS = 0.3  # of one measurement: a slow one has fewer repeats


def wanted(name: str, on_card: str, rehearsed: str) -> list[str]:
    return os.environ.get(name, on_card if REAL else rehearsed).split(",")


def said(error: Exception) -> str:
    return f"FAILED {type(error).__name__}: {str(error).strip().splitlines()[:1]}"


def config_of(width: int) -> RunConfig:
    settings = ["loss=gp", "data=ring8", "tuned=none", "compile=false", "train.betas=[0.5,0.9]"]
    sizes = [f"network.width={width}", f"train.batch_size={BATCH}", f"loss.n_critic={N_CRITIC}"]
    return compose([*settings, *sizes, "network.depth=3", "loss.gp_lambda=0.1"])


def seeded(config: RunConfig, runs: int) -> list[RunConfig]:
    return [dataclasses.replace(config, seed=seed) for seed in range(runs)]


def draws(runs: int, latent: int) -> list[Tensor]:
    """Batches of an iteration: points on a ring of eight, latents, mixing weights."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    shape = (N_CRITIC, runs, BATCH)
    angle = torch.randint(8, shape, generator=generator, device=DEVICE) * (torch.pi / 4)
    noise = torch.randn(*shape, 2, generator=generator, device=DEVICE)
    x = 1.4 * torch.stack([angle.cos(), angle.sin()], dim=-1) + 0.014 * noise
    z = torch.randn(*shape, latent, generator=generator, device=DEVICE)
    eps = torch.rand(*shape, generator=generator, device=DEVICE)
    last = torch.randn(runs, BATCH, latent, generator=generator, device=DEVICE)
    return [x, z, eps, last]


def persistent_of(stack: Stack, state: State, runs: int, precision: str, tiles: Any) -> Persistent:
    """The kernel for as many runs, with the rates and coefficients of the stack's."""
    rates = (repeated(stack.critic_lr, runs), repeated(stack.generator_lr, runs))
    coefficients = repeated(stack.coefficients, runs)
    shape = stack.target.shape
    return Persistent(stack.config, state, *rates, coefficients, shape, precision, tiles)


def repeated(values: Any, runs: int) -> Any:
    """State for as many runs, those of the given one again and again."""
    if isinstance(values, State):
        parts = {f.name: getattr(values, f.name) for f in dataclasses.fields(values)}
        return State(**repeated(parts, runs))
    if isinstance(values, dict):
        return {name: repeated(value, runs) for name, value in values.items()}
    return values[torch.arange(runs, device=DEVICE) % len(values)] if values.ndim else 1 * values


def differences(stack: Stack, precision: str, tiles: Any) -> str:
    """Relative differences after one iteration, of states and scalars, by part."""
    runs = len(stack.configs)
    state = repeated(stack.state, runs)
    batch = draws(runs, stack.config.network.options["latent_dim"])
    noted = persistent_of(stack, state, runs, precision, tiles).iterate(*batch)
    with torch.no_grad():
        for part in zip(*batch[:3], strict=True):
            critic = stack._critic_update(stack.state, *part)
        generator = stack._generator_update(stack.state, batch[3])
    here, there = (
        {**s.tensors(), "steps": torch.stack([s.step, s.critic_step])} for s in (state, stack.state)
    )
    pairs = [(name.split("/")[0], there[name], here[name]) for name in there]
    pairs.append(("critic_scalars", critic[1], noted["critic"][1]))
    pairs.append(("generator_scalars", generator[1], noted["generator"][1]))
    found: dict[str, float] = {}
    for part, right, got in pairs:
        scale = right.abs().max().clamp(min=1e-12)
        found[part] = max(found.get(part, 0.0), float((right - got).abs().max() / scale))
    return " ".join(f"{part} {error:.1e}" for part, error in found.items())


def milliseconds(kernel: Persistent, batch: list[Tensor]) -> float:
    """Of an iteration, launched in a row; after two that warm up."""
    took = 0.0
    for longest in (2, REPEATS):
        many = max(1, min(longest, int(LONGEST_SECONDS / took))) if took else longest
        finished()
        started = time.perf_counter()
        for _ in range(many):
            kernel.iterate(*batch)
        finished()
        took = (time.perf_counter() - started) / many
    return 1000 * took


def finished() -> None:
    if REAL:
        torch.cuda.synchronize()


def one_kernel(width: int, precision: str, words: str, only_compile: bool) -> None:
    tiles = Tiling(*map(int, words.split("x"))) if "x" in words else None
    name = f"width={width} {precision} {words}"
    stack = Stack(seeded(config_of(width), CHECKED), DEVICE)
    try:
        found = differences(stack, precision, tiles)
    except Exception as error:
        found = said(error)
    if only_compile:
        return
    print(f"{name}: {found}", flush=True)
    for runs in map(int, wanted("RUNS", "1,8,64,132,256,1024", "1,2")):
        try:
            batch = draws(runs, stack.config.network.options["latent_dim"])
            kernel = persistent_of(stack, repeated(stack.state, runs), runs, precision, tiles)
            took = milliseconds(kernel, batch)
            found = f"{took:.3f} ms/iteration, {1000 * runs / took:.0f} run-iterations/s"
        except Exception as error:
            found = said(error)
        print(f"{name} R={runs}: {found}", flush=True)


def child(width: str, precision: str, tiles: str, file: str) -> None:
    """One kernel in a process of its own, so that a fault ends no other's; in its turn if told."""
    if file == "compile":
        one_kernel(int(width), precision, tiles, only_compile=True)
        return
    with open(file) as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        one_kernel(int(width), precision, tiles, only_compile=False)


def main() -> None:
    if len(sys.argv) > 1:
        child(*sys.argv[1:])
        return
    kernels = [
        (width, precision, tiles)
        for width in wanted("WIDTHS", "64,128", "16")
        for precision in wanted("PRECISIONS", "tf32x3,bf16x6,bf16x3,tf32,ieee", "ieee")
        for tiles in wanted("TILES", "default", "default")
    ]
    started = time.perf_counter()
    with tempfile.NamedTemporaryFile() as turn:
        for phase in ("compile", turn.name) if REAL else (turn.name,):
            deadline = time.monotonic() + LONGEST_PHASE_SECONDS
            running = {k: subprocess.Popen([sys.executable, __file__, *k, phase]) for k in kernels}
            for kernel, process in running.items():
                if failed := ended(process, deadline):
                    print(f"{' '.join(kernel)}: FAILED {failed}", flush=True)
                    kernels.remove(kernel)
            print(f"{time.perf_counter() - started:.0f} s", flush=True)


def ended(process: subprocess.Popen[bytes], deadline: float) -> str:
    """Why a process failed, or nothing; one that takes too long is ended."""
    try:
        code = process.wait(max(0.0, deadline - time.monotonic()))
        return f"with code {code}" if code else ""
    except subprocess.TimeoutExpired:
        process.kill()
        return f"after {LONGEST_PHASE_SECONDS} s"


if __name__ == "__main__":
    main()
