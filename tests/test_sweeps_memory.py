"""How many runs a stack has: those that fit into memory, on a CPU as on a GPU."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch
from training_configs import tiny

from wganbench.config import RunConfig, run_id
from wganbench.config.jobs import Job
from wganbench.config.memory import MOMENTS
from wganbench.errors import ran_out
from wganbench.runs.folder import RunOutcome
from wganbench.sweeps import local
from wganbench.sweeps.backend import OutOfMemory, Refused, ReportingView
from wganbench.sweeps.cost import CONTEXT_BYTES, SAFETY, Footprint
from wganbench.sweeps.launch import runs_at_once
from wganbench.sweeps.plan import CPU_LIMIT, Slot, StackPlan
from wganbench.sweeps.worker import train_stack
from wganbench.training.optimizers import OPTIMIZERS

CPU, GPU = [Slot("cpu", 1)], [Slot("cuda:0", 1)]
NEEDED = Footprint(fixed_bytes=100, run_bytes=1000, flops=1)


def most(room: int, slots: list[Slot], config: RunConfig | None = None) -> int:
    config = config or tiny()
    group = StackPlan((Job(config, Path(run_id(config))),), 0)
    return runs_at_once(group, NEEDED, lambda: room, slots)


@pytest.mark.parametrize("slots", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("runs", [1, 3, 15])
def test_a_stack_has_as_many_runs_as_fit(slots: list[Slot], runs: int) -> None:
    own = CONTEXT_BYTES if slots is GPU else 0
    needed = int((100 + runs * 1000) * SAFETY) + own
    assert most(needed + 2, slots) == runs
    assert most(needed - 2, slots) == max(1, runs - 1)


def test_on_a_cpu_no_more_than_train_fast() -> None:
    assert most(10**9, CPU) == CPU_LIMIT < most(10**9, GPU)
    assert most(10**9, [*GPU, *CPU]) == CPU_LIMIT, "a stack may come to either"


def test_max_stack_is_the_users_word() -> None:
    assert most(10, CPU, tiny(**{"sweep.max_stack": 40})) == 40


NEEDS_MORE = torch.OutOfMemoryError("CUDA out of memory. Tried")


def caused(
    error: Exception, cause: Exception | None = None, context: Exception | None = None
) -> Exception:
    error.__cause__, error.__context__ = cause, context
    return error


def test_errors_in_a_circle_are_looked_at_once() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__context__, second.__cause__ = second, first
    assert not ran_out(first)
    second.__context__ = NEEDS_MORE
    assert ran_out(first) and ran_out(second)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        # In what launches a kernel, and in libraries.
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), OutOfMemory),
        (RuntimeError("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling"), OutOfMemory),
        # While a program is compiled, or a graph recorded: told by what it came from.
        (caused(RuntimeError("operation failed"), cause=NEEDS_MORE), OutOfMemory),
        (caused(ValueError("so there"), context=caused(KeyError(), cause=NEEDS_MORE)), OutOfMemory),
        (RuntimeError("another defect"), Refused),
        (caused(RuntimeError("a"), cause=RuntimeError("b"), context=KeyError("c")), Refused),
        (ValueError("out of memory, says a user's own code"), Refused),
    ],
)
def test_a_stack_whose_memory_ran_out_is_told_as_such_on_every_device(
    error: Exception, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("wganbench.training.runs.train_runs", fail)
    stack = StackPlan((Job(tiny("gp"), Path("run")),), 0)
    message = train_stack(stack, "cpu", ReportingView(lambda _: None, "cpu"))
    assert isinstance(message, kind) and message.message


@pytest.mark.parametrize("error", [None, NEEDS_MORE, ValueError("a defect")])
def test_what_was_compiled_for_a_stack_goes_with_it(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Graph:
        """What a compiler holds on to: a program, with all that it was recorded on."""

        def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (x * 2,)

    made: list[weakref.ref[Graph]] = []

    def backend(traced: object, inputs: object) -> Graph:
        graph = Graph()
        made.append(weakref.ref(graph))
        return graph

    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    def train(*_: object, **__: object) -> list[RunOutcome]:
        result = torch.compile(double, backend=backend)(torch.ones(3))
        assert result.tolist() == [2, 2, 2] and made[-1]() is not None
        if error:
            raise error
        return []

    monkeypatch.setattr("wganbench.training.runs.train_runs", train)
    stack = StackPlan((Job(tiny("gp"), Path("run")),), 0)
    for count in (1, 2):
        train_stack(stack, "cpu", ReportingView(lambda _: None, "cpu"))
        assert len(made) == count, "the next one is compiled again"
        assert [graph() for graph in made] == [None] * count


def test_free_memory_of_a_gpu_is_asked_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def mem_get_info(index: int) -> tuple[int, int]:
        asked.append(index)
        return 7 * 10**9, 8 * 10**9

    monkeypatch.setattr(torch.cuda, "mem_get_info", mem_get_info)
    monkeypatch.setattr(local, "ASK_DRIVER", "import sys; print(1000 + int(sys.argv[1]))")
    both = [Slot("cuda:1", 1), Slot("cuda:1", 1)]
    assert local.free_bytes(both[0], both[:1]) == 1001
    assert local.free_bytes(both[0], both) == 500, "its share"
    assert not asked, "this process has no context"
    for broken in ("import sys; print(5); sys.exit(1)", "print('?')"):
        monkeypatch.setattr(local, "ASK_DRIVER", broken)
        assert local.free_gpu_bytes(1) == 7 * 10**9
    assert asked == [1, 1]


def test_the_bound_on_memory_counts_what_each_optimizer_keeps() -> None:
    assert {name: len(row.moments) for name, row in OPTIMIZERS.items()} == MOMENTS
