"""The study `lipschitz`: planted slopes, bounds that a hand can check, and its direction."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wganbench.losses import gradient_penalty
from wganbench.studies import STUDIES, run_study
from wganbench.studies.frozen import clip_bound, spectral_product, steepest
from wganbench.studies.lipschitz.measure import (
    ESTIMATE,
    INTERPOLATES,
    LARGEST,
    LOG_LARGEST,
    LOG_ROUGHNESS,
    STATISTICS,
    TOLERANCES,
    agreement,
    roughness,
)
from wganbench.studies.lipschitz.study import (
    CLAIMS,
    evidence,
    growth,
    late_over_early,
    not_granted,
    over_bound,
    rest_words,
)
from wganbench.studies.rest import column, movements
from wganbench.studies.verdicts import judge
from wganbench.sweeps.backend import Silent


def source() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def ramp(x: torch.Tensor) -> torch.Tensor:
    """Slope 1 to the left of 1, 7 beyond."""
    first = x[:, 0]
    return first + 6 * torch.relu(first - 1)


def test_climbing_finds_what_no_start_sees() -> None:
    starts = torch.zeros(8, 2)
    assert steepest(ramp, starts, source(), 8, 30, 1.0) == pytest.approx(7.0)
    assert steepest(ramp, starts, source(), 8, 30, 1e-3) == pytest.approx(1.0), "out of reach"
    assert steepest(ramp, starts + 2, source(), 8, 0, 1.0) == pytest.approx(7.0), "its start"


def test_climbing_follows_a_slope_to_its_top() -> None:
    # The slope of sin(x) is largest, 1, at 0; from 1.2 it takes many small moves.
    found = steepest(lambda x: x[:, 0].sin(), torch.full((16, 1), 1.2), source(), 16, 60, 0.5)
    assert 0.9999 < found <= 1.0
    assert math.isnan(steepest(lambda x: x[:, 0] * math.nan, torch.zeros(2, 1), source(), 2, 3, 1))


def test_bounds_of_layers_by_hand() -> None:
    parameters = {
        "a.weight": torch.tensor([[3.0, 0.0], [0.0, 4.0]]), "a.bias": torch.tensor([9.0, 9.0]),
        "b.weight": torch.tensor([[2.0, 0.0]]),
    }  # fmt: skip
    assert spectral_product(parameters) == pytest.approx(8.0)
    assert clip_bound(parameters, 0.5) == pytest.approx(0.5 * 2 * 0.5 * math.sqrt(2))
    full = {name: torch.full_like(p, 0.5) for name, p in parameters.items()}
    assert spectral_product(full) == pytest.approx(clip_bound(full, 0.5)), "reached by equal ones"


def test_the_penalty_of_a_linear_critic_has_its_least_at_slope_one() -> None:
    x, x_fake, eps = torch.zeros(4, 2), torch.ones(4, 2), torch.full((4,), 0.5)
    w = torch.tensor([0.6, 0.8])
    two, one = (
        [float(gradient_penalty(lambda x, s=s: x @ (s * w), x, x_fake, eps, one_sided=sided))
         for s in (0.5, 1.0, 2.0)] for sided in (False, True)
    )  # fmt: skip
    assert two == pytest.approx([0.25, 0.0, 1.0], abs=1e-6)
    assert one == pytest.approx([0.0, 0.0, 1.0], abs=1e-6)


def planted(loss: str, coefficient: float, seed: int, slope: float | None) -> dict[str, Any]:
    return {
        "loss": loss, "coefficient": coefficient, "seed": seed, "largest": slope,
        "interpolates": slope, "clip_bound": 50 * coefficient**2,
        "course": [(2**k, 0.1 * 2**k) for k in range(11)],
        "steps": 1024, "moved": 0.5, "at_rest": True, "reach": 4.0,
        **{column(name): 0.5 for name in STATISTICS},
        "roughness": (20.0 if loss == "bce" else 2.0) * (1 + 0.01 * seed) ** (loss == "gp"),
        "directions": [[1.0, 0.0]] * 4 if loss == "gp" else
                      [[math.cos(seed), math.sin(seed)]] * 4,
    }  # fmt: skip


def planted_rows(gp: float, lp: float | None) -> list[dict[str, Any]]:
    rows = []
    for seed in range(5):
        for coefficient in (0.1, 10.0):
            rows += [planted("gp", coefficient, seed, gp + 0.001 * seed)]
            rows += [planted("lp", coefficient, seed, lp)]
        clips = (0.001, 0.01, 0.1, 1.0)
        rows += [planted("clip", c, seed, 20 * c**2 * (1 + 0.01 * seed)) for c in clips]
        rows += [planted("clip", math.inf, seed, 100.0), planted("bce", 0.0, seed, 3.0)]
    return rows


def verdicts(rows: list[dict[str, Any]]) -> dict[str, str]:
    found = evidence(rows)
    return {claim.name: judge("lipschitz", claim, found[claim.name]).word for claim in CLAIMS}


def test_planted_slopes_give_their_verdicts() -> None:
    words = verdicts(planted_rows(gp=1.3, lp=1.15))
    assert words["gp_1_lipschitz"] == "refuted" and words["lp_1_lipschitz"] == "not refuted"
    assert words["gp_interpolates_10"] == "refuted", "1.3 is not near 1"
    assert words["clip_1_lipschitz_1"] == "refuted", "20 at c = 1"
    assert words["clip_1_lipschitz_0.01"] == "not refuted", "2e-3 at c = 0.01"
    assert words["unbounded"] == "undecided", "a growth without spread has no interval"
    assert words["smoother_bce"] == "supported", "ten times as rough"
    assert words["smoother_clip"] == "refuted", "as rough"
    assert words["steadier_bce"] == "supported", "GP's point one way, the others anywhere"
    assert words["clip_k_lipschitz"] == "not refuted", "20 c^2 is below 50 c^2"
    assert words["clip_slope_1"] == "refuted", "2e-3 at c = 0.01"
    assert words["clip_limits"] == "undecided", "growth without spread has no interval"
    words = verdicts(planted_rows(gp=1.0, lp=None))
    assert words["gp_1_lipschitz"] == "not refuted" and words["gp_interpolates_10"] == "supported"


def test_statistics_by_hand() -> None:
    rows = [planted("clip", c, 0, 3 * c**4) for c in (0.001, 0.01, 0.1)]
    assert growth(rows) == pytest.approx(4.0)
    assert growth([*rows, planted("clip", 1.0, 0, None)]) is None, "diverged"
    assert late_over_early(rows[0]) == pytest.approx(math.log10(4))
    assert over_bound(planted("clip", 0.1, 0, 5.0)) == pytest.approx(1.0)
    assert over_bound(planted("clip", 0.1, 0, 0.0)) == 0.0


def test_growth_needs_a_look_at_a_quarter_of_the_steps() -> None:
    """A training that ends with its first look, at 500 steps, was not looked at after 125."""
    rows = planted_rows(gp=1.0, lp=1.0)
    for row in rows:
        growth = 1 + 0.01 * row["seed"]
        row["course"] = [(step, growth * step**growth) for step in (64, 128, 250, 256, 500)]
    assert verdicts(rows)["unbounded"] == "undecided"
    assert "after 500 steps alone" in evidence(rows)["unbounded"].undecided
    for row in rows:
        row["course"].append((1000, (1 + 0.01 * row["seed"]) * 1000 ** (1 + 0.01 * row["seed"])))
    assert verdicts(rows)["unbounded"] == "supported"


def test_a_seed_without_a_value_is_kept() -> None:
    values = evidence(planted_rows(gp=1.0, lp=None))["lp_1_lipschitz"].values
    assert list(values) == [None] * 5


def test_a_critic_that_still_moves_decides_nothing() -> None:
    rows = planted_rows(gp=1.3, lp=1.3)
    for row in rows:
        if (row["loss"], row["coefficient"]) == ("gp", 10.0):
            row[column(ESTIMATE)] = 9.0
    words = verdicts(rows)
    assert words["gp_1_lipschitz"] == words["gp_interpolates_10"] == "undecided"
    assert words["lp_1_lipschitz"] == "refuted" and words["smoother_bce"] == "undecided"


def test_each_claim_waits_for_its_own_statistic() -> None:
    """The largest of many slopes is noisy where their mean is not."""
    rows = planted_rows(gp=1.0, lp=1.0)
    for row in rows:
        row[column(LARGEST)] = 3.0
    words = verdicts(rows)
    assert words["gp_1_lipschitz"] == words["lp_1_lipschitz"] == "undecided"
    assert words["gp_interpolates_10"] == "supported" and words["clip_slope_1"] == "refuted"
    assert words["smoother_bce"] == "supported"
    arm = [row for row in rows if (row["loss"], row["coefficient"]) == ("gp", 10.0)]
    assert rest_words(arm) == (
        "after 1024 steps these still move: largest by 3 times what is allowed"
    )
    for row in rows:
        row[column(LOG_LARGEST)] = row[column(LOG_ROUGHNESS)] = 3.0
    words = verdicts(rows)
    assert {words[name] for name in ("clip_slope_1", "clip_limits", "smoother_bce",
                                     "smoother_clip", "steadier_bce")} == {"undecided"}  # fmt: skip
    assert words["clip_1_lipschitz_1"] == "refuted", "said of any weights"


def test_the_largest_slope_rests_while_it_moves_by_less_than_its_claims_allow() -> None:
    def times(statistic: str, size: float) -> float:
        before, now = ({statistic: np.full(5, slope)} for slope in (1.0, 1.0 + size))
        return movements(before, now, ["gp"] * 5, TOLERANCES)["gp"][statistic]

    assert times(LARGEST, 0.04) < 1 < times(LARGEST, 0.06)
    assert times(INTERPOLATES, 0.04) > 1, "a mean is held to a share of itself"


def test_a_discriminator_that_still_moves_is_no_measure_of_roughness() -> None:
    rows = planted_rows(gp=1.0, lp=None)
    for row in rows:
        if row["loss"] == "bce":
            row |= {"at_rest": False, "moved": 2.0, column("log roughness"): 2.0}
    words = verdicts(rows)
    assert words["smoother_bce"] == words["steadier_bce"] == "undecided"
    assert words["smoother_clip"] == "refuted"


def test_what_the_objective_grants_is_no_violation() -> None:
    """GP's and LP's loss of a linear critic of slope s: -s L + lambda (s - 1)^2, least at s."""
    steps = torch.linspace(0, 3, 300001, dtype=torch.float64)
    for reach, weight, one_sided in itertools.product((2.0, 5.0), (10.0, 4.0), (False, True)):
        above = (steps - 1).clamp(min=0.0 if one_sided else -1.0)
        optimum = float(steps[(-steps * reach + weight * above.square()).argmin()])
        row = planted("gp", weight, 0, optimum) | {"reach": reach}
        assert optimum > 1.09 and not_granted(row) == pytest.approx(0, abs=1e-4)
        row["largest"] = optimum + 0.25
        assert not_granted(row) == pytest.approx(0.25, abs=1e-4)
    assert not_granted(planted("gp", 10.0, 0, None)) is None


def test_roughness_by_hand() -> None:
    """g = x for ||x||^2 / 2, so ||g(x + h) - g(x)|| = ||h||; scaling D changes nothing."""
    x = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    for scale in (1.0, 1e-6):
        found = roughness(lambda x, s=scale: s * x.square().sum(dim=1) / 2, x, 0.1, 0)
        assert found == pytest.approx(1 / 3, rel=1e-4)
    assert roughness(lambda x: x @ torch.ones(2, dtype=x.dtype), x, 0.1, 0) == 0.0
    assert math.isnan(roughness(lambda x: 0 * x[:, 0], x, 0.1, 0))


def test_agreement_is_the_jackknife_of_the_mean_cosine_of_pairs() -> None:
    angles = [0.0, 0.3, 1.0, 1.2, 2.0]
    directions = [[[math.cos(a), math.sin(a)]] for a in angles]

    def mean_cosine(chosen: list[float]) -> float:
        pairs = [math.cos(a - b) for i, a in enumerate(chosen) for b in chosen[:i]]
        return sum(pairs) / len(pairs)

    by_hand = [
        5 * mean_cosine(angles) - 4 * mean_cosine(angles[:i] + angles[i + 1 :]) for i in range(5)
    ]
    assert agreement(directions) == pytest.approx(by_hand)
    assert agreement(directions[:2]) == [None, None]


@pytest.mark.slow
@pytest.mark.study
def test_a_small_run_goes_in_the_same_direction(tmp_path: Path) -> None:
    small = [
        "seeds=3", "first=64", "most=128", "width=32", "depth=2", "points=64", "rounds=10",
        "climbers=16", "lambdas=[10]", "clip_values=[0.1]", "device=cpu", f"output_dir={tmp_path}",
    ]  # fmt: skip
    folder, found = run_study("lipschitz", small, Silent())
    words = {verdict.claim.name: verdict.word for verdict in found}
    assert words["clip_k_lipschitz"] in ("not refuted", "undecided")
    assert words["clip_limits"] in ("supported", "undecided")
    assert words["unbounded"] in ("supported", "undecided")
    assert words["clip_slope_1"] in ("refuted", "undecided")
    assert (folder / "figure.svg").is_file() and (folder / "table.csv").is_file()


def test_what_would_void_it_is_refused() -> None:
    assert {"loss", "optimizer", "n_critic"} <= set(STUDIES["lipschitz"].protects)
