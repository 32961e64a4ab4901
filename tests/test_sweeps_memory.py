"""How many runs a stack has: those that fit into memory, on a CPU as on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_configs import tiny

from wganbench.config import RunConfig, run_id
from wganbench.config.jobs import Job
from wganbench.sweeps.footprint import SAFETY, Footprint
from wganbench.sweeps.launch import runs_at_once
from wganbench.sweeps.messages import OutOfMemory, Refused, TellingView
from wganbench.sweeps.planning import CPU_LIMIT, StackPlan
from wganbench.sweeps.slots import Slot
from wganbench.sweeps.training import train_stack

CPU, GPU = [Slot("cpu", 1)], [Slot("cuda:0", 1)]
NEEDED = Footprint(fixed_bytes=100, run_bytes=1000, flops=1)


def most(room: int, slots: list[Slot], config: RunConfig | None = None) -> int:
    config = config or tiny()
    group = StackPlan((Job(config, Path(run_id(config))),), 0)
    return runs_at_once(group, NEEDED, lambda: room, slots)


@pytest.mark.parametrize("slots", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("runs", [1, 3, 15])
def test_a_stack_has_as_many_runs_as_fit(slots: list[Slot], runs: int) -> None:
    enough = int((100 + runs * 1000) * SAFETY) + 2
    assert most(enough, slots) == runs
    assert most(int((100 + runs * 1000) * SAFETY) - 2, slots) == max(1, runs - 1)


def test_on_a_cpu_no_more_than_train_fast() -> None:
    assert most(10**9, CPU) == CPU_LIMIT < most(10**9, GPU)
    assert most(10**9, [*GPU, *CPU]) == CPU_LIMIT, "a stack may come to either"


def test_max_stack_is_the_users_word() -> None:
    assert most(10, CPU, tiny(**{"sweep.max_stack": 40})) == 40


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (RuntimeError("another defect"), Refused),
    ],
)
def test_a_stack_whose_memory_ran_out_is_told_as_such_on_every_device(
    error: Exception, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("wganbench.training.runs.train_runs", fail)
    stack = StackPlan((Job(tiny("gp"), Path("run")),), 0)
    message = train_stack(stack, "cpu", TellingView(lambda _: None, "cpu"))
    assert isinstance(message, kind) and message.message
