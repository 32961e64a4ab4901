"""Signals: what asks to save, what is answered and when, what is left alone."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_configs import tiny

from wganbench.cli.app import main
from wganbench.cli.console import PlainConsole
from wganbench.cli.run_view import RunView
from wganbench.sweeps.backend import Busy, Message, Note, ReportingView
from wganbench.training import measuring, runs
from wganbench.training.process import SAVING, SIGNALS, Stopped, StopRequest, signals_interrupt
from wganbench.training.runs import SilentView, train_run

PATIENCE = 20.0


@pytest.fixture(autouse=True)
def handlers_come_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    yield
    assert {number: signal.getsignal(number) for number in SIGNALS} == before
    assert signal.set_wakeup_fd(wakeup) == wakeup


@pytest.fixture
def hangup() -> Iterator[None]:
    """SIGHUP as in a process that was started at a terminal, whatever the tests were under."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_asks_once_and_is_answered_once(hangup: None, number: int) -> None:
    answers, answered = list[int](), threading.Event()

    def answer() -> None:
        answers.append(1)
        answered.set()

    with StopRequest(answer) as stop:
        stop.check()
        signal.raise_signal(number)
        assert stop.requested and answered.wait(PATIENCE)
        with pytest.raises(Stopped):
            stop.check()
        if number != signal.SIGINT:
            signal.raise_signal(number)
    assert answers == [1]


def test_the_answer_does_not_wait_for_the_main_thread(hangup: None) -> None:
    answered = threading.Event()
    order: list[str] = []

    def answer() -> None:
        order.append("answer")
        answered.set()

    with StopRequest(answer) as stop:
        ask = stop._ask
        # As while a solver is at work: Python's handler does not run before the answer is there.
        signal.signal(signal.SIGINT, lambda *a: (answered.wait(PATIENCE), order.append("handler")))
        os.kill(os.getpid(), signal.SIGINT)
        assert answered.wait(PATIENCE)
        signal.signal(signal.SIGINT, ask)
    assert order == ["answer", "handler"]


def test_an_answer_that_hangs_does_not_hold_up_the_end(
    hangup: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wganbench.training.process.ANSWER_SECONDS", 0.05)
    over, begun = threading.Event(), threading.Event()

    def answer() -> None:
        begun.set()
        over.wait(PATIENCE)

    with StopRequest(answer):
        signal.raise_signal(signal.SIGTERM)
        assert begun.wait(PATIENCE)
    over.set()


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_interrupt(), StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_where_nothing_is_to_be_saved_a_signal_ends_with_130(
    hangup: None, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "wganbench.cli.listing.print_listing", lambda *_: signal.raise_signal(number)
    )
    assert main(["list"]) == 130


def test_an_interrupt_that_a_finalizer_drops_is_raised_again(hangup: None) -> None:
    class Subject:
        pass

    with pytest.raises(KeyboardInterrupt), signals_interrupt():
        subject = Subject()
        weakref.finalize(subject, signal.raise_signal, signal.SIGTERM)
        del subject  # Python drops the interrupt here
        threading.Event().wait(PATIENCE)
        pytest.fail("it was lost")


# Runs.
def test_a_closed_terminal_saves(hangup: None, tmp_path: Path) -> None:
    class View(SilentView):
        answered = threading.Event()

        def progress(self, step: int, values: Any) -> None:
            if step == 2:
                signal.raise_signal(signal.SIGHUP)

        def stopping(self) -> None:
            self.answered.set()

    view = View()
    config = tiny("gp", **{"train.steps": 6, "log.every_n_steps": 2})
    outcome = train_run(config, tmp_path, view)
    assert (outcome.status, outcome.step) == ("interrupted", 3)
    assert (tmp_path / "checkpoint.pt").exists() and view.answered.wait(PATIENCE)
    assert train_run(config, tmp_path).status == "completed"


def test_a_request_is_met_while_the_result_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, count = measuring.measure, list[int]()

    def and_stop(evaluation: Any) -> dict[str, float]:
        if evaluation.final:
            count.append(1)
            signal.raise_signal(signal.SIGTERM)
        return measure(evaluation)

    config = tiny("gp", **{"train.steps": 4, "evaluate.final_draws": 3})
    with monkeypatch.context() as patch:
        patch.setattr(measuring, "measure", and_stop)
        outcome = train_run(config, tmp_path)
    assert (outcome.status, outcome.step, len(count)) == ("interrupted", 4, 1)
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "interrupted"
    assert not (tmp_path / "samples.npz").exists()
    whole = train_run(config, tmp_path / "whole")
    resumed = train_run(config, tmp_path)
    assert resumed.status == "completed" and resumed.metrics.keys() == whole.metrics.keys()
    exact = [outcome.metrics["wasserstein/exact"] for outcome in (whole, resumed)]
    np.testing.assert_array_equal(exact[0], exact[1])


@pytest.mark.usefixtures("left_to_torch")
def test_nothing_is_compiled_after_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class View(SilentView):
        def progress(self, step: int, values: Any) -> None:
            signal.raise_signal(signal.SIGTERM)

        def phase(self, words: str) -> None:
            raise AssertionError(words)

    monkeypatch.setattr(runs.Stack, "compile", lambda *_: pytest.fail("compiled"))
    config = tiny("gp", **{"train.steps": 4})
    config.compile = "true"
    outcome = train_run(config, tmp_path, View())
    assert (outcome.status, outcome.step) == ("interrupted", 0)


@pytest.mark.usefixtures("left_to_torch")
def test_a_run_that_is_stopped_while_it_compiles_has_had_no_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step was taken: a later verdict must not speak of two executors."""

    def compiles(stack: Any, check: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        check()

    monkeypatch.setattr(runs.Stack, "compile", compiles)
    config = tiny("gp", **{"train.steps": 4})
    config.compile = "true"
    outcome = train_run(config, tmp_path)
    assert (outcome.status, outcome.step) == ("interrupted", 0)
    assert json.loads((tmp_path / "run.json").read_text())["executor"] is None


def test_a_run_from_python_answers_too(capsys: pytest.CaptureFixture[str]) -> None:
    SilentView().stopping()
    assert capsys.readouterr().err == f"{SAVING}\n"


# What is shown.
def shown(terminal: bool, act: str) -> str:
    console = PlainConsole(force_terminal=terminal, record=True, width=80, file=io.StringIO())
    view = RunView(console)
    view.start(10, 0)
    view.progress(0, [{"modes/covered": 1.0}])
    view.phase("compiling (about 15 s, once)")
    if act == "stop":
        view.stopping()
    view.stop()
    text = console.export_text()
    return text


@pytest.mark.parametrize("terminal", [True, False])
def test_compiling_and_stopping_are_seen(terminal: bool) -> None:
    text = shown(terminal, "stop")
    assert "compiling (about 15 s, once)" in text and SAVING in text
    assert SAVING not in shown(terminal, "nothing")


def test_workers_tell_what_takes_long_and_leave_the_answer_to_their_parent() -> None:
    told: list[Message] = []
    view = ReportingView(told.append, "cpu")
    view.phase("compiling")
    view.say("a checkpoint was damaged")
    view.stopping()
    assert told == [Busy("compiling"), Note("a checkpoint was damaged")]
