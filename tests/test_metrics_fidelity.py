"""Precision, recall, density and coverage: brute force, goldens, and which way round."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wganbench.metrics import fidelity
from wganbench.metrics import precision_recall_density_coverage as prdc


def cloud(n, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def brute_force(real, fake, k):
    """The definitions, a pair at a time."""

    def radius(points, i):
        others = [math.dist(points[i], p) for j, p in enumerate(points) if j != i]
        return sorted(others)[k - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(fake, j) for j in range(len(fake))]
    in_real = [[math.dist(x, y) < r for x, r in zip(real, real_radii, strict=True)] for y in fake]
    in_fake = [[math.dist(x, y) < r for y, r in zip(fake, fake_radii, strict=True)] for x in real]
    return (
        np.mean([any(row) for row in in_real]),
        np.mean([any(row) for row in in_fake]),
        np.mean([sum(row) for row in in_real]) / k,
        np.mean([any(column) for column in zip(*in_real, strict=True)]),
    )


@pytest.mark.parametrize(("n", "m", "d", "k"), [(30, 25, 2, 3), (20, 33, 3, 1), (25, 25, 20, 5)])
def test_equals_brute_force(n, m, d, k, monkeypatch):
    real, fake = cloud(n, d), 1.1 * cloud(m, d, seed=1) + 0.2
    expected = brute_force(real.tolist(), fake.tolist(), k)
    assert min(expected) > 0 and expected[0] < 1
    for rows in (fidelity.ROWS, 7):
        monkeypatch.setattr(fidelity, "ROWS", rows)
        result = prdc(real, torch.tensor(fake), k)
        values = (result.precision, result.recall, result.density, result.coverage)
        assert values == pytest.approx(expected)


def test_a_hand_can_check():
    # Radii of the reals are 1, 1 and 2 (k = 1, the point itself not counted), of the fakes 3.5.
    real, fake = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [4.0]])
    result = prdc(real, fake, k=1)
    assert (result.precision, result.recall) == (1, 1)
    assert result.density == 1.5  # 0.5 lies in two balls, 4 in one
    assert result.coverage == 1
    assert prdc(real, np.array([[1.2], [1.3]]), k=1).coverage == pytest.approx(2 / 3)


@pytest.mark.parametrize("n", [100, 1000])
def test_expected_coverage_of_equal_distributions(n):
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, 6))
    if n == 1000:
        assert expected == pytest.approx(0.96898, abs=1e-5)
    draws = [prdc(cloud(n, seed=2 * s), cloud(n, seed=2 * s + 1)) for s in range(10)]
    values = [draw.coverage for draw in draws]
    spread = np.std(values, ddof=1) / math.sqrt(len(values))
    assert np.mean(values) == pytest.approx(expected, abs=4 * spread)
    assert np.mean([draw.density for draw in draws]) == pytest.approx(1, abs=0.1)


def test_high_dimension_keeps_the_expected_coverage():
    values = [prdc(cloud(400, 100, 2 * s), cloud(400, 100, 2 * s + 1)).coverage for s in range(4)]
    expected = 1 - math.prod((400 - i) / (800 - i) for i in range(1, 6))
    assert np.mean(values) == pytest.approx(expected, abs=0.025)


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_collapsed_fakes_are_precise_and_recall_little_and_swapped_the_reverse(spread):
    modes = 10 * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
    real = np.repeat(modes, 50, axis=0) + cloud(200)
    fake = np.tile(modes[0] + [0.1, 0.0], (200, 1)) + spread * cloud(200, seed=1)
    result, swapped = prdc(real, fake), prdc(fake, real)
    assert result.precision == 1
    assert result.recall < 0.05
    assert result.coverage < 0.25
    assert result.density > 1
    assert swapped.precision < 0.05
    assert swapped.recall == 1


def test_far_apart_is_zero_in_all():
    result = prdc(cloud(50), cloud(50, seed=1) + 100)
    assert (result.precision, result.recall, result.density, result.coverage) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("real", "fake", "k"),
    [
        (cloud(10), cloud(10), 0),
        (cloud(10), cloud(10), 10),
        (cloud(10), cloud(5), 5),
        (cloud(10), cloud(10, 3), 5),
        (cloud(10), np.full((10, 2), np.nan), 5),
    ],
)
def test_refuses(real, fake, k):
    with pytest.raises((ValueError, TypeError)):
        prdc(real, fake, k)


# Ties and repeats.
def test_ties_that_a_hand_can_check():
    # k = 1. The ball of 0 reaches to 1 and holds it alone; that of 1 reaches to 0 and 2: two.
    real, fake = np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [5.0]])
    result = prdc(real, fake, k=1)
    assert (result.precision, result.coverage) == (0.5, 1)  # closed: 1 lies on two rims
    assert result.density == (1 + 1 / 2 + 1) / 2
    assert result.recall == 1  # both fakes' balls reach over 4
    points = np.zeros((7, 1))
    same = prdc(points, points, k=5)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    assert same.density == pytest.approx(7 / 6)
    assert prdc(points, points + 1, k=5) == fidelity.Fidelity(0, 0, 0, 0)


def whole_numbers(n, d, rng):
    return np.rint(rng.normal(size=(n, d)) * 3)


def nine_points(n, d, rng):
    return rng.integers(0, 3, (n, 2)) @ np.eye(2, d) + 0.1


@pytest.mark.parametrize("law", [whole_numbers, nine_points])
@pytest.mark.parametrize("d", [2, 20])
def test_a_perfect_generator_of_data_with_ties_is_seen_as_one(law, d):
    rng = np.random.default_rng(0)
    if law is whole_numbers:
        d = min(d, 3)
    result = prdc(law(600, d, rng), law(600, d, rng))
    assert result.precision > 0.9
    assert result.recall > 0.9
    assert result.coverage > 0.9
    assert result.density == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("d", [2, 20])
def test_a_generator_of_one_of_nine_points_is_not(d):
    rng = np.random.default_rng(0)
    real = nine_points(600, d, rng)
    collapsed = prdc(real, np.tile(real[:1], (600, 1)))
    assert collapsed.precision == 1
    assert collapsed.recall == collapsed.coverage == pytest.approx(1 / 9, abs=0.05)
    beside = prdc(real, nine_points(600, d, rng) + 0.01)
    assert (beside.precision, beside.density, beside.coverage) == (0, 0, 0)


def test_without_ties_open_and_closed_balls_are_the_same():
    real, fake = cloud(200), cloud(200, seed=1) * 1.2
    result = prdc(real, fake)
    expected = brute_force(real.tolist(), fake.tolist(), 5)
    found = (result.precision, result.recall, result.density, result.coverage)
    assert found == pytest.approx(expected, abs=1e-12)
