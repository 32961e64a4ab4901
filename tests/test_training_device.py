"""Where a run is computed: devices by name, threads by size."""

from __future__ import annotations

import pytest
import torch
from training_configs import CPU, alike, tiny

from wganbench.config import ConfigError
from wganbench.training.device import fitting_cpu, pick_device
from wganbench.training.stack import Stack


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


def test_only_a_cpu_is_asked_to_keep_freed_memory(two_threads, monkeypatch):
    asked: list[bool] = []
    monkeypatch.setattr("wganbench.training.device.keep_freed_memory", lambda: asked.append(True))
    stack = Stack([tiny()], CPU)
    with fitting_cpu(stack):
        assert asked == [True]
    stack.device = torch.device("meta")
    with fitting_cpu(stack):
        assert torch.get_num_threads() == 2
    assert asked == [True]


def test_the_number_of_threads_changes_no_bit(two_threads):
    config = tiny(**{"network.width": 64, "train.batch_size": 256})
    states = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        stack = Stack([config], CPU)
        for _ in range(3):
            stack.iterate()
        states.append(stack.run_state(0))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "mps", "cpu:first", ""])
def test_a_name_that_is_no_device_is_told(name):
    with pytest.raises(ConfigError, match="device="):
        pick_device(name)


@pytest.mark.parametrize("count", [1, 4])
def test_devices_beyond_those_there_are_told(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert pick_device("auto").type == "cuda"
    assert pick_device(f"cuda:{count - 1}") == torch.device("cuda", count - 1)
    with pytest.raises(ConfigError, match=f"has {count}"):
        pick_device(f"cuda:{count}")


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="no CUDA GPU"):
        pick_device("cuda")
