"""Compiled programs: equal in a stack and alone, near the eager ones, and dispensable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import CppCompileError, InductorError
from training_configs import CPU, alike, same, tiny, trained

from wganbench.config import RunConfig, compose, to_dict
from wganbench.training import compiling
from wganbench.training.compiling import compiled, lacking, wants_compilation
from wganbench.training.stack import Stack

STEPS = 3
SETTINGS: dict[str, Any] = {
    "network.width": 16,
    "train.batch_size": 32,
    "train.decay": "linear",
    "train.average_decay": 0.9,
}
# A process of its own, without the shape checks of the tests, which would not compile. Any warning
# of wganbench is an error: it says that a program was not compiled.
CHILD = """
import json, sys, warnings
import torch
from wganbench.config.check import from_dict
from wganbench.training.stack import Stack

warnings.filterwarnings("error", category=UserWarning, module="wganbench")
torch.set_num_threads(2)
configs = [from_dict(values) for values in json.loads(sys.argv[1])]
found = {}
for name, members in {"pair": configs, "first": configs[:1], "second": configs[1:]}.items():
    if not members:
        continue
    stack = Stack(members, torch.device("cpu"))
    if name != "pair":
        stack.compile()
    rows = []
    for _ in range(int(sys.argv[2])):
        stack.iterate()
        rows.append(stack.scalars())
    for r in range(len(members)):
        found[f"{name}/{r}/course"] = [row[r] for row in rows]
        found[f"{name}/{r}"] = stack.run_states()[r]
        found[f"{name}/{r}/scalars"] = stack.scalars()[r]
    for time in ("next", "again"):
        stack.load_run_state(0, int(sys.argv[2]), found[f"{name}/0"])
        stack.iterate()
        found[f"{name}/0/{time}"] = stack.run_states()[0]
torch.save(found, sys.argv[3])
"""


def compiled_runs(configs: list[RunConfig], file: Path) -> dict[str, Any]:
    """States and scalars of two runs after some steps, or at each: as a pair, and each alone.

    Of the first one also the state a step later, ``next``, and ``again`` from what was saved.
    """
    values = json.dumps([to_dict(config) for config in configs])
    command = [sys.executable, "-W", "ignore", "-c", CHILD, values, str(STEPS), str(file)]
    subprocess.run(command, cwd=Path(__file__).parent.parent, check=True, timeout=600)
    found: dict[str, Any] = torch.load(file, weights_only=True)
    return found


@pytest.mark.slow
@pytest.mark.skipif(lacking(CPU) is not None, reason="no C++ compiler here")
def test_a_compiled_run_is_the_same_alone_and_near_the_eager_one(tmp_path: Path) -> None:
    # This loss has both: gradients that depend on the scores, and a second derivative. The
    # sizes are those from which loops are divided among threads, and sums would be.
    settings = SETTINGS | {"network.width": 96, "train.batch_size": 352}
    configs = alike("bce_gp", 2, compile="true", **settings)
    found = compiled_runs(configs, tmp_path / "found.pt")
    eager = trained(alike("bce_gp", 2, compile="false", **settings), STEPS)
    for r, alone in enumerate(("first/0", "second/0")):
        assert same(found[f"pair/{r}"], found[alone])
        assert found[f"pair/{r}/course"] == found[f"{alone}/course"]
        assert found[f"pair/{r}/scalars"] == pytest.approx(eager.scalars()[r], rel=1e-4, abs=1e-5)
        for name, tensor in eager.run_states()[r].items():
            torch.testing.assert_close(found[alone][name], tensor, rtol=1e-4, atol=1e-5)
    assert not same(found["pair/0"], found["pair/1"])
    assert not same(found["pair/0"], eager.run_states()[0]), "that was eager too"


@pytest.mark.slow
@pytest.mark.skipif(lacking(CPU) is not None, reason="no C++ compiler here")
def test_compiled_unrolled_runs_train_as_eager_ones_do(tmp_path: Path) -> None:
    settings = SETTINGS | {"loss.unrolled": 1, "loss.n_critic": 1}
    found = compiled_runs([tiny("bce", compile="true", **settings)], tmp_path / "found.pt")
    assert same(found["first/0/next"], found["first/0/again"])
    eager = trained([tiny("bce", **settings)], STEPS)
    assert not same(found["first/0"], eager.run_states()[0]), "that was eager too"
    assert found["first/0/scalars"] == pytest.approx(eager.scalars()[0], rel=1e-3, abs=1e-5)
    for name, tensor in eager.run_states()[0].items():
        torch.testing.assert_close(found["first/0"][name], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("compile_", "steps", "wanted"),
    [("true", 1, True), ("false", 10**6, False), ("auto", 999, False), ("auto", 1000, True)],
)
def test_auto_compiles_what_is_long_enough(compile_: str, steps: int, wanted: bool) -> None:
    config = tiny("gp", compile=compile_, **{"train.steps": steps})
    assert wants_compilation(config) is wanted


@pytest.mark.thorough
@pytest.mark.skipif(lacking(CPU) is not None, reason="no C++ compiler here")
def test_compiled_pictures_train_as_eager_ones_do(tmp_path: Path) -> None:
    words = ["data=digits", "loss=gp", "network.width=4", "train.batch_size=16", "device=cpu"]
    # Adam's first steps depend on signs alone, and a gradient of nothing has any.
    words += ["loss.n_critic=1", "train.optimizer=sgd", "train.steps=5000"]
    found = compiled_runs([compose(words)], tmp_path / "found.pt")
    assert same(found["first/0/next"], found["first/0/again"])
    assert not same(found["first/0/next"], found["first/0"])
    eager = trained([compose([*words, "compile=false"])], STEPS)
    assert not same(found["first/0"], eager.run_states()[0]), "that was eager too"
    assert found["first/0/scalars"] == pytest.approx(eager.scalars()[0], rel=1e-3, abs=1e-4)
    for name, tensor in eager.run_states()[0].items():
        torch.testing.assert_close(found["first/0"][name], tensor, rtol=1e-3, atol=1e-5)


class Broken(TorchDynamoException):
    """What torch raises when it cannot compile."""


def breaking(error: Exception) -> Callable[..., Any]:
    def compile_(program: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        def fast(*arguments: Any) -> Any:
            raise error

        return fast

    return compile_


@pytest.mark.parametrize("kind", [Broken, OSError])
@pytest.mark.usefixtures("left_to_torch")
def test_a_broken_compiler_costs_a_warning_and_no_result(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "lacking", lambda device: None)
    monkeypatch.setattr(torch, "compile", breaking(kind("no such header\nand more")))
    stack = Stack(alike("gp", 2, compile="true"), CPU)
    with pytest.warns(UserWarning, match=r"torch.compile failed \(no such header\)") as seen:
        stack.iterate()
        stack.iterate()
    assert len(seen) == 2, "one for each of the two programs, and not again"
    assert stack.executor == "eager"
    assert same(stack.run_states()[1], trained(alike("gp", 2), 2).run_states()[1])


@pytest.mark.usefixtures("left_to_torch")
def test_memory_that_runs_out_while_compiling_is_no_reason_to_train_eagerly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "lacking", lambda device: None)
    error = Broken("backend failed")
    error.__cause__ = torch.OutOfMemoryError("CUDA out of memory. Tried")
    monkeypatch.setattr(torch, "compile", breaking(error))
    with pytest.raises(Broken):
        Stack([tiny("gp", compile="true")], CPU).iterate()


def test_what_the_c_compiler_raises_is_such_an_error() -> None:
    # Else the fall-back above would not see it.
    assert issubclass(InductorError, TorchDynamoException)
    error = InductorError(CppCompileError(["c++"], "fatal error"), None)
    assert isinstance(error, TorchDynamoException)


@pytest.mark.usefixtures("left_to_torch")
def test_an_error_of_the_program_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "lacking", lambda device: None)
    monkeypatch.setattr(torch, "compile", breaking(ZeroDivisionError("a bug")))
    stack = Stack([tiny("gp", compile="true")], CPU)
    with pytest.raises(ZeroDivisionError):
        stack.iterate()


def test_without_a_compiler_it_warns_and_trains(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler"):
        stack = Stack([tiny("gp", compile="true")], CPU)
    stack.iterate()
    assert same(stack.run_states()[0], trained([tiny("gp")], 1).run_states()[0])


def test_programs_are_compiled_whole_and_each_stacks_are_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, Any]] = []

    def compile_(program: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        seen.append(options)
        return program

    monkeypatch.setattr(compiling, "lacking", lambda device: None)
    monkeypatch.setattr(compiling, "prepare_toolchain", lambda: {"cpp.vec_isa_ok": True})
    monkeypatch.setattr(torch, "compile", compile_)

    def program(x: Tensor) -> Tensor:
        return x + 1

    config = tiny("gp", compile="true")
    wrapped = compiled(program, config, CPU, pictures=False)
    assert wrapped(torch.ones(())) == wrapped(torch.ones(())) == 2
    compiled(program, config, CPU, pictures=True)
    large = tiny("gp", compile="true", **{"train.batch_size": 513})
    compiled(program, large, CPU, pictures=False)
    started: list[int] = []
    monkeypatch.setattr(compiling, "start_compilers", lambda: started.append(1))
    compiled(program, config, torch.device("cuda"), pictures=False)
    assert started == [1], "on a GPU alone"
    *on_cpu, on_gpu = seen
    options, of_pictures, of_large_batches = on_cpu
    # What was found out about the C++ compiler is told to it, and to nobody else.
    assert all(each["options"]["cpp.vec_isa_ok"] is True for each in on_cpu)
    assert on_gpu["options"].keys() - {"guard_filter_fn"} == {
        "loop_ordering_after_fusion",
        "post_grad_custom_pre_pass",
    }
    assert options["fullgraph"] is True and options["dynamic"] is False
    # Else a run's sums would depend on how many share its stack.
    assert options["options"]["cpp.min_chunk_size"] == compiling.LOOP_OF_A_THREAD
    assert of_large_batches["options"]["cpp.threads"] == 1
    assert of_pictures["options"].keys() - {"guard_filter_fn", "cpp.vec_isa_ok"} == {
        "layout_optimization"
    }
    assert os.environ.get("TORCH_COMPILE_DISABLE") is None
