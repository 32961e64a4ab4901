"""Measuring beside training: the same records, in order, bounded, and no row lost."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import threadpoolctl
import torch
from matplotlib.figure import Figure
from test_training_runs import TIMES, after_step, ask_to_stop, points, rows
from training_configs import CPU, alike, same, saved, tiny

from wganbench.config import RunConfig, compose, to_dict
from wganbench.runs.folder import RunFolder
from wganbench.training import jobs, loop, pool_processes, runs
from wganbench.training import pool as pool_module
from wganbench.training.checkpoint import Checkpoint, load_checkpoint, previous
from wganbench.training.jobs import Evaluate, Evaluated
from wganbench.training.loop import Clock, saving, train_loop
from wganbench.training.measuring import GRID, read_runs, stack_floor, with_figure_data
from wganbench.training.native.executor import Native
from wganbench.training.pool import (
    AHEAD,
    AHEAD_OF_PROCESSES,
    ProcessPool,
    measurers,
)
from wganbench.training.process import StopRequest, unstopped
from wganbench.training.recorder import Recorder, Rows, Saved, columns
from wganbench.training.runs import train_run, train_runs
from wganbench.training.stack import Stack

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
import kill_runs  # noqa: E402

RECORDED: dict[str, Any] = {
    "train.steps": 8,
    "log.every_n_steps": 1,
    "log.tensorboard": True,
    "log.picture_every_n_steps": 8,
    "evaluate.every_n_steps": 4,
    "evaluate.final_draws": 2,
    "checkpoint.every_n_steps": 4,
}


def trained(configs: list[RunConfig], folder: Path) -> list[Path]:
    folders = [folder / str(run) for run in range(len(configs))]
    outcomes = train_runs(configs, folders)
    assert [outcome.status for outcome in outcomes] == ["completed"] * len(configs)
    return folders


def record(folder: Path) -> dict[str, Any]:
    """run.json but for times and places."""
    stored = json.loads((folder / "run.json").read_text())
    for name in ("seconds", "steps_per_second", "compile_seconds", *TIMES):
        stored.pop(name, None)
        stored["metrics"].pop(name, None)
    return dict(stored)


def assert_equal(folder: Path, other: Path) -> None:
    assert same(saved(folder), saved(other))
    assert rows(folder) == rows(other)
    assert list(points(folder).items()) == list(points(other).items()), "in the same order"
    assert record(folder) == record(other)
    for name in ("samples.npz", "figure.png"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of a stack that the process itself has measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        return trained(alike("clip", 2, **RECORDED), tmp_path_factory.mktemp("own"))


# Equal records.
def test_processes_leave_the_same_records(
    pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "measurers", lambda *_: 2)
    for there, here in zip(pair, trained(alike("clip", 2, **RECORDED), tmp_path), strict=True):
        assert_equal(there, here)


def test_a_process_that_is_killed_costs_no_row(
    pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ProcessPool] = []

    class Doomed(ProcessPool):
        def __init__(self, *words: Any) -> None:
            super().__init__(*words)
            made.append(self)

    monkeypatch.setattr(pool_module, "ProcessPool", Doomed)
    monkeypatch.setattr(runs, "measurers", lambda *_: 1)
    after_step(monkeypatch, 3, lambda: os.killpg(made[0]._processes.pid, signal.SIGKILL))
    said: list[str] = []

    class View(runs.SilentView):
        def say(self, line: str) -> None:
            said.append(line)

    folders = [tmp_path / str(run) for run in range(2)]
    train_runs(alike("clip", 2, **RECORDED), folders, View())
    for there, here in zip(pair, folders, strict=True):
        assert_equal(there, here)
    assert len([line for line in said if "is gone" in line]) in (1, 2), said


@pytest.mark.slow
def test_a_stop_and_a_resume_with_processes_end_where_they_would_have(
    pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RECORDED | {"log.figure": False, "log.picture_every_n_steps": 1000}
    configs, folders = alike("clip", 2, **settings), [tmp_path / "0", tmp_path / "1"]
    monkeypatch.setattr(runs, "measurers", lambda *_: 1)
    with monkeypatch.context() as patch:
        after_step(patch, 5, ask_to_stop)
        stopped = train_runs(configs, folders)
    assert [(outcome.status, outcome.step) for outcome in stopped] == [("interrupted", 5)] * 2
    assert [row["step"] for row in rows(folders[0])] == list("012345")
    for there, here in zip(pair, trained(configs, tmp_path), strict=True):
        assert same(saved(there), saved(here)) and rows(there) == rows(here)
        assert record(there)["metrics"] == record(here)["metrics"]


DYING = """
import json, os, signal, sys, threading
from pathlib import Path
import torch
torch.set_num_threads(1)
from wganbench.config.check import from_dict
from wganbench.training import pool, runs

class Late(pool.InProcess):
    # Nobody measures before he is waited for, and files are written by a thread.
    def submit(self, job):
        answer = super().submit(job)
        answer.ready = False
        return answer
    def write_later(self, write):
        self.wait_for_writes()
        self.thread = threading.Thread(target=write)
        self.thread.start()
    def wait_for_writes(self):
        if hasattr(self, "thread"):
            self.thread.join()

pool.ProcessPool = lambda subject, count, say: Late(subject)
runs.measurers = lambda *_: 1
config, folder = from_dict(json.loads(sys.argv[1])), Path(sys.argv[2])
state = {"at": -1, "count": 0, "own": ""}
EVENTS = ("open", "os.rename", "os.link", "os.remove")

def hook(event, words):
    if event in EVENTS and state["own"] and state["own"] in os.fsdecode(str(words[0])):
        state["count"] += 1
        if state["count"] == state["at"]:
            os.kill(os.getpid(), signal.SIGKILL)

def train(name, at):
    state.update(at=at, count=0, own=str(folder / name))
    runs.train_run(config, folder / name)
    state["own"] = ""

sys.addaudithook(hook)
train("peace", -1)
total, deaths = state["count"], int(sys.argv[3])
for number in range(deaths):
    pid = os.fork()
    if pid == 0:
        train(f"{number}", 1 + number * total // deaths)
        os._exit(0)
    os.waitpid(pid, 0)
print(total)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
def test_killed_at_any_file_it_is_whole_and_goes_on(tmp_path: Path) -> None:
    """Of a run whose rows and checkpoints are late: no checkpoint runs ahead of its rows."""
    settings = {"log.figure": False, "log.picture_every_n_steps": 1000, "evaluate.final_draws": 1,
                "evaluate.every_n_steps": 1, "checkpoint.every_n_steps": 2}  # fmt: skip
    config, deaths = tiny("clip", **(RECORDED | settings)), 16
    words = [sys.executable, "-c", DYING, json.dumps(to_dict(config)), str(tmp_path), str(deaths)]
    child = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0 and int(child.stdout) > deaths, child.stderr
    steps = set()
    for number in range(deaths):
        folder = tmp_path / str(number)
        step = -1
        if (folder / "checkpoint.pt").exists():
            step = load_checkpoint(folder / "checkpoint.pt").step
            assert [int(row["step"]) for row in rows(folder)][: step + 1] == list(range(step + 1))
        steps.add(step)
        assert train_run(config, folder).status == "completed"
        assert same(saved(folder), saved(tmp_path / "peace"))
        assert rows(folder) == rows(tmp_path / "peace")
        assert points(folder) == points(tmp_path / "peace")
    assert steps >= {-1, 2, 4, 6}, "it died everywhere"


@pytest.mark.slow
def test_the_script_that_kills_trains_beside_one_that_measures(tmp_path: Path) -> None:
    settings = ["train.steps=4", "checkpoint.every_n_steps=2", "compile=false"]
    words = [sys.executable, "-c", kill_runs.BESIDE, "train", *kill_runs.SETTINGS, *settings]
    child = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr


# The end.
def test_runs_are_complete_as_soon_as_they_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = alike("gp", 3, **{"log.figure": False})
    folders = [tmp_path / str(run) for run in range(3)]
    measure, count = jobs.measure_reading, list[int]()

    def and_stop(*words: Any) -> dict[str, float]:
        count.append(1)
        if len(count) == 2:
            assert json.loads((folders[0] / "run.json").read_text())["status"] == "completed"
            ask_to_stop()
        return measure(*words)

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "measure_reading", and_stop)
        outcomes = train_runs(configs, folders)
    assert [outcome.status for outcome in outcomes] == ["completed", "completed", "interrupted"]
    assert not (folders[2] / "samples.npz").exists()
    again = train_runs(configs, folders)
    assert [outcome.status for outcome in again] == ["completed"] * 3
    assert again[0].metrics == outcomes[0].metrics


@pytest.mark.slow
def test_a_sweep_shows_tensorboard_its_last_pictures_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "progress_figure", lambda *_: Figure(figsize=(1, 1)))
    usual = compose([]).log.picture_every_n_steps
    shown: dict[tuple[bool, int], set[bool]] = {}
    found: list[bool] = []
    monkeypatch.setattr(loop, "_shows", lambda *words: bool(found.append(words[2])))
    for several in (False, True):
        for every in (usual, 1):
            found.clear()
            settings = {"log.tensorboard": True, "log.picture_every_n_steps": every}
            config = tiny(**settings, **{"evaluate.every_n_steps": 4, "log.figure": False})
            train_runs([config], [tmp_path / f"{several}{every}"], several=several)
            shown[several, every] = set(found)
    monkeypatch.undo()
    config = tiny(**{"log.picture_every_n_steps": 2})
    assert [step for step in range(5) if loop._shows(step, config)] == [2, 4]
    assert [step for step in range(5) if loop._shows(step, config, True)] == [4]


# Jobs.
def test_a_job_takes_its_own_runs_arrays_alone_and_comes_back_whole() -> None:
    stack = Stack(alike("clip", 8, **{"log.tensorboard": True}), CPU)
    stack_floor(stack, 500)
    reading = with_figure_data(stack, 3, read_runs(stack, 500)[3])
    job = Evaluate(reading, dict(stack.floors), shows=True, histograms=True)
    sent = pickle.dumps(job, protocol=5)
    own = sum(4 * values.numel() for values in (*reading.points.values(), reading.weights))
    assert len(sent) < own + 4 * GRID**2 + 6000, "not those of the other seven"
    again = pickle.loads(sent)
    assert torch.equal(again.reading.points["fakes"], reading.points["fakes"])
    one, other = job(stack), again(stack)
    assert one == other and one.records and one.values["critic/weights_at_clip"] >= 0


def full() -> None:
    raise OSError(28, "no space left on device")


def test_what_a_process_cannot_do_is_done_here_and_raises_here() -> None:
    stack = Stack([tiny(**RECORDED)], CPU)
    said: list[str] = []
    pool = ProcessPool(stack, 1, said.append)
    try:
        (reading,) = read_runs(stack, 10)
        stack_floor(stack, 10)
        good = pool.submit(Evaluate(reading, dict(stack.floors)))
        assert good.get() == Evaluate(reading, dict(stack.floors))(stack)
        del reading.points["feedback"]
        broken = pool.submit(Evaluate(reading, dict(stack.floors)))
        with pytest.raises(KeyError, match="feedback"):
            broken.get()
        assert said == []
        written: list[int] = []
        pool.write_later(lambda: written.append(1))
        with pytest.raises(OSError, match="no space"):  # noqa: PT012  (by either of the two)
            pool.write_later(full)
            for number in (2, 3):
                pool.write_later(lambda number=number: written.append(number))
            pool.wait_for_writes()
        assert written == [1], "nothing is written past a gap"
    finally:
        pool.close()


# Processes that are forked early and kept.
@pytest.fixture
def kept() -> Iterator[pool_processes.Processes]:
    """Two processes that this one has forked before it used a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_processes, "_kept", [])
        pool_processes.fork_early(2)
        (made,) = pool_processes._kept
        yield made
        made.end()


def answered(pool: ProcessPool, stack: Stack) -> None:
    """Let the pool's processes do four jobs, as this process does them."""
    readings = read_runs(stack, 10) * 2
    stack_floor(stack, 10)
    pending = [pool.submit(Evaluate(reading, dict(stack.floors))) for reading in readings]
    for answer, reading in zip(pending, readings, strict=True):
        assert answer.get() == Evaluate(reading, dict(stack.floors))(stack)


def test_pools_that_follow_each_other_share_the_processes_that_were_forked(
    kept: pool_processes.Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_processes, "start", lambda count: pytest.fail("starts Python anew"))
    said: list[str] = []
    for loss in ("clip", "gp"):  # a later stack has other settings
        stack = Stack(alike(loss, 2, **RECORDED), CPU)
        pool = ProcessPool(stack, 2, said.append)
        answered(pool, stack)
        pool.close()
        assert not kept.ended
    assert said == []
    assert os.getpgid(kept.pid) == kept.pid != os.getpgid(0), "out of reach of the terminal"


@dataclass(frozen=True)
class Surroundings:
    """A job that tells which threads and GPUs its process has."""

    floors: ClassVar[dict[int, Any]] = {}

    def __call__(self, subject: Any) -> tuple[set[int], str]:
        threads = {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
        return threads | {torch.get_num_threads()}, os.environ["CUDA_VISIBLE_DEVICES"]


def test_forked_processes_have_one_thread_and_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_processes, "_kept", [])
    before = torch.get_num_threads()
    with threadpoolctl.threadpool_limits(2):
        torch.set_num_threads(2)
        pool_processes.fork_early(1)
    torch.set_num_threads(before)
    (made,) = pool_processes._kept
    pool = ProcessPool(Stack([tiny(**RECORDED)], CPU), 1, lambda _: None)
    try:
        assert pool.submit(Surroundings()).get() == ({1}, "")
    finally:
        pool.close()
        made.end()


def test_a_pool_that_leaves_work_undone_ends_its_processes(
    kept: pool_processes.Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(alike("clip", 2, **RECORDED), CPU)
    pool = ProcessPool(stack, 2, lambda _: None)
    pool.submit(Asleep())
    closed: list[str] = []
    for connection in kept.connections:
        monkeypatch.setattr(connection, "close", partial(told, closed, connection.close))
    pool.close()
    assert kept.ended and closed == [""] * 2, "each once, when no thread uses it any more"
    with pytest.raises(ProcessLookupError):
        os.kill(kept.pid, 0)
    later = pool_processes.processes_of(1)
    assert later is not kept and not later.kept
    later.end()


def told(closed: list[str], close: Callable[[], None]) -> None:
    """Note which threads still ask worker processes when a connection is closed."""
    asking = [one.name for one in threading.enumerate() if one.name.startswith("asking")]
    closed.append(" ".join(asking))
    close()


def test_forked_processes_end_with_their_parent_and_hold_nothing_of_it() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        pool_processes.fork_early(2, [write])
        (made,) = pool_processes._kept
        os.write(write, str(made.pid).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    first = int(os.read(read, 20))
    assert os.read(read, 1) == b"", "the pipe ends with the process"
    os.close(read)
    end = time.monotonic() + 30
    while alive_in_group(first):
        assert time.monotonic() < end
        time.sleep(0.05)


def alive_in_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@dataclass(frozen=True)
class Asleep:
    """A job without an end."""

    floors: ClassVar[dict[int, Any]] = {}

    def __call__(self, subject: Any) -> None:
        time.sleep(600)


# Order and bounds.
@dataclass
class Slow:
    """An answer that nobody has until it is let go."""

    step: int
    log: list[Any]
    ready: bool = False

    def get(self, check: Callable[[], None] = unstopped) -> Evaluated:
        self.log.append(("waited" if not self.ready else "got", self.step))
        return Evaluated({"wasserstein/exact": float(self.step)})


@dataclass
class SlowPool:
    """Measures nothing before it is waited for, and notes in which order things are asked for."""

    stack: Stack
    log: list[Any] = field(default_factory=list)
    ahead: int = AHEAD

    busy = 0

    def submit(self, job: Any) -> Any:
        self.log.append(("asked", job.reading.step))
        return Slow(job.reading.step, self.log)

    def write_later(self, write: Callable[[], None]) -> None:
        write()

    def wait_for_writes(self) -> None: ...

    def close(self) -> None: ...


def slowly(folder: Path, ahead: int = AHEAD, **settings: Any) -> tuple[list[Any], Path]:
    stack = Stack([tiny(**(RECORDED | {"evaluate.every_n_steps": 1} | settings))], CPU)
    with RunFolder(folder).lock() as held:
        pool = SlowPool(stack, ahead=ahead)

        class Watched(Recorder):
            def save(self, checkpoint: Checkpoint) -> None:
                pool.log.append(("saves", stack.steps_done))
                super().save(checkpoint)

        recorder = Watched(held, stack.config, columns(stack), 0)
        clock, stop = Clock(0.0, 0), StopRequest()
        train_loop(stack, [recorder], clock, stop, lambda *_: None, pool=pool)  # type: ignore[arg-type]
        recorder.close("interrupted", step=stack.steps_done)
    return pool.log, folder


def test_training_waits_when_it_is_two_evaluations_ahead_and_no_sooner(tmp_path: Path) -> None:
    log, folder = slowly(tmp_path, **{"checkpoint.every_n_steps": 1000, "train.steps": 5})
    assert log[:5] == [("asked", 0), ("asked", 1), ("asked", 2), ("waited", 0), ("asked", 3)]
    assert log[5:8] == [("waited", 1), ("asked", 4), ("waited", 2)]
    assert [row["wasserstein/exact"] for row in rows(folder)] == [f"{step}.0" for step in range(6)]


def test_training_may_be_further_ahead_of_processes_while_little_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"checkpoint.every_n_steps": 2, "train.steps": 9}
    log, folder = slowly(tmp_path / "small", AHEAD_OF_PROCESSES, **settings)
    assert AHEAD_OF_PROCESSES == 8  # the ninth step's evaluation is one too many
    assert log[:10] == [*(("asked", step) for step in range(9)), ("waited", 0)]
    assert [what for what, _ in log].count("saves") == 5 and len(rows(folder)) == 10
    log, _ = slowly(tmp_path / "four", 4, **settings)
    assert log[:6] == [*(("asked", step) for step in range(5)), ("waited", 0)]
    sparse = {"evaluate.every_n_steps": 8, "checkpoint.every_n_steps": 1, "train.steps": 7}
    log, _ = slowly(tmp_path / "checkpoints", 4, **sparse)
    assert log[:3] == [("asked", 0), ("waited", 0), ("saves", 4)]
    # A reading of 8 points and a checkpoint are some kilobytes: three evaluations are too many.
    monkeypatch.setattr("wganbench.training.recorder.HELD_BYTES", 4)
    log, _ = slowly(tmp_path / "large", AHEAD_OF_PROCESSES, **settings)
    assert log[:4] == [*(("asked", step) for step in range(3)), ("waited", 0)]


def test_held_bytes_are_those_of_the_arrays_that_wait(tmp_path: Path) -> None:
    stack = Stack([tiny(**{"log.animation": True})], CPU)
    reading = with_figure_data(stack, 0, read_runs(stack, 50)[0])
    points = sum(4 * array.numel() for array in reading.points.values())
    assert reading.figure_data.grid is not None
    drawn = 4 * (2 * GRID + GRID**2)
    assert reading.nbytes == points + 4 * reading.weights.numel() + drawn
    saved = saving(stack, [], Clock(0.0, 0))
    assert saved.held == sum(t.nbytes for t in stack.run_states()[0].values())


def test_a_checkpoint_waits_for_its_rows_and_training_does_not(tmp_path: Path) -> None:
    log, _ = slowly(tmp_path, **{"checkpoint.every_n_steps": 2, "train.steps": 6})
    saves = [place for place, (what, _) in enumerate(log) if what == "saves"]
    # Saved at 2, 4 and 6: each once the rows up to there are measured, while training went on.
    for place, step in zip(saves, (2, 4, 6), strict=True):
        measured = {step for what, step in log[:place] if what == "waited"}
        assert measured == set(range(step + 1))
    assert [log[place][1] for place in saves] == [4, 6, 6]
    assert load_checkpoint(tmp_path / "checkpoint.pt").step == 6
    assert load_checkpoint(previous(tmp_path / "checkpoint.pt")).step == 4


def test_one_checkpoint_waits_and_no_second(tmp_path: Path) -> None:
    settings = {"evaluate.every_n_steps": 8, "checkpoint.every_n_steps": 1, "train.steps": 7}
    log, _ = slowly(tmp_path, **settings)
    assert log[:3] == [("asked", 0), ("waited", 0), ("saves", 2)]
    assert [step for what, step in log if what == "saves"] == [2, 2, 3, 4, 5, 6, 7]


def test_a_checkpoint_waits_for_the_one_that_is_being_written() -> None:
    """On a slow disk copies of the state would pile up."""
    began, go_on, log = threading.Event(), threading.Event(), list[str]()

    class InThread(pool_module.InProcess):
        def __init__(self) -> None:
            self.thread, self.files = ThreadPoolExecutor(1), list[Future[None]]()

        def write_later(self, write: Callable[[], None]) -> None:
            self.files.append(self.thread.submit(write))

        def wait_for_writes(self) -> None:
            log.append("waits")
            go_on.set()
            for file in self.files:
                file.result()

    def slowly_saved() -> None:
        began.set()
        assert go_on.wait(60)
        log.append("first")

    queue = Rows([], InThread())
    queue.add(Saved(slowly_saved))
    assert began.wait(60)
    queue.add(Saved(lambda: log.append("second")))
    assert log[:2] == ["waits", "first"]
    queue.write_all()
    assert log.count("second") == 1


def test_what_is_written_late_is_written_together_and_in_order(tmp_path: Path) -> None:
    settings = RECORDED | {"evaluate.every_n_steps": 2, "checkpoint.every_n_steps": 2,
                           "log.figure": False, "log.picture_every_n_steps": 1000}  # fmt: skip
    stack = Stack(alike("clip", 2, **settings), CPU)
    calls: list[tuple[str, int, int]] = []

    class Watched(Recorder):
        def log(self, rows: Any) -> None:
            calls.append(("rows", len(rows), stack.steps_done))
            super().log(rows)

        def save(self, checkpoint: Checkpoint) -> None:
            calls.append(("save", checkpoint.step, stack.steps_done))
            super().save(checkpoint)

    class AtTheEnd(pool_module.InProcess):
        """Writes when it is waited for."""

        due: ClassVar[list[Callable[[], None]]] = []

        def write_later(self, write: Callable[[], None]) -> None:
            self.due.append(write)

        def wait_for_writes(self) -> None:
            for write in self.due:
                write()
            self.due.clear()

    held = [RunFolder(tmp_path / str(run)).lock() for run in range(2)]
    recorders: list[Recorder] = [
        Watched(folder, config, columns(stack), 0)
        for folder, config in zip(held, stack.configs, strict=True)
    ]
    train_loop(
        stack, recorders, Clock(0.0, 0), StopRequest(), lambda *_: None, pool=AtTheEnd(stack)
    )
    # A checkpoint waits until there is a second, which waits for it: never two of them.
    assert calls == [
        (what, count, at)
        for what, count, at in (
            ("rows", 3, 4), ("save", 2, 4), ("rows", 2, 4), ("save", 4, 6),
            ("rows", 2, 6), ("save", 6, 8), ("rows", 2, 8), ("save", 8, 8),
        )
        for _ in held
    ]  # fmt: skip
    for late, at_once in zip(held, trained(stack.configs, tmp_path / "at once"), strict=True):
        assert rows(late.path) == rows(at_once)
        found, wanted = points(late.path), points(at_once)  # at the end it has more
        assert list(found) == [key for key in wanted if key in found]
    for recorder, folder in zip(recorders, held, strict=True):
        recorder.close("interrupted", step=8)
        folder.release()


def test_rows_between_evaluations_wait_for_those_before_them(tmp_path: Path) -> None:
    log, folder = slowly(
        tmp_path, **{"evaluate.every_n_steps": 2, "checkpoint.every_n_steps": 1000}
    )
    assert [int(row["step"]) for row in rows(folder)] == list(range(9))
    assert [bool(row["wasserstein/exact"]) for row in rows(folder)] == [True, False] * 4 + [True]
    assert log.index(("waited", 0)) == log.index(("asked", 4)) + 1


# A thread beside our C++.
def test_a_thread_beside_our_code_leaves_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = alike("clip", 2, compile="auto", **RECORDED)
    here = trained(configs, tmp_path / "here")
    made, spared = [], []

    class Watched(pool_module.MeasuringThread):
        def __init__(self, subject: Any) -> None:
            super().__init__(subject)
            made.append(self)

        @property
        def busy(self) -> int:  # as if it began and ended jobs all the time
            spared.append(len(spared) % 4)
            return spared[-1]

    used: list[int] = []
    plan = Native._plan

    def noted(native: Native, threads: int) -> int:
        used.append(threads)
        return plan(native, threads)

    monkeypatch.setattr(Native, "_plan", noted)
    monkeypatch.setattr(pool_module, "MeasuringThread", Watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        there = trained(configs, tmp_path / "there")
    finally:
        torch.set_num_threads(before)
    assert len(made) == 1 and len(spared) == 8
    assert {*used} == {1, 2, 3}, "it does without the cores that are needed, but for one"
    for folder, other in zip(here, there, strict=True):
        assert record(folder)["executor"] == "native"
        assert_equal(folder, other)


def test_a_thread_occupies_a_core_while_it_has_jobs() -> None:
    started, released = threading.Event(), threading.Event()

    class Waiting:
        floors: ClassVar[dict[int, Any]] = {}

        def __call__(self, subject: Any) -> str:
            started.set()
            assert released.wait(10)
            return f"of {subject}"

    class Failing(Waiting):
        def __call__(self, subject: Any) -> str:
            raise TimeoutError("its own")

    interval, beside = sys.getswitchinterval(), pool_module.MeasuringThread("a stack")  # type: ignore[arg-type]
    assert beside.busy == 0
    first, second = beside.submit(Waiting()), beside.submit(Waiting())
    assert started.wait(10) and beside.busy == 1
    assert not first.ready and not second.ready

    def stopped() -> None:
        if started.is_set():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.get(stopped)
    released.set()
    assert first.get() == second.get() == "of a stack"
    failed = beside.submit(Failing())
    with pytest.raises(TimeoutError, match="its own"):
        failed.get()
    assert failed.ready and beside.busy == 0
    beside.close()
    assert sys.getswitchinterval() == interval


# Who measures.
def test_a_cpu_measures_itself_and_a_gpu_leaves_a_core_to_training() -> None:
    gpu = torch.device("cuda")
    assert measurers(CPU, 64, 16) == 0
    for cores, count, expected in ((16, 64, 15), (16, 4, 8), (16, 3, 0), (1, 64, 0), (2, 64, 1)):
        assert measurers(gpu, count, cores) == expected
