"""Workers that are forked from one process, and what becomes of them when processes die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from wganbench.sweeps import workers as module
from wganbench.sweeps.workers import Child, Nursery, early_nursery, nursery

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
PATIENCE = 60.0


@pytest.fixture(scope="module")
def home() -> Iterator[Nursery]:
    with nursery() as begun:
        yield begun


@pytest.fixture
def worker(home: Nursery) -> Iterator[Callable[[str], Child]]:
    begun: list[Child] = []

    def start(device: str = "cpu") -> Child:
        begun.append(home.start(device, 1))
        return begun[-1]

    yield start
    for child in begun:
        child.connection.close()
        child.signal(signal.SIGKILL)
        child.wait()


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def gone(pid: int) -> bool:
    """Whether a process is no more, or only waits to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_workers_of_a_cpu_share_what_was_imported(worker: Callable[[str], Child]) -> None:
    first, second = worker("cpu"), worker("cpu")
    assert first.pid != second.pid and parent(first.pid) == parent(second.pid)
    for child in (first, second):
        assert "sweeps.nursery" in command(child.pid)
        assert "libtorch_cpu" in Path(f"/proc/{child.pid}/maps").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the driver can be begun")
def test_a_worker_that_cannot_begin_the_driver_imports_for_itself(
    worker: Callable[[str], Child],
) -> None:
    child = worker("cuda:1")
    until(lambda: "sweeps.worker" in command(child.pid))
    assert command(child.pid).split()[-3:] == ["cuda:1", "1", str(parent(child.pid))]


def test_a_fork_stays_where_it_can_use_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    zeros = torch.zeros

    def begin(count: int, device: str) -> torch.Tensor:
        asked.append(device)
        if device == "cuda:1":
            raise RuntimeError("CUDA driver: initialization error")
        return zeros(count)

    monkeypatch.setattr(torch, "zeros", begin)
    stay = {device: module._can_stay(device) for device in ("cpu", "cuda:0", "cuda:1")}
    assert stay == {"cpu": True, "cuda:0": True, "cuda:1": False}
    assert asked == ["cuda:0", "cuda:1"], "nobody begins a driver for a CPU"
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert not module._can_stay("cpu")


def test_what_workers_are_forked_from_has_begun_no_driver() -> None:
    code = (
        "import os; os.environ['PYTORCH_NVML_BASED_CUDA_CHECK'] = '1'\n"
        "from wganbench.sweeps import nursery; nursery._import_all()\n"
        "import torch; print(torch.cuda.is_initialized())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert told.stdout.strip() == "False"


def test_a_worker_is_where_the_sweep_is(
    worker: Callable[[str], Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    child = worker("cpu")
    until(lambda: Path(f"/proc/{child.pid}/cwd").resolve() == tmp_path.resolve())


def test_a_dead_workers_connection_ends_and_others_live(worker: Callable[[str], Child]) -> None:
    before, child, after = worker("cpu"), worker("cpu"), worker("cpu")
    child.signal(signal.SIGKILL)
    assert child.connection.poll(PATIENCE)
    with pytest.raises((EOFError, OSError)):
        child.connection.recv()
    assert child.wait() == -signal.SIGKILL
    assert not before.connection.poll() and not after.connection.poll()
    assert not gone(before.pid) and not gone(after.pid)


def test_a_worker_whose_sweep_wants_no_more_ends_well(worker: Callable[[str], Child]) -> None:
    child = worker("cpu")
    child.connection.close()
    assert child.wait() == 0


def test_when_the_nursery_dies_its_workers_end_and_another_begins() -> None:
    begun = Nursery()
    try:
        lost = begun.start("cpu", 1)
        os.kill(parent(lost.pid), signal.SIGKILL)
        until(lambda: gone(lost.pid))
        assert lost.wait() is None
        until(lambda: begun._process.poll() is not None)
        child = begun.start("cpu", 1)
        assert "sweeps.nursery" in command(child.pid)
        assert lost.wait() is None, "it was not this one's"
    finally:
        begun.close()
    until(lambda: gone(child.pid))


def test_one_that_is_killed_while_it_starts_a_worker_is_begun_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []

    class Fragile(Nursery):
        def __init__(self) -> None:
            self._process = SimpleNamespace(poll=lambda: None)  # type: ignore[assignment]

        def _begin(self) -> None:
            happened.append("begun")

        def close(self) -> None:
            happened.append("closed")

        def _start(self, device: str, threads: int) -> Child:
            if happened.count("begun") < deaths:
                raise (EOFError, BrokenPipeError)[happened.count("begun") % 2]
            return Child(1, Pipe()[0], self)

    deaths = 2
    assert Fragile().start("cpu", 1).pid == 1
    assert happened == ["closed", "begun"] * 2
    deaths = 1000
    with pytest.raises(OSError, match="killed each time"):
        Fragile().start("cpu", 1)


def test_nothing_outlives_a_sweep_that_is_killed() -> None:
    program = (
        "from wganbench.sweeps.workers import Nursery; import time; begun = Nursery();"
        "print(begun._process.pid, begun.start('cpu', 1).pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2 and not any(gone(pid) for pid in pids)
        process.kill()
        process.stdout.close()
    until(lambda: all(gone(pid) for pid in pids))


def test_there_is_one_at_a_time_and_only_while_it_is_used(
    home: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nursery() as inner:
        assert inner is home
    assert home._process.poll() is None, "its own block goes on"
    monkeypatch.setattr(module, "_open", [])
    with early_nursery(["loss=gp", "seed=0,1"]) as early, nursery() as inner:
        assert early is inner is not home
    assert inner._process.poll() is not None and not module._open


@pytest.mark.parametrize("words", [["--plan"], ["--cfg", "job"], ["hydra/launcher=ray"]])
def test_a_sweep_that_trains_elsewhere_or_not_at_all_has_none_early(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_open", [])
    with early_nursery(["loss=gp", *words]):
        assert not module._open
