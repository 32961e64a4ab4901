"""Whole iterations as graphs, by a recorder that plays them back without a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from training_configs import CPU, alike, same, tiny

from wganbench.studies.frozen import FrozenStack
from wganbench.training import execution
from wganbench.training.graphs import (
    CudaRecording,
    Graphs,
    Noted,
    NotRecorded,
    Work,
    on_side_stream,
)
from wganbench.training.stack import Stack


class Played:
    """Work that is done when it is played, never when it is recorded; results stay in place."""

    made = 0

    def __init__(self, work: Work, device: torch.device) -> None:
        type(self).made += 1
        self._work = work
        self.result: dict[str, Noted] = {}

    def replay(self) -> None:
        for name, (tags, table) in self._work().items():
            if name in self.result:
                self.result[name][1].copy_(table)
            else:
                self.result[name] = (tags, table.clone())


def with_graphs(stack: Stack, record: Callable[[Work, torch.device], Any] = Played) -> Stack:
    """The stack as it is on a GPU: all its steps are recorded ones."""
    config = stack.config
    stack.execution.graphs = Graphs(
        stack.execution.critic, stack.execution.generator, stack.state, stack.streams,
        stack.samplers,
        config.train.batch_size, config.loss.n_critic, lambda program: program,
        stack.execution.work.drawn, stack.execution.work.batch,
        record=record, warm_up=lambda work, device: work() and None,
    )  # fmt: skip
    return stack


SETTINGS: dict[str, Any] = {"loss.n_critic": 3, "train.steps": 12}
BURSTS: dict[str, Any] = {
    "train.burst_first_steps": 2,
    "train.burst_every_n_steps": 5,
    "train.burst_n_critic": 4,
}


@pytest.mark.parametrize("bursts", [{}, BURSTS])
@pytest.mark.parametrize("loss", ["gp", "bce", "rpgan_r1r2", "dragan"])
def test_graphs_train_as_the_programs_one_by_one(loss: str, bursts: dict[str, Any]) -> None:
    configs = alike(loss, 2, **SETTINGS, **bursts)
    plain, played = Stack(configs, CPU), with_graphs(Stack(configs, CPU))
    Played.made = 0
    for step in range(12):
        plain.iterate()
        played.iterate()
        assert played.scalars() == plain.scalars(), step
    for run in range(2):
        assert same(plain.run_states()[run], played.run_states()[run])
    assert Played.made == (3 if bursts else 1)
    assert (plain.executor, played.executor) == ("eager", "graph")


def test_a_resumed_run_goes_on_with_its_own_draws() -> None:
    configs = alike("gp", 2, **SETTINGS)
    whole = with_graphs(Stack(configs, CPU))
    for _ in range(7):
        whole.iterate()
    saved = whole.run_states()
    resumed = with_graphs(Stack(configs, CPU))
    resumed.iterate()  # its counters stand elsewhere
    for run in range(2):
        resumed.load_run_state(run, 7, saved[run])
    for _ in range(3):
        whole.iterate()
        resumed.iterate()
    for run in range(2):
        assert same(whole.run_states()[run], resumed.run_states()[run])


def test_batches_that_take_generators_are_given_from_outside() -> None:
    def sampler(n: int, source: torch.Generator) -> Tensor:
        return torch.rand(n, 2, generator=source)

    configs = alike("gp", 2, **SETTINGS)
    plain, played = Stack(configs, CPU), Stack(configs, CPU)
    for stack in (plain, played):
        stack.samplers["real"] = [sampler, sampler]
    with_graphs(played)
    for _ in range(4):
        plain.iterate()
        played.iterate()
    assert same(plain.run_states()[1], played.run_states()[1])


def test_a_frozen_stack_plays_critic_steps_alone() -> None:
    def fakes(n: int, source: torch.Generator) -> Tensor:
        return torch.rand(n, 2, generator=source)

    configs = alike("gp", 2, **SETTINGS)
    plain = FrozenStack(configs, CPU, [fakes, fakes])
    played = FrozenStack(configs, CPU, [fakes, fakes])
    with_graphs(played)
    plain.advance(5)
    played.advance(5)
    assert same(plain.run_states()[0], played.run_states()[0])


def test_preparing_trains_nothing() -> None:
    stack = with_graphs(Stack([tiny("gp", **SETTINGS)], CPU))
    before = stack.run_states()[0]
    assert stack.execution.graphs is not None
    stack.execution.graphs.prepare()
    assert same(before, stack.run_states()[0])


@pytest.mark.parametrize(
    ("bursts", "graphs"), [({}, 1), (BURSTS, 3), ({**BURSTS, "train.burst_n_critic": 3}, 1)]
)
def test_all_graphs_are_recorded_before_training_begins(
    bursts: dict[str, Any], graphs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded later counts as training time."""
    stack = with_graphs(Stack([tiny("gp", **SETTINGS, **bursts)], CPU))
    monkeypatch.setattr(execution, "wants_compilation", lambda config: True)
    Played.made = 0
    stack.compile()
    assert Played.made == graphs
    for _ in range(6):
        stack.iterate()
    assert Played.made == graphs


def test_what_cannot_be_recorded_trains_without_in_one_line() -> None:
    def refusing(work: Work, device: torch.device) -> Any:
        raise RuntimeError("operation not permitted\nand more")

    configs = [tiny("gp", **SETTINGS)]
    plain, stack = Stack(configs, CPU), with_graphs(Stack(configs, CPU), refusing)
    with pytest.warns(UserWarning, match=r"CUDA graph \(operation not permitted\): training"):
        stack.iterate()
    plain.iterate()
    stack.iterate()
    plain.iterate()
    assert stack.executor == "eager" and same(plain.run_states()[0], stack.run_states()[0])


def test_memory_that_runs_out_while_recording_is_told_as_such() -> None:
    def too_large(work: Work, device: torch.device) -> Any:
        raise RuntimeError("CUDA error: out of memory")

    stack = with_graphs(Stack([tiny("gp", **SETTINGS)], CPU), too_large)
    with pytest.raises(RuntimeError, match="out of memory") as raised:
        stack.iterate()
    assert not isinstance(raised.value, NotRecorded)


class OfDevices:
    """torch.cuda's streams and graphs, which note the device that each of them is asked on."""

    def __init__(self) -> None:
        self.current = 0
        self.asked: list[tuple[str, int]] = []

    def note(self, what: str, device: Any = None) -> Any:
        index = self.current if device is None else torch.device(device).index
        self.asked.append((what, index))
        return SimpleNamespace(wait_stream=lambda other: None, index=index)

    @contextlib.contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        before, self.current = self.current, device.index
        yield
        self.current = before

    @contextlib.contextmanager
    def on(self, what: str, stream: Any) -> Iterator[None]:
        self.asked.append((what, stream.index))
        yield


def test_a_second_gpu_is_recorded_on_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = OfDevices()
    for name, fake in {
        "device": cuda.device,
        "Stream": lambda device=None: cuda.note("Stream", device),
        "current_stream": lambda device=None: cuda.note("current_stream", device),
        "synchronize": lambda device=None: cuda.note("synchronize", device),
        "CUDAGraph": lambda: cuda.note("CUDAGraph"),
        "stream": lambda stream: cuda.on("stream", stream),
        "graph": lambda graph, stream, capture_error_mode: cuda.on("graph", stream),
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    second = torch.device("cuda:1")
    seen: list[int] = []

    def work() -> dict[str, Noted]:
        seen.append(cuda.current)
        return {}

    on_side_stream(work, second)
    assert CudaRecording(work, second).result == {}
    assert seen == [1, 1] and {index for _, index in cuda.asked} == {1}
    assert {"Stream", "stream", "graph", "CUDAGraph", "synchronize"} <= {w for w, _ in cuda.asked}
