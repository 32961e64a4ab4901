"""Workers that are forked from one process, and what becomes of them when processes die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import Context
from multiprocessing.connection import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from wganbench.sweeps import fork_server
from wganbench.sweeps.workers import Worker, Workers, early_workers, workers_in_use

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
PATIENCE = 60.0


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with workers_in_use() as started:
        yield started


@pytest.fixture
def worker(workers: Workers) -> Iterator[Callable[[str], Worker]]:
    every: list[Worker] = []

    def start(device: str = "cpu") -> Worker:
        every.append(workers.start(device, 1))
        return every[-1]

    yield start
    for one in every:
        one.connection.close()
        one.signal(signal.SIGKILL)
        one.wait()


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def gone(pid: int) -> bool:
    """Whether a process is no more, or is only waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_workers_of_a_cpu_share_what_was_imported(worker: Callable[[str], Worker]) -> None:
    first, second = worker("cpu"), worker("cpu")
    assert first.pid != second.pid and parent(first.pid) == parent(second.pid)
    for one in (first, second):
        assert "sweeps.fork_server" in command(one.pid)
        assert "libtorch_cpu" in Path(f"/proc/{one.pid}/maps").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="here the driver can be started")
@pytest.mark.slow
def test_a_worker_that_cannot_start_the_driver_imports_for_itself(
    worker: Callable[[str], Worker],
) -> None:
    one = worker("cuda:1")
    until(lambda: "sweeps.worker" in command(one.pid))
    assert command(one.pid).split()[-3:] == ["cuda:1", "1", str(parent(one.pid))]
    one.connection.close()
    assert one.wait() == 0


def test_a_fork_stays_where_it_can_use_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    zeros = torch.zeros

    def start(count: int, device: str) -> torch.Tensor:
        asked.append(device)
        if device == "cuda:1":
            raise RuntimeError("CUDA driver: initialization error")
        return zeros(count)

    monkeypatch.setattr(torch, "zeros", start)
    stay = {device: fork_server.can_stay(device) for device in ("cpu", "cuda:0", "cuda:1")}
    assert stay == {"cpu": True, "cuda:0": True, "cuda:1": False}
    assert asked == ["cuda:0", "cuda:1"], "nobody starts a driver for a CPU"
    monkeypatch.setattr(fork_server.sys, "platform", "darwin")
    assert not fork_server.can_stay("cpu")


@pytest.mark.slow
def test_what_workers_are_forked_from_has_started_no_driver() -> None:
    code = (
        "import os; os.environ['PYTORCH_NVML_BASED_CUDA_CHECK'] = '1'\n"
        "from wganbench.sweeps import fork_server; fork_server.import_all()\n"
        "import torch; print(torch.cuda.is_initialized())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert told.stdout.strip() == "False"


def test_a_worker_is_where_the_sweep_is(
    worker: Callable[[str], Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = worker("cpu")
    until(lambda: Path(f"/proc/{one.pid}/cwd").resolve() == tmp_path.resolve())


def test_a_dead_workers_connection_ends_and_others_live(worker: Callable[[str], Worker]) -> None:
    before, one, after = worker("cpu"), worker("cpu"), worker("cpu")
    one.signal(signal.SIGKILL)
    assert one.connection.poll(PATIENCE)
    with pytest.raises((EOFError, OSError)):
        one.connection.recv()
    assert one.wait() == -signal.SIGKILL
    assert not before.connection.poll() and not after.connection.poll()
    assert not gone(before.pid) and not gone(after.pid)


def test_a_worker_whose_sweep_wants_no_more_ends_well(worker: Callable[[str], Worker]) -> None:
    one = worker("cpu")
    one.connection.close()
    assert one.wait() == 0


@pytest.mark.slow
def test_when_the_fork_server_dies_its_workers_end_and_another_starts() -> None:
    started = Workers()
    try:
        lost = started.start("cpu", 1)
        os.kill(parent(lost.pid), signal.SIGKILL)
        until(lambda: gone(lost.pid))
        assert lost.wait() is None
        until(lambda: started._server.poll() is not None)
        one = started.start("cpu", 1)
        assert "sweeps.fork_server" in command(one.pid)
        assert lost.wait() is None, "it was not this one's"
    finally:
        started.close()
    until(lambda: gone(one.pid))


def test_one_that_is_killed_while_it_starts_a_worker_is_replaced() -> None:
    happened: list[str] = []

    class Fragile(Workers):
        def __init__(self) -> None:
            self._server = SimpleNamespace(poll=lambda: None)  # type: ignore[assignment]

        def _start_server(self) -> None:
            happened.append("started")

        def close(self) -> None:
            happened.append("closed")

        def _start(self, device: str, threads: int, compiles: bool) -> Worker:
            if happened.count("started") < deaths:
                raise (EOFError, BrokenPipeError)[happened.count("started") % 2]
            return Worker(1, Pipe()[0], self)

    deaths = 2
    assert Fragile().start("cpu", 1).pid == 1
    assert happened == ["closed", "started"] * 2
    deaths = 1000
    with pytest.raises(OSError, match="killed each time"):
        Fragile().start("cpu", 1)


@pytest.mark.slow
def test_nothing_outlives_a_sweep_that_is_killed() -> None:
    program = (
        "from wganbench.sweeps.workers import Workers; import time; started = Workers();"
        "print(started._server.pid, started.start('cpu', 1).pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2 and not any(gone(pid) for pid in pids)
        process.kill()
        process.stdout.close()
    until(lambda: all(gone(pid) for pid in pids))


def test_there_is_one_at_a_time_and_only_while_it_is_used(workers: Workers) -> None:
    with workers_in_use() as inner:
        assert inner is workers
    assert workers._server.poll() is None, "its own block goes on"

    def aone() -> Workers:
        with early_workers(["loss=gp", "seed=0,1"]) as early, workers_in_use() as inner:
            assert early is inner is not workers
        return inner

    ended = Context().run(aone)
    assert ended._server.poll() is not None


@pytest.mark.parametrize("words", [["--plan"], ["--cfg", "job"], ["hydra/launcher=ray"]])
def test_a_sweep_that_trains_elsewhere_or_not_at_all_has_none_early(words: list[str]) -> None:
    with early_workers(["loss=gp", *words]) as early:
        assert early is None


SCRIPT = """
print("run as", __name__, flush=True)
import multiprocessing, os
from pathlib import Path
from wganbench.sweeps.workers import Workers

multiprocessing.current_process()._config["daemon"] = True  # as in a multiprocessing.Pool
os.environ["SWEPT_BY"] = "script"
workers = Workers()
worker = workers.start("cpu", 1)
inherited = Path(f"/proc/{worker.pid}/environ").read_text().split(chr(0))
worker.connection.close()
print(worker.wait(), "SWEPT_BY=script" in inherited, flush=True)
workers.close()
multiprocessing.set_start_method("spawn")
print("end", flush=True)
"""


@pytest.mark.slow
def test_a_users_script_is_not_run_again_and_its_own_processes_stay_its_own(
    tmp_path: Path,
) -> None:
    """Without a guard, in a folder with a stranger's modules; multiprocessing's fails in each."""
    (tmp_path / "script.py").write_text(SCRIPT)
    strange = tmp_path / "strange"
    strange.mkdir()
    for module in ("selectors", "torch", "ot"):
        (strange / f"{module}.py").write_text("print('a stranger ran', flush=True)")
    ran = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        cwd=strange,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.stdout.splitlines() == ["run as __main__", "0 True", "end"], ran.stderr
