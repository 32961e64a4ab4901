"""Two Gaussians apart: exact values, what is read from a critic that is known, statistics."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from wganbench.cli.app import main
from wganbench.losses.recipes import RECIPES
from wganbench.studies import run_study
from wganbench.studies.frozen import optimal_slope
from wganbench.studies.two_gaussians import exact, study
from wganbench.studies.two_gaussians.measure import (
    Critic,
    accuracy,
    critic_loss,
    estimate,
    mean_gradient,
    train_loss,
)
from wganbench.studies.verdicts import judge
from wganbench.sweeps.backend import Silent


# Exact values.
@pytest.mark.parametrize(
    ("mu", "js"), [(1, 0.161), (2, 0.486), (4, 0.913), (6, 0.9945), (8, 0.99987)]
)
def test_golden_divergence(mu: float, js: float) -> None:
    assert exact.jensen_shannon(mu) / math.log(2) == pytest.approx(js, abs=5e-4)


@pytest.mark.parametrize(
    ("mu", "saturating"),
    [(1, 0.398), (1.6, 0.467), (4, 0.137), (6, 0.0124), (8, 3.9e-4), (10, 4.5e-6), (20, 2.4e-22)],
)
def test_golden_saturating_gradient(mu: float, saturating: float) -> None:
    assert math.exp(exact.log_gradient_saturating(mu)) == pytest.approx(saturating, rel=0.01)


@pytest.mark.parametrize(("mu", "gradient"), [(1, 0.602), (4, 3.86), (6, 5.99), (10, 10.0)])
def test_golden_non_saturating_gradient(mu: float, gradient: float) -> None:
    assert math.exp(exact.log_gradient_non_saturating(mu)) == pytest.approx(gradient, rel=2e-3)


@pytest.mark.parametrize("mu", [0.3, 2.5, 7.0])
def test_integrals_against_another_quadrature(mu: float) -> None:
    def density(x: float, mean: float) -> float:
        return math.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi)

    def both(x: float) -> float:
        p, q = density(x, 0), density(x, mu)
        return p * q / (p + q)

    def divergence(x: float) -> float:
        p, q = density(x, 0), density(x, mu)
        return (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) / 2

    doubt = quad(both, -10, mu + 10, epsabs=0, epsrel=1e-10, limit=200)[0]
    js = quad(divergence, -10, mu + 10, epsabs=1e-13, limit=200)[0]
    assert exact.log_doubt(mu) == pytest.approx(math.log(doubt), abs=1e-9)
    assert exact.jensen_shannon(mu) == pytest.approx(js, abs=1e-10)


def test_nothing_underflows() -> None:
    # exp(-mu^2/8) at mu = 100 is exp(-1250): the bounds of int phi / (2 cosh(mu t / 2)).
    logs = exact.log_doubt(100.0), exact.log_divergence_gap(100.0)
    assert -1250 - 6 < logs[0] < -1250 and -1250 - 6 < logs[1] < -1250 + 1
    assert exact.jensen_shannon(0.0) == pytest.approx(0, abs=1e-12)
    assert exact.log_gradient_saturating(0.0) == -math.inf


def test_where_the_gradients_vanish() -> None:
    assert exact.vanishing_point("saturating", 20) == pytest.approx(6.65, abs=0.06)
    assert exact.vanishing_point("non_saturating", 20) is None
    assert exact.vanishing_point("wasserstein", 20) is None


def test_amount_and_continuity() -> None:
    def js(p: float, distance: float = 3.0) -> float:
        return exact.jensen_shannon_of(*exact.moved_share(p, distance))

    assert js(0.0) == 0 and js(1.0) == pytest.approx(math.log(2))
    # p = 1/2 by hand: masses (1, 0) and (1/2, 1/2) against (3/4, 1/4).
    by_hand = (math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2
    assert js(0.5) == js(0.5, 1e-9) == pytest.approx(by_hand)
    assert exact.earth_mover_of(*exact.moved_share(0.25, 8.0)) == 2.0
    # Masses 1/2 at 0 and 1 against 1/2 at 2 and 5: 2 and 4 on the way.
    assert exact.earth_mover_of({0.0: 0.5, 1.0: 0.5}, {2.0: 0.5, 5.0: 0.5}) == pytest.approx(3.0)
    assert exact.kullback_leibler_of({0.0: 0.5, 1.0: 0.5}, {0.0: 0.25, 1.0: 0.75}) == (
        pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    )
    assert exact.lines_jensen_shannon(0.0) == 0 < exact.lines_jensen_shannon(-1e-9)
    assert exact.lines_kullback_leibler(0.0) == 0 and math.isinf(exact.lines_kullback_leibler(0.1))
    assert exact.lines_earth_mover(-0.3) == pytest.approx(0.3)


def test_kl_of_two_gaussians_against_quadrature() -> None:
    def density(x: float) -> float:
        return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)

    for mu in (0.5, 3.0):
        found = quad(lambda x, m=mu: density(x) * (m**2 / 2 - m * x), -12, 12)[0]
        assert exact.kullback_leibler(mu) == pytest.approx(found)


def test_the_exact_verdicts() -> None:
    found = study.exact_evidence(20.0)
    words = {c.name: judge("s", c, found[c.name]).word for c in study.CLAIMS if c.exact}
    assert words == {
        "js_saturates": "supported", "kl_saturates": "supported", "continuity": "supported",
        "kl_finite": "refuted", "amount": "supported", "share": "supported",
        "share_js": "refuted", "exact_saturating": "supported",
        "exact_non_saturating": "refuted", "exact_wasserstein": "not refuted",
    }  # fmt: skip
    # JS is computed at both distances, and does not fall.
    assert list(found["amount"].values) == [pytest.approx(0.95)]


def test_gaussians_that_stay_near_decide_nothing_about_moving_apart() -> None:
    claims = {claim.name: claim for claim in study.CLAIMS}
    near = study.exact_evidence(2.0)
    for name in ("js_saturates", "kl_saturates", "exact_saturating", "exact_wasserstein"):
        assert judge("s", claims[name], near[name]).word == "undecided"
    assert judge("s", claims["amount"], near["amount"]).word == "supported", "mu is no part of it"
    for largest, undecided in ((2.0, True), (10.0, False)):
        rows = planted({1.0: 0.1, largest: 0.1})
        rows += [row | {"method": "saturating"} for row in rows]
        found = study.trained_evidence(rows, [0], {}, 10.0)
        for name in ("stays_gp", "trained_saturating"):
            assert found[name].undecided.startswith("mu ends at 2: the optimal") is undecided
        assert found["estimate_gp"].undecided == ""


@pytest.mark.parametrize("word", ["mus=[0]", "largest_mu=0"])
def test_one_gaussian_is_refused(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "two_gaussians", word, f"output_dir={tmp_path}"]) == 2
    assert "largest_mu and mus must be above 0" in capsys.readouterr().err


# What is read from a critic.
def linear(slope: float, offset: float = 0.0) -> Critic:
    def critic(x: Tensor) -> Tensor:
        return offset + slope * x[:, 0]

    return critic


@pytest.mark.parametrize("mu", [1.0, 4.0, 6.0])
def test_the_optimal_discriminator_gives_the_exact_curves(mu: float) -> None:
    optimal = linear(-mu, mu**2 / 2)
    for name, loss in (("saturating", "bce_saturating"), ("non_saturating", "bce")):
        read = mean_gradient(RECIPES[loss].objective, optimal, mu)
        assert read == pytest.approx(math.exp(exact.GRADIENTS[name](mu)), rel=1e-6)
    loss_read = critic_loss(RECIPES["bce"].objective, optimal, mu)
    assert loss_read == pytest.approx(2 * (math.log(2) - exact.jensen_shannon(mu)), rel=1e-6)


def test_a_linear_critic_gives_its_slope() -> None:
    critic = linear(-0.7, 3.0)
    assert estimate(critic, 5.0) == pytest.approx(3.5)
    assert mean_gradient(RECIPES["gp"].objective, critic, 5.0) == pytest.approx(0.7)
    assert critic_loss(RECIPES["gp"].objective, critic, 5.0) == pytest.approx(-3.5)


def test_accuracy_is_that_of_the_half_way_point() -> None:
    """D = mu^2/2 - mu x is right of mu/2 on fakes: Phi(mu / 2) of both."""
    for mu in (1.0, 4.0):
        phi = (1 + math.erf(mu / 2 / math.sqrt(2))) / 2
        assert accuracy(linear(-mu, mu**2 / 2), mu) == pytest.approx(phi, abs=2e-3)


@pytest.mark.parametrize("loss", ["bce", "gp"])
def test_the_loss_is_that_of_training(loss: str) -> None:
    def bent(x: Tensor) -> Tensor:
        return torch.sin(x[:, 0]) - 0.3 * x[:, 0]

    source = torch.Generator().manual_seed(0)
    reals, fakes = (torch.randn(2, 200000, 1, generator=source, dtype=torch.float64)).unbind()
    objective = RECIPES[loss].objective
    sampled = float(objective.critic(bent(reals), bent(fakes + 1.5)))
    assert critic_loss(objective, bent, 1.5) == pytest.approx(sampled, abs=0.01)


# Statistics.
def nothing(mu: float) -> float:
    """Nothing is granted."""
    return 1.0


def planted(gradients: dict[float, float], slope: float = 1.0) -> list[dict[str, Any]]:
    return [
        {"method": "gp", "mu": mu, "seed": 0, "converged": True, "gradient": gradient,
         "at_rest": True, "moved": 0.5, "steps": 100,
         "estimate": slope * mu * (1 + mu / 20)}
        for mu, gradient in gradients.items()
    ]  # fmt: skip


def test_the_statistics_on_planted_points() -> None:
    rows = planted({1.0: 0.1, 2.0: 1.0, 4.0: 0.01, 10.0: 0.02}, slope=0.5)
    points = study.converged(rows, "gp", 0)
    assert study.fall_at_the_end(points) == pytest.approx(math.log10(50))
    assert study.fall_anywhere(points) == pytest.approx(2)
    assert study.mean_ratio(nothing, points) == pytest.approx(0.5 * np.mean([1.05, 1.1, 1.2, 1.5]))
    assert study.bend(nothing, points) == pytest.approx(1.5 / 1.05 - 1)
    # The optimum of a penalty with lambda 10 lies 1 + mu / 20 above the distance.
    grants = partial(optimal_slope, gp_lambda=10.0)
    assert study.mean_ratio(grants, points) == pytest.approx(0.5)
    assert study.bend(grants, points) == pytest.approx(0, abs=1e-12)


def test_a_critic_whose_units_died_is_a_counterexample() -> None:
    rows = planted({1.0: 0.1, 10.0: 0.0}, slope=1.0)
    rows[1]["estimate"] = 0.0
    points = study.converged(rows, "gp", 0)
    assert study.fall_anywhere(points) == study.fall_at_the_end(points) == pytest.approx(299.0)
    assert study.bend(nothing, points) == math.inf
    found = study.trained_evidence([row | {"seed": s} for row in rows for s in range(3)],
                                   [0, 1, 2], {}, 10.0)  # fmt: skip
    claims = {claim.name: claim for claim in study.CLAIMS}
    for name in ("stays_gp", "proportional_gp"):
        verdict = judge("s", claims[name], found[name])
        assert verdict.word == "refuted" and verdict.value is not None
        assert math.isfinite(verdict.value)


def test_points_that_did_not_converge_do_not_count() -> None:
    rows = planted({1.0: 0.1, 2.0: 1.0, 4.0: 0.5, 10.0: 1e-9})
    whole = study.trained_evidence(rows, [0], {}, 10.0)["stays_gp"]
    assert whole.undecided == "" and whole.values == [pytest.approx(9.0)]
    rows[-1] |= {"converged": False, "at_rest": False, "moved": 3.0}
    evidence = study.trained_evidence(rows, [0, 1], {"gp": "lambda 10"}, 10.0)["stays_gp"]
    assert evidence.values == [pytest.approx(1.0), None]
    assert evidence.note == "lambda 10; converged at mu = 1, 2, 4"
    assert evidence.undecided.startswith("critic not trained: 1 of 1"), "the farthest is missing"


def test_a_mean_over_all_distances_needs_every_one_of_them() -> None:
    rows = planted({1.0: 0.1, 2.0: 1.0, 4.0: 0.5, 10.0: 0.4})
    rows[1] |= {"converged": False, "at_rest": False, "moved": 3.0}
    found = study.trained_evidence(rows, [0], {}, 10.0)
    assert found["stays_gp"].undecided == ""
    for name in ("estimate_gp", "proportional_gp"):
        assert found[name].undecided.startswith("critic not trained: 1 of 1")
    whole = study.trained_evidence(planted({1.0: 0.1, 10.0: 0.4}), [0], {}, 10.0)
    assert whole["estimate_gp"].undecided == "" and len(whole["estimate_gp"].values) == 1


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "first": 4, "most": 8, "width": 8, "depth": 1, "batch_size": 16, "compile": False,
        "clip_value": 0.01, "gp_lambda": 10.0, "bce_lr": 1e-2, "clip_lr": 1e-3, "gp_lr": 1e-2,
    } | changes  # fmt: skip


def test_one_discriminator_serves_both_generators() -> None:
    rows = train_loss("bce", [1.0, 3.0], [0, 1], settings(), "cpu")
    assert len(rows) == 8
    pairs = zip(rows[::2], rows[1::2], strict=True)
    for saturating, non_saturating in pairs:
        assert saturating["loss"] == non_saturating["loss"]
        assert saturating["gradient"] != non_saturating["gradient"]
        total = saturating["gradient"] + non_saturating["gradient"]
        assert total > max(saturating["gradient"], non_saturating["gradient"])


def test_a_critic_that_still_moves_has_not_converged() -> None:
    (row,) = train_loss("gp", [4.0], [0], settings(), "cpu")
    assert row["moved"] > 1 and not row["converged"] and row["steps"] == 8
    (row,) = train_loss("gp", [4.0], [0], settings(gp_lr=1e-12), "cpu")
    assert row["moved"] < 1 and row["converged"] and row["steps"] == 4


def test_a_discriminator_that_is_right_counts_though_it_moves() -> None:
    """Real data at 0 and fakes at 30: soon right everywhere, and its logits grow for ever."""
    quick = settings(first=64, most=64, bce_lr=0.05, batch_size=64)
    for row in train_loss("bce", [30.0], [0], quick, "cpu"):
        assert row["accuracy"] > 0.99 and row["converged"] and not row["at_rest"]


def test_training_depends_on_nothing_but_seed_and_distance() -> None:
    both = train_loss("gp", [1.0, 3.0], [0, 1], settings(), "cpu")
    (alone,) = train_loss("gp", [3.0], [1], settings(), "cpu")
    assert alone["estimate"] == pytest.approx(both[-1]["estimate"], rel=1e-9)
    torch.testing.assert_close(alone["gradient"], both[-1]["gradient"])


@pytest.mark.slow
@pytest.mark.study
def test_a_small_run_gives_the_direction(tmp_path: Path) -> None:
    small = ["seeds=3", "mus=[1.0,2.0,6.0]", "first=256", "most=512", "width=16", "batch_size=64"]
    rates = ["bce_lr=0.005", "clip_lr=0.001", "compile=false"]
    _, verdicts = run_study(
        "two_gaussians", [f"output_dir={tmp_path}", "device=cpu", *small, *rates], Silent()
    )
    words = {verdict.claim.name: verdict.word for verdict in verdicts}
    assert words["exact_saturating"] == "supported" and words["exact_non_saturating"] == "refuted"
    assert words["trained_saturating"] in ("supported", "undecided")
    assert words["trained_non_saturating"] in ("refuted", "undecided")
    assert {words[f"stays_{name}"] for name in ("clip", "gp", "lp")} <= {"not refuted", "undecided"}
    assert words["estimate_clip"] in ("refuted", "undecided")
