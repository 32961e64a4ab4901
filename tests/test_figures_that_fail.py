"""A figure that cannot be drawn costs a note; what a user calls things is never a formula."""

from __future__ import annotations

import ast
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from reported_runs import leave_run
from test_architecture import tree, under
from test_reports_figures import course, leave, leave_samples, three_losses
from training_configs import tiny

from wganbench.cli.app import main
from wganbench.drawing.canvas import LONGEST, figure_to_rgb, literal, save_svg
from wganbench.drawing.images import classes_figure, interpolation_figure, neighbours_figure
from wganbench.drawing.run_figure import final_figure, sample_figure
from wganbench.reports.comparison import compare
from wganbench.reports.figures import FIGURES, draw_figures
from wganbench.reports.report import write_report
from wganbench.reports.seed_figures import draw_estimate, widen, window
from wganbench.runs.record import find_runs
from wganbench.training import figures, finish, jobs
from wganbench.training.runs import train_run

HOSTILE = {
    "formula": r"$$ and $\frac",
    "bytes": os.fsdecode(b"caf\xe9"),
    "letters": "\u732b \U0001f415",
    "long": "n" * 200,
    "hidden": "_private",
    "escape": "\x1b[31m\u202ered\n\n\nred",
    "markup": "[bold]{x}%s",
}
"""What folders and data sets are really called, and worse."""


# Limits of an axis.
@pytest.mark.parametrize(
    "values",
    [[], [1.0], [1.0, 3.0], [1.0, 3.0, 2.0], [0.5] * 2, [7.0] * 50, [-1e15] * 3, [1e308, -1e308],
     [math.nan, 2.0], [math.inf, 1.0, 2.0], list(range(30))],
    ids=str,
)  # fmt: skip
def test_limits_hold_every_value_of_few_and_can_be_drawn(values: list[float]) -> None:
    low, high = window(values)
    assert low < high and low <= 0
    known = [value for value in values if abs(value) < 1e100]
    assert all(low <= value <= high for value in known)
    axes = Figure().add_subplot()
    widen(axes, values, values)
    assert axes.get_xlim() == (low, high)
    figure_to_rgb(axes.get_figure())  # type: ignore[arg-type]


def test_limits_leave_out_what_lies_far_from_many() -> None:
    values = [*np.linspace(1, 2, 40), 1000.0]
    low, high = window(values)
    assert low == 0 and 2 <= high < 10
    axes = Figure().add_subplot()
    widen(axes, values, values)
    assert [text.get_text() for text in axes.texts] == ["1 of 41 points lie outside"]
    assert window(values[:18] + [1000.0])[1] > 1000, "of few values none is far away"


# Comparisons.
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_runs_of_few_evaluations_are_drawn(tmp_path: Path, count: int) -> None:
    steps = [10**15 * (i + 1) for i in range(count)]
    leave(tmp_path / "runs", "gp", 0, course("gp", 0, steps)[:count] if count else [])
    _, notes = draw_figures(compare(find_runs([tmp_path / "runs"])), tmp_path)
    assert notes == [] and (tmp_path / "figures" / "estimate.png").exists() == (count > 0)


@pytest.mark.parametrize("value", [1e308, -1e308, math.nan, math.inf])
def test_absurd_values_cost_no_table_and_no_report(
    tmp_path: Path, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(step, row | {"wasserstein/exact": value, "wasserstein/estimate": -value})
            for step, row in course("gp", 0)]  # fmt: skip
    for seed in range(2):
        leave_run(tmp_path / "runs", "gp", seed, rows[-1][1], rows=rows)
    assert main(["compare", str(tmp_path / "runs")]) == 0
    made = {path.name for path in (tmp_path / "runs" / "comparison").iterdir()}
    assert {"report.html", "comparison.csv", "comparison.json"} <= made
    assert "report:" in capsys.readouterr().out


def test_a_figure_that_raises_is_left_out_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    three_losses(tmp_path, 1)

    def fail(_: Any) -> None:
        raise np.linalg.LinAlgError("Singular matrix")

    old = tmp_path / "comparison" / "figures" / "curves.png"
    old.parent.mkdir(parents=True)
    old.touch()
    rows = {"curves": fail, "answer": FIGURES["answer"]}
    monkeypatch.setattr("wganbench.reports.figures.FIGURES", rows)
    assert main(["compare", str(tmp_path)]) == 0
    told = "The figure 'curves' could not be drawn (LinAlgError: Singular matrix)."
    assert f"note: {told}" in capsys.readouterr().out
    assert not old.exists() and (old.parent / "answer.png").exists()
    page = (tmp_path / "comparison" / "report.html").read_text()
    assert "Singular matrix" in page and "Groups by" in page


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=[pytest.mark.slow] * (k not in ("markup", "formula"))) for k in HOSTILE],
)
def test_figures_of_a_comparison_show_names_as_they_are(tmp_path: Path, kind: str) -> None:
    name = HOSTILE[kind]
    for seed, (loss, width) in enumerate([("gp", 4), ("gp", 8), ("bce", 4)]):
        run = leave(tmp_path / "runs", loss, 0, settings={"network.width": width})
        leave_samples(run, range(5 + seed))
        stored = json.loads((run / "run.json").read_text())
        stored["config"]["data"]["name"] = f"{name} {loss}"
        (run / "run.json").write_text(json.dumps(stored))
    comparison = compare(find_runs([tmp_path / "runs"]), ["data.name", "network.width"])
    assert draw_figures(comparison, tmp_path)[1] == []
    drawing = draw_estimate(comparison)
    assert drawing is not None
    write_report(comparison, [], tmp_path)


# Runs.
def pictures() -> dict[str, Callable[[str], Figure]]:
    """Every figure of a run that shows what a user calls something."""
    rng = np.random.default_rng(0)
    images, points = rng.random((6, 1, 8, 8)), rng.random((20, 2))
    classes, near = np.arange(6) % 2, np.zeros((6, 2, 1, 8, 8), np.uint8)
    rows = images.reshape(2, 3, 1, 8, 8)
    table = {"step": [0, 4], "wasserstein/exact": [1.0, 0.5]}
    return {
        "classes": lambda name: classes_figure(images, classes, [name, "b"], f"Of two\n{name}"),
        "interpolation": lambda name: interpolation_figure(rows, name),
        "neighbours": lambda name: neighbours_figure(images, near, np.ones((6, 2)), name),
        "samples": lambda name: sample_figure(points, points, title=name),
        "pictures": lambda name: sample_figure(images, images, title=name),
        "final": lambda name: final_figure(table, points, points, title=name),
    }


@pytest.mark.parametrize("kind", HOSTILE)
def test_figures_of_a_run_show_names_as_they_are(kind: str, tmp_path: Path) -> None:
    # Warnings are errors here: a missing letter and a layout that collapses would be two.
    for draw in pictures().values():
        save_svg(draw(HOSTILE[kind]), tmp_path / "figure.svg")


def test_literal_text() -> None:
    assert literal(r"$\frac$") == r"\$\frac\$"
    assert literal(os.fsdecode(b"caf\xe9")) == r"caf\xe9"
    assert literal("caf\xe9") == "caf\xe9" and literal("\u732b") == r"\u732b"
    assert len(literal("n" * 200)) == LONGEST and literal("") == "runs"


RECORDED = {"train.steps": 4, "evaluate.every_n_steps": 2, "log.figure": True,
            "log.animation": True, "log.tensorboard": True,
            "log.picture_every_n_steps": 2}  # fmt: skip


@pytest.mark.parametrize("place", ["summary_figure", "save_animation", "progress_figure"])
def test_a_run_whose_picture_cannot_be_drawn_is_complete(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("Expected \\frac{num}{den}\n$$\n^\nmore")

    monkeypatch.setattr(finish if place == "save_animation" else jobs, place, fail)
    outcome = train_run(tiny("gp", **RECORDED), tmp_path)
    assert outcome.status == "completed" and outcome.metrics["wasserstein/exact"] > 0
    notes = [line for line in outcome.verdict if "could not be drawn" in line]
    assert len(notes) == 1 and "ValueError: Expected" in notes[0] and "\n" not in notes[0]
    stored = json.loads((tmp_path / "run.json").read_text())
    assert stored["status"] == "completed" and stored["verdict"] == list(outcome.verdict)
    assert (tmp_path / "samples.npz").exists() and len(outcome.verdict) > 1


def test_one_picture_of_an_image_run_that_fails_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_training_image_pictures import config

    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(figures, "interpolation_figure", fail)
    outcome = train_run(config("data=digits"), tmp_path)
    assert outcome.status == "completed"
    assert [line for line in outcome.verdict if "could not be drawn" in line] == [
        "interpolation.png could not be drawn (RuntimeError: out of memory)."
    ]
    made = {path.name for path in tmp_path.glob("*.png")}
    assert made == {"figure.png", "classes.png", "neighbours.png"}


# That it stays so.
WRITES = {"set_title", "suptitle", "text", "annotate", "set_xlabel", "set_ylabel"}
USERS = {"name", "names", "title", "label", "key"}


def unescaped(node: ast.AST) -> set[str]:
    """Names in an expression that may be the user's and do not go through `literal`."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("literal", "heading"):
        return set()
    found = {getattr(node, "id", None), getattr(node, "attr", None)} & USERS
    return found.union(*map(unescaped, ast.iter_child_nodes(node)))  # type: ignore[arg-type]


@pytest.mark.parametrize("file", under("drawing", "training"))
def test_what_is_written_on_a_figure_of_a_run_goes_through_literal(file: str) -> None:
    for call in ast.walk(tree(file)):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in WRITES:
            written = [unescaped(argument) for argument in call.args]
            ours = file == "drawing/run_figure.py"  # panels have titles of ours alone
            assert ours or not set().union(*written), ast.unparse(call)
