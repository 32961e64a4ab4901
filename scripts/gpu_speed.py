"""Parts of gpu_check.py that measure in their own process: ceilings, a step, what is paid beside.

Each part is a function of the setting and of its words, and gives rows of results.
"""

from __future__ import annotations

import collections
import gc
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_commands import Row, Setting, Words
from textbook import TextbookGAN, mlp
from torch.profiler import ProfilerActivity, profile

from wganbench.config import compose
from wganbench.data import load
from wganbench.records.folder import RunFolder
from wganbench.sweeps.footprint import footprint
from wganbench.training import compilation
from wganbench.training.device import pick_device, prepare
from wganbench.training.loop import Clock, save_all
from wganbench.training.measuring import measure_stack, stack_floor
from wganbench.training.recorder import Recorder, columns
from wganbench.training.stack import Stack

Work = Callable[[], object]

BASE = [
    "loss=gp", "data=ring8", "tuned=none", "loss.gp_lambda=0.1", "train.betas=[0.5,0.9]",
    "train.decay=none", "train.critic_lr=5e-3", "train.generator_lr=1e-3", "train.steps=1000000",
    "checkpoint.every_n_steps=1000000", "evaluate.every_n_steps=0",
]  # fmt: skip
"""The run that is timed: nothing but steps."""


# Clocks.
def finish(setting: Setting) -> None:
    """Wait for the device."""
    if setting.cuda:
        torch.cuda.synchronize()


def timed(setting: Setting, work: Work, repeats: int) -> float:
    """Median milliseconds of a call, of three times; calls overlap on a GPU as in training."""
    for _ in range(3):
        work()
    finish(setting)
    once = on_gpu if setting.cuda else on_cpu
    return sorted(once(work, repeats) for _ in range(3))[1]


def on_cpu(work: Work, repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - began) * 1e3 / repeats


def on_gpu(work: Work, repeats: int) -> float:
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    for _ in range(repeats):
        work()
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended) / repeats


def each(setting: Setting, runs: int, work: Work) -> float:
    """Milliseconds of one call, by run."""
    finish(setting)
    began = time.perf_counter()
    work()
    finish(setting)
    return round((time.perf_counter() - began) / runs * 1e3, 3)


CALLS = {
    "cudaGraphLaunch", "cudaLaunchKernel", "cuLaunchKernel", "cuLaunchKernelEx",
    "cudaLaunchKernelExC", "cudaMemcpyAsync", "cudaStreamSynchronize", "cudaDeviceSynchronize",
}  # fmt: skip


def kernels(setting: Setting, work: Work) -> dict[str, int]:
    """Kernels, graph launches, copies and waits of one call, by the profiler."""
    work()
    finish(setting)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if setting.cuda else [])]
    with profile(activities=activities) as seen:
        work()
        finish(setting)
    events: list[Any] = list(seen.events() or [])
    names = [
        "kernels" if str(event.device_type).endswith("CUDA") else event.name for event in events
    ]
    return dict(collections.Counter(name for name in names if name in {*CALLS, "kernels"}))


# Ceilings.
PRECISIONS = (
    ("fp32", torch.float32, "highest"), ("tf32", torch.float32, "high"),
    ("bf16", torch.bfloat16, "high"),
)  # fmt: skip


def ceilings(setting: Setting, words: Words) -> Iterator[Row]:
    """What the device can do at best: copies, products, launches."""
    size = 2**20 if setting.quick else 2**30
    source = torch.empty(size // 4, device=setting.device)
    target = torch.empty_like(source)
    copied = timed(setting, lambda: target.copy_(source), 5)
    yield {"what": "copy GB/s", "value": round(2 * size / copied / 1e6)}
    for name, dtype, precision in PRECISIONS:
        torch.set_float32_matmul_precision(precision)
        yield from products(setting, name, dtype)
    number = torch.zeros(1, device=setting.device)
    eager = timed(setting, lambda: number.add_(1), 200)
    yield {"what": "eager launch us", "value": round(eager * 1e3, 2)}
    if setting.cuda:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(400):
                number.add_(1)
        node = timed(setting, graph.replay, 5) / 400
        yield {"what": "graph node us (400 dependent adds)", "value": round(node * 1e3, 2)}


def products(setting: Setting, name: str, dtype: torch.dtype) -> Iterator[Row]:
    """A large product, and the stacked small ones that training makes."""
    side = 256 if setting.quick else 8192
    square = torch.randn(side, side, device=setting.device).to(dtype)
    rate = 2 * side**3 / timed(setting, lambda: square @ square, 3) / 1e9
    yield {"what": f"{name} mm TFLOP/s", "value": round(rate, 1)}
    sizes = ((2, 16),) if setting.quick else ((1, 64), (64, 64), (64, 128), (64, 512))
    for runs, width in sizes:
        points = torch.randn(runs, 256, width, device=setting.device).to(dtype)
        weights = torch.randn(runs, width, width, device=setting.device).to(dtype)
        call = timed(setting, lambda x=points, w=weights: torch.bmm(x, w), 20)
        yield {
            "what": f"{name} bmm R={runs} w={width}", "us": round(call * 1e3, 1),
            "TFLOPs": round(2 * runs * 256 * width * width / call / 1e9, 2),
        }  # fmt: skip


# A step of a stack.
def make_stack(setting: Setting, words: Words, runs: int) -> Stack:
    batch = f"train.batch_size={32 if setting.quick else 256}"
    configs = [compose([*BASE, batch, *words, f"seed={seed}"]) for seed in range(runs)]
    device = pick_device(setting.device)
    prepare(configs[0], device)
    return Stack(configs, device)


def bench(setting: Setting, words: Words) -> Iterator[Row]:
    """Several measurements one after another in one process, a "+" between them."""
    for one in " ".join(words).split(" + "):
        try:
            yield bench_one(setting, one.split())
        except Exception as error:
            told = f"{type(error).__name__}: {error}"[:300]
            yield {"what": "bench failed", "FAILED": told, "spec": one}
        gc.collect()
        torch._dynamo.reset()
        if setting.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


OWN = ("R", "graphs", "loop", "tf32", "profile")


def bench_one(setting: Setting, words: Words) -> Row:
    """``R=64 graphs=default|off|whole loop=1 tf32=1 profile=1``, and words of the configuration."""
    own = dict(word.split("=", 1) for word in words if word.split("=")[0] in OWN)
    rest = [word for word in words if word.split("=")[0] not in OWN]
    runs, whole = int(own["R"]), own.get("graphs") == "whole" and setting.cuda
    if setting.cuda:
        choose_options(own)
    row: Row = {"what": "bench", "spec": " ".join(words), "R": runs}
    stack, began = first_steps(setting, rest, runs, own, row)
    repeats = 3 if setting.quick else max(5, min(100, 3000 // max(runs, 30)))
    iterate = whole_graph(stack).replay if whole else stack.iterate
    row["ms"] = round(timed(setting, iterate, repeats), 3)
    if not whole:
        if own.get("profile"):
            row["profile"] = kernels(setting, stack.iterate)
        row |= programs(setting, stack, repeats)
    row["runs_x_it_per_s"] = round(runs / row["ms"] * 1e3)
    if setting.cuda:
        row["peak_MB"] = round(torch.cuda.max_memory_allocated() / 1e6)
        row["reserved_MB"] = round(torch.cuda.memory_reserved() / 1e6)
    return row | {"process_s": round(time.perf_counter() - began, 1)}


ORIGINAL = compilation._options


def choose_options(own: dict[str, str]) -> None:
    """Have the next stack compiled as the words say; "loop=0" switches a pass off.

    That pass fails on torch 2.11: check.sh switches it off for whole commands.
    """

    def options(*arguments: Any) -> dict[str, Any]:
        return ORIGINAL(*arguments) | {
            "triton.cudagraphs": own.get("graphs", "default") == "default",
            "loop_ordering_after_fusion": own.get("loop", "1") == "1",
        }

    compilation._options = options


def first_steps(
    setting: Setting, words: Words, runs: int, own: dict[str, str], row: Row
) -> tuple[Stack, float]:
    """A stack after its first steps, and when they began; warnings of compiling go into the row."""
    from torch._dynamo.utils import counters

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began = time.perf_counter()
        stack = make_stack(setting, words, runs)
        if own.get("tf32") == "0":
            torch.set_float32_matmul_precision("highest")
        stack.iterate()
        finish(setting)
        row["first_s"] = round(time.perf_counter() - began, 1)
        for _ in range(2):
            stack.iterate()
        finish(setting)
    told = {str(warning.message)[:160] for warning in caught}
    row["warnings"] = sorted(t for t in told if "torch.compile failed" in t or "cudagraph" in t)
    row["cudagraph_skips"] = counters["inductor"].get("cudagraph_skips", 0)
    return stack, began


def whole_graph(stack: Stack) -> torch.cuda.CUDAGraph:
    """One graph for an iteration, random numbers left out: what it would bring."""
    critic, generator, state = stack._critic_program, stack._generator_program, stack.state
    numbers = range(stack.config.loss.n_critic)
    batches = [[part.clone() for part in stack._critic_batch(number)] for number in numbers]
    latent = stack._batch("latent_generator", 0).clone()

    def body() -> None:
        for batch in batches:
            critic(state, *batch)
        generator(state, latent)

    graph = torch.cuda.CUDAGraph()
    with torch.no_grad():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            body()
            body()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            body()
    return graph


def programs(setting: Setting, stack: Stack, repeats: int) -> Row:
    """The two programs alone, without drawing; and drawing a block alone."""
    with torch.no_grad():
        batch, latent = stack._critic_batch(10**4), stack._batch("latent_generator", 10**4)
        critic = timed(setting, lambda: stack._critic_program(stack.state, *batch), repeats)
        generator = timed(setting, lambda: stack._generator_program(stack.state, latent), repeats)

        def two_blocks() -> None:
            for block in range(2):
                stack._blocks.clear()
                stack._critic_batch(64 * block)

        drawing = each(setting, 2, two_blocks)
    return {
        "critic_ms": round(critic, 3), "generator_ms": round(generator, 3),
        "draw_block_ms": round(drawing, 2),
    }  # fmt: skip


def textbook(setting: Setting, words: Words) -> Iterator[Row]:
    """The loop that everybody writes, by width."""
    torch.set_default_device(setting.device)
    torch.set_float32_matmul_precision("high")
    target, source = load("ring8"), torch.Generator(setting.device).manual_seed(0)
    for width in [int(word) for word in words] or [64]:
        loop = TextbookGAN(
            mlp(2, width, 1), mlp(2, width, 2), 2, lambda n: target.sample(n, source),
            batch_size=32 if setting.quick else 256, n_critic=5, gp_lambda=0.1,
            critic_lr=5e-3, generator_lr=1e-3, betas=(0.5, 0.9),
        )  # fmt: skip
        step = timed(setting, loop.iterate, 2 if setting.quick else 20)
        yield {
            "what": "textbook", "width": width, "ms": round(step, 3),
            "profile": kernels(setting, loop.iterate),
        }  # fmt: skip


# What is paid beside the programs.
def costs(setting: Setting, words: Words) -> Iterator[Row]:
    """By run: memory against its plan, rows, checkpoints, evaluations."""
    runs = int(words[0]) if words else 64
    stack = make_stack(setting, ["compile=false", "network.width=64"], runs)
    if setting.cuda:
        torch.cuda.reset_peak_memory_stats()
    stack.iterate()
    finish(setting)
    planned = footprint(stack.config)
    peak = torch.cuda.max_memory_allocated() / 1e6 if setting.cuda else 0
    yield {
        "what": "memory", "R": runs, "eager_peak_MB": round(peak),
        "planned_MB": round((planned.fixed_bytes + runs * planned.run_bytes) / 1e6),
    }  # fmt: skip
    yield from costs_of_records(setting, stack)
    yield from costs_of_measuring(setting, stack, 100 if setting.quick else 1000)


def costs_of_records(setting: Setting, stack: Stack) -> Iterator[Row]:
    runs, tags = len(stack.configs), columns(stack)
    held = [RunFolder(setting.work / f"costs/{run}").lock() for run in range(runs)]
    recorders = [
        Recorder(folder, config, tags, 0)
        for folder, config in zip(held, stack.configs, strict=True)
    ]
    rows: list[dict[str, float]] = []
    read = each(setting, 1, lambda: rows.extend(stack.scalars()))

    def log() -> None:
        for recorder, row in zip(recorders, rows, strict=True):
            recorder.log(1, row)

    yield {"what": "log row ms a run", "value": each(setting, runs, log), "read_ms": read}
    copying = each(setting, runs, lambda: [stack.run_state(run) for run in range(runs)])
    yield {"what": "run_state ms a run", "value": copying}
    saving = each(setting, runs, lambda: save_all(stack, recorders, Clock(0.0, 1)))
    yield {"what": "save ms a run", "value": saving}
    for recorder, folder in zip(recorders, held, strict=True):
        recorder.close("interrupted", step=1)
        folder.release()


def costs_of_measuring(setting: Setting, stack: Stack, n: int) -> Iterator[Row]:
    runs = len(stack.configs)
    stack_floor(stack, n)
    stack.probe(n)
    yield {"what": "probe ms a run", "value": each(setting, runs, lambda: stack.probe(n))}
    measuring = each(setting, runs, lambda: measure_stack(stack, n, final=False))
    yield {"what": "evaluation ms a run", "n": n, "value": measuring}
