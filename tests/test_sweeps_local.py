"""Stacks over worker processes: shared out, halved, given again, stopped; and real ones."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

import pytest
from sweep_watcher import Seen
from training_configs import alike_but_for_time, tiny

from wganbench.config import ConfigError, run_id
from wganbench.config.jobs import Job
from wganbench.runs.folder import RunFolder, RunOutcome, read_run
from wganbench.runs.table import read_table
from wganbench.sweeps import backend
from wganbench.sweeps.backend import RETRIES, Collector, outcome_on_disk
from wganbench.sweeps.launch import (
    Interrupted,
    launch,
    objective,
    plan_sweep,
    resume_sweep,
    train_all,
)
from wganbench.sweeps.local import LocalBackend, Pool
from wganbench.sweeps.manifest import add_jobs
from wganbench.sweeps.plan import Slot, plan_stacks
from wganbench.sweeps.workers import Worker, Workers
from wganbench.training import jobs as training_jobs
from wganbench.training.runs import train_runs

FAKE = (sys.executable, str(Path(__file__).parent / "fake_worker.py"))


class FakeWorkers(Workers):
    """Has workers that train nothing."""

    def __init__(self) -> None:
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, device: str, threads: int, compiles: bool = True) -> Worker:
        ours, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(
                [*FAKE, str(theirs.fileno()), device, str(threads)], pass_fds=[theirs.fileno()]
            )
        self.processes[process.pid] = process
        return Worker(process.pid, ours, self)

    def wait(self, pid: int) -> int:
        return self.processes[pid].wait()


def jobs(folder: Path, runs: int, **settings: Any) -> list[Job]:
    configs = [tiny("gp", seed=seed, **settings) for seed in range(runs)]
    return [Job(config, folder / run_id(config)) for config in configs]


def launch_local(folder: Path, every: Sequence[Job], seen: Seen) -> list[RunOutcome]:
    return launch(folder, every, seen, plan_sweep(every, LocalBackend()))


def pooled(folder: Path, name: str, runs: int, slots: Sequence[str] = ("cpu", "cpu")) -> Any:
    """Outcomes, watcher and log of a pool of fake workers over jobs of this behaviour."""
    places = [Slot(device, 1) for device in slots]
    every = jobs(folder, runs, name=name)
    seen = Seen()
    pool = Pool(places, Collector(seen), FakeWorkers())
    outcomes = pool.run(plan_stacks(every, [0] * runs, places, [4]))
    log = [line.split() for line in (folder / "log.txt").read_text().splitlines()]
    return outcomes, seen, log


def test_every_slot_gets_its_device_and_every_run_ends_once(tmp_path: Path) -> None:
    outcomes, seen, log = pooled(tmp_path, "well", 24, ["cuda:0", "cuda:1"])
    assert sorted(o.path for o in outcomes) == sorted(
        j.folder for j in jobs(tmp_path, 24, name="well")
    )
    assert {o.status for o in outcomes} == {"completed"}
    assert {device for device, _, _ in log} == {"cuda:0", "cuda:1"}
    assert sum(int(runs) for _, runs, _ in log) == 24
    # A worker trains one stack after another.
    assert len({pid for _, _, pid in log}) == 2 < len(log)
    assert {len(values) for values in seen.advances} == {4}


def test_a_stack_that_does_not_fit_is_halved_until_it_does(tmp_path: Path) -> None:
    outcomes, seen, log = pooled(tmp_path, "too_large", 8, ["cuda:0"])
    assert sorted(int(runs) for _, runs, _ in log) == [2, 2, 2, 2, 4, 4]
    assert {o.status for o in outcomes} == {"completed"} and len(outcomes) == 8
    assert sum("half as many" in line for line in seen.lines) == 2


def test_a_stack_whose_worker_died_goes_to_a_new_one(tmp_path: Path) -> None:
    outcomes, seen, log = pooled(tmp_path, "dies_once", 4, ["cpu"])
    assert {o.status for o in outcomes} == {"completed"} and len(outcomes) == 4
    assert len({pid for _, _, pid in log}) == 2
    assert any("signal 9" in line for line in seen.lines)


@pytest.mark.slow
def test_a_stack_that_always_kills_its_worker_fails_alone(tmp_path: Path) -> None:
    outcomes, _, log = pooled(tmp_path, "dies", 4, ["cpu"])
    assert [o.status for o in outcomes] == ["failed"] * 4
    assert len(log) == RETRIES + 1
    assert "signal 9" in read_run(outcomes[0].path)["error"]


def test_a_worker_that_was_ended_by_others_is_replaced_and_its_runs_go_on(tmp_path: Path) -> None:
    """As when the process that started it is killed: the sweep itself was not asked to end."""
    outcomes, seen, log = pooled(tmp_path, "ended_by_others", 4, ["cpu"])
    assert [o.status for o in outcomes] == ["completed"] * 4
    assert len({pid for _, _, pid in log}) == 2
    assert any("to go on from the last checkpoint" in line for line in seen.lines)


def test_a_run_that_another_process_left_undone_is_trained_once_it_is_free(
    tmp_path: Path,
) -> None:
    every = jobs(tmp_path, 4, name="shared")
    held = RunFolder(every[0].folder).lock()
    threading.Timer(1.0, held.release).start()
    outcomes, _, log = pooled(tmp_path, "shared", 4, ["cpu"])
    assert sorted(o.path for o in outcomes) == sorted(job.folder for job in every)
    assert {o.status for o in outcomes} == {"completed"}
    assert [int(runs) for _, runs, _ in log] == [4, 1]


def test_a_run_that_another_process_finished_is_told_and_not_trained_again(
    tmp_path: Path,
) -> None:
    (first, *_) = jobs(tmp_path, 4, name="shared")
    held = RunFolder(first.folder).lock()

    def finish_it() -> None:
        held.write_status(status="completed", step=4, metrics={"modes/kl": 0.5}, seconds=1.0)
        held.release()

    threading.Timer(1.0, finish_it).start()
    outcomes, _, log = pooled(tmp_path, "shared", 4, ["cpu"])
    assert [int(runs) for _, runs, _ in log] == [4]
    assert [o.metrics for o in outcomes if o.path == first.folder] == [{"modes/kl": 0.5}]
    assert len(outcomes) == 4 and {o.status for o in outcomes} == {"completed"}


def test_after_ctrl_c_nobody_waits_for_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, *_) = jobs(tmp_path, 4, name="shared")
    monkeypatch.setattr(Seen, "stack_ended", lambda *_: signal.raise_signal(signal.SIGINT))
    with RunFolder(first.folder).lock():
        outcomes, _, _ = pooled(tmp_path, "shared", 4, ["cpu"])
        assert [o.status for o in outcomes] == ["completed"] * 3
        assert outcome_on_disk(first).status == "running"
    assert outcome_on_disk(first).status == "interrupted"


def test_losses_count_only_where_a_stack_comes_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stack,) = plan_stacks(jobs(tmp_path, 1), [0], [Slot("cpu", 1)])
    at = iter([0, 0, 10, 10, 10, 10])
    monkeypatch.setattr(backend, "saved_step", lambda job: next(at))
    gathered = Collector(Seen())
    given = [bool(gathered.lost(0, stack, "it died")) for _ in range(5)]
    assert given == [True] * 4 + [False]
    assert [o.status for o in gathered.outcomes] == ["failed"]


def test_runs_that_are_refused_fail_and_say_why(tmp_path: Path) -> None:
    outcomes, _, _ = pooled(tmp_path, "refuses", 2)
    assert [o.status for o in outcomes] == ["failed"] * 2
    assert "it is in use" in outcomes[0].verdict[0]


def test_after_ctrl_c_every_worker_saves_and_nothing_new_begins(tmp_path: Path) -> None:
    def interrupt() -> None:
        while not (tmp_path / "waiting").exists():
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    outcomes, seen, log = pooled(tmp_path, "waits", 8, ["cpu"])
    assert len(log) == 1, "the second stack never begins"
    assert [o.status for o in outcomes] == ["interrupted"] * 4
    assert any("saving" in line for line in seen.lines)


# Real workers.
@pytest.fixture(autouse=True)
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process trains beside a sweep is compared, not looked at."""
    monkeypatch.setattr(training_jobs, "summary_figure", lambda *_: None)
    monkeypatch.setattr(training_jobs, "png_bytes", lambda _: b"PNG")


@pytest.mark.slow
def test_a_sweep_equals_its_runs_alone_bit_for_bit(tmp_path: Path) -> None:
    lone, swept = tmp_path / "alone", tmp_path / "sweep"
    every = jobs(swept, 3, **{"sweep.devices": "cpu", "checkpoint.every_n_steps": 2})
    seen = Seen()
    outcomes = launch_local(swept, every, seen)
    assert [o.status for o in outcomes] == ["completed"] * 3
    assert [o.path for o in outcomes] == [job.folder for job in every]
    for job in every:
        alone = lone / job.folder.name
        train_runs([job.config], [alone])
        left, right = read_table(alone / "metrics.csv"), read_table(job.folder / "metrics.csv")
        for tag in ("loss/critic", "loss/generator", "grad_norm/generator"):
            assert left[tag] == right[tag] and len(left[tag]) > 4
    listed = json.loads((swept / "sweep.json").read_text())["jobs"]
    assert [row["folder"] for row in listed] == [job.folder.name for job in every]
    # Again: nothing is left to do, and a new seed trains alone.
    more = jobs(swept, 4, **{"sweep.devices": "cpu", "checkpoint.every_n_steps": 2})
    written = (every[0].folder / "metrics.csv").stat().st_mtime_ns
    assert launch_local(swept, more, seen)[3].status == "completed"
    assert seen.begun == (1, len(os.sched_getaffinity(0)), 3)
    assert (every[0].folder / "metrics.csv").stat().st_mtime_ns == written


@pytest.mark.slow
@pytest.mark.usefixtures("one_core")
def test_a_run_that_diverges_leaves_the_rest_of_the_sweep_alone(tmp_path: Path) -> None:
    settings = {"sweep.devices": "cpu", "sweep.max_stack": 8}
    clean = jobs(tmp_path / "clean", 4, **settings)
    poisoned = jobs(tmp_path / "poisoned", 4, **settings)
    config = tiny("gp", seed=1, **(settings | {"train.critic_lr": 1e30}))
    poisoned[1] = Job(config, tmp_path / "poisoned" / run_id(config))
    train_runs([job.config for job in clean], [job.folder for job in clean], device="cpu")
    seen = Seen()
    outcomes = launch_local(tmp_path / "poisoned", poisoned, seen)
    assert seen.begun == (1, 1, 0), "it shares their stack"
    assert [o.status for o in outcomes] == ["completed", "diverged", "completed", "completed"]
    assert all(alike_but_for_time(clean[i].folder, poisoned[i].folder) for i in (0, 2, 3))


@pytest.mark.slow
@pytest.mark.usefixtures("one_core")
def test_resume_finishes_what_a_sweep_left_undone(tmp_path: Path) -> None:
    every = jobs(tmp_path, 2, **{"sweep.devices": "cpu"})
    add_jobs(tmp_path, every)
    train_runs([every[0].config], [every[0].folder])
    found, outcomes = resume_sweep(tmp_path, Seen())
    assert [job.folder for job in found] == [job.folder for job in every]
    assert [o.status for o in outcomes] == ["completed"] * 2


@pytest.mark.parametrize(
    ("status", "raised"),
    [("completed", None), ("diverged", None), ("failed", ConfigError),
     ("interrupted", Interrupted), ("running", Interrupted)],
)  # fmt: skip
def test_whoever_needs_every_run_takes_a_diverged_one_and_no_other(
    status: Any, raised: type[Exception] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = jobs(tmp_path, 2)
    ended = [RunOutcome(every[0].folder, "completed", 1, {}, [], 1.0),
             RunOutcome(every[1].folder, status, 1, {}, ["its reason"], 1.0)]  # fmt: skip
    monkeypatch.setattr("wganbench.sweeps.launch.launch", lambda *_: ended)
    told = "its reason" if raised is ConfigError else "interrupted"
    with contextlib.nullcontext() if raised is None else pytest.raises(raised, match=told):
        train_all(tmp_path, every, Seen())


def test_an_optimiser_minimises_the_distance_that_the_data_have(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    ended = RunOutcome(job.folder, "completed", 1, {"wasserstein/exact": 2.0}, [], 1.0)
    assert objective(job, ended) == 2
    pictures = dataclasses.replace(ended, metrics={"fidelity/fid": 3.0, "modes/kl": 1.0})
    assert objective(job, pictures) == 3
    (other,) = jobs(tmp_path, 1, **{"sweep.objective": "modes/kl"})
    assert objective(other, pictures) == 1 and objective(other, ended) == math.inf
    lost = dataclasses.replace(ended, status="diverged")
    assert objective(job, lost) == math.inf, "its last finite distance is no result"
    (more,) = jobs(tmp_path, 1, **{"sweep.objective": "modes/coverage"})
    covered = dataclasses.replace(ended, metrics={"modes/coverage": 0.5})
    assert objective(more, covered) == 0.5
    worst = objective(more, dataclasses.replace(covered, status="diverged"))
    assert worst == -math.inf == objective(more, ended), "more is better here"
    with pytest.raises(ConfigError, match="sweep.objective: unknown tag 'modes/kll'.*'modes/kl'"):
        jobs(tmp_path, 1, **{"sweep.objective": "modes/kll"})
