"""Runs for other programs: tables to paste, one long table, trained networks, JSON."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from reported_runs import leave_run
from training_configs import tiny

import wganbench
from wganbench.cli.app import main
from wganbench.cli.console import PlainConsole
from wganbench.cli.demo import _conclude
from wganbench.cli.run_view import settings_line
from wganbench.config import compose
from wganbench.presets import directories
from wganbench.reports.answer import answer
from wganbench.reports.comparison import compare
from wganbench.reports.plain_tables import _escaped, as_text
from wganbench.reports.report import write_handout
from wganbench.runs.record import find_runs
from wganbench.runs.table import LongTable, write_csv
from wganbench.training.runs import train_run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two groups of two runs, with rows of two tags."""
    for seed in (0, 1):
        for weight in (0.5, 2.0):
            rows = [(1, {"loss/critic": seed / 3}), (2, {"loss/critic": weight, "modes/kl": 0.25})]
            metrics = {"modes/covered": 8.0 - seed, "wasserstein/exact": 0.1}
            settings = {"loss.gp_lambda": weight}
            leave_run(tmp_path, "gp", seed, metrics, rows=rows, **settings)
    return tmp_path


# Tables to paste.
def test_a_markdown_table_has_a_cell_for_each_column(place: Path) -> None:
    comparison = compare(find_runs([place]), metrics=["modes/covered"])
    head, rule, *lines = as_text(comparison, "markdown").splitlines()
    assert head == "| group | runs | modes/covered (higher is better) |" and len(lines) == 2
    assert rule == "| --- | ---: | ---: |"
    assert [line.split("|")[1].strip() for line in lines] == ["lambda = 0.5", "lambda = 2"]
    assert all("7.5" in line.split("|")[3] for line in lines)


def test_latex_reads_nothing_of_a_name() -> None:
    assert _escaped(r"gp_lambda=0.5 & 100%") == r"gp\_lambda=0.5 \& 100\%"


def test_a_latex_table_has_its_rows(place: Path) -> None:
    text = as_text(compare(find_runs([place]), metrics=["modes/covered"]), "latex")
    assert r"lambda = 0.5 & 2 & " in text and text.count(r" \\") == 3
    assert text.startswith(r"\begin{tabular}{lrr}") and text.endswith(r"\end{tabular}")


def test_the_command_prints_the_table_alone(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(place), "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("| group |") and not (place / "comparison").exists()
    assert main(["compare", str(place), "--format", "word"]) == 2
    assert "give one of markdown, latex" in capsys.readouterr().err


@pytest.mark.parametrize(("form", "mark"), [("markdown", "- "), ("latex", "% ")])
def test_the_notes_stand_below_the_table(
    place: Path, capsys: pytest.CaptureFixture[str], form: str, mark: str
) -> None:
    (place / "broken").mkdir()
    (place / "broken" / "run.json").write_text("{")
    words = ["compare", str(place), "--format", form, "--metric", "modes/covered"]
    assert main([*words, "--at", "generator_steps=1"]) == 0
    told = capsys.readouterr().out.splitlines()
    notes = [line.removeprefix(mark) for line in told if line.startswith(mark)]
    assert any(note.startswith("1 run is left out, unreadable: ") for note in notes)
    assert any(note.startswith("at 1 generator steps") for note in notes)


@pytest.mark.parametrize("flag", ["--out=zz", "--animate", "--open"])
def test_a_table_to_paste_writes_no_files(
    place: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    before = sorted(place.rglob("*"))
    assert main(["compare", str(place), "--format", "markdown", flag]) == 2
    told, error = capsys.readouterr()
    assert f"leave out {flag.partition('=')[0]}" in error and not told
    assert sorted(place.rglob("*")) == before


# One long table.
def test_the_long_table_holds_every_value_once(place: Path, tmp_path: Path) -> None:
    runs, out = find_runs([place]), tmp_path / "long.csv"
    assert write_csv(LongTable(runs, ["loss.gp_lambda"], tmp_path), out) == 12
    with out.open() as file:
        rows = list(csv.DictReader(file))
    found = {(row["run"], int(row["step"]), row["tag"]): float(row["value"]) for row in rows}
    assert len(found) == 12
    for run in runs:
        name = str(run.path.relative_to(tmp_path))
        assert found[name, 1, "loss/critic"] == run.seed / 3, "to the last digit"
        assert found[name, 2, "loss/critic"] == run.settings["loss.gp_lambda"]
        own = [row for row in rows if row["run"] == name]
        assert {float(row["loss.gp_lambda"]) for row in own} == {run.settings["loss.gp_lambda"]}


def test_parquet_holds_what_csv_does(place: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    runs = find_runs([place])
    table = LongTable(runs, ["loss.gp_lambda"], tmp_path)
    assert main(["export", str(place), "--to", "parquet", "--out", str(tmp_path / "long.pq")]) == 0
    rows = [list(row.values()) for row in parquet.read_table(tmp_path / "long.pq").to_pylist()]
    assert [[str(cell) for cell in row][1:] for row in rows] == [
        [str(cell) for cell in line][1:] for line in table.lines()
    ]


def test_without_pyarrow_parquet_says_what_to_install(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(place), "--to", "parquet"]) == 2
    assert "pip install pyarrow" in capsys.readouterr().err
    assert not (place / "scalars.parquet").exists()


# Trained networks.
@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("loss", ["gp", "hinge_sn"])
def test_an_exported_network_computes_what_the_run_does(loss: str, tmp_path: Path) -> None:
    train_run(tiny(loss, **{"log.figure": False}), tmp_path / "run")
    run = wganbench.load_run(tmp_path / "run")
    latent = run.networks.algorithm.pair.latent.shape
    for name, shape in (("generator", latent), ("critic", (2,))):
        out = tmp_path / f"{name}.pt2"
        assert main(["export", str(tmp_path / "run"), "--to", name, "--out", str(out)]) == 0
        network = torch.export.load(out).module()
        points = torch.randn(5, *shape)
        with torch.no_grad():
            torch.testing.assert_close(network(points), getattr(run, name)(points))


@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
def test_a_critic_of_packs_scores_points_and_is_exported_for_packs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_run(tiny("bce", **{"log.figure": False, "loss.packing": 2}), tmp_path / "run")
    run, out = wganbench.load_run(tmp_path / "run"), tmp_path / "critic.pt2"
    assert main(["export", str(tmp_path / "run"), "--to", "critic", "--out", str(out)]) == 0
    assert "takes (n, 4) in fp32, packs of 2 points" in capsys.readouterr().out
    points = torch.randn(5, 2)
    with torch.no_grad():
        scores = torch.export.load(out).module()(torch.cat([points, points], dim=1))
        torch.testing.assert_close(scores, run.critic(points))


@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
def test_a_network_that_finds_the_disk_full_is_a_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    room_for: Callable[[int], AbstractContextManager[None]],
) -> None:
    train_run(tiny("gp", **{"log.figure": False}), tmp_path / "run")
    out = tmp_path / "critic.pt2"
    for size in (100, 5000):
        with room_for(size):
            assert main(["export", str(tmp_path / "run"), "--to", "critic", "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert f"cannot write {out}: File too large" in error and error.count("\n") == 1
    assert not out.exists()


@pytest.mark.slow
def test_a_critic_divided_by_its_gradient_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_run(tiny("hinge_gn", **{"log.figure": False}), tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "--to", "critic"]) == 2
    assert "divided by its own gradient" in capsys.readouterr().err


def test_export_names_what_it_cannot_do(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(place), "--to", "onnx"]) == 2
    assert "give csv, parquet, generator or critic" in capsys.readouterr().err
    assert main(["export", str(place), str(place), "--to", "critic"]) == 2
    assert "give one PATH" in capsys.readouterr().err


# Samples and measurements of another seed; JSON.
def test_another_seed_draws_other_points_and_the_same_seed_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    train_run(tiny("gp", **{"log.figure": False}), run)
    drawn = []
    for seed in (3, 3, 4):
        out = tmp_path / "points.npy"
        assert main(["sample", str(run), "-n", "5", "--seed", str(seed), "--out", str(out)]) == 0
        drawn.append(np.load(out))
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    capsys.readouterr()
    values = []
    for seed in (0, 1):
        assert main(["evaluate", str(run), "-n", "20", "--seed", str(seed), "--json"]) == 0
        values.append(json.loads(capsys.readouterr().out))
    again = tmp_path / "values.json"
    assert main(["evaluate", str(run), "-n", "20", "--seed", "1", "--out", str(again)]) == 0
    assert json.loads(again.read_text()) == values[1]
    capsys.readouterr()
    assert main(["sample", str(run), "-n", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n"] == 5 and len(np.load(told["file"])) == 5
    assert values[0].keys() == values[1].keys()
    assert values[0]["wasserstein/exact"] != values[1]["wasserstein/exact"]


def test_doctor_as_json_names_the_optional_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"torch", "compiler", "free disk", "cache", "ray", "pandas"} <= told.keys()


# Where the settings come from.
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["loss=gp"],
            "tuned/gp-ring8 (gp_lambda 0.211, the paper's 10; n_critic 2, the paper's 5; "
            "tuned=none: the paper's)",
        ),
        (["loss=gp", "tuned=none"], "the paper's of loss=gp|"),
        (["loss=gp", "data=swiss_roll"], "the paper's of loss=gp|"),
        (
            ["loss=gp", "tuned=none", "loss.gp_lambda=1"],
            "the paper's of loss=gp, but for loss.gp_lambda|",
        ),
        (["loss=gp", "train.steps=7"], "tuned/gp-ring8, but for train.steps (gp_lambda 0.211"),
    ],
)
def test_a_line_says_whose_settings_they_are(words: list[str], expected: str) -> None:
    assert f"{settings_line(compose(words), directories())}|".startswith(f"settings: {expected}")


def test_the_line_names_the_file_that_was_chosen() -> None:
    config = compose(["data=digits", "tuned=gp-ring8"])
    line = settings_line(config, directories(), "gp-ring8")
    assert line.startswith("settings: tuned/gp-ring8 (") and "but for" not in line


def test_the_line_on_settings_knows_the_users_files(tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "lsgan-spirals.yaml").write_text(
        "# @package _global_\ntrain:\n  critic_lr: 0.0123\n"
    )
    config = compose(["loss=lsgan", "data=spirals"], tmp_path)
    assert "settings: tuned/lsgan-spirals (" in settings_line(config, directories(tmp_path))
    assert "tuned/" not in settings_line(config, directories())


# For a lecture.
def test_a_handout_has_a_line_for_each_group_and_escapes(place: Path, tmp_path: Path) -> None:
    (tmp_path / "hand").mkdir()
    runs = find_runs([place])
    comparison = compare(runs, metrics=["modes/covered"])
    page = write_handout(comparison, tmp_path / "hand").read_text()
    assert page.count('<th scope="row">') == 2 and "lambda = 0.5" in page and "<img" not in page
    first, *others = answer(comparison)
    assert f"<p><b>{first}</b></p>" in page and all(f"<p>{text}</p>" in page for text in others)
    noted = dataclasses.replace(comparison, notes=("<script>alert(1)</script>",))
    assert "<script>alert" not in write_handout(noted, tmp_path / "hand").read_text()


def test_a_demo_without_frames_leaves_its_page_all_the_same(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with log.animation=false, or with an experiment that keeps no frames."""
    _conclude(place, PlainConsole())
    told = capsys.readouterr().out
    assert "no run has frames for an animation" in told and "animation:" not in told
    assert "handout:" in told and (place / "comparison" / "handout.html").is_file()


@pytest.mark.slow
def test_the_demo_says_its_minutes_and_leaves_a_page_and_an_animation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        f"output_dir={tmp_path}", "tuned=none", "device=cpu", "compile=false", "train.steps=4",
        "train.batch_size=16", "network.width=8", "evaluate.every_n_steps=2", "evaluate.n=20",
        "evaluate.final_n=20", "evaluate.floor_pairs=2", "log.every_n_steps=2",
    ]  # fmt: skip
    assert main(["demo", *words]) == 0
    told = capsys.readouterr().out
    assert "9 runs: about " in told and "handout:" in told
    for name in ("report.html", "handout.html", "figures/learning.gif"):
        assert (tmp_path / "demo" / "comparison" / name).is_file(), name
