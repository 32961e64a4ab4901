"""The toys of papers against their formulas, closed forms and scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, linalg, stats
from sklearn.datasets import make_moons

from wganbench.data import Mixture, load
from wganbench.data.drawn import DrawnTarget
from wganbench.data.toys import GaussianPair, Lines, PointMasses, Shifted
from wganbench.draws import Keyed, keys_of
from wganbench.metrics import wasserstein_exact, wasserstein_sliced

UNIFORM = stats.uniform().cdf


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(name: str, n: int = 6000, **options: Any) -> np.ndarray:
    return load(name, **options).sample(n, seeded()).double().numpy()


def shifted(name: str, **options: Any) -> Shifted:
    target = load(name, **options)
    assert isinstance(target, Shifted)
    return target


def pair_of_gaussians(**options: Any) -> GaussianPair:
    target = load("gaussian_pair", **options)
    assert isinstance(target, GaussianPair)
    return target


@pytest.mark.parametrize("name", ["lines", "two_point_masses", "gaussian_pair", "moons",
                                  "checkerboard", "spirals", "decades", "funnels", "circle",
                                  "four_segments"])  # fmt: skip
def test_runs_drawn_in_one_call_have_the_draws_of_each_alone(name: str) -> None:
    target = load(name)
    assert isinstance(target, DrawnTarget)
    keys, steps = keys_of([5, 2**40 + 7]), torch.tensor([[0], [3]])
    together = target.draw(Keyed(keys, steps), 6)
    assert together.shape == (2, 2, 6, *target.shape)
    for step in range(2):
        for run in range(2):
            alone = target.draw(Keyed(keys[run], steps[step, 0]), 6)
            torch.testing.assert_close(together[step, run], alone, rtol=0, atol=1e-6)


# Laws beside a copy of themselves.


def test_the_line_of_example_1() -> None:
    points = drawn("lines")
    assert (points[:, 0] == 0).all()
    assert stats.kstest(points[:, 1], UNIFORM).pvalue > 1e-3
    assert isinstance(shifted("lines"), Lines)


@pytest.mark.parametrize("d", [1, 3])
def test_all_reals_of_a_point_mass_are_the_origin(d: int) -> None:
    target = shifted("two_point_masses", dimension=d, offset=2.5)
    assert isinstance(target, PointMasses)
    assert torch.equal(target.sample(5, seeded()), torch.zeros(5, d))
    there = target.source(5, seeded())
    assert (there[:, 0] == 2.5).all() and (there[:, 1:] == 0).all()


@pytest.mark.parametrize(("name", "offset"), [("lines", 1.0), ("lines", 0.1),
                                              ("two_point_masses", 3.0)])  # fmt: skip
def test_w1_is_the_offset_and_a_linear_critic_finds_it(name: str, offset: float) -> None:
    target = shifted(name, offset=offset)
    assert target.pair is target and target.distance == (offset, 0.0)
    reals, source = target.sample(200, seeded()), target.source(200, seeded())
    assert wasserstein_exact(reals, source) == pytest.approx(offset, abs=1e-6)
    gap = target.potential(reals).mean() - target.potential(source).mean()
    assert float(gap) == pytest.approx(offset, abs=1e-6)
    gradient = torch.func.grad(lambda x: target.potential(x).sum())(reals)
    assert torch.equal(target.potential_gradient(reals), gradient)
    assert bool((torch.linalg.vector_norm(gradient, dim=1) == 1).all())


# A pair of Gaussians.
TILTED = {
    "mean": [1.0, -2.0, 0.5],
    "covariance": [[2.0, 0.7, -0.2], [0.7, 1.0, 0.1], [-0.2, 0.1, 0.5]],
    "source_mean": [0.0, 1.0, 0.0],
    "source_covariance": [[0.5, -0.3, 0.0], [-0.3, 1.5, 0.4], [0.0, 0.4, 1.0]],
}


@pytest.mark.parametrize("which", ["", "source_"])
def test_the_gaussians_have_their_moments(which: str) -> None:
    target = pair_of_gaussians(**TILTED)
    draw = target.source if which else target.sample
    points = draw(40_000, seeded()).double().numpy()
    mean, covariance = (np.array(TILTED[which + name]) for name in ("mean", "covariance"))
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    white = (points - mean) @ root.T
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=0.025)
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=0.04)
    for k in range(3):
        assert stats.kstest(white[:, k], stats.norm.cdf).pvalue > 1e-3


def test_w2_is_the_cost_of_the_linear_map_between_the_gaussians() -> None:
    """T = S0^-1/2 (S0^1/2 S S0^1/2)^1/2 S0^-1/2 carries S0 to S; E||y - T y||^2 by traces."""
    s, s0 = (np.array(TILTED[name]) for name in ("covariance", "source_covariance"))
    root = linalg.sqrtm(s0)
    back = linalg.inv(root)
    t = back @ linalg.sqrtm(root @ s @ root) @ back
    np.testing.assert_allclose(t @ s0 @ t.T, s, atol=1e-12)
    moved = np.trace((t - np.eye(3)) @ s0 @ (t - np.eye(3)).T)
    shift = np.sum((np.array(TILTED["mean"]) - np.array(TILTED["source_mean"])) ** 2)
    found = pair_of_gaussians(**TILTED).wasserstein_2()
    assert found == pytest.approx(math.sqrt(moved + shift), rel=1e-10)
    # Diagonal ones: the differences of the standard deviations.
    plain = pair_of_gaussians(
        mean=[0, 0], covariance=[[4, 0], [0, 1]], source_mean=[3, 0],
        source_covariance=[[1, 0], [0, 9]],
    )  # fmt: skip
    assert plain.wasserstein_2() == pytest.approx(math.sqrt(9 + 1 + 4), rel=1e-12)
    same = TILTED | {"source_mean": TILTED["mean"], "source_covariance": TILTED["covariance"]}
    assert pair_of_gaussians(**same).wasserstein_2() < 1e-6


def test_w1_of_a_projection_is_the_integral_over_quantiles() -> None:
    target = pair_of_gaussians(**TILTED)
    directions = torch.randn(5, 3, generator=seeded(1)).double()
    directions /= torch.linalg.vector_norm(directions, dim=1, keepdim=True)
    for v, found in zip(directions.numpy(), target.projected_wasserstein_1(directions),
                        strict=True):  # fmt: skip
        laws = [
            stats.norm(v @ TILTED[m], math.sqrt(v @ np.array(TILTED[s]) @ v))
            for m, s in (("mean", "covariance"), ("source_mean", "source_covariance"))
        ]

        def gap(q: float, laws: list[Any] = laws) -> float:
            return float(abs(laws[0].ppf(q) - laws[1].ppf(q)))

        expected, _ = integrate.quad(gap, 0, 1, limit=400)
        assert float(found) == pytest.approx(expected, rel=1e-4)


def test_w1_of_projections_that_differ_in_one_thing() -> None:
    """Equal spreads: the distance of the means. Equal means: |t| sqrt(2/pi)."""
    target = pair_of_gaussians(
        mean=[3, 0], covariance=[[1, 0], [0, 4]], source_mean=[0, 0],
        source_covariance=[[1, 0], [0, 1]],
    )  # fmt: skip
    found = target.projected_wasserstein_1(torch.eye(2)).tolist()
    assert found == pytest.approx([3, math.sqrt(2 / math.pi)], rel=1e-12)
    samples = target.sample(20_000, seeded(1)), target.source(20_000, seeded(2))
    angles = math.pi * torch.arange(180, dtype=torch.float64) / 180
    lines = torch.stack((angles.cos(), angles.sin()), dim=1)
    sliced = wasserstein_sliced(*samples, 200, seeded(3))
    assert sliced == pytest.approx(float(target.projected_wasserstein_1(lines).mean()), rel=0.1)


# Curves in the plane.
def test_the_circle_is_even_in_its_angle_and_a_coordinate_follows_the_arcsine_law() -> None:
    points = drawn("circle", radius=2.5)
    np.testing.assert_allclose(np.hypot(*points.T), 2.5, rtol=1e-6)
    turns = np.arctan2(points[:, 1], points[:, 0]) / (2 * math.pi) % 1
    assert stats.kstest(turns, UNIFORM).pvalue > 1e-3
    arcsine = stats.arcsine(loc=-2.5, scale=5).cdf
    assert all(stats.kstest(points[:, k], arcsine).pvalue > 1e-3 for k in range(2))


def test_w1_of_circles_about_one_point_is_the_difference_of_their_radii() -> None:
    """Each point moves along its ray, and |x| is a potential."""
    inner, outer = (load("circle", radius=r).sample(400, seeded()) for r in (1.0, 1.75))
    assert wasserstein_exact(inner, outer) == pytest.approx(0.75, rel=1e-5)


def test_segments_have_points_in_proportion_to_their_lengths() -> None:
    """Three segments of lengths 3, 1 and 2: the length from their beginning is U[0, 6]."""
    ends = [[0.0, 0.0, 3.0, 0.0], [5.0, 1.0, 5.0, 2.0], [-1.0, -2.0, -1.0, -4.0]]
    x, y = drawn("line_segment", ends=ends).T
    first, second, third = y == 0, x == 5, x == -1
    assert (first.astype(int) + second + third == 1).all()
    along = np.where(first, x, np.where(second, 3 + (y - 1), 4 - (y + 2)))
    assert along.min() >= 0 and along.max() <= 6 + 1e-5
    assert stats.kstest(along / 6, UNIFORM).pvalue > 1e-3


def test_the_presets_of_the_2_d_examples() -> None:
    """One segment: (U[-1, 1], 0). Four: the sides' middles, E x^2 = E y^2 = (1 + 1/12) / 2."""
    line, four = drawn("line_segment"), drawn("four_segments")
    assert (line[:, 1] == 0).all()
    assert stats.kstest((line[:, 0] + 1) / 2, UNIFORM).pvalue > 1e-3
    on, other = np.abs(four).max(axis=1), np.abs(four).min(axis=1)
    assert (on == 1).all() and (other <= 0.5).all()
    assert stats.kstest(2 * other, UNIFORM).pvalue > 1e-3
    squares = four**2
    assert squares.mean(axis=0) == pytest.approx([13 / 24] * 2, abs=4 * squares.std() / 77)
    np.testing.assert_allclose(four.mean(axis=0), 0, atol=4 * four.std() / 77)
    normal = drawn("gaussian")
    assert all(stats.kstest(normal[:, k], stats.norm.cdf).pvalue > 1e-3 for k in range(2))


# Shapes in the plane.
VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "x": lambda p: p[:, 0],
    "y": lambda p: p[:, 1],
    "diagonal": lambda p: p.sum(axis=1),
    "other diagonal": lambda p: p[:, 0] - p[:, 1],
    "radius": lambda p: np.hypot(p[:, 0], p[:, 1]),
    "radius about the other centre": lambda p: np.hypot(p[:, 0] - 1, p[:, 1] - 0.5),
}


@pytest.mark.parametrize("view", VIEWS)
def test_moons_match_scikit_learn(view: str) -> None:
    theirs, _ = make_moons(6000, noise=0.05, random_state=0)
    assert stats.ks_2samp(VIEWS[view](drawn("moons")), VIEWS[view](theirs)).pvalue > 1e-3


def test_moons_without_noise_are_half_circles() -> None:
    points = drawn("moons", noise=0)
    upper, lower = np.hypot(*points.T), np.hypot(points[:, 0] - 1, points[:, 1] - 0.5)
    first, second = np.abs(upper - 1) < 1e-6, np.abs(lower - 1) < 1e-6
    assert (first | second).all()
    assert stats.binomtest(int(first.sum()), len(points)).pvalue > 1e-3
    assert (points[first & ~second, 1] >= 0).all()
    assert (points[second & ~first, 1] <= 0.5).all()


@pytest.mark.parametrize(("squares", "edge"), [(4, 2.0), (6, 0.5), (2, 1.0)])
def test_the_checkerboard_is_even_on_its_squares(squares: int, edge: float) -> None:
    points = drawn("checkerboard", 12_000, squares=squares, edge=edge) / edge
    place = np.floor(points).astype(int)
    assert (np.abs(points) <= squares / 2).all()
    # The corner (-s/2, -s/2) of the board is filled.
    assert ((place.sum(axis=1) + squares) % 2 == 0).all()
    _, counts = np.unique(place, axis=0, return_counts=True)
    assert len(counts) == squares**2 // 2 and stats.chisquare(counts).pvalue > 1e-3
    for k in range(2):
        assert stats.kstest(points[:, k] - place[:, k], UNIFORM).pvalue > 1e-3


def test_spirals_without_noise_wind_evenly_about_the_origin() -> None:
    """The angle is the radius, up to the arm; a disc holds the square of its share of the radius:
    as many points as of the uniform law on the disc."""
    points = 3 * drawn("spirals", jitter=0, noise=0, turns=2)
    t = np.hypot(*points.T)
    arm = np.stack((-np.cos(t), np.sin(t)), axis=1)
    sides = (points * arm).sum(axis=1) / t
    np.testing.assert_allclose(np.abs(sides), 1, atol=1e-5)
    assert stats.binomtest(int((sides > 0).sum()), len(sides)).pvalue > 1e-3
    assert stats.kstest((t / (4 * math.pi)) ** 2, UNIFORM).pvalue > 1e-3


def test_spirals_match_their_source_in_moments() -> None:
    """E|x|^2 = (E t^2 + 2 E t.j + E|j|^2) / 9 + 2 s^2, with E t^2 = (2 pi turns)^2 / 2."""
    points = drawn("spirals", 40_000)
    t = np.sqrt((np.arange(200_000) + 0.5) / 200_000) * 3 * math.pi
    cross = 2 * 0.25 * float((t * (np.sin(t) - np.cos(t))).mean())
    expected = ((3 * math.pi) ** 2 / 2 + cross + 2 * 0.25 / 3) / 9 + 2 * 0.1**2
    squares = (points**2).sum(axis=1)
    assert squares.mean() == pytest.approx(expected, abs=4 * squares.std() / 200)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=0.04)


# Mixtures.


def test_decades_fall_in_equal_ratios() -> None:
    target = load("decades")
    assert isinstance(target, Mixture) and len(target.modes) == 7
    weights = target.weights.double()
    np.testing.assert_allclose(weights[1:] / weights[:-1], 10**-0.5, rtol=1e-5)
    assert float(weights[0] / weights[-1]) == pytest.approx(1000, rel=1e-5)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-6)
    expected = np.array([-1.5, -1.0, -0.5, 0, 0.5, 1.0, 1.5])
    np.testing.assert_allclose(target.modes[:, 0], expected, atol=1e-7)
    assert (target.modes[:, 1] == 0).all()
    counts = np.bincount(np.rint(drawn("decades", 50_000)[:, 0] / 0.5 + 3).astype(int))
    assert stats.chisquare(counts, 50_000 * (weights / weights.sum()).numpy()).pvalue > 1e-3


def test_a_chain_of_equal_modes_and_of_one() -> None:
    equal, one = load("decades", decades=0), load("decades", modes=1)
    assert isinstance(equal, Mixture) and isinstance(one, Mixture)
    assert equal.steps is None and torch.equal(one.modes, torch.zeros(1, 2))


def test_grid100_is_grid25_with_ten_a_side() -> None:
    target, small = load("grid100"), load("grid25")
    assert isinstance(target, Mixture) and isinstance(small, Mixture)
    assert len(target.modes) == 100
    neighbours = torch.pdist(target.modes.double()).min()
    nearest = torch.pdist(small.modes.double()).min()
    assert float(neighbours / target.sigma) == pytest.approx(float(nearest / small.sigma), rel=1e-5)
    assert float(target.modes.abs().max()) == pytest.approx(4.5 * float(nearest) / 2, rel=1e-5)


ERRORS: list[tuple[str, dict[str, Any], str]] = [
    ("lines", {"offset": 0}, r"data\.offset"),
    ("two_point_masses", {"dimension": 0}, r"data\.dimension"),
    ("checkerboard", {"squares": 3}, r"data\.squares must be even, got 3"),
    ("checkerboard", {"edge": 0}, r"data\.edge"),
    ("spirals", {"turns": 0}, r"data\.turns"),
    ("circle", {"radius": 0}, r"data\.radius"),
    ("line_segment", {"ends": []}, r"data\.ends must hold four numbers"),
    ("line_segment", {"ends": [[0, 0, 1]]}, r"data\.ends must hold four numbers"),
    (
        "line_segment",
        {"ends": [[1, 2, 1, 2]]},
        r"data\.ends: the two ends of a segment must differ",
    ),
    ("moons", {"noise": -1}, r"data\.noise"),
    ("decades", {"decades": 31}, r"data\.decades"),
    ("gaussian_pair", {"mean": [1.0]}, r"data\.mean and data\.source_mean .* got 1 and 2"),
    ("gaussian_pair", {"covariance": [[1.0]]}, r"data\.covariance must hold 2 rows of 2"),
    ("gaussian_pair", {"covariance": [[1, 2], [2, 1]]}, r"data\.covariance: .*positive definite"),
    ("gaussian_pair", {"source_covariance": [[1, 0.1], [0, 1]]}, r"data\.source_covariance: .*sym"),
]


@pytest.mark.parametrize(("name", "options", "message"), ERRORS)
def test_errors_name_the_key(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(name, **options)
