"""Parts of gpu_check.py that measure in their own process: ceilings, a step, what is paid beside.

Each part is a function of the setting and of its words, and gives rows of results.
"""

from __future__ import annotations

import collections
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_commands import Row, Setting, Words
from textbook import TextbookGAN, mlp, ring8
from torch.profiler import ProfilerActivity, profile

from wganbench.config import compose
from wganbench.runs.folder import RunFolder
from wganbench.sweeps.cost import footprint
from wganbench.training import execution
from wganbench.training.compiling import GPU_OPTIONS
from wganbench.training.device import pick_device, prepare
from wganbench.training.loop import Clock, saving
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


def profiled(setting: Setting, work: Work) -> Row:
    """Of one call, by the profiler: kernels and how long they run, the longest of them, and what
    the host asks for."""
    work()
    finish(setting)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if setting.cuda else [])]
    with profile(activities=activities) as seen:
        work()
        finish(setting)
    events: list[Any] = list(seen.events() or [])
    calls = collections.Counter(event.name for event in events if event.name in CALLS)
    kernels: collections.Counter[str] = collections.Counter()
    counts: collections.Counter[str] = collections.Counter()
    for event in events:
        if str(event.device_type).endswith("CUDA"):
            counts[event.name] += 1
            kernels[event.name] += event.time_range.elapsed_us()
    for name, us in kernels.most_common():
        print(f"{round(us, 1):8} us {counts[name]:4} x {name[:100]}")
    longest = [f"{name[:60]} {round(us)} us" for name, us in kernels.most_common(5)]
    return {
        "profile": {"kernels": counts.total(), **calls},
        "busy_ms": round(kernels.total() / 1e3, 3),
        "longest": longest,
    }  # fmt: skip


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
    config = compose([*BASE, batch, *words])
    device = pick_device(setting.device)
    prepare(config, device)
    return Stack([dataclasses.replace(config, seed=seed) for seed in range(runs)], device)


OWN = ("R", "profile", "only", "options", "kernel")


def bench(setting: Setting, words: Words) -> Iterator[Row]:
    """One stack: ``R=64 profile=1``, and words of the configuration; ``only=compile`` times no
    step, and leaves what was compiled in torch's folder. ``options=combo_kernels,...`` compiles
    with these switched on, or off with a ``-`` before their name. ``kernel=false`` leaves the
    steps to torch."""
    own = dict(word.split("=", 1) for word in words if word.split("=")[0] in OWN)
    rest = [word for word in words if word.split("=")[0] not in OWN]
    runs = int(own["R"])
    if own.get("kernel") == "false":
        execution.why_no_kernel = lambda *_: "it was not asked"
    for option in filter(None, own.get("options", "").split(",")):
        GPU_OPTIONS[option.removeprefix("-")] = not option.startswith("-")
    row: Row = {"what": "bench", "spec": " ".join(words), "R": runs}
    stack = first_steps(setting, rest, runs, row)
    if own.get("only") == "compile":
        yield row | {"what": "compiled"}
        return
    repeats = 3 if setting.quick else max(10, min(300, 6000 // max(runs, 20)))
    row["ms"] = round(timed(setting, stack.iterate, repeats), 3)
    row["runs_x_it_per_s"] = round(runs / row["ms"] * 1e3)
    if setting.cuda:
        row["peak_MB"] = round(torch.cuda.max_memory_allocated() / 1e6)
        row["reserved_MB"] = round(torch.cuda.memory_reserved() / 1e6)
    yield row | {"executor": stack.executor}
    if own.get("profile"):
        yield {"what": "profile", "spec": row["spec"]} | profiled(setting, stack.iterate)


def first_steps(setting: Setting, words: Words, runs: int, row: Row) -> Stack:
    """A stack after its first steps; what they took and warned of goes into the row."""
    from torch._dynamo.utils import counters

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began = time.perf_counter()
        stack = make_stack(setting, words, runs)
        row["made_s"] = round(time.perf_counter() - began, 1)
        stack.compile()
        finish(setting)
        row["compile_s"] = round(time.perf_counter() - began - row["made_s"], 1)
        for _ in range(3):
            stack.iterate()
        finish(setting)
        row["first_s"] = round(time.perf_counter() - began, 1)
    told = {str(warning.message)[:160] for warning in caught}
    row["warnings"] = sorted(t for t in told if "compile" in t or "graph" in t)
    row["cudagraph_skips"] = counters["inductor"].get("cudagraph_skips", 0)
    return stack


def textbook(setting: Setting, words: Words) -> Iterator[Row]:
    """The loop that everybody writes, by width."""
    torch.set_default_device(setting.device)
    torch.set_float32_matmul_precision("high")
    ring = ring8(setting.device)
    for width in [int(word) for word in words] or [64]:
        loop = TextbookGAN(
            mlp(2, width, 1), mlp(2, width, 2), 2, ring,
            batch_size=32 if setting.quick else 256, n_critic=5, gp_lambda=0.1,
            critic_lr=5e-3, generator_lr=1e-3, betas=(0.5, 0.9),
        )  # fmt: skip
        step = timed(setting, loop.iterate, 2 if setting.quick else 20)
        yield {
            "what": "textbook", "width": width, "ms": round(step, 3),
            **profiled(setting, loop.iterate),
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
    planned = footprint(stack.config, setting.cuda)
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
            recorder.log([(1, row, None)])

    yield {"what": "log row ms a run", "value": each(setting, runs, log), "read_ms": read}
    copying = each(setting, runs, lambda: [stack.run_states()[run] for run in range(runs)])
    yield {"what": "run_state ms a run", "value": copying}
    saved = each(setting, runs, lambda: saving(stack, recorders, Clock(0.0, 1)).save())
    yield {"what": "save ms a run", "value": saved}
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
