"""What a view shows of a run, the worker that trains it tells."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from training_configs import tiny

from wganbench.cli.run_view import summary
from wganbench.cli.sweep_view import SweepView
from wganbench.config import run_id
from wganbench.config.jobs import Job
from wganbench.runs.folder import RunOutcome
from wganbench.sweeps.backend import Advanced, Message, ReportingView
from wganbench.sweeps.plan import Slot, StackPlan
from wganbench.tags.lookup import TAGS, live_values, shown_in

EVERYTHING = [{tag: float(i) for i, tag in enumerate(TAGS)} for _ in range(2)]
"""A stack of two runs of which every tag was measured."""


def live_table(tmp_path: Path, values: list[dict[str, float]]) -> tuple[list[str], str]:
    """Headings, and the whole text, of a sweep's table when one stack has these values."""
    console = Console(file=io.StringIO(), width=120, highlight=False)
    view, config = SweepView(console), tiny()
    stack = StackPlan((Job(config, tmp_path / run_id(config)),) * 2, 0)
    view.begin([stack], [Slot("cpu", 1)], finished=0)
    view.stack_started(0, stack, "cpu", 4, 0)
    view.stack_advanced(0, 2, values)
    console.print(found := view._table())
    assert isinstance(console.file, io.StringIO)
    return [str(c.header) for c in found.renderables[1].columns], console.file.getvalue()


def heard(values: list[dict[str, float]]) -> list[dict[str, float]]:
    """What reaches the parent of a worker whose stack has these values."""
    messages: list[Message] = []
    ReportingView(messages.append, "cpu").progress(2, values)
    (message,) = messages
    assert isinstance(message, Advanced)
    return message.values


def test_every_column_of_the_live_table_is_told_by_the_worker(tmp_path: Path) -> None:
    alone, _ = live_table(tmp_path, EVERYTHING)
    through_a_worker, _ = live_table(tmp_path, heard(EVERYTHING))
    assert through_a_worker == alone
    assert alone == ["device", "stack", "step", "modes", "W1", "energy", "FID", "steps/s"]


def test_every_figure_of_a_runs_line_is_told_by_the_worker() -> None:
    assert summary(heard(EVERYTHING)) == summary(EVERYTHING)


def test_the_fid_of_pictures_reaches_the_table(tmp_path: Path) -> None:
    pictures = [{"modes/covered": 9.0, "fidelity/fid": 2.5}, {"fidelity/fid": 1.25}]
    headings, text = live_table(tmp_path, heard(pictures))
    assert headings[3:] == ["modes", "FID"] and "2.50" in text and "1.25" not in text


def test_a_worker_tells_nothing_that_no_view_shows() -> None:
    assert set(live_values(EVERYTHING[0])) == {tag.name for tag in shown_in("live")}
    assert live_values({"loss/critic": 1.0}) == {}


def test_the_worst_run_is_shown_and_said_to_be(tmp_path: Path) -> None:
    values = [{"modes/covered": 8.0, "wasserstein/exact": 0.5},
              {"modes/covered": 7.0, "wasserstein/exact": 0.25}]  # fmt: skip
    assert summary(values) == "worst of 2 runs: modes 7  W1 0.5"
    assert summary(values[:1]) == "modes 8  W1 0.5"
    assert TAGS["modes/covered"].worst([{}]) is TAGS["wasserstein/exact"].worst([]) is None
    _, text = live_table(tmp_path, heard(values))
    assert "shown is the worst run of a stack" in text


def test_no_time_is_left_when_every_run_has_ended(tmp_path: Path) -> None:
    """A run that diverges leaves steps undone, which nobody will take."""
    console = Console(file=io.StringIO(), width=120)
    view, config = SweepView(console), tiny()
    stacks = [StackPlan((Job(config, tmp_path / name),), 0) for name in "ab"]
    view.begin(stacks, [Slot("cpu", 1)], finished=0)
    for number, stack in enumerate(stacks):
        view.stack_started(number, stack, "cpu", 4, 0)
        view.stack_advanced(number, 2, [{}])
    view.stack_ended(0, [RunOutcome(tmp_path / "a", "diverged", 2, {}, [], 1.0)])
    assert "1/2 runs done, 1 diverged, about" in view._line()
    view.stack_ended(1, [RunOutcome(tmp_path / "b", "diverged", 2, {}, [], 1.0)])
    assert view._line() == "2/2 runs done, 2 diverged"
