"""Where a run is computed: devices by name, threads by size."""

from __future__ import annotations

import os

import pytest
import torch
from stepwise import after
from training_configs import CPU, alike, same, tiny, trained

from wganbench.config import ConfigError
from wganbench.config.jobs import Job
from wganbench.config.schema import static_settings
from wganbench.sweeps.launch import precision_notes_of
from wganbench.sweeps.local import LocalBackend
from wganbench.sweeps.plan import local_slots
from wganbench.training.device import (
    KEPT,
    RETURNED,
    fitting_cpu,
    gpu_count,
    pick_device,
    precision_notes,
    prepare,
    products,
    set_products,
)
from wganbench.training.stack import Stack
from wganbench.training.step import Algorithm


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_inside(stack: Stack) -> int:
    with fitting_cpu(stack):
        inside = torch.get_num_threads()
    assert torch.get_num_threads() == 2
    return inside


def test_small_stacks_train_on_one_thread_and_large_ones_on_all(two_threads, monkeypatch):
    small = Stack([tiny()], CPU)
    assert threads_inside(small) == 1
    large = Stack(alike("gp", 2, **{"network.width": 128, "train.batch_size": 256}), CPU)
    assert threads_inside(large) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_inside(small) == 2


def test_freed_memory_is_returned_by_a_run_that_our_code_trains_alone(two_threads, monkeypatch):
    asked: list[object] = []
    monkeypatch.setattr("wganbench.training.device.set_malloc", asked.append)
    stack = Stack([tiny(compile="false")], CPU)
    assert stack.executor == "eager"
    with fitting_cpu(stack):
        assert asked == [KEPT]
    ours = Stack([tiny(compile="true")], CPU)
    assert ours.executor == "native"
    with fitting_cpu(ours):
        assert asked == [KEPT, RETURNED]
    several = Stack(alike("gp", 2, compile="true"), CPU)
    assert several.executor == "native"
    with fitting_cpu(several):
        assert asked == [KEPT, RETURNED, KEPT]
    stack.device = torch.device("meta")
    with fitting_cpu(stack):
        assert torch.get_num_threads() == 2
    assert len(asked) == 3


def test_the_number_of_threads_changes_no_bit(two_threads):
    config = tiny(**{"network.width": 64, "train.batch_size": 256})
    one, two = (after([config], threads).run_states()[0] for threads in (1, 2))
    assert same(one, two)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:", "mps", "cpu:first", "cpu:1", ""])
def test_a_name_that_is_no_device_is_told(name):
    with pytest.raises(ConfigError, match=f"^device={name} is not a device; use auto"):
        pick_device(name)


@pytest.mark.parametrize("count", [1, 4])
def test_devices_beyond_those_there_are_told(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert pick_device("auto").type == "cuda"
    assert pick_device(f"cuda:{count - 1}") == torch.device("cuda", count - 1)
    with pytest.raises(ConfigError, match=f"has {count}"):
        pick_device(f"cuda:{count}")


class Driver:
    """The CUDA driver's library, which gives a process ``count`` GPUs."""

    def __init__(self, count, works=True):
        self.count, self.works = count, works

    def cuInit(self, flags):  # noqa: N802
        return 0 if self.works else 100

    def cuDeviceGetCount(self, found):  # noqa: N802
        found._obj.value = self.count
        return 0


@pytest.mark.parametrize(
    ("torchs", "driver", "usable"),
    [(4, Driver(1), 1), (4, Driver(4), 4), (4, Driver(0, works=False), 4), (4, None, 4),
     (1, Driver(0), 1), (0, Driver(3), 0), (2, Driver(4), 2)],
)  # fmt: skip
def test_parts_of_gpus_are_counted_by_the_driver(torchs, driver, usable, monkeypatch):
    """torch counts four GPUs that are divided (MIG), of which CUDA gives a process one part."""

    def library(name):
        if driver is None:
            raise OSError(f"{name}: cannot open")
        return driver

    monkeypatch.setattr(torch.cuda, "is_available", lambda: torchs > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: torchs)
    monkeypatch.setattr("wganbench.training.device.ctypes.CDLL", library)
    assert gpu_count() == usable
    auto = LocalBackend().slots(tiny(device="auto"))
    assert len({slot.device for slot in auto if slot.device != "cpu"}) == usable
    with pytest.raises(ConfigError, match=f"has {usable}" if usable else "no CUDA GPU"):
        pick_device(f"cuda:{usable}")


def test_a_number_may_be_written_in_other_ways(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:01") == torch.device("cuda", 1)
    names = ["cuda:1", "cuda:01", "cuda:\u0661"]
    assert [slot.device for slot in local_slots(names, 1, gpus=2, cores=2)] == ["cuda:1"]


def test_whoever_takes_a_gpu_may_train_deterministically_later(before, monkeypatch):
    """cuBLAS reads its workspace at the first product, which may be that of `sample`."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    pick_device("cpu")
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    pick_device("auto")
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    pick_device("cuda:0")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="no CUDA GPU"):
        pick_device("cuda")


CUDA = torch.device("cuda")


def switches() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture(params=[("highest", True), ("medium", False)])
def before(request, monkeypatch):
    """torch's two switches as somebody left them; as they were afterwards."""
    was = switches()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_products(*request.param)
    yield request.param
    set_products(*was)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("tf32", [False, True])
def test_products_and_convolutions_are_switched_together_and_back(tf32, before):
    with products(CUDA, tf32):
        assert switches() == (("high", True) if tf32 else ("highest", False))
    with pytest.raises(ZeroDivisionError), products(CUDA, tf32):
        raise ZeroDivisionError
    assert switches() == before
    with products(CPU, tf32):
        assert switches() == before, "not for a CPU"


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_process_that_trains_on_a_gpu_is_in_true_fp32_with_a_fixed_workspace(
    deterministic, before
):
    prepare(tiny(precision="tf32", deterministic=deterministic), CPU)
    assert switches() == before and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    prepare(tiny(precision="tf32", deterministic=deterministic), CUDA)
    assert switches() == ("highest", False)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.are_deterministic_algorithms_enabled() is deterministic


def test_a_device_with_a_number_becomes_the_current_one(before, monkeypatch):
    chosen: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for device in (CPU, CUDA, torch.device("cuda:1")):
        prepare(tiny(), device)
    assert chosen == [torch.device("cuda:1")]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_steps_alone_are_in_tf32_and_what_is_measured_never(precision, before, monkeypatch):
    stack = Stack([tiny("gp", precision=precision)], CPU)
    seen: dict[str, tuple[str, bool]] = {}
    for name in ("critic", "generator"):
        program = getattr(stack.execution, name)

        def told(*arguments, name=name, program=program):
            seen[name] = switches()
            return program(*arguments)

        monkeypatch.setattr(stack.execution, name, told)
    measure = Algorithm.probe

    def probe(*arguments):
        seen["probe"] = switches()
        return measure(*arguments)

    monkeypatch.setattr(Algorithm, "probe", probe)
    stack.device = stack.execution.work.device = CUDA  # the tensors stay where they are
    stack.iterate()
    stack.probe(10)
    stepping = ("high", True) if precision == "tf32" else ("highest", False)
    assert seen == {"critic": stepping, "generator": stepping, "probe": ("highest", False)}
    assert switches() == before


def test_tf32_on_a_cpu_is_fp32_and_is_told_in_a_line(tmp_path):
    plain, tf32 = tiny("gp"), tiny("gp", precision="tf32")
    assert same(*(trained([config], 1).run_states()[0] for config in (plain, tf32)))
    assert precision_notes(plain, "cpu") == precision_notes(tf32, "cuda") == ()
    (line,) = precision_notes(tf32, "cpu")
    assert line.startswith("precision=tf32 is fp32 here")
    job = Job(tf32, tmp_path / "a")
    assert precision_notes_of([job, job], "cpu") == (line,)
    assert precision_notes_of([job], "cuda") == ()
    assert static_settings(plain) != static_settings(tf32), "never in one stack"
