"""The driver of Ray's tasks: what it does with files that come back, without a cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sweep_watcher import Seen
from training_configs import tiny

from wganbench.config import ConfigError
from wganbench.config.jobs import Job
from wganbench.plugin_files import VARIABLE, plugin_files
from wganbench.runs.folder import RunFolder, RunOutcome
from wganbench.sweeps import ray, ray_task
from wganbench.sweeps.backend import RETRIES, Collector, Ended, Silent
from wganbench.sweeps.plan import StackPlan
from wganbench.sweeps.ray import Task, Tasks
from wganbench.sweeps.ray_task import RemoteStack
from wganbench.sweeps.slurm import SlurmBackend


@pytest.mark.parametrize("overwrite", [True, False])
def test_an_earlier_runs_files_go_before_new_ones_come(
    overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "generated.npy").write_text("old")
    job = Job(dataclasses.replace(tiny(), overwrite=overwrite), folder)
    parcels = [[(0, [], [{"checkpoint.pt": b"new"}])], [(0, [], [{"metrics.csv": b"later"}])]]
    mailbox = SimpleNamespace(collect=SimpleNamespace(remote=lambda: parcels.pop(0)))
    fake_ray = SimpleNamespace(get=lambda answer: answer)
    monkeypatch.setattr(ray, "import_ray", lambda: fake_ray)
    tasks = Tasks(1, 0, tmp_path, None, Collector(Silent()))
    tasks.mailbox = mailbox
    tasks.by_number[0] = Task(0, StackPlan((job,), 0))
    tasks._collect()
    tasks._collect()
    tasks._let_go(tasks.by_number[0].stack)
    left = {path.name for path in RunFolder(folder).path.iterdir()} - {".lock"}
    expected = {"checkpoint.pt", "metrics.csv"} | (set() if overwrite else {"generated.npy"})
    assert left == expected


class Answers:
    """Stands for Ray: each task that is submitted ends as ``end`` says; what was sent is kept."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

        class TaskCancelledError(RayError):
            pass

    def __init__(self, end: Callable[[], object]) -> None:
        self.end, self.sent = end, list[RemoteStack]()

    def remote(self, **options: object) -> Any:
        def send(remote: RemoteStack, mailbox: object) -> int:
            self.sent.append(remote)
            return len(self.sent)

        return lambda function: SimpleNamespace(remote=send)

    def get(self, reference: int) -> object:
        return self.end()


def driven(answers: Answers, stack: StackPlan, seen: Seen, asked: bool = False) -> Tasks:
    """The tasks of one stack, submitted until none is left."""
    tasks = Tasks(1, 0, stack.jobs[0].folder.parent, None, Collector(seen))
    tasks.mailbox = None
    tasks.stop.requested = asked
    tasks._submit(stack)
    while tasks.tasks:
        tasks._finish(next(iter(tasks.tasks)))
    return tasks


@pytest.mark.parametrize("asked", [False, True])
def test_a_task_that_others_ended_is_submitted_again_but_not_for_ever(
    asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, seen = Job(tiny(), tmp_path / "run"), Seen()
    answers = Answers(lambda: Ended([RunOutcome(job.folder, "interrupted", 0, {}, [], 0.0)]))
    monkeypatch.setattr(ray, "import_ray", lambda: answers)
    tasks = driven(answers, StackPlan((job,), 0), seen, asked)
    assert len(answers.sent) == (1 if asked else 1 + RETRIES)
    (outcome,) = tasks.collector.outcomes
    assert outcome.status == ("interrupted" if asked else "failed")
    said = "a Ray task was ended by others: 1 run to go on from the last checkpoint"
    assert seen.lines == [said] * (len(answers.sent) - 1)


def test_what_a_task_raised_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own text begins with the process and its address, and has many lines."""

    def end() -> object:
        text = "ray::train_remotely() (pid=7, ip=172.17.0.2)\n  File run.py, line 3"
        error = Answers.exceptions.RayError(text)
        error.cause = ValueError("no such file: a.csv\nat all")  # type: ignore[attr-defined]
        raise error

    answers, seen = Answers(end), Seen()
    monkeypatch.setattr(ray, "import_ray", lambda: answers)
    tasks = driven(answers, StackPlan((Job(tiny(), tmp_path / "run"),), 0), seen)
    assert "a Ray task was lost (ValueError: no such file: a.csv at all): 1 run" in seen.lines[0]
    (outcome,) = tasks.collector.outcomes
    assert outcome.status == "failed" and "ValueError: no such file" in " ".join(outcome.verdict)


def test_plugin_files_reach_the_workers_of_a_running_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tiny(), tmp_path / "run")
    answers = Answers(lambda: Ended([RunOutcome(job.folder, "completed", 4, {}, [], 0.0)]))
    monkeypatch.setattr(ray, "import_ray", lambda: answers)
    found: list[list[Path]] = []
    monkeypatch.setattr(ray_task, "_train", lambda *_: found.append(plugin_files()) or Ended([]))
    monkeypatch.chdir(tmp_path)
    for named in ("mine.py", ""):
        monkeypatch.setenv(VARIABLE, named)
        driven(answers, StackPlan((job,), 0), Seen())
        monkeypatch.setenv(VARIABLE, "/of/the/node.py")
        expected = tmp_path / named if named else Path("/of/the/node.py")
        ray_task.train_remotely(answers.sent[-1], None)
        assert found[-1] == [expected]


def test_what_asks_for_free_memory_leaves_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray keeps a process for later tasks unless its function was declared for one call; it would
    keep its GPU too, whichever the later task is given."""
    declared: list[dict[str, Any]] = []

    class Asked:
        def options(self, **more: object) -> Asked:
            assert not {"num_cpus", "num_gpus"} & more.keys(), "they declare nothing here"
            return self

        def remote(self) -> int:
            return 8 * 10**9

    def remote(**options: Any) -> Callable[[object], Asked]:
        declared.append(options)
        return lambda function: Asked()

    def placed(node: str, soft: bool) -> str:
        return node

    resources = {"CPU": 4.0, "GPU": 2.0}
    nodes = [{"Alive": True, "NodeID": name, "Resources": resources} for name in "ab"]
    strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=placed)
    fake = SimpleNamespace(
        remote=remote, nodes=lambda: nodes, is_initialized=lambda: True, get=list, cancel=None,
        wait=lambda asked, num_returns, timeout: (asked, []),
        util=SimpleNamespace(scheduling_strategies=strategies),
    )  # fmt: skip
    monkeypatch.setattr(ray, "import_ray", lambda: fake)
    backend = ray.RayBackend("auto", 1, "auto")
    backend.gpus_per_stack = 0.5
    assert backend.room([]) == 4 * 10**9
    assert declared == [{"num_cpus": 0, "num_gpus": 0.5, "max_calls": 1}]


def test_slurm_is_not_asked_for_a_gpu_and_for_none() -> None:
    def placed(device: str, gpus: int) -> str:
        backend = SlurmBackend("slurm", 1, gpus, 1, 1.0, 5, 1, [], {}, planning=True)
        return backend.slots(dataclasses.replace(tiny(), device=device))[0].device

    assert [placed("auto", 0), placed("auto", 1), placed("cpu", 1)] == ["cpu", "cuda", "cpu"]
    assert placed("cuda", 2) == "cuda"
    with pytest.raises(ConfigError, match=r"^device=cuda: hydra\.launcher\.gpus_per_stack=0"):
        placed("cuda", 0)


def test_slurm_refuses_to_share_a_device(tmp_path: Path) -> None:
    backend = SlurmBackend("local", 1, 0, 1, 1.0, 5, 1, [], {})
    config = tiny()
    shared = dataclasses.replace(
        config, device="auto", sweep=dataclasses.replace(config.sweep, stacks_per_device=2)
    )
    with pytest.raises(Exception, match=r"sweep\.stacks_per_device=2.*a job of its own"):
        backend.slots(shared)
