"""What Inductor makes of a stack's programs for a GPU that is not there: kernels, and on what.

    python tests/lowering.py '1 loss=gp' '4 data=digits loss=gp'
    python tests/lowering.py --golden

A line of JSON for each program of each: a number of runs, and words of a configuration; or all of
golden/gpu_kernels.txt, which is written anew with what is found (minutes). The programs are
traced on the CPU, their tensors then said to be on an H100, and lowered to the code that would be
run there. Nothing is compiled and nothing runs. A process of its own: torch is told of a GPU.
"""

from __future__ import annotations

import collections
import copy
import json
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.device_interface import CudaInterface
from torch._functorch.aot_autograd import aot_module_simplified
from torch._inductor import compile_fx
from torch._inductor import config as inductor
from torch._inductor.debug import DebugContext
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.fx_passes import fuse_attention, joint_graph, misc_patterns, pad_mm
from torch._inductor.fx_passes.post_grad import view_to_reshape
from torch._inductor.graph import GraphLowering
from torch._inductor.virtualized import V
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.passes.fake_tensor_prop import FakeTensorProp
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wganbench.config import compose
from wganbench.data import build
from wganbench.training.compiling import _options
from wganbench.training.graphs import Graphs
from wganbench.training.products_on_gpu import SmallProducts
from wganbench.training.stack import Stack, pair_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
NAME = "NVIDIA H100 80GB HBM3"
H100 = types.SimpleNamespace(
    name=NAME, major=9, minor=0, total_memory=80 * 2**30, multi_processor_count=132, warp_size=32,
    max_threads_per_multi_processor=2048, max_threads_per_block=1024, L2_cache_size=50 * 2**20,
    regs_per_multiprocessor=65536, shared_memory_per_block_optin=232448, gcnArchName="",
    shared_memory_per_multiprocessor=233472, is_integrated=False, clock_rate=1980000,
    memory_clock_rate=2619000, memory_bus_width=5120,
)  # fmt: skip

PROGRAMS = ("critic", "generator", "words", "values")
Traced = tuple[GraphModule, list[Any]]
"""A graph of functional operations, and its inputs."""


# Traced on the CPU.
def traced(runs: int, words: list[str]) -> tuple[Stack, dict[str, list[Traced]]]:
    """The graphs of the programs of a stack: one each, where it is whole.

    Those of the two steps, and those that draw what an iteration's critic steps take.
    """
    config = compose(["compile=false", *words])
    target = build(config.data.kind, config.data.options)
    stack = Stack([config] * runs, CPU, target=target, pair=pair_of(config, target, on_gpu=True))
    graphs: dict[str, list[Traced]] = {name: [] for name in PROGRAMS}

    def keeping(found: list[Traced]) -> Callable[..., Any]:
        def keep(graph: GraphModule, inputs: list[Any]) -> Callable[..., Any]:
            found.append((graph, inputs))
            return graph.forward

        def backend(graph: GraphModule, inputs: list[Any]) -> Any:
            return aot_module_simplified(
                graph, inputs, fw_compiler=keep, inference_compiler=keep,
                decompositions=select_decomp_table(), keep_inference_input_mutations=True,
            )  # fmt: skip

        return backend

    names = iter(PROGRAMS)

    def whole(program: Callable[..., Any]) -> Callable[..., Any]:
        backend = keeping(graphs[next(names)])
        return torch.compile(program, backend=backend, fullgraph=True, dynamic=False)

    torch._dynamo.reset()
    with torch.no_grad():
        whole(stack._critic_update)(stack.state, *stack.execution.work.critic_batch(0))
        whole(stack._generator_update)(stack.state, *stack.execution.work.generator_batch(0))
        draws = Graphs(
            stack.execution.critic, stack.execution.generator, stack.state, stack.streams,
            stack.samplers, config.train.batch_size, config.loss.n_critic, whole,
            stack.execution.work.drawn, stack.execution.work.batch,
        )  # fmt: skip
        streams = stack.execution.work.drawn.critic
        drawn = tuple(name for name in streams if not isinstance(stack.samplers[name], list))
        draws._drawing(drawn, config.loss.n_critic)(torch.zeros((), dtype=torch.int64))
    return stack, graphs


# Lowered for a GPU.
def pretend() -> None:
    """Tell torch and Triton of a GPU; whatever would ask a driver gets an answer."""
    nothing: Any = lambda *_, **__: None  # noqa: E731
    fuse_attention._sfdp_init = pad_mm._pad_mm_init = misc_patterns._misc_patterns_init = nothing
    fake_tensor.init_gpu_context = nothing
    answers: dict[str, Any] = {
        "is_available": True, "device_count": 1, "current_device": 0, "_lazy_init": None,
        "get_device_properties": H100, "get_device_capability": (9, 0), "synchronize": None,
        "get_device_name": NAME, "is_bf16_supported": True,
    }  # fmt: skip
    for name, value in answers.items():
        setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    own = {
        "is_available": True, "current_device": 0, "get_compute_capability": 90,
        "get_device_properties": H100,
    }  # fmt: skip
    for name, value in own.items():
        setattr(CudaInterface, name, staticmethod(lambda *_, value=value, **__: value))
    for name in ("get_device_properties", "current_device"):
        setattr(CudaInterface.Worker, name, staticmethod(getattr(CudaInterface, name)))
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    driver.set_active(
        types.SimpleNamespace(
            get_current_target=lambda: GPUTarget("cuda", 90, 32),
            get_current_device=lambda: 0,
            get_active_torch_device=lambda: CUDA,
            get_device_interface=lambda: torch.cuda,
        )
    )
    import torch.utils._triton as known

    for name in dir(known):
        forget = getattr(getattr(known, name), "cache_clear", None)
        if forget:
            forget()
    deduce = joint_graph.UniformValueConstantFolder._deduce_value

    def on_cpu(self: Any, node: Any) -> Any:
        with OnCPU():
            return deduce(self, node)

    joint_graph.UniformValueConstantFolder._deduce_value = on_cpu


class OnCPU(TorchDispatchMode):
    """Constants that the compiler computes itself are computed here."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("device") is not None:
            kwargs["device"] = CPU
        return func(*args, **kwargs)


def rewriting_error(graph: GraphModule, inputs: list[Any]) -> float:
    """The largest difference that rewriting a program's products makes to what it computes of
    positive numbers and to the state that it changes, relative to the largest of each tensor."""
    other = copy.deepcopy(graph)
    moved(other, inputs, CPU)
    SmallProducts()(other.graph)
    other.recompile()
    found = []
    for program in (graph, other):
        torch.manual_seed(0)
        own = [_positive(value) if isinstance(value, torch.Tensor) else value for value in inputs]
        with torch.no_grad():
            found.append(tree_leaves([program(*own), own]))
    return max(
        float((a - b).abs().max() / a.abs().max().clamp_min(1e-6))
        for a, b in zip(*found, strict=True)
        if isinstance(a, torch.Tensor) and a.is_floating_point() and a.numel()
    )


def _positive(like: torch.Tensor) -> torch.Tensor:
    """Numbers in a tensor of the same form; whole numbers are 0."""
    values = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)
    return values.uniform_(0.01, 0.2) if values.is_floating_point() else values.zero_()


def moved(
    graph: GraphModule, inputs: list[Any], device: torch.device = CUDA
) -> tuple[list[Any], FakeTensorMode]:
    """Say of every tensor of a graph that it is on the device; its inputs there, without values."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        fakes = [
            torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=device)
            if isinstance(x, torch.Tensor)
            else x
            for x in inputs
        ]
    for node in list(graph.graph.nodes):
        if node.kwargs.get("device") is not None:
            node.kwargs = {**node.kwargs, "device": device}
        if node.op != "placeholder":
            node.meta.pop("val", None)
        if node.op == "get_attr":
            _make_full(graph, node, device)
    graph.recompile()
    with mode:
        FakeTensorProp(graph, mode=mode).propagate_dont_convert_inputs(*fakes)
    return fakes, mode


def _make_full(graph: GraphModule, node: Any, device: torch.device) -> None:
    """A number that was traced on the CPU, as one that is made on the GPU."""
    constant = getattr(graph, node.target)
    with graph.graph.inserting_before(node):
        made = graph.graph.call_function(
            torch.ops.aten.full.default,
            (list(constant.shape), constant.item()),
            {"dtype": constant.dtype, "device": device, "pin_memory": False},
        )
    node.replace_all_uses_with(made)
    graph.graph.erase_node(node)


def lowered(graph: GraphModule, inputs: list[Any], options: dict[str, Any]) -> tuple[Any, str]:
    """Inductor's graph, and the Python that would launch its kernels."""
    fakes, mode = moved(graph, inputs)
    own = {"triton.cudagraphs": False, "fx_graph_cache": False, **options}
    with V.set_fake_mode(mode), inductor.patch(own), torch.no_grad():
        compile_fx._recursive_joint_graph_passes(graph)
        compile_fx._recursive_post_grad_passes(graph, is_inference=True)
        view_to_reshape(graph)
        lowering = GraphLowering(graph, example_inputs=fakes, is_inference=True)
        with V.set_graph_handler(lowering), V.set_debug_handler(DebugContext()):
            lowering.run(*fakes)
            code = lowering.codegen()
    text = code[0] if isinstance(code, tuple) else code
    return lowering, str(getattr(text, "value", text))


CALL = re.compile(
    r"^\s+(?:\w+ = )?(extern_kernels\.\w+|triton_\w+\.run|torch\.ops\.[\w.]+|aten\.[\w.]+)\(", re.M
)


def kernels(code: str) -> dict[str, int]:
    """Calls of kernels in the generated code, by kind: Triton's own, and libraries' by name."""
    body = code[code.index("def call(") :]
    if "def partition_0(" in code:
        body = code[code.index("def partition_0(") :]
    names = CALL.findall(body)
    return dict(collections.Counter("triton" if n.startswith("triton_") else n for n in names))


def described(stack: Stack, found: list[Traced]) -> dict[str, Any]:
    """What became of a program, as plain values."""
    options = _options(stack.config, CUDA, len(stack.target.shape) == 3)
    row: dict[str, Any] = {"graphs": len(found)}
    try:
        lowering, code = lowered(*found[0], options)
    except Exception as error:
        return row | {"failed": f"{type(error).__name__}: {error}"[:300]}
    calls = kernels(code)
    devices = sorted({device.type for device in lowering.device_node_mapping})
    row |= {"kernels": sum(calls.values()), "calls": calls, "devices": devices}
    return row | {"skips": lowering.disable_cudagraphs_reason}


GOLDEN = Path(__file__).parent / "golden" / "gpu_kernels.txt"


def golden() -> dict[str, dict[str, int]]:
    """Kernels of each program, by the stack that they were counted for."""
    lines = (line for line in GOLDEN.read_text().splitlines() if line and line[0] != "#")
    rows = (line.split(":") for line in lines)
    return {spec: {n: int(k) for n, k in re.findall(r"(\w+) (\d+)", told)} for spec, told in rows}


def main(specs: list[str]) -> None:
    wanted = list(golden()) if specs == ["--golden"] else specs
    every = [(spec, *traced(int(spec.split()[0]), spec.split()[1:])) for spec in wanted]
    errors = {
        (spec, name): rewriting_error(*found[0])
        for spec, _, graphs in every
        for name, found in graphs.items()
        if name in ("critic", "generator")
    }
    pretend()
    lines = [line for line in GOLDEN.read_text().splitlines() if line.startswith("#")]
    for spec, stack, graphs in every:
        rows = {name: described(stack, found) for name, found in graphs.items()}
        for name, row in rows.items():
            row |= {"rewriting": errors.get((spec, name))}
            print(json.dumps({"spec": spec, "program": name, **row}), flush=True)
        counted = ", ".join(f"{name} {row.get('kernels', 0)}" for name, row in rows.items())
        lines.append(f"{spec}: {counted}")
    if specs == ["--golden"]:
        GOLDEN.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
