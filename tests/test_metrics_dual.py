"""The c-transform's dual value: W1 at a potential, never above it, against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from test_metrics_gradients import N, make

from wganbench.data import load
from wganbench.metrics import EXACT_POINTS, METRICS, measure, wasserstein_exact
from wganbench.metrics.distances import c_transform_dual

TAG = "wasserstein/c_transform"


def clouds(n: int, d: int, seed: int = 0, by: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, d, generator=rng, dtype=torch.float64) for _ in range(2))
    return x, y + by


def by_loops(x: torch.Tensor, phi: torch.Tensor, y: torch.Tensor) -> float:
    transformed = [
        min(math.dist(a, b) - p for a, p in zip(x.tolist(), phi.tolist(), strict=True))
        for b in y.tolist()
    ]
    return sum(phi.tolist()) / len(x) + sum(transformed) / len(y)


def potential_of(x: torch.Tensor, y: torch.Tensor) -> tuple[float, torch.Tensor]:
    """W1 and the reals' potential: the dual of the transport problem as a linear program."""
    n, m = len(x), len(y)
    costs = torch.cdist(x, y).numpy()
    rows = np.zeros((n * m, n + m))
    for i in range(n):
        for j in range(m):
            rows[i * m + j, [i, n + j]] = 1
    objective = np.concatenate([np.full(n, -1 / n), np.full(m, -1 / m)])
    found = linprog(objective, A_ub=rows, b_ub=costs.ravel(), bounds=(None, None))
    return -found.fun, torch.from_numpy(found.x[:n])


@pytest.mark.parametrize("d", [1, 2, 20])
def test_a_potential_gives_exact_w1(d: int) -> None:
    x, y = clouds(12, d)
    distance, phi = potential_of(x, y)
    assert distance == pytest.approx(wasserstein_exact(x, y))
    assert c_transform_dual(x, phi, y) == pytest.approx(distance, rel=1e-7)
    assert c_transform_dual(x, phi + 1000, y) == pytest.approx(distance, rel=1e-7)
    # Turned round, or too steep, it proves less.
    assert c_transform_dual(x, -phi, y) < 0.9 * distance
    assert c_transform_dual(x, 3 * phi, y) < 0.9 * distance


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3, 9]), st.floats(-50, 50))
def test_it_is_never_above_the_exact_distance(seed: int, d: int, slope: float) -> None:
    x, y = clouds(9, d, seed, by=0.3)
    phi = slope * torch.randn(9, generator=torch.Generator().manual_seed(seed)).double()
    value = c_transform_dual(x, phi, y)
    assert value <= wasserstein_exact(x, y) + 1e-9
    assert value == pytest.approx(by_loops(x, phi, y), rel=1e-7, abs=1e-7)


def test_two_points_have_their_distance_whatever_the_potential() -> None:
    x, y = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    for value in (0.0, -7.0, 1e4):
        assert c_transform_dual(x, torch.tensor([value]), y) == pytest.approx(5)


def test_planted_critics() -> None:
    """Reals on [0, 1], fakes the same 3 to the right: D = -x is a potential, W1 is 3."""
    at = torch.arange(101.0)[:, None] / 100
    for slope, expected in (
        (1.0, 3.0),
        # A flat critic: each fake's nearest real is 1, at 3 + u - 1.
        (0.0, 2.5),
        # Half the slope: mean phi is -1/4, and still the nearest real is best.
        (0.5, 2.5 + 0.5 - 0.25),
        # Twice: the farthest real is best, 3 + u with phi = 0; the mean of phi is -1.
        (2.0, 3.5 - 1.0),
        # The wrong sign: mean phi is 1/2, the nearest real has phi = 1.
        (-1.0, 2.5 - 1.0 + 0.5),
    ):
        assert c_transform_dual(at, -slope * at[:, 0], at + 3) == pytest.approx(expected), slope


def test_clouds_of_many_points_are_taken_in_parts() -> None:
    x, y = clouds(1100, 2, by=0.5)
    phi = -x.sum(dim=1) / math.sqrt(2)
    value = c_transform_dual(x, phi, y)
    assert value == pytest.approx(float(phi.mean() + (torch.cdist(y, x) - phi).amin(1).mean()))


def test_what_does_not_fit_is_refused(without_shape_checks: None) -> None:
    x = torch.zeros(3, 2)
    for phi, y in ((torch.zeros(2), x), (torch.zeros(3), torch.zeros(3, 1))):
        with pytest.raises(ValueError, match="do not fit"):
            c_transform_dual(x, phi, y)
    with pytest.raises(ValueError, match="not finite"):
        c_transform_dual(x, torch.zeros(3), x + math.nan)


# The tag.
def test_the_tag_is_of_the_scores_at_reals_in_the_data_s_unit() -> None:
    reals, fakes = (cloud.float() for cloud in clouds(N, 2))
    parts = {"reals": reals, "fakes": fakes, "score_real": -reals.sum(dim=1) / math.sqrt(2)}
    values = measure(make(**parts))
    assert values[TAG] == pytest.approx(by_loops(reals, parts["score_real"], fakes), rel=1e-5)
    assert 0.8 * values["wasserstein/exact"] < values[TAG] <= values["wasserstein/exact"]
    assert measure(make(**parts, unit=4.0))[TAG] == pytest.approx(4 * values[TAG])
    other = measure(make(**parts, score_fake=torch.full((N,), 99.0)))
    assert other[TAG] == values[TAG], "only the reals' scores count"


def test_it_is_absent_where_it_means_nothing() -> None:
    assert TAG in measure(make()) and TAG not in measure(make(bce=True))
    assert TAG not in measure(make(packing=2))
    assert TAG not in measure(make(fakes=torch.full((N, 2), math.inf)))
    n = EXACT_POINTS + 1
    many = dict.fromkeys(("reals", "fakes", "fake_gradients"), torch.zeros(n, 2))
    assert not METRICS["c_transform"].applies(make(n, **many))
    assert math.isnan(measure(make(score_real=torch.full((N,), math.nan)))[TAG])


@pytest.mark.parametrize("d", [2, 16])
def test_the_potential_of_funnels_proves_all(d: int) -> None:
    """Every point of the source is moved along a ray of u: the plan is known, and so is W1."""
    target = load("funnels", dimension=d)
    y = target.source(200, torch.Generator().manual_seed(1)).double()
    x = target.moved(y)
    w1 = float((x - y).norm(dim=1).mean())
    assert c_transform_dual(x, target.potential(x), y) == pytest.approx(w1, rel=1e-5)
    assert wasserstein_exact(x, y) == pytest.approx(w1, rel=1e-5)
    assert c_transform_dual(x, -target.potential(x), y) < 0.9 * w1
