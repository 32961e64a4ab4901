"""Sweeps on Slurm, through submitit's local executor: processes of this machine."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from sweep_watcher import Seen
from training_configs import tiny

from wganbench.cli.app import main
from wganbench.config import ConfigError, run_id
from wganbench.config.jobs import Job
from wganbench.runs.folder import RunOutcome
from wganbench.runs.table import read_table
from wganbench.sweeps import slurm, slurm_task
from wganbench.sweeps.backend import RETRIES, Collector, Ended, Message, Note, OutOfMemory
from wganbench.sweeps.launch import launch, make_backend, plan_sweep
from wganbench.sweeps.plan import StackPlan
from wganbench.sweeps.slurm_task import Mail, Preemption, SlurmTask
from wganbench.training.runs import train_runs

pytest.importorskip("submitit")

SETTINGS = {
    "cluster": "local", "stacks": 2, "gpus_per_stack": 0, "cpus_per_stack": 1, "mem_gb": 4,
    "timeout_min": 60, "requeues": 3, "setup": [], "slurm": {},
}  # fmt: skip
TRAINING = {"train.steps": 300, "checkpoint.every_n_steps": 20, "log.every_n_steps": 20}


def jobs(folder: Path, runs: int, **settings: Any) -> list[Job]:
    every = {**TRAINING, "device": "auto", **settings}
    configs = [tiny("gp", seed=seed, **every) for seed in range(runs)]
    return [Job(config, folder / run_id(config)) for config in configs]


def swept(folder: Path, every: list[Job], seen: Seen, **settings: Any) -> list[RunOutcome]:
    backend = make_backend("slurm", {**SETTINGS, **settings})
    return launch(folder, every, seen, plan_sweep(every, backend))


def process_of(job: Job) -> int:
    return int((job.folder / ".lock").read_text().split()[0])


@pytest.mark.thorough
@pytest.mark.usefixtures("without_shape_checks")  # what this process trains alone, it trains long
def test_a_preempted_job_is_saved_and_requeued_and_a_killed_one_given_again(
    tmp_path: Path,
) -> None:
    # Long enough for a job to be there still when its first messages have been read.
    every = jobs(tmp_path, 4, **{"train.steps": 1200})
    done: list[str] = []

    def disturb(number: int, step: int) -> None:
        # Dealt out: the first stack holds the first and third job, the second the others.
        if step >= 40 and number == 0 and "preempted" not in done:
            done.append("preempted")
            os.kill(process_of(every[0]), signal.SIGUSR2)
        if step >= 40 and number == 1 and "killed" not in done:
            done.append("killed")
            os.kill(process_of(every[1]), signal.SIGKILL)

    seen = Seen(disturb)
    outcomes = swept(tmp_path, every, seen)
    assert {o.status for o in outcomes} == {"completed"}, seen.lines
    assert [o.path for o in outcomes] == [job.folder for job in every]
    assert sorted(done) == ["killed", "preempted"]
    assert sum("a Slurm job was lost" in line for line in seen.lines) == 1
    requeued = [begun for number, _, _, begun in seen.started if number == 0]
    assert len(requeued) == 2 and requeued[1] >= 40, "saved where it stood, and went on"
    for job in every:
        steps = read_table(job.folder / "metrics.csv")["step"]
        assert steps == list(range(0, 1201, 20))
    # The run alone, until well after the other was requeued: no decay of the rates tells it
    # from a longer one.
    (short,) = jobs(tmp_path / "alone", 1, **{"train.steps": min(1200, requeued[1] + 60)})
    train_runs([short.config], [short.folder], device="cpu")
    ours, alone = (read_table(job.folder / "metrics.csv") for job in (every[0], short))
    shared = sum(step <= requeued[1] + 40 for step in alone["step"])
    assert alone["step"][shared - 1] > requeued[1]
    assert ours["loss/critic"][:shared] == alone["loss/critic"][:shared]


@pytest.mark.slow
def test_after_ctrl_c_every_run_is_saved(tmp_path: Path) -> None:
    every = jobs(tmp_path, 2, **{"train.steps": 100_000})

    def interrupt(number: int, step: int) -> None:
        # Once: the second is not asked for, it ends the process.
        if step >= 40 and not done:
            done.append("interrupted")
            signal.raise_signal(signal.SIGINT)

    done: list[str] = []
    seen = Seen(interrupt)
    outcomes = swept(tmp_path, every, seen, stacks=1)
    assert [o.status for o in outcomes] == ["interrupted"] * 2
    assert all(o.step > 40 for o in outcomes)


# Without jobs.
@pytest.mark.usefixtures("without_shape_checks")
def test_settings_that_cannot_be_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    local = "hydra.launcher.cluster=local"
    for settings, told in {
        ("hydra.launcher.cluster=slurm",): "Could not detect",
        ("hydra.launcher.cluster=pbs",): "slurm or local",
        ("hydra.launcher.stacks=0",): "whole number of at least 1",
        ("hydra.launcher.mem_gb=-1",): "number above 0",
        ("hydra.launcher.setup=foo", "--plan"): "hydra.launcher.setup must be a list such as [foo]",
        ("hydra.launcher.setup=3",): "hydra.launcher.setup must be a list",
        ("hydra.launcher.slurm=long",): "hydra.launcher.slurm must be a mapping",
        ("hydra.launcher.slurm.additional_parameters=x",): "parameters must be a mapping",
        (local, "+hydra.launcher.slurm.partion=long"): "partion",
        (local, "sweep.devices=[cpu]"): "Slurm gives the devices",
    }.items():
        assert main(["sweep", "seed=0,1", "hydra/launcher=slurm", *settings]) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1, error
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without_shape_checks")
def test_a_node_without_a_gpu_may_ask_the_cluster_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ["sweep", "seed=0,1", "device=cuda", "--plan"]
    assert main([*words, "hydra/launcher=slurm"]) == 0
    assert "Slurm" in capsys.readouterr().out
    assert main(words) == 2
    assert "device=cuda: no CUDA GPU is found here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_submitit_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install 'wganbench\[slurm\]'"):
        make_backend("slurm", SETTINGS).slots(tiny("gp"))


def test_settings_that_submitit_refuses_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("submitit.AutoExecutor.update_parameters", refusing)
    with pytest.raises(ConfigError, match="^hydra/launcher=slurm: AssertionError$"):
        make_backend("slurm", SETTINGS).slots(tiny("gp"))


def test_what_is_asked_of_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script that submitit would submit, where there are commands called srun and sbatch."""
    for name in ("srun", "sbatch"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    settings = {
        **SETTINGS,
        "cluster": "slurm",
        "gpus_per_stack": 1,
        "setup": ["module load cuda"],
        "slurm": {"partition": "long", "account": None, "additional_parameters": {"gres": "x:1"}},
    }
    backend: Any = make_backend("slurm", settings)
    slots = backend.slots(tiny("gp", device="auto"))
    assert [(s.device, s.cluster) for s in slots] == [("cuda", "Slurm")] * 2
    executor = backend._executor(tmp_path / "jobs")._executor
    script = executor._make_submission_file_text("train", "name")
    for line in (
        "--partition=long", "--gpus-per-node=1", "--mem=4GB", "--time=60", "--gres=x:1",
        "--cpus-per-task=1", "--signal=USR2@90", "module load cuda",
    ):  # fmt: skip
        assert line in script, script
    assert "--account" not in script
    assert executor.max_num_timeout == 3
    assert backend.slots(tiny("gp", device="cpu"))[0].device == "cpu"


def test_messages_outlive_the_process_and_half_of_one_waits(tmp_path: Path) -> None:
    mail = Mail(tmp_path, 3)
    assert mail.read(0) == ([], 0)
    mail.send(Note("one"))
    mail.send(Note("two"))
    whole = mail.path.read_bytes()
    mail.path.write_bytes(whole[:-3])
    first, offset = mail.read(0)
    assert first == [Note("one")]
    mail.path.write_bytes(whole)
    assert mail.read(offset) == ([Note("two")], len(whole))


def test_a_message_that_did_not_fit_hides_none_of_the_later_ones(
    tmp_path: Path, room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    mail = Mail(tmp_path, 0)
    mail.send(Note("one"))
    with room_for(mail.path.stat().st_size + 20), pytest.raises(OSError, match="File too large"):
        mail.send(Note("too long" * 100))
    mail.send(Note("two"))
    assert mail.read(0)[0] == [Note("one"), Note("two")]


def test_a_request_to_stop_is_repeated_until_the_training_heeds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first SIGTERMs arrive while the training is being prepared, where nobody heeds them."""
    monkeypatch.setattr(slurm_task, "CHECK_SECONDS", 0.01)

    class Preempted(Preemption):
        def __init__(self) -> None:
            self.asked = False

    heard: list[int] = []
    for by_file in (True, False):
        wish, preempted = tmp_path / f"stop{by_file}", Preempted()
        heard.clear()
        with slurm_task.stopping(wish, preempted):
            time.sleep(0.05)
            if by_file:
                wish.touch()
            else:
                preempted.asked = True
            time.sleep(0.1)  # several are lost
            before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
            time.sleep(0.1)
            signal.signal(signal.SIGTERM, before)
        assert heard and set(heard) == {signal.SIGTERM}
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_without_words_loses_one_job_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Lost(Collector):
        def __init__(self) -> None:
            pass

        def lost(self, number: int, stack: StackPlan, how: str) -> list[StackPlan]:
            said.append(how)
            return []

    class Job:
        def result(self) -> object:
            raise MemoryError

    monkeypatch.setattr(slurm.Array, "_submit", lambda *_: None)
    array = slurm.Array(make_backend("slurm", SETTINGS), tmp_path, Lost())
    lost = slurm.Submitted(Job(), StackPlan(tuple(jobs(tmp_path, 1)), 0), Mail(tmp_path, 0))
    array.jobs.append(lost)
    array._finish(lost)
    assert said == ["a Slurm job was lost (MemoryError)"] and array.jobs == []


@pytest.mark.parametrize("asked", [False, True])
def test_a_job_that_others_ended_is_submitted_again_but_not_for_ever(
    asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the SIGTERM with which a preemption begins: the sweep itself was not asked to end."""

    class Saved:
        def result(self) -> object:
            return Ended([RunOutcome(j.folder, "interrupted", 0, {}, [], 0.0) for j in every])

    every, count, seen = jobs(tmp_path, 2), list[int](), Seen()

    def submit(array: slurm.Array, stacks: list[StackPlan]) -> None:
        for stack in stacks:
            count.append(len(stack.jobs))
            array.jobs.append(slurm.Submitted(Saved(), stack, Mail(tmp_path, len(count))))

    monkeypatch.setattr(slurm.Array, "_submit", submit)
    array = slurm.Array(make_backend("slurm", SETTINGS), tmp_path, Collector(seen))
    array.stop.requested = asked
    submit(array, [StackPlan(tuple(every), 0)])
    while array.jobs:
        array._finish(array.jobs[0])
    assert count == [2] * (1 if asked else 1 + RETRIES)
    assert {o.status for o in array.collector.outcomes} == {"interrupted" if asked else "failed"}
    assert len(array.collector.outcomes) == 2
    said = "a Slurm job was ended by others: 2 runs to go on from the last checkpoint"
    assert seen.lines == [said] * (len(count) - 1)


def test_a_stack_that_does_not_fit_is_halved_inside_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def train(stack: StackPlan, device: str, view: object) -> Message:
        sizes.append(len(stack.jobs))
        if len(stack.jobs) > 2:
            return OutOfMemory("CUDA out of memory")
        return Ended([RunOutcome(j.folder, "completed", 4, {}, [], 0.0) for j in stack.jobs])

    monkeypatch.setattr(slurm_task, "train_stack", train)
    every = tuple(jobs(tmp_path, 5))
    task = SlurmTask(StackPlan(every, 0), Mail(tmp_path, 0), False, 1, os.getcwd())
    ended = task()
    assert sizes == [5, 2, 3, 1, 2]
    assert isinstance(ended, Ended)
    assert [o.path for o in ended.outcomes] == [job.folder for job in every]
    assert {o.status for o in ended.outcomes} == {"completed"}
