"""Seconds of training and of compiling: told apart, over all sessions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_configs import tiny

from wganbench.training import loop
from wganbench.training.loop import Clock
from wganbench.training.runs import train_run
from wganbench.training.stack import Stack


class Time:
    """What the clock looks at: it passes only as told."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(loop, "time", time)
    return time


def test_the_clock_stands_still_while_programs_are_compiled(time: Time) -> None:
    clock = Clock(30.0, step=5)
    time.now += 1
    with clock.paused():
        time.now += 50
    time.now += 3
    assert clock.seconds == 30 + 4 and clock.compile_seconds == 50
    assert clock.speed(13) == pytest.approx(8 / 4)
    with pytest.raises(ZeroDivisionError), clock.paused():
        time.now += 7
        raise ZeroDivisionError
    time.now += 2
    assert clock.seconds == 36 and clock.compile_seconds == 57 and clock.speed(14) == 1 / 2


@pytest.mark.usefixtures("left_to_torch")
@pytest.mark.filterwarnings("ignore:no C.. compiler found")
def test_run_json_tells_compiling_from_training(
    time: Time, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_(stack: Stack, check: Callable[[], None]) -> None:
        time.now += 40

    iterate = Stack.iterate

    def step(stack: Stack) -> None:
        time.now += 0.5
        iterate(stack)

    monkeypatch.setattr(Stack, "compile", compile_)
    monkeypatch.setattr(Stack, "iterate", step)
    monkeypatch.setattr("wganbench.training.compiling.lacking", lambda _: "no C++ compiler found")
    config = tiny("gp", compile="true", **{"train.steps": 4, "evaluate.every_n_steps": 0})
    assert train_run(config, tmp_path / "run").seconds == 2
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (stored["compile_seconds"], stored["seconds"]) == (40, 2)
    assert stored["steps_per_second"] == stored["metrics"]["speed/steps_per_second"] == 2
    assert stored["metrics"]["budget/seconds"] == 2
    # An eager run compiles nothing.
    eager = tiny("gp", compile="false", **{"train.steps": 4, "evaluate.every_n_steps": 0})
    train_run(eager, tmp_path / "eager")
    assert json.loads((tmp_path / "eager" / "run.json").read_text())["compile_seconds"] == 0


# What ran the steps.
def test_run_json_says_what_ran_the_steps_and_whether_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny("gp", **{"train.steps": 3, "checkpoint.every_n_steps": 1})
    iterate = Stack.iterate

    def broken_off(stack: Stack) -> None:
        if stack.steps_done == 2:
            raise KeyboardInterrupt
        iterate(stack)

    def stored() -> dict[str, Any]:
        content: dict[str, Any] = json.loads((tmp_path / "run" / "run.json").read_text())
        return content

    with monkeypatch.context() as other:
        other.setattr(Stack, "iterate", broken_off)
        with pytest.raises(KeyboardInterrupt):
            train_run(config, tmp_path / "run")
    assert stored()["executor"] == "eager"
    with monkeypatch.context() as other:
        other.setattr(Stack, "executor", "graph")
        outcome = train_run(config, tmp_path / "run")
    assert outcome.executor == stored()["executor"] == "graph"
    assert any("'eager' first and as 'graph' later" in line for line in outcome.verdict)
    assert not any("later" in line for line in train_run(config, tmp_path / "whole").verdict)
