"""Value surfaces: what is read from critics that are known, and a small run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from wganbench.metrics import wasserstein_exact
from wganbench.studies import run_study
from wganbench.studies.frozen import noisy
from wganbench.studies.rest import column
from wganbench.studies.value_surfaces import study
from wganbench.studies.value_surfaces.measure import (
    GRID,
    NOISE,
    Arm,
    Clouds,
    Critic,
    beyond_gaussian,
    configure,
    measured,
    moment_matched,
    statistics,
    surface_points,
    target_of,
    train_arms,
    unexplained,
)
from wganbench.sweeps.backend import Silent


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quadratic(x: Tensor) -> Tensor:
    return 3 - x[:, 0] + 0.5 * x[:, 0] * x[:, 1] - 2 * x[:, 1] ** 2


def with_ripple(size: float) -> Critic:
    def critic(x: Tensor) -> Tensor:
        return 1e-6 * (quadratic(x) + size * torch.sin(9 * x[:, 0]))

    return critic


def test_nothing_of_a_quadratic_is_unexplained() -> None:
    x = torch.randn(500, 2, generator=source(), dtype=torch.float64)
    assert unexplained(x, quadratic(x)) < 1e-20
    assert unexplained(x, 1e-7 * quadratic(x) + 5) < 1e-9


def test_what_is_orthogonal_to_quadratics_is_unexplained() -> None:
    x = torch.randn(40000, 2, generator=source(), dtype=torch.float64)
    # He_3(x1) has variance 6 and is orthogonal to all quadratics under N(0, I); x2 has 1.
    cubic = x[:, 0] ** 3 - 3 * x[:, 0]
    assert unexplained(x, cubic + x[:, 1] * 6**0.5) == pytest.approx(0.5, abs=0.03)
    assert unexplained(x, cubic) == pytest.approx(1, abs=0.01)


def test_matched_points_have_the_moments_of_the_others() -> None:
    like = target_of("swiss_roll").sample(300, source()).double() + 2
    points = moment_matched(torch.randn(200, 2, generator=source(), dtype=torch.float64), like)
    torch.testing.assert_close(points.mean(dim=0), like.mean(dim=0))
    torch.testing.assert_close(torch.cov(points.T), torch.cov(like.T))


@pytest.fixture(scope="module")
def ring() -> Clouds:
    return Clouds.draw(target_of("ring8"), 0, 400)


def test_a_quadratic_owes_nothing_to_higher_moments(ring: Clouds) -> None:
    assert abs(beyond_gaussian(quadratic, ring)) < 1e-10
    # D = -(r^2 - 2)^2 with r^2 about 2 on reals. Their Gaussian is N(0, I): chi^2 with 2
    # degrees, E D = -4. Fakes: noncentral chi^2, mean 4, variance 12, E D = -16.
    on_the_circle = beyond_gaussian(lambda x: -(x.square().sum(dim=1) - 2).square(), ring)
    assert on_the_circle == pytest.approx(0.25, abs=0.08)


def test_dual_attainment_of_an_optimal_critic_is_one() -> None:
    reals = torch.randn(100, 2, generator=source(), dtype=torch.float64)
    shift = torch.tensor([0.0, 2.5], dtype=torch.float64)
    cloud = Clouds(reals, reals + shift, reals, reals, wasserstein_exact(reals, reals + shift))
    found = measured(lambda x: -7 * x[:, 1], cloud, False, False)
    assert found["attainment"] == pytest.approx(1)
    assert found["lipschitz"] == pytest.approx(7) and found["distance"] == pytest.approx(2.5)
    sideways = measured(lambda x: -7 * (x[:, 1] + x[:, 0]), cloud, False, False)
    assert sideways["attainment"] == pytest.approx(0.5**0.5)
    assert found["surface"] is None
    assert statistics(lambda x: -7 * x[:, 1], cloud)["attainment"] == pytest.approx(1)
    assert statistics(lambda x: -7 * x[:, 1], cloud)["estimate"] == pytest.approx(17.5)


def test_a_flat_or_diverged_critic_gives_no_number(ring: Clouds) -> None:
    flat = measured(lambda x: 0 * x[:, 0], ring, True, False)
    lost = measured(lambda x: x[:, 0] * float("nan"), ring, True, True)
    for found in (flat, lost):
        assert found["higher_moments"] is found["attainment"] is found["surface"] is None


def test_the_surface_is_the_papers_grid_row_by_row() -> None:
    points = surface_points().reshape(GRID, GRID, 2)
    assert points[0, 0].tolist() == [-3, -3] and points[-1, -1].tolist() == [3, 3]
    assert points[0, -1].tolist() == [3, -3], "the first coordinate runs along a row"


def test_the_fakes_are_the_data_plus_unit_noise() -> None:
    target = target_of("grid25")
    fakes = noisy(target.sample, NOISE)(20000, source(1)).double()
    reals = target.sample(20000, source(2)).double()
    extra = torch.cov(fakes.T) - torch.cov(reals.T)
    torch.testing.assert_close(extra, torch.eye(2, dtype=torch.float64), rtol=0, atol=0.06)


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "first": 4, "most": 4, "width": 8, "depth": 1, "batch_size": 16, "compile": False,
        "points": 40, "gp_lr": 1e-2, "clip_lr_per_value": 0.005,
    } | changes  # fmt: skip


def test_an_arm_has_its_coefficient_and_its_rate() -> None:
    clip, gp = configure(Arm("clip", 0.02), 3, settings()), configure(Arm("gp", 7), 3, settings())
    assert clip.loss.coefficients == {"clip_value": 0.02} and clip.train.critic_lr == 1e-4
    assert gp.loss.coefficients == {"gp_lambda": 7} and gp.train.critic_lr == 1e-2
    assert clip.train.optimizer == "rmsprop" and clip.seed == 3


@pytest.mark.slow
def test_arms_of_one_stack_stay_apart() -> None:
    rows = train_arms([Arm("gp", 0.1), Arm("gp", 10.0)], [0, 1], settings(), "cpu")
    assert len(rows) == 2 * 3 * 2
    assert len({row["estimate"] for row in rows}) == 12
    assert [row["surface"] is not None for row in rows] == [True, False] * 6
    alone = train_arms([Arm("gp", 10.0)], [1], settings(), "cpu")
    for row in alone:
        (same,) = [r for r in rows if (r["arm"], r["data"], r["seed"]) == ("gp 10", row["data"], 1)]
        assert row["estimate"] == pytest.approx(same["estimate"], rel=1e-5)


def test_the_effect_is_gp_minus_clip_seed_by_seed() -> None:
    def row(arm: str, data: str, seed: int, value: float | None) -> dict[str, Any]:
        moved = 2.0 if (data, arm) == ("swiss_roll", "clip 1") else 0.5
        names = ("estimate", *study.STATISTICS)
        rest = {
            "at_rest": False,
            "moved": 2.0,
            "steps": 100,
            **dict.fromkeys(map(column, names), moved),
        }
        cells = {"arm": arm, "data": data, "seed": seed, **rest}
        return cells | dict.fromkeys(study.STATISTICS, value)

    rows = [
        row(arm, data, seed, None if (arm, seed) == ("clip 1", 1) else value + seed)
        for arm, value in (("clip 1", 0.25), ("gp 1", 0.5))
        for data in study.DATA
        for seed in (0, 1, 2)
    ]
    found = study.evidence(rows, "clip 1", "gp 1", [0, 1, 2])
    assert list(found["attainment_grid25"].values) == [0.25, None, 0.25]
    assert list(found["clip_ignores_ring8"].values) == [0.25, None, 2.25]
    gated = {name for name, evidence in found.items() if evidence.undecided}
    assert gated == {name for name in found if name.endswith("swiss_roll")}
    # A share below 0 is a response too: 0.5 and -0.25 are 0.25 apart in size.
    for one in rows:
        if one["arm"] == "clip 1":
            one["beyond_gaussian"] = -0.25
    found_sizes = study.evidence(rows, "clip 1", "gp 1", [0, 1, 2])["beyond_gaussian_ring8"].values
    assert list(found_sizes) == [0.25, 1.25, 2.25]
    for one in rows:
        one[column("attainment")] = 3.0
    found = study.evidence(rows, "clip 1", "gp 1", [0, 1, 2])
    assert found["attainment_ring8"].undecided and not found["higher_moments_ring8"].undecided


@pytest.mark.slow
@pytest.mark.study
def test_a_small_run_gives_the_direction(tmp_path: Path) -> None:
    small = [
        "seeds=2",
        "first=200",
        "most=400",
        "batch_size=256",
        "width=32",
        "points=300",
        "clip_values=0.1",
        "gp_lambdas=0.1",
    ]
    own = [f"output_dir={tmp_path}", "device=cpu", "compile=false", "gp_lr=0.005"]
    folder, verdicts = run_study("value_surfaces", [*own, *small], Silent())
    words = {verdict.claim.name: verdict.word for verdict in verdicts}
    assert words["beyond_gaussian_ring8"] in ("supported", "undecided")
    assert (folder / "figure.png").is_file() and (folder / "numbers.png").is_file()
