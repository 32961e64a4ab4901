"""Runs that several processes want: left to who has them, waited for, never written to; and runs
that go on at their place in a stack, whoever else is there."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_training_runs import points
from training_configs import CPU, alike, alike_but_for_time, same, saved, tiny, trained

from wganbench.config import ConfigError, RunConfig, run_id, to_dict
from wganbench.config.jobs import Job
from wganbench.files import tell_ending
from wganbench.runs import folder as folder_module
from wganbench.runs.folder import RunFolder, RunOutcome, read_run, wait_while_ending
from wganbench.runs.stored import Places, as_places, place_of, stored_config
from wganbench.sweeps.backend import failed
from wganbench.sweeps.manifest import add_jobs, planned, read_jobs
from wganbench.sweeps.plan import Slot, StackPlan, group_jobs, plan_stacks
from wganbench.training import checkpoint, finish, jobs, recorder
from wganbench.training.checkpoint import load_checkpoint, save_checkpoint
from wganbench.training.runs import train_run, train_runs
from wganbench.training.stack import Stack

SAVED = {"checkpoint.every_n_steps": 2, "log.figure": False}


class Told:
    """A view that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, steps: int, done: int) -> None: ...

    def progress(self, step: int, values: Any) -> None: ...

    def stop(self) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)


def folders(tmp_path: Path, runs: int) -> list[Path]:
    return [tmp_path / str(run) for run in range(runs)]


def stopped_at(step: int, configs: list[RunConfig], paths: list[Path]) -> None:
    """Train runs as a stack and stop with a checkpoint at a step."""
    with pytest.MonkeyPatch.context() as patch:
        iterate = Stack.iterate

        def until(stack: Stack) -> None:
            iterate(stack)
            if stack.steps_done == step:
                os.kill(os.getpid(), 15)

        patch.setattr(Stack, "iterate", until)
        assert {o.status for o in train_runs(configs, paths)} == {"interrupted"}


# Runs that others have.
def test_a_stack_with_a_run_in_use_trains_the_others(tmp_path: Path) -> None:
    configs, paths, view = alike("gp", 3, **SAVED), folders(tmp_path, 3), Told()
    with RunFolder(paths[1]).lock():
        outcomes = train_runs(configs, paths, view, several=True)
        assert view.lines[0] == f"1 is in use by process {os.getpid()}: left to it"
        assert not (paths[1] / "run.json").exists()
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
            train_runs(configs, paths)
    assert [o.status for o in outcomes] == ["completed", "elsewhere", "completed"]
    assert same(saved(paths[2]), trained([configs[2]], 4).run_states()[0])
    assert train_runs(configs, paths, several=True)[1].status == "completed"


def test_a_run_that_cannot_be_used_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    configs, paths = alike("gp", 4, **SAVED), folders(tmp_path, 4)
    paths[1].mkdir()
    (paths[1] / "checkpoint.pt").write_bytes(b"damaged")
    train_runs([tiny("clip")], [paths[2]])
    before = (paths[2] / "run.json").read_bytes()
    outcomes = train_runs(configs, paths, several=True)
    assert [o.status for o in outcomes] == ["completed", "failed", "failed", "completed"]
    assert "--overwrite" in outcomes[1].verdict[0] and "other settings" in outcomes[2].verdict[0]
    assert (paths[2] / "run.json").read_bytes() == before, "it is another run's"
    assert read_run(paths[1])["status"] == "failed"
    assert stored_config(paths[1]) == configs[1], "its record is whole"


def test_a_table_or_a_checkpoint_that_is_not_a_run_s_own_fails_that_run_alone(
    tmp_path: Path,
) -> None:
    configs, paths = alike("gp", 4, **SAVED), folders(tmp_path, 4)
    stopped_at(2, configs, paths)
    (paths[0] / "metrics.csv").write_text("step,old\n1,2\n")
    shutil.copy(paths[3] / "checkpoint.pt", paths[1] / "checkpoint.pt")
    unnamed = load_checkpoint(paths[2] / "checkpoint.pt")
    save_checkpoint(paths[2] / "checkpoint.pt", replace(unnamed, run="", tensors={}))
    outcomes = train_runs(configs, paths, places=Places.all_of(4), several=True)
    assert [o.status for o in outcomes] == ["failed", "failed", "failed", "completed"]
    for path, outcome, told in zip(
        paths, outcomes, ["other columns", "that of another run", "does not fit"], strict=False
    ):
        (said,) = outcome.verdict
        assert str(path) in said and told in said
        assert read_run(path)["error"] == said.removesuffix(".")
    assert all("--overwrite" in outcome.verdict[0] for outcome in outcomes[:2])
    assert same(saved(paths[3]), trained(configs, 4).run_states()[3])
    with pytest.raises(ConfigError, match=r"other columns .*only there old.*--overwrite"):
        train_runs(configs[:1], paths[:1])


def test_a_checkpoint_of_another_run_does_not_decide_at_which_step_the_stack_goes_on(
    tmp_path: Path,
) -> None:
    configs, paths = alike("gp", 3, **SAVED), folders(tmp_path, 3)
    stopped_at(2, configs[2:], paths[2:])
    paths[0].mkdir()
    shutil.copy(paths[2] / "checkpoint.pt", paths[0] / "checkpoint.pt")
    outcomes = train_runs(configs[:2], paths[:2], several=True)
    assert [o.status for o in outcomes] == ["failed", "completed"]


def test_a_folder_that_cannot_be_read_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs, paths, read = alike("gp", 2, **SAVED), folders(tmp_path, 2), load_checkpoint

    def denied(path: Path) -> Any:
        if path.parent == paths[0]:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(checkpoint, "load_checkpoint", denied)
    outcomes = train_runs(configs, paths, several=True)
    assert [o.status for o in outcomes] == ["failed", "completed"]
    assert "Permission denied" in outcomes[0].verdict[0]


def test_a_run_that_went_on_elsewhere_is_looked_at_again(tmp_path: Path) -> None:
    configs, paths = alike("gp", 3, **SAVED), folders(tmp_path, 3)
    stopped_at(2, configs[:1], paths[:1])
    outcomes = train_runs(configs, paths, several=True)
    assert [o.status for o in outcomes] == ["elsewhere", "completed", "completed"]


@pytest.mark.parametrize("status", ["completed", "diverged"])
def test_nothing_makes_a_failure_of_a_finished_run(status: str, tmp_path: Path) -> None:
    job = Job(tiny(), tmp_path / "run")
    with RunFolder(job.folder).lock() as held:
        held.write_status(status=status, step=4, format=1, config=to_dict(job.config))
    before = (job.folder / "run.json").read_bytes()
    assert failed(job, "the stack was refused").status == "failed"
    assert (job.folder / "run.json").read_bytes() == before


def test_a_failure_is_written_by_who_holds_the_run_alone(tmp_path: Path) -> None:
    job = Job(tiny(**SAVED), tmp_path / "run")
    with RunFolder(job.folder).lock() as held:
        assert failed(job, "refused").verdict == ["refused."]
        assert not (job.folder / "run.json").exists()
        failed(job, "refused by its holder", held)
    assert read_run(job.folder)["error"] == "refused by its holder"
    # Never begun, and yet a record that any command can go on with.
    assert stored_config(job.folder) == job.config
    assert train_run(job.config, job.folder).status == "completed"
    assert read_run(job.folder)["error"] is None


def test_a_completed_run_carries_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish_run = finish.finish_run

    def after_an_error(stack: Stack, own: recorder.Recorder, *rest: Any) -> RunOutcome:
        own.folder.write_status(error="a neighbour's")
        return finish_run(stack, own, *rest)

    monkeypatch.setattr(finish, "finish_run", after_an_error)
    assert train_run(tiny(**SAVED), tmp_path).status == "completed"
    assert read_run(tmp_path)["error"] is None


# Waiting.
def test_who_was_asked_to_save_and_end_is_waited_for(tmp_path: Path) -> None:
    config, view = tiny(**SAVED), Told()
    held = RunFolder(tmp_path).lock()
    tell_ending()
    threading.Timer(0.3, held.release).start()
    assert train_run(config, tmp_path, view).status == "completed"
    assert view.lines[0] == (
        f"process {os.getpid()} is saving its runs: waiting for it, 60 s at most"
    )


def test_who_trains_on_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module.time, "sleep", pytest.fail)
    lines: list[str] = []
    with RunFolder(tmp_path / "0").lock():
        wait_while_ending([RunFolder(tmp_path / "0"), RunFolder(tmp_path / "1")], lines.append)
    assert not lines


def test_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "PATIENCE_SECONDS", 0.2)
    lines: list[str] = []
    with RunFolder(tmp_path).lock():
        tell_ending()
        wait_while_ending([RunFolder(tmp_path)] * 3, lines.append)
    assert len(lines) == 1


# Places.
def test_a_run_goes_on_alone_as_it_would_have_in_its_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bce on 16 points: with one or three runs a part of them is left over by vectors of 32."""
    monkeypatch.setattr(jobs, "summary_figure", pytest.fail)
    configs = alike("bce", 3, **SAVED, **{"train.steps": 8, "network.depth": 1})
    whole, paths, view = folders(tmp_path / "whole", 3), folders(tmp_path / "parts", 3), Told()
    train_runs(configs, whole)
    stopped_at(4, configs, paths)
    assert [place_of(RunFolder(path)) for path in paths] == [Places(3, (i,)) for i in range(3)]
    train_run(configs[2], paths[2], view)
    train_runs(configs[:2][::-1], paths[:2][::-1], view, places=Places(3, (1, 0)))
    for there, here in zip(whole, paths, strict=True):
        assert same(saved(there), saved(here)) and alike_but_for_time(there, here)
    assert not any("another stack" in line for line in view.lines)


def test_a_run_that_moves_to_another_stack_says_so_once_it_has_been_trained(
    tmp_path: Path,
) -> None:
    configs, paths = alike("gp", 3, **SAVED), folders(tmp_path, 3)
    stopped_at(2, configs, paths)
    view = Told()
    train_runs(configs[:2], paths[:2], view)
    assert view.lines[:1] == [
        "2 of 2 runs go on in another stack than they began in: their last digits may differ "
        "from those of undisturbed runs"
    ]
    assert place_of(RunFolder(paths[1])) == Places(2, (1,))
    # Trained on a GPU before: its stack's size means nothing here.
    with RunFolder(paths[2]).lock() as held:
        held.write_status(device="NVIDIA H100")
    train_run(configs[2], paths[2], view)
    assert place_of(RunFolder(paths[2])) == Places(1, (0,))
    assert sum("another stack" in line for line in view.lines) == 2


def test_copies_stand_for_runs_that_are_elsewhere(tmp_path: Path) -> None:
    configs = alike("gp", 4)
    whole, part = trained(configs, 3), Stack(configs[1:3], CPU, Places(4, (3, 1)))
    for run, config in enumerate(configs[1:3]):
        assert part.run_parameters(run, "critic").keys()
        part.load_run_state(run, 3, whole.run_states()[run + 1])
        assert part.configs[run] is config
    for stack in (whole, part):
        stack.iterate()
    assert len(part.scalars()) == len(part.diverged_at()) == len(part.probe(5)) == 2
    for run in range(2):
        assert same(part.run_states()[run], whole.run_states()[run + 1])


@pytest.mark.parametrize(
    "stored",
    [None, [], {}, {"size": 2}, {"size": 2, "place": 2}, {"size": 2, "place": -1},
     {"size": 2.0, "place": 0}, {"size": True, "place": 0}, {"size": 10**9, "place": 0}],
)  # fmt: skip
def test_a_place_that_makes_no_sense_is_none(stored: object) -> None:
    assert as_places(stored) is None
    assert as_places({"size": 2, "place": 1, "on": "cpu"}) == Places(2, (1,))


# Planning.
def begun(tmp_path: Path, places: list[tuple[int, int]]) -> list[Job]:
    """Jobs whose runs have begun at these places: size of the stack, place."""
    jobs = []
    for seed, (size, place) in enumerate(places):
        config = tiny(seed=seed)
        job = Job(config, tmp_path / run_id(config))
        with RunFolder(job.folder).lock() as held:
            held.write_status(status="running", stack={"size": size, "place": place})
        jobs.append(job)
    return jobs


def test_stacks_that_have_begun_are_built_again(tmp_path: Path) -> None:
    jobs = begun(tmp_path, [(3, 2), (2, 0), (3, 0), (3, 2), (2, 1), (3, 1)])
    fresh = [Job(tiny(seed=9), tmp_path / "fresh"), Job(tiny(seed=8), tmp_path / "other")]
    slots = [Slot("cpu", 1)] * 2
    stacks = plan_stacks([*jobs, *fresh], [2] * 6 + [0] * 2, slots)
    found = [([(*jobs, *fresh).index(job) for job in s.jobs], s.places) for s in stacks]
    assert sorted(found, key=str) == sorted(
        [
            ([0, 2, 5], Places(3, (2, 0, 1))),
            ([3], Places(3, (2,))),
            ([1, 4], Places(2, (0, 1))),
            ([6], None),
            ([7], None),
        ],
        key=str,
    )
    # Runs that stand elsewhere now go on apart, each at its place.
    apart = group_jobs([jobs[0], jobs[2]], [2, 4])
    assert [(s.step, s.places) for s in apart] == [(2, Places(3, (2,))), (4, Places(3, (0,)))]


def test_a_stack_that_does_not_fit_any_longer_is_divided(tmp_path: Path) -> None:
    jobs = begun(tmp_path, [(4, i) for i in range(4)])
    stacks = plan_stacks(jobs, [2] * 4, [Slot("cuda:0", 1)], [2])
    assert [s.places for s in stacks] == [Places(2, (0, 1))] * 2
    (whole,) = plan_stacks(jobs, [2] * 4, [Slot("cuda:0", 1)], [4])
    assert whole.places == Places(4, (0, 1, 2, 3))
    halves = whole.smaller()
    assert [s.places for s in halves] == [Places(2, (0, 1))] * 2
    (lone,) = StackPlan(tuple(jobs[:1]), 2, Places(4, (0,))).smaller()
    assert lone.places == Places(1, (0,)) and not lone.smaller()


def test_stacks_that_never_began_are_those_of_the_first_plan(tmp_path: Path) -> None:
    configs = [tiny(seed=seed) for seed in range(4)]
    jobs = [Job(config, tmp_path / run_id(config)) for config in configs]
    plan = {j.folder.name: {"size": 2, "place": i % 2, "on": "cpu"} for i, j in enumerate(jobs)}
    add_jobs(tmp_path, jobs, plan)
    assert planned(tmp_path) == plan and read_jobs(tmp_path) == jobs
    two = [Slot("cpu", 1)] * 2
    assert [s.places for s in plan_stacks(jobs[2:], [0] * 2, two)] == [Places(2, (0, 1))]
    assert [s.places for s in plan_stacks(jobs[2:], [0] * 2, [Slot("cuda:0", 1)])] == [None]
    more = Job(tiny(seed=9), tmp_path / "more")
    add_jobs(tmp_path, [more, more])
    assert planned(tmp_path) == plan and read_jobs(tmp_path) == [*jobs, more]


# Saving.
def test_no_checkpoint_runs_ahead_of_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    def save(*_: Any) -> None:
        seen.append(sorted({step for _, step in points(tmp_path)}))

    monkeypatch.setattr(recorder, "save_checkpoint", save)
    settings = SAVED | {"log.tensorboard": True, "log.every_n_steps": 1}
    train_run(tiny(**settings), tmp_path)
    assert seen == [[0, 1, 2], [0, 1, 2, 3, 4]], "at step 2 and at the end"


def test_a_folder_that_cannot_be_locked_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    configs, paths = alike("gp", 2, **SAVED), folders(tmp_path, 2)
    paths[0].mkdir()
    (paths[0] / ".lock").symlink_to(tmp_path / "diary.txt")
    outcomes = train_runs(configs, paths, several=True)
    assert [o.status for o in outcomes] == ["failed", "completed"]
    assert "is a link" in outcomes[0].verdict[0] and not (tmp_path / "diary.txt").exists()
    with pytest.raises(ConfigError, match="is a link"):
        train_run(configs[0], paths[0])
