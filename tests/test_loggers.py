"""Loggers of the user: what they get, and that their failures never end a run."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from training_configs import tiny

from wganbench.errors import ConfigError
from wganbench.files import RunLock
from wganbench.runs import loggers
from wganbench.runs.loggers import LOGGERS, LoggedRun, Loggers, register_logger
from wganbench.training.runs import train_run

METHODS = ("open", "scalars", "figure", "close")


class Kept:
    """A logger that keeps what it gets, and fails in one of its methods if wanted."""

    def __init__(self, run: LoggedRun, fails: str = "") -> None:
        self.run, self.fails = run, fails
        self.rows: dict[int, dict[str, float]] = {}
        self.figures: list[str] = []
        self.ends: list[tuple[str, Mapping[str, float]]] = []
        self.fail("open")

    def fail(self, method: str) -> None:
        if method == self.fails:
            raise RuntimeError(f"no\nnetwork in {method}")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.fail("scalars")
        self.rows[step] = dict(values)

    def figure(self, name: str, file: Path) -> None:
        self.fail("figure")
        assert file.read_bytes().startswith(b"\x89PNG")
        self.figures.append(name)

    def close(self, status: str, values: Mapping[str, float]) -> None:
        self.fail("close")
        self.ends.append((status, values))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Kept]]:
    """The loggers that runs open while the test lasts: one sound, and one for each failure."""
    monkeypatch.setattr(LOGGERS, "_rows", {})
    opened: list[Kept] = []

    def opener(fails: str) -> Any:
        def open_logger(run: LoggedRun) -> Kept:
            opened.append(Kept(run, fails))
            return opened[-1]

        return open_logger

    for fails in ("", *METHODS):
        register_logger(f"fails in {fails}" if fails else "sound", opener(fails))
    yield opened


def test_a_logger_gets_what_the_folder_has_and_failures_are_notes(
    tmp_path: Path, kept: list[Kept]
) -> None:
    outcome = train_run(tiny(**{"log.figure": True, "name": "trial"}), tmp_path / "run")
    assert outcome.status == "completed"
    sound = kept[0]
    assert (sound.run.name, sound.run.experiment, sound.run.step) == ("run", "trial", 0)
    assert sound.run.settings["loss.gp_lambda"] == 10.0 and sound.run.settings["loss"] == "gp"
    with (tmp_path / "run" / "metrics.csv").open() as file:
        table = {int(row["step"]): row for row in csv.DictReader(file)}
    assert list(sound.rows) == list(table) and len(table) >= 4
    for step, values in sound.rows.items():
        written = {k: float(v) for k, v in table[step].items() if v != "" and k != "step"}
        known = {tag: value for tag, value in values.items() if not math.isnan(value)}
        assert written == pytest.approx(known)
    assert sound.figures == ["figure"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    ((status, final),) = sound.ends
    assert status == "completed" and dict(final).keys() == record["metrics"].keys()
    # Each of the others failed once, in its own method, and that alone is said.
    notes = [line for line in record["verdict"] if "The logger" in line]
    assert notes == [
        f"The logger 'fails in {method}' failed and got nothing more of this run "
        f"(RuntimeError: no network in {method})."
        for method in METHODS
    ]
    assert [bool(logger.rows) for logger in kept] == [True, False, True, True]


def test_an_interrupted_run_is_closed_and_opened_again_at_its_step(
    tmp_path: Path, kept: list[Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Kept, step: int, values: Mapping[str, float]) -> None:
        if step == 2 and not self.run.step:
            raise KeyboardInterrupt

    config = tiny(**{"checkpoint.every_n_steps": 1})
    with monkeypatch.context() as patch:
        patch.setattr(Kept, "scalars", stop)
        with pytest.raises(KeyboardInterrupt):
            train_run(config, tmp_path / "run")
    assert kept[0].ends == [("interrupted", {})]
    first = len(kept)
    assert train_run(config, tmp_path / "run").status == "completed"
    again = kept[first]
    assert again.run.step > 0 and min(again.rows) > again.run.step
    assert again.ends[0][0] == "completed"


def test_without_loggers_nothing_is_made_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOGGERS, "_rows", {})
    notes: list[str] = []

    def never() -> LoggedRun:
        raise AssertionError("the settings are read for nobody")

    Loggers(never, notes.append).scalars(1, {"loss/critic": 1.0})
    assert notes == []

    def broken(group: str) -> None:
        raise ConfigError(f"wganbench.{group} fails")

    monkeypatch.setattr("wganbench.registry.load_entry_points", broken)
    Loggers(never, notes.append).close("completed", {})
    assert notes == ["No logger was opened: wganbench.loggers fails"]
    assert loggers.LOGGERS.kind == "loggers"


def test_runs_open_their_loggers_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a lock on a file, so that it holds between processes as it does between threads."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(LOGGERS, "_rows", {})
    inside, most = [0], [0]

    def open_logger(run: LoggedRun) -> Kept:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.05)
        inside[0] -= 1
        return Kept(run)

    register_logger("slow", open_logger)
    run = LoggedRun("a", tmp_path, "e", {}, 0)
    notes: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        every = list(pool.map(lambda _: Loggers(lambda: run, notes.append), range(4)))
    assert most == [1] and [len(one.opened) for one in every] == [1] * 4 and not notes
    monkeypatch.setattr(loggers, "OPENING_SECONDS", 0.1)
    with RunLock(tmp_path / "wganbench" / "loggers.lock"):
        assert Loggers(lambda: run, notes.append).opened, "it goes on without the lock"
