"""Attainment against quality on planted runs: a correlation is found where there is one."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from wganbench.cli.app import main
from wganbench.config import compose
from wganbench.studies import judge
from wganbench.studies.estimate_quality import (
    CLAIMS,
    ESTIMATE,
    EXACT,
    Point,
    arms,
    attainment,
    beyond_exchange,
    findings,
    known_steps,
)
from wganbench.studies.evidence import rank_evidence
from wganbench.studies.settings import read_settings
from wganbench.studies.study import Context
from wganbench.sweeps.backend import Silent


def test_attainment_is_the_mean_share_while_w1_is_large() -> None:
    table: dict[str, list[float | None]] = {
        "step": [0, 100, 200, 300, 400],
        ESTIMATE: [0.9, 0.4, 0.3, 0.05, 0.2],
        EXACT: [1.0, 1.0, 0.5, 0.15, 0.5],
    }
    # Step 0 is before training, 300 is below two floors, 400 is the end.
    found = known_steps(table, floor=0.1, last=400)
    assert found == ({100: 0.4, 200: 0.3}, {100: 1.0, 200: 0.5})
    assert attainment(*found) == pytest.approx((0.4 + 0.6) / 2)
    assert known_steps(table, floor=1.0, last=400) == ({}, {}) and attainment({}, {}) is None


STEP = 100


def grid(
    attained: list[float], w1: list[float], loss: str, now: list[float] | None = None
) -> dict[str, list[Point]]:
    """Runs with a given attainment and final W1; ``now`` is their W1 at the one evaluation."""
    names = [f"{loss}/{c}/{n}" for c, n in product((1, 2, 3, 4), (1, 2))]
    own = zip(names, attained, w1, now or [1.0] * len(names), strict=True)
    return {name: [Point({STEP: a * d}, {STEP: d}, w)] for name, a, w, d in own}


UP = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


def test_a_seeds_correlation_is_spearmans_and_diverged_runs_are_worst() -> None:
    w1 = [0.9, 0.7, 0.8, 0.3, 0.5, 0.2, 0.1, 0.4]
    found = beyond_exchange(grid(UP, w1, "gp"), 0)
    assert found is not None
    assert found[0] == pytest.approx(-stats.spearmanr(UP, w1).statistic) and found[0] > 0.7
    assert abs(found[1]) < 0.1, "at one W1 exchanged estimates say nothing"
    failed = grid(UP, w1, "gp")
    failed["gp/4/2"] = [Point({}, {}, None)]
    found = beyond_exchange(failed, 0)
    assert found is not None and found[0] == pytest.approx(
        -stats.spearmanr([*UP[:-1], 0.0], [*w1[:-1], 9.0]).statistic
    )
    arrived = {name: [Point({}, {}, 0.1)] for name in failed}
    assert beyond_exchange(arrived, 0) is None, "no setting was above two floors"


def test_the_w1_that_both_numbers_share_is_no_evidence() -> None:
    """Estimates of any size, divided by the W1 of a run that then ends near it."""
    random = np.random.default_rng(3)
    columns = []
    for _ in range(10):
        now = random.uniform(0.2, 2.0, 8)
        estimates = random.uniform(0.2, 0.3, 8)
        w1 = list(now * random.uniform(0.9, 1.1, 8))
        columns.append(grid(list(estimates / now), w1, "gp", list(now)))
    found = findings(seeds_of(columns), range(10))
    evidence = found.evidence["gp"]
    assert evidence.note == "correlation 0.86, with the estimates exchanged 0.92"
    claim = next(claim for claim in CLAIMS if claim.name == "gp")
    assert judge("s", claim, evidence).word == "refuted"


def seeds_of(columns: list[dict[str, list[Point]]]) -> dict[str, list[Point]]:
    return {name: [column[name][0] for column in columns] for name in columns[0]}


def test_planted_correlations_get_their_verdicts() -> None:
    random = np.random.default_rng(0)
    helps, harms = [], []
    for _ in range(8):
        noise = random.normal(0, 0.1, 8)
        helps.append(grid(UP, [1 - a + e for a, e in zip(UP, noise, strict=True)], "gp"))
        harms.append(grid(UP, [a + e for a, e in zip(UP, noise, strict=True)], "clip"))
    found = findings(seeds_of(helps) | seeds_of(harms), range(8))
    words = {c.name: judge("s", c, found.evidence[c.name]).word for c in CLAIMS}
    assert words["gp"] == "supported" and words["clip"] == "refuted"
    assert words["both"] in ("refuted", "undecided"), "they cancel"
    assert len(found.rows) == 16 * 8 and len(found.figures["figure"].axes) == 3


def test_the_interval_is_that_of_fishers_z() -> None:
    values = [0.2, 0.5, 0.9, 0.7]
    z = np.arctanh(values)
    half = stats.t.ppf(0.975, 3) * z.std(ddof=1) / 2
    found = rank_evidence(values, 0.3)
    assert found.value == pytest.approx(math.tanh(z.mean()))
    assert found.interval == pytest.approx((math.tanh(z.mean() - half), math.tanh(z.mean() + half)))
    assert found.p_value == pytest.approx(stats.ttest_1samp(z, 0).pvalue)
    below = rank_evidence([-0.5, -0.6, -0.4], 0.3)
    z = np.arctanh([-0.5, -0.6, -0.4])
    assert below.p_value == pytest.approx(stats.ttest_1samp(z, math.atanh(0.3)).pvalue)
    assert rank_evidence([1.0, 1.0], 0.3).interval is None, "no spread, no interval"
    assert judge("s", CLAIMS[0], rank_evidence([0.8, 0.9, None], 0.3)).word == "undecided"


def test_the_runs_differ_in_coefficient_and_critic_steps_alone(tmp_path: Path) -> None:
    small = ["lambdas=[1,10]", "clip_values=0.1", "n_critics=[1,5]", f"output_dir={tmp_path}"]
    settings = read_settings("estimate_quality", {}, small)
    own = arms(Context("estimate_quality", 1, tmp_path, settings, Silent()))
    assert set(own) == {"gp/1/1", "gp/1/5", "gp/10/1", "gp/10/5", "clip/0.1/1", "clip/0.1/5"}
    configs = {name: compose(overrides) for name, overrides in own.items()}
    for name, config in configs.items():
        _, coefficient, n = name.split("/")
        assert list(config.loss.coefficients.values()) == [float(coefficient)]
        assert config.loss.n_critic == int(n) and config.train == configs["gp/1/1"].train


@pytest.mark.slow
@pytest.mark.study
def test_a_small_study_decides_nothing(tmp_path: Path) -> None:
    small = ["seeds=2", "steps=40", "lambdas=[1]", "clip_values=[0.1]", "n_critics=[1]",
             "evaluate_n=100"]  # fmt: skip
    assert main(["study", "estimate_quality", *small, f"output_dir={tmp_path}"]) == 0
    from wganbench.studies.record import read_verdicts

    verdicts = read_verdicts(tmp_path / "studies" / "estimate_quality")
    assert {verdict.word for verdict in verdicts} == {"undecided"}
