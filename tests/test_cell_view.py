"""Progress in a notebook: one output of a cell that is replaced."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from training_configs import tiny

from wganbench.cli import cell_view
from wganbench.cli.cell_view import RunCell, SweepCell
from wganbench.config import run_id
from wganbench.config.jobs import Job
from wganbench.sweeps.plan import Slot, StackPlan


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pictures of all cells, in the order in which they were shown."""
    pictures: list[str] = []

    def display(first: str, display_id: bool) -> Any:
        assert display_id
        pictures.append(first)
        return SimpleNamespace(update=pictures.append)

    ipython = SimpleNamespace(display=display, HTML=str)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    monkeypatch.setenv("FORCE_COLOR", "1")  # a kernel's output passes for a terminal
    return pictures


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that stands still until it is moved on."""
    now = [1000.0]
    monkeypatch.setattr(cell_view, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def test_a_run_is_one_bar_with_step_figures_and_the_time_left(
    shown: list[str], clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    view = RunCell()
    view.start(1000, 200)
    assert 'max="1000" value="200"' in shown[-1] and "preparing" in shown[-1]
    clock(10)
    view.progress(400, [{"modes/covered": 7.0}])
    assert 'value="400"' in shown[-1] and "modes 7" in shown[-1] and "preparing" not in shown[-1]
    assert "about 30 s left" in shown[-1], "200 steps took ten seconds, 600 are left"
    count = len(shown)
    clock(cell_view.EVERY_SECONDS / 2)
    view.progress(410, [{"modes/covered": 8.0}])
    assert len(shown) == count, "too soon"
    view.phase("measuring the <result>")
    assert "measuring the &lt;result&gt;" in shown[-1] and "modes 8" in shown[-1]
    view.progress(1000, [{"modes/covered": 8.0}])
    view.stop()
    assert 'value="1000"' in shown[-1] and "left" not in shown[-1]
    assert "measuring" not in shown[-1]
    assert capsys.readouterr().out == "", "nothing is printed beside it"
    view.say("a note")
    assert "a note" in capsys.readouterr().out


def test_a_sweep_is_the_table_of_a_terminal(
    shown: list[str],
    clock: Callable[[float], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    view, config = SweepCell(), tiny()
    stack = StackPlan((Job(config, tmp_path / run_id(config)),) * 2, 0)
    view.begin([stack], [Slot("cpu", 1)], finished=1)
    assert "1/3 runs done" in shown[-1]
    said = capsys.readouterr().out
    view.stack_started(0, stack, "cuda:1 <a>", 4, 0)
    clock(1)
    view.stack_advanced(0, 2, [{"modes/covered": 8.0}, {"modes/covered": 5.0}])
    assert "cuda:1 &lt;a&gt;" in shown[-1] and "2/4" in shown[-1] and " 5" in shown[-1]
    count = len(shown)
    view.stack_busy(0, "measuring")
    assert len(shown) == count, "too soon"
    clock(1)
    view.stack_busy(0, "measuring")
    assert "measuring" in shown[-1]
    view.stack_ended(0, [])
    view.end()
    assert "measuring" not in shown[-1] and "device" not in shown[-1]
    assert "\x1b" not in "".join(shown)
    assert said.count("\n") == 1 and capsys.readouterr().out == "", "what runs is said once"
    assert all(picture.startswith("<pre>") for picture in shown[1:])


def test_nothing_to_train_makes_no_cell(shown: list[str]) -> None:
    view = SweepCell()
    view.begin([], [], finished=3)
    view.end()
    assert shown == []
