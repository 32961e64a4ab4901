"""Mode coverage: the values that follow from the protocols, and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wganbench.metrics import check_protocol, gaussian_chance, mode_coverage

ANGLES = 2 * np.pi * np.arange(8) / 8
RING = 2 / 1.414 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
RING_SIGMA = 0.02 / 1.414
GRID = np.array([[x, y] for x in range(-4, 5, 2) for y in range(-4, 5, 2)]) / 2.828
GRID_SIGMA = 0.05 / 2.828
PERFECT_BALL, PERFECT_BOX = 0.98889, 0.99461


def perfect(modes, sigma, n, seed=0):
    """Independent samples of the mixture with equal weights."""
    rng = np.random.default_rng(seed)
    return modes[rng.integers(len(modes), size=n)] + sigma * rng.normal(size=(n, modes.shape[1]))


@pytest.mark.parametrize(("protocol", "expected"), [("veegan", PERFECT_BALL), ("box", PERFECT_BOX)])
@pytest.mark.parametrize(("modes", "sigma"), [(RING, RING_SIGMA), (GRID, GRID_SIGMA)])
def test_perfect_sampler_has_the_gaussians_own_share(protocol, expected, modes, sigma):
    n = 100_000
    result = mode_coverage(perfect(modes, sigma, n), modes, sigma, protocol=protocol)
    assert result.high_quality == pytest.approx(
        expected, abs=4 * math.sqrt(expected * (1 - expected) / n)
    )
    assert (result.covered, result.coverage) == (len(modes), 1)
    assert sum(result.counts) == round(result.high_quality * n)


@pytest.mark.parametrize(("modes", "sigma"), [(RING, RING_SIGMA), (GRID, GRID_SIGMA)])
def test_kl_of_a_perfect_sampler_is_its_floor(modes, sigma):
    n, draws = 2500, 100
    kls = [mode_coverage(perfect(modes, sigma, n, seed), modes, sigma).kl for seed in range(draws)]
    freedom, n_high = len(modes) - 1, n * PERFECT_BALL
    spread = math.sqrt(2 * freedom) / (2 * n_high) / math.sqrt(draws)
    assert np.mean(kls) == pytest.approx(freedom / (2 * n_high), abs=4 * spread)


@pytest.mark.parametrize(("modes", "value"), [(RING, 2.0794), (GRID, 3.2189)])
@pytest.mark.parametrize("protocol", ["veegan", "box", "chi2"])
def test_collapsed_sampler(modes, value, protocol):
    result = mode_coverage(np.tile(modes[3], (500, 1)), modes, 0.01, protocol=protocol)
    assert result.kl == pytest.approx(value, abs=1e-4)
    assert (result.covered, result.high_quality) == (1, 1)
    assert result.coverage == 1 / len(modes)
    assert result.counts[3] == 500


@pytest.mark.parametrize("protocol", ["veegan", "box", "chi2"])
@pytest.mark.parametrize("where", [1e3, -1e38, 1e300, math.inf, math.nan])
def test_far_away_and_diverged_samplers_score_nothing_and_have_no_kl(protocol, where):
    result = mode_coverage(np.full((50, 2), where), RING, RING_SIGMA, protocol=protocol)
    assert (result.covered, result.coverage, result.high_quality) == (0, 0, 0)
    assert result.kl is None


def test_a_diverged_sample_counts_in_n_alone():
    samples = np.tile(RING[0], (10, 1))
    samples[:4] = np.nan
    result = mode_coverage(samples, RING, RING_SIGMA, protocol="box")
    assert result.high_quality == 0.6
    assert result.kl == pytest.approx(math.log(8))


def test_protocols_differ_as_their_papers_do():
    modes, sigma = np.array([[0.0, 0.0], [100.0, 0.0]]), 1.0
    corner = mode_coverage(np.array([[2.9, 2.9]]), modes, sigma, protocol="box")
    assert (corner.high_quality, corner.covered) == (1, 1)
    assert mode_coverage(np.array([[2.9, 2.9]]), modes, sigma).high_quality == 0
    for protocol in ("veegan", "box"):
        assert mode_coverage([[2.999, 0.0]] * np.ones((1, 2)), modes, sigma, protocol=protocol)
        inside = mode_coverage(np.array([[2.999, 0.0]]), modes, sigma, protocol=protocol)
        border = mode_coverage(np.array([[3.0, 0.0]]), modes, sigma, protocol=protocol)
        assert (inside.high_quality, border.high_quality) == (1, 0)
    # Ten good samples on one mode, ten poor ones beside the other.
    samples = np.array([[0.0, 0.0]] * 10 + [[90.0, 0.0]] * 10)
    assert mode_coverage(samples, modes, sigma).kl == pytest.approx(math.log(2))
    assert mode_coverage(samples, modes, sigma, protocol="box").kl == pytest.approx(0)


@pytest.mark.parametrize("dimension", [1, 3, 10])
def test_chi2_keeps_a_perfect_sampler_at_the_planes_share(dimension):
    n, modes = 50_000, 100 * np.eye(2, dimension)
    result = mode_coverage(perfect(modes, 1.0, n), modes, 1.0, protocol="chi2")
    spread = math.sqrt(PERFECT_BALL * (1 - PERFECT_BALL) / n)
    assert result.high_quality == pytest.approx(PERFECT_BALL, abs=4 * spread)
    for protocol in ("veegan", "box"):
        with pytest.raises(ValueError, match="2-dimensional"):
            mode_coverage(modes, modes, 1.0, protocol=protocol)


def test_chi2_is_veegan_in_the_plane():
    samples = np.random.default_rng(0).normal(size=(2000, 2))
    assert mode_coverage(samples, RING, 0.2, protocol="chi2") == mode_coverage(samples, RING, 0.2)


def test_kl_is_against_the_weights():
    modes = np.array([[0.0, 0.0], [9.0, 0.0]])
    samples = np.repeat(modes, [90, 10], axis=0)
    for weights in ([0.9, 0.1], [9.0, 1.0]):
        assert mode_coverage(samples, modes, 1.0, np.array(weights)).kl == pytest.approx(0)
    even = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert mode_coverage(samples, modes, 1.0).kl == pytest.approx(even)
    # The direction: KL(samples || weights), not the reverse.
    skew = 0.9 * math.log(0.9 / 0.2) + 0.1 * math.log(0.1 / 0.8)
    assert mode_coverage(samples, modes, 1.0, np.array([0.2, 0.8])).kl == pytest.approx(skew)


def test_a_mode_of_weight_zero_is_none():
    modes = np.array([[0.0, 0.0], [9.0, 0.0], [18.0, 0.0]])
    samples = np.repeat(modes, [5, 3, 2], axis=0)
    result = mode_coverage(samples, modes, 1.0, torch.tensor([0.5, 0.0, 0.5]))
    assert (result.covered, result.coverage, result.high_quality) == (2, 1, 0.7)
    assert result.counts == (5, 0, 2)
    assert math.isfinite(result.kl)
    assert mode_coverage(samples[:5], modes, 1.0, torch.tensor([0.5, 0.0, 0.5])).coverage == 0.5


@pytest.mark.parametrize(("hits", "coverage"), [((18, 2), 1), ((17, 2), 0.5), ((18, 1), 0.5)])
def test_coverage_asks_for_a_fifth_of_the_fair_share_of_all_samples(hits, coverage):
    modes = np.array([[0.0, 0.0], [9.0, 0.0]])
    stray = np.full((100 - sum(hits), 2), 50.0)
    samples = np.concatenate([np.repeat(modes, hits, axis=0), stray])
    result = mode_coverage(samples, modes, 1.0, torch.tensor([0.9, 0.1]))
    assert result.coverage == coverage
    assert result.covered == 2


def test_captured_by_one_hit_is_nearly_free():
    n, draws = 2500, 100
    results = [
        mode_coverage(np.random.default_rng(seed).normal(size=(n, 2)), RING, RING_SIGMA)
        for seed in range(draws)
    ]
    hit = math.exp(-1) / (2 * math.pi) * math.pi * (3 * RING_SIGMA) ** 2
    expected = 8 * (1 - math.exp(-n * hit))
    assert expected == pytest.approx(4.5, abs=0.1)
    assert np.mean([r.covered for r in results]) == pytest.approx(expected, abs=0.6)
    assert np.mean([r.high_quality for r in results]) == pytest.approx(8 * hit, rel=0.2)
    assert max(r.coverage for r in results) == 0


def brute_force(samples, modes, sigma, weights, protocol):
    """One sample at a time, as the papers put it."""
    high, nearest = [0] * len(modes), [0] * len(modes)
    for x in samples:
        distances = [math.dist(x, mode) for mode in modes]
        k = distances.index(min(distances))
        offset = np.abs(x - modes[k])
        good = max(offset) < 3 * sigma if protocol == "box" else distances[k] < 3 * sigma
        high[k] += good
        nearest[k] += 1
    counted = nearest if protocol == "box" else high
    total = sum(counted)
    kl = sum(
        c / total * math.log(c / total / w) for c, w in zip(counted, weights, strict=True) if c
    )
    fair = [h >= 0.2 * len(samples) * w for h, w in zip(high, weights, strict=True)]
    return high, sum(high) / len(samples), kl, sum(fair) / len(modes)


@pytest.mark.parametrize("protocol", ["veegan", "box"])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_equals_brute_force(protocol, as_tensor):
    rng = np.random.default_rng(1)
    modes, samples = rng.normal(size=(7, 2)), rng.normal(size=(400, 2))
    weights = rng.dirichlet(np.ones(7))
    high, quality, kl, coverage = brute_force(samples, modes, 0.1, weights, protocol)
    assert 0 < sum(high) < 400
    wrap = torch.tensor if as_tensor else np.asarray
    result = mode_coverage(wrap(samples), wrap(modes), 0.1, wrap(weights), protocol)
    assert list(result.counts) == high
    assert result.high_quality == pytest.approx(quality)
    assert result.kl == pytest.approx(kl)
    assert result.coverage == pytest.approx(coverage)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_the_order_of_the_samples_means_nothing(seed, n):
    rng = np.random.default_rng(seed)
    samples = perfect(RING, 0.3, n, seed)
    result = mode_coverage(samples, RING, 0.2)
    assert mode_coverage(rng.permutation(samples), RING, 0.2) == result
    assert result.kl is None or -1e-12 <= result.kl <= math.log(8) + 1e-12
    assert result.coverage <= result.covered / 8


@pytest.mark.parametrize(
    "arguments",
    [
        {"sigma": 0.0},
        {"sigma": math.nan},
        {"samples": np.zeros((0, 2))},
        {"samples": np.zeros((4, 3))},
        {"samples": np.zeros(4)},
        {"weights": np.ones(7)},
        {"weights": np.array([-1.0] + [1.0] * 7)},
        {"weights": np.zeros(8)},
        {"protocol": "pacgan"},
    ],
)
def test_refuses(arguments):
    # Where shapes are enforced, a wrong one is a TypeError before it is a ValueError.
    with pytest.raises((ValueError, TypeError)):
        mode_coverage(**{"samples": RING, "modes": RING, "sigma": 0.1, **arguments})


def test_protocols_can_be_checked_beforehand():
    check_protocol("veegan", 2)
    check_protocol("chi2", 7)
    with pytest.raises(ValueError, match="use 'chi2'"):
        check_protocol("box", 3)
    with pytest.raises(ValueError, match="there are: veegan, box, chi2"):
        check_protocol("ball", 2)


def test_chance_has_the_reals_moments_and_no_modes():
    rng = torch.Generator().manual_seed(0)
    skew = torch.tensor([[2.0, 0.0], [1.5, 0.5]])
    reals = torch.tensor(perfect(RING, RING_SIGMA, 5000)).float() @ skew + 3
    chance = gaussian_chance(reals, 100_000, rng)
    assert chance.shape == (100_000, 2) and chance.dtype == torch.float32
    torch.testing.assert_close(chance.mean(0), reals.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(chance.T), torch.cov(reals.T), atol=0.07, rtol=0)
    ring = gaussian_chance(torch.tensor(perfect(RING, RING_SIGMA, 5000)), 2500, rng)
    assert mode_coverage(ring, RING, RING_SIGMA).high_quality < 0.01


def test_chance_of_reals_on_a_line_stays_on_it():
    line = torch.linspace(-1, 1, 50)[:, None] * torch.tensor([1.0, 2.0])
    chance = gaussian_chance(line, 200, torch.Generator().manual_seed(0))
    torch.testing.assert_close(chance[:, 1], 2 * chance[:, 0], atol=1e-5, rtol=1e-4)
    assert chance[:, 0].std() == pytest.approx(float(line[:, 0].std()), rel=0.2)
