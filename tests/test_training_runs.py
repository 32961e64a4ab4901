"""Whole runs in their folders: recorded, stopped, killed, resumed, refused, diverged."""

from __future__ import annotations

import copy
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import event_pb2
from training_configs import CPU, alike, same, saved, tiny, trained

from wganbench.cli.run_view import next_commands
from wganbench.config import ConfigError, RunConfig, compose, to_dict
from wganbench.config.check import from_dict
from wganbench.config.schema import digest_of_training
from wganbench.files import RECORD_BYTES, UnusableFile
from wganbench.runs.folder import KEYS, RunFolder
from wganbench.runs.table import read_table
from wganbench.training import figures, finish, jobs
from wganbench.training.checkpoint import load_checkpoint, previous
from wganbench.training.loop import Clock, _budget
from wganbench.training.recorder import Recorder, Row, columns
from wganbench.training.run import load_run
from wganbench.training.runs import SilentView, resume_run, train_run, train_runs
from wganbench.training.stack import Stack

TIMES = ("budget/seconds", "speed/steps_per_second")
RECORDED: dict[str, Any] = {
    "train.steps": 8,
    "log.every_n_steps": 2,
    "log.tensorboard": True,
    "evaluate.every_n_steps": 4,
    "checkpoint.every_n_steps": 4,
}


@pytest.fixture(autouse=True)
def unpainted(monkeypatch: Any, request: pytest.FixtureRequest) -> None:
    """Painting takes longer than all the rest; only the undisturbed run does it."""
    request.getfixturevalue("whole")
    monkeypatch.setattr(jobs, "summary_figure", lambda *_: None)
    monkeypatch.setattr(jobs, "progress_figure", lambda *_: Figure())
    monkeypatch.setattr(jobs, "png_bytes", lambda figure: b"PNG")
    monkeypatch.setattr(jobs, "figure_to_rgb", lambda figure: np.zeros((2, 2, 3), np.uint8))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recorded run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        outcome = train_run(tiny("gp", **RECORDED), folder)
    assert outcome.status == "completed"
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def points(folder: Path) -> dict[tuple[str, int], float]:
    """TensorBoard's scalars by tag and step, and the marks of images and histograms."""
    found: dict[tuple[str, int], float] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for record in event_file_loader.RawEventFileLoader(str(file)).Load():
            event = event_pb2.Event.FromString(record)
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                if value.tag in TIMES or kind not in ("simple_value", "image", "histo"):
                    continue
                assert (value.tag, event.step) not in found, "a point stands twice"
                number = value.simple_value if kind == "simple_value" else 0.0
                found[value.tag, event.step] = number
    return found


def metrics(folder: Path) -> dict[str, float]:
    stored = json.loads((folder / "run.json").read_text())
    return {k: v for k, v in stored["metrics"].items() if k not in TIMES}


def assert_same_run(folder: Path, other: Path) -> None:
    """Nothing that was recorded tells the two apart, but for the time it took."""
    assert same(saved(folder), saved(other))
    assert rows(folder) == rows(other)
    assert points(folder) == points(other)
    assert metrics(folder) == metrics(other)
    for name in ("reals", "fakes"):
        a, b = (np.load(path / "samples.npz")[name] for path in (folder, other))
        assert np.array_equal(a, b)


def after_step(patch: pytest.MonkeyPatch, step: int, action: Callable[[], None]) -> None:
    """Do something in the middle of the loop, as soon as a step is done."""
    iterate = Stack.iterate

    def wrapped(stack: Stack) -> None:
        iterate(stack)
        if stack.steps_done == step:
            action()

    patch.setattr(Stack, "iterate", wrapped)


def ask_to_stop() -> None:
    signal.raise_signal(signal.SIGTERM)


# A run from start to end.
def test_a_run_leaves_all_its_files(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    logs = {name for name in names if name.startswith("events.out.tfevents.")}
    assert len(logs) == 1
    assert names - logs == {
        "run.json",
        "metrics.csv",
        "checkpoint.pt",
        "checkpoint.previous.pt",
        "samples.npz",
        "figure.png",
        ".lock",
    }
    assert (whole / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    samples = np.load(whole / "samples.npz")
    assert samples["reals"].shape == samples["fakes"].shape == (10, 2)
    assert load_checkpoint(whole / "checkpoint.pt").step == 8
    assert load_checkpoint(previous(whole / "checkpoint.pt")).step == 4


def test_no_figure_where_none_is_wanted(tmp_path: Path) -> None:
    config = tiny(**{"train.steps": 2, "log.figure": False})
    outcome = train_run(config, tmp_path / "run")
    assert outcome.status == "completed"
    assert not (tmp_path / "run" / "figure.png").exists()
    assert not any(line.startswith("figure:") for line in next_commands(outcome))
    shown = train_run(tiny(**{"train.steps": 2}), tmp_path / "other")
    assert any(line.startswith("figure:") for line in next_commands(shown))


def test_samples_say_which_modes_they_cover(tmp_path: Path) -> None:
    config = tiny(**{"train.steps": 2, "log.figure": False, "data.sigma": 0.5})
    outcome = train_run(config, tmp_path)
    samples = np.load(tmp_path / "samples.npz")
    eighths = np.arctan2(*samples["modes"].T) / (np.pi / 4)
    assert np.allclose(eighths, np.rint(eighths), atol=1e-5)
    assert {*np.rint(eighths) % 8} == {*range(8)}
    gaps = np.linalg.norm(samples["fakes"][:, None] - samples["modes"], axis=2)
    near = gaps.min(1) <= 3 * 0.5
    assert near.any()
    expected = np.bincount(gaps.argmin(1)[near], minlength=8)
    assert samples["mode_counts"].tolist() == expected.tolist()
    assert outcome.metrics["modes/covered"] == (expected > 0).sum()
    assert json.loads((tmp_path / "run.json").read_text())["data_modes"] == 8


def test_a_cloud_that_changed_is_not_taken_for_the_one_trained_on(tmp_path: Path) -> None:
    cloud = tmp_path / "cloud.npy"
    rng = np.random.default_rng(0)
    np.save(cloud, rng.normal(size=(100, 2)))
    config = compose(
        ["data=points", f"data.path={cloud}", "train.steps=2", "evaluate.final_n=10",
         "evaluate.n=10", "log.figure=false", "train.batch_size=16", "tuned=none"]
    )  # fmt: skip
    folder = tmp_path / "run"
    outcome = train_run(config, folder)
    assert outcome.status == "completed"
    os.utime(cloud)  # touched is not changed
    assert train_run(config, folder) == outcome
    np.save(cloud, rng.normal(size=(100, 2)))
    with pytest.raises(ConfigError, match="holds other data than the run"):
        train_run(config, folder)
    cloud.unlink()
    assert train_run(config, folder).status == "completed", "a finished run needs no data"


def test_run_json_says_what_was_done(whole: Path) -> None:
    stored = json.loads((whole / "run.json").read_text())
    assert set(KEYS) <= set(stored)
    assert (stored["status"], stored["step"], stored["device"]) == ("completed", 8, "cpu")
    assert from_dict(stored["config"]) == tiny("gp", **RECORDED)
    assert stored["seconds"] > 0
    assert stored["steps_per_second"] == pytest.approx(8 / stored["seconds"])
    assert stored["versions"]["torch"] and stored["verdict"]
    logged = {"loss/critic", "loss/penalty", "grad_norm/generator_layer_2", "budget/examples"}
    measured = {"modes/covered", "wasserstein/exact", "wasserstein/floor", "critic/lipschitz"}
    assert logged | measured <= set(stored["metrics"])


def test_metrics_csv_has_one_row_a_logged_step(whole: Path) -> None:
    table = rows(whole)
    assert [int(row["step"]) for row in table] == [0, 2, 4, 6, 8]
    assert list(table[0])[1:] == [
        tag for tag in columns(Stack([tiny("gp")], CPU)) if tag not in TIMES
    ]
    for row in table:
        step = int(row["step"])
        assert bool(row["loss/critic"]) == (step > 0)
        assert bool(row["wasserstein/exact"]) == (step % 4 == 0)
        assert row["critic/saturation"] == "", "a Wasserstein critic has none"


def test_tensorboard_has_the_same_values(whole: Path) -> None:
    shown = points(whole)
    for row in rows(whole):
        for tag, cell in row.items():
            if tag != "step" and cell:
                expected = np.float32(float(cell))
                assert shown[tag, int(row["step"])] == pytest.approx(expected, nan_ok=True)
    assert {step for tag, step in shown if tag == "samples"} == {8}
    assert {step for tag, step in shown if tag.startswith("histogram/")} == {0, 4, 8}


def test_the_rows_are_those_of_the_stack(whole: Path) -> None:
    stack = trained([tiny("gp", **RECORDED)], 8)
    last = rows(whole)[-1]
    assert {k: float(last[k]) for k in stack.scalars()[0]} == stack.scalars()[0]
    assert same(saved(whole), stack.run_states()[0])


def test_the_budget_counts_critic_steps_examples_and_passes() -> None:
    for loss, gradients, passes, of_generator in (
        ("gp", 3, 11, 5), ("bce_r1", 3, 11, 5), ("clip", 1, 7, 5), ("bce", 1, 7, 5),
        ("rpgan_r1r2", 5, 15, 7),
    ):  # fmt: skip
        stack = Stack([tiny(loss, **{"loss.n_critic": 5})], CPU)
        stack.steps_done = 10
        budget = _budget(stack, Clock(0.0, 10))
        assert budget["budget/critic_steps"] == 50
        assert budget["budget/examples"] == 50 * 16
        assert budget["budget/gradient_evaluations"] == 50 * gradients + 10
        assert budget["budget/passes"] == 50 * passes + of_generator * 10


def test_a_finished_run_is_reported_and_not_trained_again(whole: Path) -> None:
    files = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in whole.iterdir() if p.is_file()}
    first = metrics(whole)
    for again in (train_run(tiny("gp", **RECORDED), whole), resume_run(whole)):
        assert (again.status, again.step) == ("completed", 8)
        assert {k: v for k, v in again.metrics.items() if k not in TIMES} == first
    for path, (mtime, content) in files.items():
        if path.name != ".lock":
            assert (path.stat().st_mtime_ns, path.read_bytes()) == (mtime, content)


# Recording changes nothing.
@pytest.mark.parametrize(
    "other",
    [
        {"log.every_n_steps": 1, "evaluate.every_n_steps": 1, "checkpoint.every_n_steps": 1},
        {"log.every_n_steps": 1000, "evaluate.every_n_steps": 0, "log.tensorboard": False},
        {"log.every_n_steps": 3, "evaluate.n": 24, "evaluate.final_draws": 2},
    ],
)
def test_logging_and_measuring_change_no_parameter(
    whole: Path, tmp_path: Path, other: Mapping[str, Any]
) -> None:
    assert train_run(tiny("gp", **(RECORDED | other)), tmp_path).status == "completed"
    assert same(saved(tmp_path), saved(whole))


# Stopping and going on.
@pytest.mark.parametrize("step", [1, 4, 5, 6])
def test_stop_and_resume_equals_no_stop(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    config = tiny("gp", **RECORDED)
    with monkeypatch.context() as patch:
        after_step(patch, step, ask_to_stop)
        stopped = train_run(config, tmp_path)
    assert (stopped.status, stopped.step) == ("interrupted", step)
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "interrupted"
    assert load_checkpoint(tmp_path / "checkpoint.pt").step == step
    resumed = resume_run(tmp_path)
    assert (resumed.status, resumed.step) == ("completed", 8)
    assert_same_run(tmp_path, whole)


def test_twice_too(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny("gp", **RECORDED)
    for step in (3, 7):
        with monkeypatch.context() as patch:
            after_step(patch, step, ask_to_stop)
            assert train_run(config, tmp_path).step == step
    assert train_run(config, tmp_path).status == "completed"
    assert_same_run(tmp_path, whole)


def test_a_run_goes_on_and_ends_with_a_table_larger_than_others_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny("gp", **(RECORDED | {"log.figure": False}))
    with monkeypatch.context() as patch:
        after_step(patch, 4, ask_to_stop)
        assert train_run(config, tmp_path).status == "interrupted"
    table = tmp_path / "metrics.csv"
    head, first, *rest = table.read_bytes().splitlines(keepends=True)
    step, values = first.split(b",", 1)
    wide = b"%s%s,%s" % (step, b" " * RECORD_BYTES, values)
    table.write_bytes(b"".join([head, wide, *rest]))
    with pytest.raises(UnusableFile, match="larger than"):
        read_table(table)
    assert train_run(config, tmp_path).status == "completed"
    assert table.stat().st_size > RECORD_BYTES


def test_a_stop_while_it_logs_is_not_lost(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, log = tiny("gp", **RECORDED), Recorder.log

    def log_and_stop(recorder: Recorder, logged: Sequence[Row]) -> None:
        log(recorder, logged)
        if logged[-1][0] == 2:
            ask_to_stop()

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "log", log_and_stop)
        stopped = train_run(config, tmp_path)
    assert stopped.status == "interrupted" and stopped.step < 4
    assert load_checkpoint(tmp_path / "checkpoint.pt").step == stopped.step
    assert train_run(config, tmp_path).status == "completed"
    assert_same_run(tmp_path, whole)


def test_a_second_signal_ends_it_at_once_and_the_handlers_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def twice() -> None:
        ask_to_stop()
        signal.raise_signal(signal.SIGINT)

    after_step(monkeypatch, 5, twice)
    with pytest.raises(KeyboardInterrupt):
        train_run(tiny("gp", **RECORDED), tmp_path)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "interrupted"
    assert load_checkpoint(tmp_path / "checkpoint.pt").step == 4


def test_a_second_sigterm_does_not_break_off_the_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        ask_to_stop()
        signal.raise_signal(signal.SIGTERM)

    after_step(monkeypatch, 5, twice)
    outcome = train_run(tiny("gp", **RECORDED), tmp_path)
    assert (outcome.status, outcome.step) == ("interrupted", 5)
    assert load_checkpoint(tmp_path / "checkpoint.pt").step == 5


@pytest.mark.parametrize("place", ["step", "final measurement", "samples"])
def test_a_failed_run_says_so_and_can_be_finished(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    config = tiny("gp", **RECORDED)

    def fail(*_: Any) -> None:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch:
        if place == "step":
            after_step(patch, 5, fail)
        elif place == "samples":
            patch.setattr(finish, "_save_samples", fail)
        else:
            patch.setattr(finish, "read_runs", fail)
        outcome = train_run(config, tmp_path)
    assert (outcome.status, outcome.verdict[0]) == ("failed", "no space left on device.")
    stored = json.loads((tmp_path / "run.json").read_text())
    assert (stored["status"], stored["error"]) == ("failed", "no space left on device")
    assert train_run(config, tmp_path).status == "completed"
    assert_same_run(tmp_path, whole)
    stored = json.loads((tmp_path / "run.json").read_text())
    assert not stored.get("error"), "a run that was finished has no error"


# Death without notice.
CHILD = """
import json, os, signal, sys, torch
from pathlib import Path
torch.set_num_threads(1)
from wganbench.config.check import from_dict
from wganbench.training import checkpoint
from wganbench.training.runs import train_run

keep, count = checkpoint._keep_as_previous, []

def keep_and_die(path):
    keep(path)
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[3] == "while saving":
    checkpoint._keep_as_previous = keep_and_die
train_run(from_dict(json.loads(sys.argv[1])), Path(sys.argv[2]))
"""

LONG = {"train.steps": 400, "checkpoint.every_n_steps": 4, "log.every_n_steps": 2}


def child(config: RunConfig, folder: Path, how: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CHILD, json.dumps(to_dict(config)), str(folder), how]
    return subprocess.Popen(command, cwd=Path(__file__).parent.parent)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("without_shape_checks")  # it trains twice as long as it was killed at
def test_killed_in_the_middle_or_while_saving_it_ends_where_it_would_have(
    whole: Path, tmp_path: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    config, long = tiny("gp", **RECORDED), tiny("gp", **LONG)
    saving, running = tmp_path / "saving", tmp_path / "running"
    children += [child(long, running, "from outside"), child(config, saving, "while saving")]
    wait_for((running / "checkpoint.previous.pt").exists, children[0])
    # Meanwhile nobody else may train there; the message names who does.
    with pytest.raises(ConfigError, match=f"in use by process {children[0].pid}"):
        train_run(long, running)
    children[0].kill()
    assert children[0].wait() == -signal.SIGKILL
    done = load_checkpoint(running / "checkpoint.pt").step
    assert 4 <= done < 400, "it was killed on its way"
    # To its end would take long: to the next stop, beside a stack that was never killed.
    stop = done + 3
    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, stop, ask_to_stop)
        assert train_run(long, running).step == stop
    assert same(saved(running), trained([long], stop).run_states()[0])
    assert [int(row["step"]) for row in rows(running)] == list(range(0, stop + 1, 2))

    assert children[1].wait(timeout=120) == -signal.SIGKILL
    # Killed between the writing of the second checkpoint and its taking the first one's place.
    assert load_checkpoint(saving / "checkpoint.pt").step == 4
    assert list(saving.glob(".tmp-*")) and rows(saving)[-1]["step"] == "8"
    assert json.loads((saving / "run.json").read_text())["status"] == "running"
    assert train_run(config, saving).status == "completed"
    assert_same_run(saving, whole)
    assert not list(saving.glob(".tmp-*"))


# Folders.
def test_a_folder_of_another_run_is_refused(whole: Path) -> None:
    before = {p.name: p.read_bytes() for p in whole.iterdir() if p.name != ".lock"}
    for other in (tiny("gp", seed=1, **RECORDED), tiny("lp", **RECORDED)):
        with pytest.raises(ConfigError, match="other settings.*--overwrite"):
            train_run(other, whole)
    assert {p.name: p.read_bytes() for p in whole.iterdir() if p.name != ".lock"} == before
    # Where and how it is computed does not make it another run.
    moved = tiny("gp", name="elsewhere", output_dir="x", compile="auto", **RECORDED)
    assert train_run(moved, whole).status == "completed"


def test_overwrite_starts_afresh_once(tmp_path: Path) -> None:
    short = {"train.steps": 2}
    train_run(tiny("gp", **short), tmp_path)
    (tmp_path / "notes.txt").write_text("the user's own")
    (tmp_path / "interpolation.png").write_text("of the run before")
    over = tiny("lp", overwrite=True, **short)
    assert train_run(over, tmp_path).status == "completed"
    assert not (tmp_path / "interpolation.png").exists() and (tmp_path / "notes.txt").exists()
    fresh = trained([tiny("lp", **short)], 2)
    assert same(saved(tmp_path), fresh.run_states()[0])
    # Resuming it later is no wish to start afresh again.
    before = (tmp_path / "checkpoint.pt").stat().st_mtime_ns
    assert resume_run(tmp_path).status == "completed"
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns == before


def test_a_run_is_resumed_on_a_machine_without_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is no part of a run's identity: it goes on, and a line says so."""
    folder, said = tmp_path / "run", []
    config = tiny("gp", **{"train.steps": 2})
    with monkeypatch.context() as patch:
        after_step(patch, 1, ask_to_stop)
        assert train_run(config, folder).status == "interrupted"
    stored = json.loads((folder / "run.json").read_text())
    stored["config"]["device"] = "cuda:3"
    (folder / "run.json").write_text(json.dumps(stored))

    class View(SilentView):
        def say(self, text: str) -> None:
            said.append(text)

    assert resume_run(folder, View()).status == "completed"
    assert "device=cuda:3 is not found here: device=auto" in said


def test_resume_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run"):
        resume_run(tmp_path / "nothing")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ConfigError, match="strict JSON"):
        resume_run(tmp_path)
    (tmp_path / "run.json").write_text('{"format": 0, "config": {}}')
    with pytest.raises(ConfigError, match="another version"):
        resume_run(tmp_path)


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, said = tiny("gp", **RECORDED), []
    with monkeypatch.context() as patch:
        after_step(patch, 6, ask_to_stop)
        train_run(config, tmp_path)
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:-100])

    class Listener:
        progress = staticmethod(lambda step, values: None)

        def start(self, steps: int, done: int) -> None:
            said.append(f"from {done}")

        def phase(self, words: str) -> None: ...

        def say(self, line: str) -> None:
            said.append(line)

        def stopping(self) -> None: ...

        def stop(self) -> None: ...

    assert train_run(config, tmp_path, Listener()).status == "completed"
    assert said[0] == "from 4" and "damaged" in said[1] and "step 4" in said[1]
    assert_same_run(tmp_path, whole)
    assert load_checkpoint(previous(file)).step == 4, "the damaged one is not kept"


def test_what_decides_the_weights_has_a_digest_of_its_own() -> None:
    own = digest_of_training(tiny())
    for alike_in in ({"evaluate.n": 77}, {"log.every_n_steps": 3}, {"checkpoint.every_n_steps": 9}):
        assert digest_of_training(tiny(**alike_in)) == own
    for other in ({"seed": 5}, {"train.critic_lr": 0.02}, {"network.width": 12}):
        assert digest_of_training(tiny(**other)) != own


def test_the_checkpoint_of_another_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_step(monkeypatch, 4, ask_to_stop)
    configs = [tiny("gp", **RECORDED, seed=seed) for seed in (0, 1)]
    folders = [tmp_path / str(config.seed) for config in configs]
    for config, folder in zip(configs, folders, strict=True):
        train_run(config, folder)
    monkeypatch.undo()
    own = (folders[1] / "checkpoint.pt").read_bytes()
    (folders[1] / "checkpoint.pt").write_bytes((folders[0] / "checkpoint.pt").read_bytes())
    with pytest.raises(ConfigError, match="is that of another run.*--overwrite"):
        train_run(configs[1], folders[1])
    with pytest.raises(ConfigError, match="is that of another run"):
        load_run(folders[1]).sample(3)
    (folders[1] / "checkpoint.pt").write_bytes(own)
    moved = folders[1].rename(tmp_path / "moved")
    assert resume_run(moved).status == "completed"


def test_both_damaged_is_a_readable_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after_step(monkeypatch, 2, ask_to_stop)
    train_run(tiny("gp", **RECORDED), tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"")
    with pytest.raises(ConfigError, match="damaged.*--overwrite"):
        train_run(tiny("gp", **RECORDED), tmp_path)


# Divergence.
def test_a_diverged_run_is_a_result(tmp_path: Path) -> None:
    config = tiny("gp", **(RECORDED | {"log.every_n_steps": 1, "train.critic_lr": 1e30}))
    outcome = train_run(config, tmp_path)
    assert outcome.status == "diverged"
    stack = trained([config], outcome.step)
    assert stack.diverged_at() == [outcome.step]
    table = rows(tmp_path)
    assert int(table[-1]["step"]) == outcome.step, "training ends there"
    assert any(cell in ("nan", "inf", "-inf") for cell in table[-1].values())
    stored = json.loads((tmp_path / "run.json").read_text())
    assert (stored["status"], stored["step"]) == ("diverged", outcome.step)
    assert all(value is not None for value in stored["metrics"].values())
    finite = {k: float(v) for row in table for k, v in row.items() if v and k != "step"}
    for tag, value in metrics(tmp_path).items():
        shown = [float(row[tag]) for row in table if row[tag]]
        assert value == [v for v in shown if np.isfinite(v)][-1]
    assert finite and "iverged" in stored["verdict"][0]
    logged = {(tag, int(row["step"])) for row in table for tag, cell in row.items() if cell}
    shown = {place for place in points(tmp_path) if not place[0].startswith("histogram/")}
    assert shown == {place for place in logged if place[0] != "step"}, "of no later step"
    assert not (tmp_path / "samples.npz").exists()
    # It is over: not trained again.
    assert train_run(config, tmp_path).status == "diverged"


@pytest.mark.parametrize("saved_at", [1, 2])
def test_a_run_that_diverges_at_its_very_last_step_is_not_called_completed(
    saved_at: int, tmp_path: Path
) -> None:
    # The generator's last update leaves no loss behind that could tell.
    config = tiny(
        "wasserstein",
        **{"train.steps": 2, "train.generator_lr": 1e-3, "checkpoint.every_n_steps": saved_at},
    )
    config.train.optimizer, config.train.betas = "sgd", [0.0, 0.0]
    iterate = Stack.iterate

    def overflow(stack: Stack) -> None:
        if stack.steps_done == 1:
            stack.generator_lr.fill_(float("inf"))
        iterate(stack)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stack, "iterate", overflow)
        outcome = train_run(config, tmp_path)
    assert (outcome.status, outcome.step) == ("diverged", 2)
    assert all(np.isfinite(value) for value in outcome.metrics.values())
    if saved_at == 1:
        assert load_checkpoint(tmp_path / "checkpoint.pt").step == 1
        assert np.isfinite(load_run(tmp_path).sample(10)).all()
    else:
        with pytest.raises(ConfigError, match="no checkpoint"):
            load_run(tmp_path).sample(10)


# Stacks of runs.
def test_runs_of_a_stack_fill_their_folders_as_alone(whole: Path, tmp_path: Path) -> None:
    configs = alike("gp", 3, **RECORDED)
    configs[1].train.critic_lr = 1e30
    folders = [tmp_path / str(r) for r in range(3)]
    outcomes = train_runs(configs, folders)
    assert [outcome.status for outcome in outcomes] == ["completed", "diverged", "completed"]
    assert [outcome.path for outcome in outcomes] == folders
    assert_same_run(folders[0], whole)
    alone = tmp_path / "alone"
    train_run(configs[2], alone)
    assert_same_run(folders[2], alone)
    assert RunFolder(folders[1]).read()["step"] == outcomes[1].step < 8
    assert (folders[2] / "figure.png").exists() and not (folders[1] / "figure.png").exists()
    # All done: asking again trains nothing; a fourth run is trained on its own.
    fourth = copy.deepcopy(configs[0])
    fourth.seed = 99
    again = train_runs([configs[0], fourth], [folders[0], tmp_path / "fourth"])
    assert [outcome.status for outcome in again] == ["completed", "completed"]
    assert same(saved(tmp_path / "fourth"), trained([fourth], 8).run_states()[0])


def test_a_disk_that_is_full_at_the_start_is_told_in_words(
    tmp_path: Path, room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    with room_for(0), pytest.raises(ConfigError, match=r"^cannot write .*: File too large$"):
        train_run(tiny("gp", **RECORDED), tmp_path)
    assert train_run(tiny("gp", **RECORDED), tmp_path).status == "completed"


def test_a_run_that_fails_at_its_end_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = alike("gp", 2, **{"train.steps": 2, "log.tensorboard": True})
    folders = [tmp_path / str(r) for r in range(2)]
    save = finish._save_samples

    def fail(folder: RunFolder, *measured: Any) -> None:
        if folder.path == folders[1]:
            raise OSError(28, "no space left on device")
        save(folder, *measured)

    with monkeypatch.context() as patch:
        patch.setattr(finish, "_save_samples", fail)
        outcomes = train_runs(configs, folders)
    assert [outcome.status for outcome in outcomes] == ["completed", "failed"]
    assert outcomes[0].metrics and outcomes[0].verdict
    assert [RunFolder(f).read()["status"] for f in folders] == ["completed", "failed"]
    assert [o.status for o in train_runs(configs, folders)] == ["completed", "completed"]


def test_runs_at_different_steps_do_not_share_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = alike("gp", 2, **RECORDED)
    folders = [tmp_path / str(r) for r in range(2)]
    with monkeypatch.context() as patch:
        after_step(patch, 2, ask_to_stop)
        train_run(configs[0], folders[0])
    with pytest.raises(ConfigError, match="different steps"):
        train_runs(configs, folders)


def test_locks_are_released_whatever_happens(tmp_path: Path) -> None:
    config = tiny("gp", **{"network.critic_normalization": "batch"})
    for _ in range(2):
        with pytest.raises(ConfigError, match="batch norm"):
            train_run(config, tmp_path)
    RunFolder(tmp_path).lock().release()
    held = RunFolder(tmp_path).lock()
    with pytest.raises(ConfigError, match=f"process {os.getpid()}"):
        train_run(tiny("gp"), tmp_path)
    held.release()


def test_no_training_randomness_comes_from_outside(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "summary_figure", figures.summary_figure)
    monkeypatch.setattr(jobs, "progress_figure", figures.progress_figure)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    train_run(tiny("gp", **RECORDED), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(saved(tmp_path), saved(whole))


def test_what_the_last_evaluation_cannot_tell_is_not_an_earlier_one_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A KL from step 4 is no figure of the last checkpoint, which has no good sample."""
    log, measure = Recorder.log, jobs.measure_reading

    def with_kl(self: Recorder, logged: Sequence[Row]) -> None:
        log(self, [(step, {**row, "modes/kl": 0.5}, found) for step, row, found in logged])

    def without_kl(*asked: Any) -> dict[str, float]:
        return {tag: value for tag, value in measure(*asked).items() if tag != "modes/kl"}

    monkeypatch.setattr(Recorder, "log", with_kl)
    monkeypatch.setattr(jobs, "measure_reading", without_kl)
    outcome = train_run(tiny("gp"), tmp_path / "run")
    assert {"0.5"} == {row["modes/kl"] for row in rows(tmp_path / "run")}
    stored = json.loads((tmp_path / "run" / "run.json").read_text())["metrics"]
    assert "modes/kl" not in stored and "modes/kl" not in outcome.metrics
    assert {"loss/critic", "modes/covered", "wasserstein/exact"} <= stored.keys()


def test_a_stopped_run_has_the_values_of_its_last_evaluation_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The KL of step 0 is no figure of step 4, whose samples have none; nor after a resume."""
    measure = jobs.measure_reading

    def kl_at_first(subject: Any, reading: Any, final: bool = True) -> dict[str, float]:
        found = {tag: v for tag, v in measure(subject, reading, final).items() if tag != "modes/kl"}
        return found | ({} if reading.step else {"modes/kl": 0.5})

    monkeypatch.setattr(jobs, "measure_reading", kl_at_first)
    config = tiny("gp", **RECORDED)
    for step, has_kl in ((2, True), (6, False), (7, False)):
        with monkeypatch.context() as patch:
            after_step(patch, step, ask_to_stop)
            stopped = train_run(config, tmp_path)
        assert (stopped.status, stopped.step) == ("interrupted", step)
        assert ("modes/kl" in metrics(tmp_path)) == ("modes/kl" in stopped.metrics) == has_kl
        assert {"loss/critic", "modes/covered", "wasserstein/exact"} <= stopped.metrics.keys()


FEW_FILES = """
import json, os, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from wganbench.config.check import from_dict
from wganbench.training.runs import train_runs
used = len(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, 4096))
configs = [from_dict(values) for values in json.loads(sys.argv[1])]
folders = [Path(sys.argv[2]) / str(run) for run in range(len(configs))]
print(*{outcome.status for outcome in train_runs(configs, folders)})
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be counted here")
@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.slow
def test_a_stack_may_have_more_runs_than_a_process_may_open_files(tmp_path: Path) -> None:
    configs = alike("clip", 16, **{"train.steps": 1, "log.figure": False, "log.tensorboard": True})
    values = json.dumps([to_dict(config) for config in configs])
    command = [sys.executable, "-c", FEW_FILES, values, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["completed"], done.stderr
