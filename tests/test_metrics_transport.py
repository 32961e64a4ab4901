"""Optimal transport: values a hand can check, and independent solvers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from wganbench.metrics import (
    transport,
    transport_floor,
    wasserstein_exact,
    wasserstein_sliced,
)
from wganbench.metrics.transport import exact_transport


def cloud(n, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shift", [(3.0, 4.0), (0.0, -0.01), (1e3, 0.0)])
def test_a_shift_costs_its_length(shift):
    x = cloud(60)
    assert wasserstein_exact(x, x + shift) == pytest.approx(math.hypot(*shift))
    assert wasserstein_exact(x, x) == 0


def test_point_masses_cost_mass_times_distance():
    # delta_0 against (1 - p) delta_0 + p delta_L.
    for p, length in [(0.1, 5.0), (0.5, 2.0), (1.0, 7.0)]:
        y = np.zeros((10, 2))
        y[: round(10 * p), 0] = length
        assert wasserstein_exact(np.zeros((10, 2)), y) == pytest.approx(p * length)
        assert wasserstein_exact(np.zeros((3, 2)), y) == pytest.approx(p * length)


def test_equals_the_best_of_all_permutations():
    x, y = cloud(6, 3, seed=1), cloud(6, 3, seed=2)
    costs = {
        order: float(np.mean(np.linalg.norm(x - y[list(order)], axis=1)))
        for order in itertools.permutations(range(6))
    }
    best = min(costs, key=costs.__getitem__)
    assert wasserstein_exact(x, y) == pytest.approx(costs[best])
    np.testing.assert_array_equal(exact_transport(x, y).partners, y[list(best)])


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25), (7, 31)])
def test_equals_scipy_on_the_line(n, m):
    x, y = cloud(n, 1, seed=3), 2 * cloud(m, 1, seed=4) + 0.5
    expected = wasserstein_distance(x[:, 0], y[:, 0])
    assert wasserstein_exact(x, y) == pytest.approx(expected)
    assert wasserstein_sliced(x, y, 3, generator()) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 37)])
@pytest.mark.parametrize("exponent", [-140, -50, 1, 120])
def test_pots_answer_has_the_scale_of_the_points(n, m, exponent):
    x, y = cloud(n), cloud(m, seed=5)
    plain, scaled = (
        exact_transport(x, y),
        exact_transport(np.ldexp(x, exponent), np.ldexp(y, exponent)),
    )
    for part in ("distance", "u", "v"):
        expected = np.ldexp(getattr(plain, part), exponent)
        np.testing.assert_allclose(getattr(scaled, part), expected, rtol=1e-9, atol=0)


def test_real_against_real_is_not_zero_and_falls_with_n():
    small, large = (wasserstein_exact(cloud(n), cloud(n, seed=9)) for n in (30, 300))
    assert small > large > 0.05


def test_accepts_tensors_with_a_graph():
    x = torch.zeros(4, 2, requires_grad=True)
    assert wasserstein_exact(x, torch.ones(4, 2)) == pytest.approx(math.sqrt(2))


def test_collapsed_clouds_are_solved():
    x = np.tile([[0.5, 0.5]], (300, 1))
    y = cloud(300)
    assert wasserstein_exact(x, y) == pytest.approx(np.linalg.norm(y - x, axis=1).mean())


def test_partners_of_unequal_clouds_are_barycentres():
    two = np.array([[1.0, 0.0], [0.0, 2.0]])
    partners = exact_transport(np.zeros((1, 2)), two).partners
    np.testing.assert_allclose(partners, [[0.5, 1.0]])
    x, y = cloud(8), cloud(12, seed=5)
    np.testing.assert_allclose(exact_transport(x, y).partners.mean(axis=0), y.mean(axis=0))


def test_a_solver_that_stops_early_raises(monkeypatch):
    monkeypatch.setattr(transport, "SOLVER_ITERATIONS", 1)
    with pytest.raises(RuntimeError, match="did not converge"):
        wasserstein_exact(cloud(50), cloud(50, seed=1))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_points_that_are_not_finite_are_refused(bad):
    x = cloud(5)
    y = x.copy()
    y[2, 1] = bad
    for distance in (wasserstein_exact, exact_transport):
        with pytest.raises(ValueError, match="not finite"):
            distance(x, y)
    with pytest.raises(ValueError, match="not finite"):
        wasserstein_sliced(y, x, 3, generator())


@pytest.mark.parametrize("shape", [(0, 2), (5, 3), (5,)])
def test_clouds_that_do_not_fit_are_refused(shape):
    with pytest.raises((ValueError, TypeError)):
        wasserstein_exact(cloud(5), np.zeros(shape))
    with pytest.raises((ValueError, TypeError)):
        wasserstein_sliced(cloud(5), np.zeros(shape), 3, generator())


clouds = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).normal(
        size=(np.random.default_rng(seed).integers(1, 9), 2)
    )
)


@settings(max_examples=40, deadline=None)
@given(clouds, clouds, clouds)
def test_is_a_metric(x, y, z):
    direct = wasserstein_exact(x, z)
    assert direct >= 0
    assert direct == pytest.approx(wasserstein_exact(z, x))
    assert direct <= wasserstein_exact(x, y) + wasserstein_exact(y, z) + 1e-9
    # The shift between the means is a lower bound, and so is the mean over shadows.
    assert direct >= np.linalg.norm(x.mean(axis=0) - z.mean(axis=0)) - 1e-9
    assert -1e-12 <= wasserstein_sliced(x, z, 16, generator()) <= direct + 1e-9


def test_sliced_of_a_shift_is_the_mean_shadow_of_its_length():
    x, projections = cloud(30), 20_000
    value = wasserstein_sliced(x, x + [3.0, 4.0], projections, generator())
    spread = 5 * math.sqrt(0.5 - (2 / math.pi) ** 2) / math.sqrt(projections)
    assert value == pytest.approx(5 * 2 / math.pi, abs=4 * spread)


def test_sliced_depends_on_its_generator_alone():
    x, y = cloud(30), cloud(20, seed=1)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = wasserstein_sliced(x, y, 8, generator(1))
    assert torch.equal(before, torch.get_rng_state())
    assert first == wasserstein_sliced(x, y, 8, generator(1))
    assert first != wasserstein_sliced(x, y, 8, generator(2))
    assert first == pytest.approx(wasserstein_sliced(y, x, 8, generator(1)))


class Steps:
    """Held-out reals at 0; the k-th sample k away."""

    def __init__(self):
        self.drawn = 0

    def held_out(self, n, generator):
        return torch.zeros(n, 2)

    def sample(self, n, generator):
        self.drawn += 1
        return torch.tensor([float(self.drawn), 0.0]).expand(n, 2)


class Ring:
    """Eight modes; held-out reals hit all of them equally often."""

    angles = torch.arange(8) * math.pi / 4
    modes = torch.stack([angles.cos(), angles.sin()], dim=1)

    def held_out(self, n, generator):
        return self.around(torch.arange(n) % 8, generator)

    def sample(self, n, generator):
        return self.around(torch.randint(8, (n,), generator=generator), generator)

    def around(self, mode, generator):
        return self.modes[mode] + 0.01 * torch.randn(len(mode), 2, generator=generator)


def test_floor_is_mean_and_sd_of_held_out_against_sample():
    floor = transport_floor(Steps(), n=4, pairs=3, seed=0)
    assert (floor.mean, floor.sd) == (pytest.approx(2), pytest.approx(1))
    assert (floor.pairs, floor.n) == (3, 4)
    with pytest.raises(ValueError, match="at least 2"):
        transport_floor(Steps(), n=4, pairs=1, seed=0)


def test_floor_depends_on_its_seed_alone_and_is_what_a_perfect_generator_scores():
    floor = transport_floor(Ring(), n=80, pairs=10, seed=0)
    assert floor == transport_floor(Ring(), n=80, pairs=10, seed=0)
    assert floor.mean != transport_floor(Ring(), n=80, pairs=10, seed=1).mean
    rng = generator(7)
    perfect = [
        wasserstein_exact(Ring().sample(80, rng), Ring().held_out(80, rng)) for _ in range(10)
    ]
    spread = math.sqrt(floor.sd**2 / 10 + np.var(perfect, ddof=1) / 10)
    assert np.mean(perfect) == pytest.approx(floor.mean, abs=4 * spread)
    # The floor is the imbalance of counts: between two stratified draws it would vanish.
    even = wasserstein_exact(Ring().held_out(80, rng), Ring().held_out(80, rng))
    assert even < floor.mean / 3
