"""The study `estimate_vs_distance`: planted correlations, closed forms, and its direction."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wganbench.data import load
from wganbench.losses import clip_weights, gradient_penalty, wasserstein_critic_loss
from wganbench.metrics import wasserstein_exact
from wganbench.studies import run_study
from wganbench.studies.estimate_vs_distance.measure import (
    NOT_KNOWN,
    STATISTICS,
    Points,
    change_correlation,
    level_correlation,
    optimal_gp_estimate,
    read_critic,
    step_correlation,
)
from wganbench.studies.estimate_vs_distance.study import CLAIMS, KEYS, evidence
from wganbench.studies.frozen import gaussian, noisy
from wganbench.studies.rest import column
from wganbench.studies.verdicts import judge
from wganbench.sweeps.backend import Silent


def linear_estimate(distance: float, gp_lambda: float | None, clip_value: float | None) -> float:
    """A linear critic of two point masses, trained by the project's own losses."""
    x = torch.full((4, 1), distance, dtype=torch.float64)
    x_fake, eps = torch.zeros_like(x), torch.full((4,), 0.5, dtype=torch.float64)
    w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    for _ in range(400):
        loss = wasserstein_critic_loss(x @ w, x_fake @ w)
        if gp_lambda is not None:
            loss = loss + gp_lambda * gradient_penalty(lambda x, w=w: x @ w, x, x_fake, eps)
        (gradient,) = torch.autograd.grad(loss, w)
        with torch.no_grad():
            w -= 0.2 / (gp_lambda or 1) * gradient
            if clip_value is not None:
                clip_weights([w], clip_value)
    return float(((x - x_fake) @ w.detach()).mean())


@pytest.mark.parametrize(("distance", "gp_lambda"), [(1.0, 10.0), (1.0, 0.1), (3.0, 0.5)])
def test_the_closed_form_is_what_a_linear_critic_learns(distance: float, gp_lambda: float) -> None:
    expected = distance + distance**2 / (2 * gp_lambda)
    assert optimal_gp_estimate(distance, gp_lambda) == pytest.approx(expected)
    assert linear_estimate(distance, gp_lambda, None) == pytest.approx(expected, rel=1e-6)


def test_golden_values_of_two_points() -> None:
    assert optimal_gp_estimate(1.0, 10.0) == pytest.approx(1.05)
    assert optimal_gp_estimate(1.0, 0.1) == pytest.approx(6.0)
    assert linear_estimate(3.0, None, 0.01) == pytest.approx(0.03), "clip: c L"


def test_laws_lie_as_far_apart_as_they_say() -> None:
    source = torch.Generator().manual_seed(0)
    x, y = gaussian(2.0, 0.0)(50, source), gaussian(-2.0, 0.0)(50, source)
    assert wasserstein_exact(x, y) == pytest.approx(4.0)
    x, y = gaussian(2.0, 1.0)(1000, source), gaussian(-2.0, 1.0)(1000, source)
    assert wasserstein_exact(x, y) == pytest.approx(4.0, abs=0.2)
    points = noisy(gaussian(0.0, 0.0), 0.5)(4000, source)
    assert points.std(dim=0).tolist() == pytest.approx([0.5, 0.5], abs=0.03)


def curve(exact: list[float], raw: list[float | None]) -> list[dict[str, Any]]:
    return [
        {"step": 10 * i, "exact": e, "raw": r}
        for i, (e, r) in enumerate(zip(exact, raw, strict=True))
    ]


def test_two_falling_curves_correlate_in_levels_and_not_in_changes() -> None:
    exact = [10.0, 8.0, 7.0, 4.0, 3.9]
    other = [9.0, 8.9, 6.0, 5.0, 3.0]  # falls most where the other falls least
    rows = curve(exact, list(other))
    assert level_correlation(rows, "raw") == pytest.approx(1.0)
    assert step_correlation(rows) == pytest.approx(1.0)
    # Changes -2, -1, -3, -0.1 have ranks 2, 3, 1, 4; -0.1, -2.9, -1, -2 have 4, 1, 3, 2:
    # rho = 1 - 6 (4 + 4 + 4 + 4) / (4 * 15).
    assert change_correlation(rows, "raw") == pytest.approx(-0.6)
    same = curve(exact, [2 * e + 1 for e in exact])
    assert change_correlation(same, "raw") == pytest.approx(1.0)
    gap = curve(exact, [1.0, None, 1.0, 2.0, None])
    assert change_correlation(gap, "raw") is None, "too few changes"


def planted_rows(follows: bool) -> list[dict[str, Any]]:
    """W-losses that follow the distance or not; JS estimates that are noise; ratios of 1 and 3."""
    rng = np.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    for loss, key in KEYS.items():
        for seed in range(6):
            for rate in (0.1, 0.2):
                for step in range(12):
                    exact = float(rng.random()) / (1 + step)  # it falls, with noise
                    value = exact if follows and key == "raw" else float(rng.random())
                    rows.append({
                        "part": "training", "loss": loss, "coefficient": 1.0,
                        "distribution": "ring8",
                        "size": None, "generator_lr": rate, "seed": seed, "step": step,
                        "exact": exact, "raw": None, "normalised": None, "js": None, key: value,
                        **NOT_KNOWN,
                    })  # fmt: skip
    for seed in range(6):
        for loss, c, factor in (("gp", 10.0, 1.0), ("gp", 0.1, 3.0), ("clip", 0.01, 0.1)):
            for family in ("ring8", "points", "funnels"):
                raw = factor * 2.0 * (1 + 0.01 * seed)
                rows.append({"part": "known", "loss": loss, "coefficient": c,
                             "distribution": family,
                             "size": 2.0, "seed": seed, "exact": 2.0, "raw": raw,
                             "normalised": raw / factor, "js": None, "step": 800, "steps": 800,
                             "cosine": 0.97 - 0.001 * seed - (loss == "clip"),
                             "moved": 0.5, "at_rest": True,
                             **{column(name): 0.5 for name in STATISTICS}})  # fmt: skip
    return rows


def words(rows: list[dict[str, Any]]) -> dict[str, str]:
    found = evidence(rows)
    return {c.name: judge("estimate_vs_distance", c, found[c.name]).word for c in CLAIMS}


def test_a_planted_correlation_is_found_and_its_absence_too() -> None:
    found = words(planted_rows(follows=True))
    assert {
        found[f"changes_{w}_{b}"] for w in ("gp", "clip") for b in ("bce", "bce_saturating")
    } == {"supported"}
    assert found["step_gp"] == found["step_clip"] == "supported"
    assert found["raw_gp_10"] == "supported" and found["normalised_gp_0.1"] == "supported"
    assert found["raw_gp_0.1"] == found["raw_clip_0.01"] == "refuted"
    assert found["two_points_gp"] == "refuted", "2.0 is not 2.2"
    assert found["funnels_gp_10"] == found["cosine_gp_10"] == "supported"
    assert found["funnels_gp_0.1"] == found["cosine_clip_0.01"] == "refuted"
    assert words(planted_rows(follows=False))["changes_gp_bce"] != "supported"
    # A control whose generator learns nothing has no changes to follow.
    rows = planted_rows(follows=True)
    for row in rows:
        if row["loss"] == "bce":
            row["exact"] = 1.0 + 0.01 * (row["step"] % 3)
    still = words(rows)
    assert still["changes_gp_bce"] == still["changes_clip_bce"] == "undecided"
    assert still["changes_gp_bce_saturating"] == "supported"


def test_a_critic_that_still_moves_decides_nothing_of_its_own_and_leaves_the_others() -> None:
    rows = planted_rows(follows=True)
    mine = [r for r in rows if (r["distribution"], r["loss"], r["coefficient"], r["part"]) ==
            ("ring8", "gp", 0.1, "known")]  # fmt: skip
    mine[0] |= {"at_rest": False, "moved": 6.0, "step": 1600, "steps": 1600, column("raw"): 6.0}
    found = evidence(rows)
    judged = {c.name: judge("e", c, found[c.name]) for c in CLAIMS}
    assert judged["raw_gp_0.1"].word == "undecided"
    assert "critic not trained: 1 of 6" in judged["raw_gp_0.1"].why
    assert judged["normalised_gp_0.1"].word == "supported", "its own number is at rest"
    assert judged["raw_gp_10"].word == "supported" and judged["funnels_gp_0.1"].word == "refuted"
    for row in rows:
        if row["distribution"] == "funnels":
            row[column("raw")] = 6.0
    assert words(rows)["cosine_gp_10"] == "undecided", "the critic's estimate moves"


def test_what_is_read_of_a_known_critic() -> None:
    """D = 2 x_1 on points 3 apart along x_1: estimate 6, slope 2; JS of scores by hand."""
    x = torch.tensor([[3.0, 1.0], [3.0, -1.0]])
    y = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    points = Points(x, y, (x + y) / 2, 3.0)
    found = read_critic(lambda x: 2 * x[:, 0], points, "gp", None)
    assert found == {"raw": pytest.approx(6.0), "normalised": pytest.approx(3.0)}
    softplus = torch.nn.functional.softplus
    js = math.log(2) - float(softplus(torch.tensor(-6.0)) + math.log(2)) / 2
    assert read_critic(lambda x: 2 * x[:, 0], points, "bce", None)["js"] == pytest.approx(js)


def test_the_true_potential_has_cosine_one_and_its_distance() -> None:
    pair = load("funnels", dimension=2, clusters=4).pair
    assert pair is not None
    source = torch.Generator().manual_seed(0)
    y = pair.source(4000, source)
    points = Points(pair.moved(y), y, y, pair.distance.value)  # type: ignore[attr-defined]
    true = read_critic(pair.potential, points, "gp", pair)
    assert true["cosine"] == pytest.approx(1.0, abs=1e-4)
    assert true["raw"] == pytest.approx(points.distance, rel=0.05)
    turned = read_critic(lambda x: -pair.potential(x), points, "gp", pair)
    assert turned["cosine"] == pytest.approx(-1.0, abs=1e-4)


def test_a_run_that_diverged_leaves_its_seed_without_a_value() -> None:
    rows = planted_rows(follows=True)
    lost = [
        r for r in rows if not (r["part"] == "training" and (r["loss"], r["seed"]) == ("gp", 2))
    ]
    empty = {"step": 0, "exact": None, "raw": None, "normalised": None, "js": None} | NOT_KNOWN
    template = next(r for r in rows if r["loss"] == "gp" and r["seed"] == 2)
    values = evidence([*lost, template | empty])["changes_gp_bce"].values
    assert values.count(None) == 1 and len(values) == 6


@pytest.mark.slow
@pytest.mark.study
def test_a_small_run_goes_in_the_same_direction(tmp_path: Path) -> None:
    small = [
        "seeds=2", "steps=40", "every_n_steps=8", "width=16", "depth=2", "batch_size=32", "n=100",
        "n_critic=2", "generator_lrs=[1e-3]", "known_first=32", "known_most=64", "known_n=100",
        "points=[1]", "gaussians=[2]", "noises=[1]", "device=cpu", f"output_dir={tmp_path}",
    ]  # fmt: skip
    folder, found = run_study("estimate_vs_distance", small, Silent())
    verdicts = {verdict.claim.name: verdict for verdict in found}
    assert verdicts["raw_clip_0.01"].word in ("refuted", "undecided")
    assert (verdicts["raw_clip_0.01"].value or 0.0) < 0.1, (
        "clipping at 0.01 estimates far too little"
    )
    assert (folder / "table.csv").is_file()
    assert (folder / "figure.svg").is_file()
