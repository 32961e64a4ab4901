"""Which distance decides: by the dimension of the data, in every place that ranks or tells."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reported_runs import leave_run
from training_configs import tiny

from wganbench.cli.run_view import print_result, summary
from wganbench.cli.sweep_view import print_sweep
from wganbench.config import run_id
from wganbench.config.jobs import Job
from wganbench.losses import RECIPES
from wganbench.reports.comparison import compare
from wganbench.reports.curve_figures import draw_curves
from wganbench.reports.seed_figures import draw_estimate
from wganbench.runs.folder import RunFolder, RunOutcome, outcome_of
from wganbench.runs.record import RunRecord, find_runs, read_content, read_record
from wganbench.runs.table import read_table
from wganbench.sweeps.launch import objective
from wganbench.tags.lookup import (
    BIASED_FROM,
    TAGS,
    fallback_text,
    headline_distance,
    other_distances,
    right_distance,
    shown_of,
    without_others,
)
from wganbench.training.runs import train_run
from wganbench.training.verdict import verdict
from wganbench.tuning.report import winners_table
from wganbench.tuning.search import Search, Trial
from wganbench.tuning.space import read_space

EXACT, ENERGY, FID = "wasserstein/exact", "energy/distance", "fidelity/fid"
BOTH = {
    EXACT: 13.0, "wasserstein/floor": 12.5, ENERGY: 0.25, "energy/floor": -0.001,
    "energy/spread": 0.004, "wasserstein/symmetric": 0.2, "wasserstein/symmetric_floor": 0.01,
    "wasserstein/symmetric_spread": 0.03,
}  # fmt: skip
OLD = {EXACT: 13.0, "wasserstein/floor": 12.5}


# The one rule.
@pytest.mark.parametrize(
    ("shape", "tag"),
    [(None, EXACT), ((1,), EXACT), ((2,), EXACT), ((3,), EXACT), ((4,), ENERGY), ((128,), ENERGY),
     ((1, 28, 28), FID), ((3, 2, 2), FID)],
)  # fmt: skip
def test_the_dimension_names_the_distance(shape: Any, tag: str) -> None:
    assert right_distance(shape) == tag and BIASED_FROM == 4
    found = headline_distance(shape, {EXACT, ENERGY, FID})
    assert found is TAGS[tag] and fallback_text(shape, {EXACT, ENERGY, FID}) == ""


def test_what_was_not_measured_is_replaced_and_that_is_said() -> None:
    found = headline_distance((64,), OLD)
    assert found is TAGS[EXACT]
    line = fallback_text((64,), OLD)
    assert "energy/distance was not measured" in line and "mostly bias" in line
    assert "bias" not in fallback_text((2,), {ENERGY: 1.0})
    assert headline_distance((64,), {"modes/covered": 8}) is None
    assert fallback_text((64,), {}) == fallback_text(None, OLD) == fallback_text((2,), OLD) == ""


def test_views_leave_the_other_distances_out() -> None:
    plane, many = (shown_of("result", shape, BOTH) for shape in ((2,), (64,)))
    assert [tag.name for tag in plane] == [EXACT, "wasserstein/floor"]
    assert [tag.name for tag in many] == [
        ENERGY, "energy/floor", "energy/spread", "wasserstein/symmetric"
    ]  # fmt: skip
    assert set(without_others(BOTH, (2,))) == {EXACT, "wasserstein/floor"}
    assert set(without_others(OLD, (64,))) == set(OLD), "an old run shows what it has"
    assert other_distances((2,), {"loss/critic"}) == frozenset()


# Sweeps.
def test_an_optimiser_minimises_what_is_right_for_the_dimension(tmp_path: Path) -> None:
    job = Job(tiny(), tmp_path)
    ended = RunOutcome(tmp_path, "completed", 1, BOTH, [], 1.0)
    assert [objective(job, dataclasses.replace(ended, shape=shape)) for shape in
            (None, (2,), (3,), (4,), (64,))] == [13.0, 13.0, 13.0, 0.25, 0.25]  # fmt: skip
    old = dataclasses.replace(ended, metrics=OLD, shape=(64,))
    assert objective(job, old) == 13.0
    assert objective(job, dataclasses.replace(old, metrics={})) == math.inf


@pytest.mark.parametrize(
    ("shape", "metrics", "heading", "value"),
    [((2,), BOTH, "W1 / floor", "1.04"), ((64,), BOTH, "energy", "0.25"),
     ((64,), OLD, "W1 / floor", "1.04")],
)  # fmt: skip
def test_a_sweep_s_table_has_no_times_the_floor_in_many_dimensions(
    tmp_path: Path, capsys: Any, shape: Any, metrics: dict[str, float], heading: str, value: str
) -> None:
    config = tiny()
    job = Job(config, tmp_path / run_id(config))
    print_sweep(tmp_path, [job], [RunOutcome(job.folder, "completed", 4, metrics, [], 1.0, None,
                                             shape)])  # fmt: skip
    head, row, *rest = capsys.readouterr().out.splitlines()
    assert head.rstrip().endswith(heading) and row.rstrip().endswith(value)
    assert ("mostly bias" in " ".join(rest)) is (metrics is OLD)


def test_the_result_of_a_run_shows_its_distance(capsys: Any, tmp_path: Path) -> None:
    print_result(RunOutcome(tmp_path, "completed", 4, BOTH, [], 1.0, None, (64,)))
    out = capsys.readouterr().out
    assert "energy distance" in out and "symmetric W1" in out and "exact W1" not in out


# Reports.
def leave(folder: Path, shape: list[int] | None, metrics: Mapping[str, float], **more: Any) -> None:
    for seed in range(2):
        for loss in ("gp", "bce"):
            path = leave_run(folder, loss, seed, metrics, **more)
            if shape is not None:
                content = json.loads((path / "run.json").read_text())
                (path / "run.json").write_text(json.dumps(content | {"data_shape": shape}))


@pytest.mark.parametrize(
    ("shape", "chosen"), [(None, EXACT), ([2], EXACT), ([64], ENERGY)], ids=["old", "2", "64"]
)
def test_a_comparison_is_by_the_distance_that_decides(
    tmp_path: Path, shape: Any, chosen: str
) -> None:
    rows = [(4, {EXACT: 13.5, ENERGY: 0.5}), (8, {EXACT: 13.0, ENERGY: 0.25})]
    leave(tmp_path, shape, BOTH | {"modes/kl": 0.1}, rows=rows)
    comparison = compare(find_runs([tmp_path]))
    assert [tag for tag in comparison.metrics if tag != "modes/kl"] == [chosen]
    assert not [note for note in comparison.notes if "was not measured" in note]
    drawing = draw_curves(comparison)
    assert drawing is not None
    titles = {axes.get_title(loc="left") or axes.get_title() for axes in drawing.figure.axes}
    assert [t for t in titles if "W_1" in t or "nergy" in t] == [
        t for t in titles if ("nergy" in t) is (chosen == ENERGY)
    ]
    asked = compare(find_runs([tmp_path]), metrics=[EXACT, ENERGY])
    assert asked.metrics == (EXACT, ENERGY), "what is asked for is shown"
    said = f"{EXACT} is mostly bias from 4 dimensions on, and these data have 64"
    assert (f"{said}: {ENERGY} decides there" in asked.notes) is (chosen == ENERGY)
    estimates = [(k, {EXACT: 13.0, "wasserstein/estimate": k / 9}) for k in range(1, 9)]
    leave(tmp_path / "estimates", shape, BOTH, rows=estimates)
    drawing = draw_estimate(compare(find_runs([tmp_path / "estimates"])))
    assert drawing is not None and (said in drawing.caption) is (chosen == ENERGY)


@pytest.mark.parametrize(("shape", "shown"), [([2], EXACT), ([64], ENERGY)])
def test_a_search_shows_its_winners_by_the_distance_that_decides(
    tmp_path: Path, shape: list[int], shown: str
) -> None:
    search = Search(("gp",), ("ring8",), 1, 1.0, 1, read_space(), (), tmp_path)
    run = RunRecord(tmp_path, status="completed", metrics=BOTH, data_shape=shape)
    arm = ("gp", "ring8")
    table = winners_table(search, "ring8", {arm: [Trial(0, False, {}, [[0.5]])]}, {arm: [run]})
    heads = {column.title for column in table.columns}
    assert {tag for tag in (EXACT, ENERGY) if f"{tag}, fresh seeds" in heads} == {shown}


def test_an_old_run_in_many_dimensions_is_read_and_told(tmp_path: Path) -> None:
    leave(tmp_path, [64], OLD)
    comparison = compare(find_runs([tmp_path]))
    assert comparison.metrics == (EXACT,)
    (note,) = [note for note in comparison.notes if "was not measured" in note]
    assert "mostly bias" in note


@pytest.mark.parametrize("shape", [[0], [2, 2], [True], ["2"], [2**21], 2, []])
def test_a_shape_that_is_none_is_refused(tmp_path: Path, shape: Any) -> None:
    path = leave_run(tmp_path)
    content = json.loads((path / "run.json").read_text())
    assert read_record(path).shape is None
    (path / "run.json").write_text(json.dumps(content | {"data_shape": shape}))
    with pytest.raises(ValueError, match="data_shape must be one or three whole numbers"):
        read_content(path)


# Verdicts.
def course(norms: list[float], distances: list[float]) -> dict[str, list[Any]]:
    n = len(norms)
    return {
        "step": [500 * i for i in range(n)], "grad_norm/sample": norms, ENERGY: distances,
        "energy/floor": [0.001] * n, "energy/spread": [0.004] * n,
        EXACT: [13.0] * n, "wasserstein/floor": [12.5] * n,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("norms", "distances", "vanished"),
    [([1.0, 0.009], [3.0, 0.0091], True), ([1.0, 0.009], [3.0, 0.0089], False),
     ([1.0, 0.011], [3.0, 3.0], False)],
)  # fmt: skip
def test_vanished_is_judged_by_the_energy_distance_s_own_spread(
    norms: list[float], distances: list[float], vanished: bool
) -> None:
    found, plane = (
        verdict({}, course(norms, distances), RECIPES["gp"], 0, shape=(d,))[0] for d in (64, 2)
    )
    assert ("gradient vanished:" in found) is vanished
    assert "gradient vanished:" not in plane, "exact W1 is below two floors"


def test_in_many_dimensions_nothing_is_told_in_floors_and_nothing_arrives() -> None:
    near, far = (course([1.0, 0.001], [3.0, value]) for value in (0.002, 0.5))
    lines = verdict(BOTH, near, RECIPES["gp"], 0, shape=(64,))
    assert lines == [
        "Energy distance 0.25, where a perfect generator scores -0.001 ± 0.004; symmetric W1 "
        "0.2, there 0.01 ± 0.03.",
        "The generator's gradient is small (0.1 % of its largest), and the energy distance cannot "
        "tell the samples from the data.",
    ]
    assert "vanished" in verdict(BOTH, far, RECIPES["gp"], 0, shape=(64,))[1]
    plane = verdict(BOTH, near, RECIPES["gp"], 0, shape=(2,))
    assert "1.0 times the 12.5" in plane[0] and plane == verdict(BOTH, near, RECIPES["gp"], 0)
    assert "not vanishing" in plane[1]


# A whole run.
def test_a_run_in_four_dimensions_is_led_by_its_energy_distance(tmp_path: Path) -> None:
    centres = np.zeros((2, BIASED_FROM))
    centres[:, 0] = -1, 1
    config = tiny(**{
        "train.steps": 4, "evaluate.every_n_steps": 2, "evaluate.final_n": 20, "log.figure": True,
        "evaluate.protocol": "chi2",
    })  # fmt: skip
    config.data.name = config.data.kind = "mixture"
    config.data.options = {
        "centres": centres.tolist(), "weights": None, "sigma": 0.1, "train_points": None,
        "train_seed": 0,
    }  # fmt: skip
    seen: list[Any] = []

    class View:
        def start(self, *_: Any) -> None: ...
        def progress(self, step: int, values: Any) -> None:
            seen.append(summary(values))

        phase = say = stopping = stop = start

    outcome = train_run(config, tmp_path / "run", view=View())  # type: ignore[arg-type]
    assert outcome.status == "completed" and outcome.shape == (BIASED_FROM,)
    assert {ENERGY, "wasserstein/symmetric", "energy/floor", EXACT} <= outcome.metrics.keys()
    assert "wasserstein/excess" not in outcome.metrics
    assert outcome.verdict[1].startswith("Energy distance")
    assert "energy" in seen[-1] and "W1" not in seen[-1]
    assert outcome_of(RunFolder(tmp_path / "run").record()).shape == (BIASED_FROM,)
    table = read_table(tmp_path / "run" / "metrics.csv")
    measured = [value is not None for value in table[ENERGY]]
    assert measured == [value is not None for value in table[EXACT]] and sum(measured) >= 2
    assert not any(table["wasserstein/symmetric"][:-1]), "at the end only"
    assert (tmp_path / "run" / "figure.png").is_file()
