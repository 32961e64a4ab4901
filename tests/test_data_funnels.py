"""Funnels against the mathematics of pairs with a known W1: arXiv:2206.07767."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from wganbench.config import compose
from wganbench.config.schema import digest, identity
from wganbench.data import load
from wganbench.data.funnels import HALF_WIDTH, Funnels
from wganbench.data.target import adapted
from wganbench.metrics import wasserstein_exact

SIZES = [(1, 3), (2, 4), (2, 64), (5, 1), (16, 4), (128, 4)]


def funnels(dimension: int, clusters: int, centre_seed: int = 0) -> Funnels:
    target = load("funnels", dimension=dimension, clusters=clusters, centre_seed=centre_seed)
    assert isinstance(target, Funnels)
    return target


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lengths(vectors: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return found


def values(target: Funnels, x: np.ndarray) -> np.ndarray:
    """||x - a_k|| + b_k by numpy: (n, K)."""
    a, b = target.centres.double().numpy(), target.offsets.double().numpy()
    return np.asarray(np.linalg.norm(x[:, None] - a, axis=2) + b)


@pytest.mark.parametrize(("d", "k"), SIZES)
def test_the_move_follows_the_potential(d: int, k: int) -> None:
    """Both sides of W1 = E||x - y|| = E u(y) - E u(x) on the same draws."""
    target = funnels(d, k)
    y = target.source(4000, seeded()).double()
    x = target.moved(y)
    by_plan = float(lengths(x - y).mean())
    by_potential = float(target.potential(x).mean() - target.potential(y).mean())
    assert by_plan == pytest.approx(by_potential, abs=1e-9) and by_plan > 0.05
    # What training sees is float32.
    y32 = y.float()
    x32 = target.moved(y32)
    assert x32.dtype == torch.float32 and bool(x32.isfinite().all())
    in_float32 = target.potential(x32.double()).mean() - target.potential(y).mean()
    assert float(lengths(x32.double() - y).mean()) == pytest.approx(float(in_float32), abs=1e-6)
    assert float((x32.double() - x).abs().max()) < 5e-5


@pytest.mark.parametrize(("d", "k"), [(1, 3), (2, 4), (2, 64), (16, 4)])
def test_points_move_to_the_eighth_power_of_their_share(d: int, k: int) -> None:
    """The end of each ray is found here by bisection, in place of the formula."""
    target = funnels(d, k, centre_seed=1)
    y = target.source(500, seeded(1)).double()
    start = values(target, y.numpy()).argmin(axis=1)
    a = target.centres.double().numpy()[start]
    r = np.linalg.norm(y.numpy() - a, axis=1)
    v = (y.numpy() - a) / r[:, None]
    low, high = r.copy(), np.full(len(r), 100.0)
    for _ in range(60):
        middle = (low + high) / 2
        there = a + middle[:, None] * v
        found = values(target, there).argmin(axis=1)
        inside = (found == start) & (np.abs(there) <= HALF_WIDTH).all(axis=1)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    expected = a + (low * (r / low) ** 8)[:, None] * v
    np.testing.assert_allclose(target.moved(y).numpy(), expected, atol=1e-7)


@pytest.mark.parametrize(("d", "k"), SIZES)
def test_points_stay_in_their_cells_and_in_the_box(d: int, k: int) -> None:
    target = funnels(d, k, centre_seed=2)
    y = target.source(2000, seeded(2)).double()
    x = target.moved(y)
    before, after = (values(target, points.numpy()).argmin(axis=1) for points in (y, x))
    assert (before == after).all()
    assert float(y.abs().max()) <= HALF_WIDTH and float(x.abs().max()) <= HALF_WIDTH
    if d == 2:  # the source is uniform: E y^2 = 2.5^2 / 3
        assert float(y.square().mean()) == pytest.approx(HALF_WIDTH**2 / 3, rel=0.05)


@pytest.mark.parametrize(("d", "k"), SIZES)
def test_the_potential_is_1_lipschitz_with_the_gradient_that_is_given(d: int, k: int) -> None:
    target = funnels(d, k)
    y = target.source(1000, seeded(1)).double()
    g = target.potential_gradient(y)
    assert float((lengths(g) - 1).abs().max()) < 1e-12
    direction = torch.nn.functional.normalize(torch.randn(1000, d, generator=seeded(3)).double())
    step = 1e-6
    ahead, behind = (target.potential(y + sign * step * direction) for sign in (1, -1))
    # A few pairs of neighbours lie on both sides of a border.
    off = ((ahead - behind) / (2 * step) - (g * direction).sum(dim=1)).abs()
    assert float((off < 1e-4).double().mean()) > 0.99
    other = y.flip(0)
    assert bool(((target.potential(y) - target.potential(other)).abs() <= lengths(y - other)).all())
    # The potential is high on the reals, as critics are.
    assert float(target.potential(target.moved(y)).mean()) > float(target.potential(y).mean())
    own = values(target, target.centres.double().numpy()).argmin(axis=1) == np.arange(k)
    assert own.any() and bool((target.potential_gradient(target.centres[own]) == 0).all())


@pytest.mark.parametrize(("d", "k"), [(2, 4), (2, 64), (16, 4)])
def test_exact_transport_finds_the_same_distance(d: int, k: int) -> None:
    """The move is an optimal plan of each sample too: its cost is that of the linear program."""
    target = funnels(d, k)
    y = target.source(400, seeded(4))
    x = target.moved(y)
    cost = float(lengths(x.double() - y.double()).mean())
    assert wasserstein_exact(x, y) == pytest.approx(cost, abs=1e-6)


@pytest.mark.parametrize(("d", "k"), SIZES)
def test_the_known_distance_is_the_mean_over_many_draws(d: int, k: int) -> None:
    target = funnels(d, k)
    y = target.source(20_000, seeded(5)).double()
    moves = lengths(target.moved(y) - y)
    known = target.pair.distance
    error = float(moves.std()) / len(moves) ** 0.5
    assert abs(known.value - float(moves.mean())) < 4 * error
    assert 0 < known.standard_error < error / 10 and known is target.distance


def test_the_known_distance_in_closed_form_and_by_quadrature() -> None:
    """One funnel on a line, at a: E r = ((w - a)^2 + (w + a)^2) / (4 w), and W1 = 7/9 E r."""
    line = funnels(1, 1)
    a = float(line.centres)
    mean = ((HALF_WIDTH - a) ** 2 + (HALF_WIDTH + a) ** 2) / (4 * HALF_WIDTH)
    assert line.distance.value == pytest.approx(7 / 9 * mean, abs=6 * line.distance.standard_error)
    plane = funnels(2, 4)
    side = (np.arange(1000) + 0.5) / 1000 * 2 * HALF_WIDTH - HALF_WIDTH
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    y = torch.from_numpy(grid)
    expected = float(lengths(plane.moved(y) - y).mean())
    known = plane.distance
    assert known.value == pytest.approx(expected, abs=6 * known.standard_error)
    assert known.standard_error < 2e-4 * known.value


@pytest.mark.parametrize(("d", "published"), [(16, 1.940), (128, 1.142)])
def test_high_dimensions_agree_with_the_published_benchmark(d: int, published: float) -> None:
    """Its centres are others, but distances concentrate: of any centres W1 is nearly the same."""
    found = [funnels(d, 4, seed).distance.value for seed in range(3)]
    assert np.mean(found) == pytest.approx(published, rel=0.06)
    assert len(set(found)) == 3


def test_the_pair_belongs_to_every_form_of_the_target() -> None:
    target = funnels(2, 4)
    finite = load("funnels", train_points=50)
    assert target.pair is target and adapted(target) is target
    assert finite.pair is not None and finite.pair.distance == target.distance
    assert load("ring8").pair is None
    assert not torch.equal(funnels(2, 4, 1).centres, target.centres)
    assert torch.equal(funnels(2, 4).centres, target.centres)
    # Held-out reals are moved points of fresh draws of the source.
    y = target.source(8, seeded(6))
    assert torch.equal(target.held_out(8, seeded(6)), target.moved(y))


def test_centres_and_offsets_of_ones_own() -> None:
    """One funnel on a line, at 1 with any offset: W1 = 7/9 E|y - 1| = 7/9 (2.5^2 + 1) / 5."""
    line = load("funnels", dimension=1, clusters=1, centres=[[1]], offsets=[3])
    assert line.pair is not None
    assert line.pair.distance.value == pytest.approx(7 / 9 * 7.25 / 5, rel=1e-3)
    ours = funnels(2, 4)
    again = load("funnels", centres=ours.centres.tolist(), offsets=ours.offsets.tolist())
    assert isinstance(again, Funnels) and again.distance == ours.distance
    # Without the new keys a run has the identity that it had before there were any.
    plain, given = (compose(["loss=gp", "data=funnels", *words]) for words in
                    ([], [f"data.centres={ours.centres.tolist()}"]))  # fmt: skip
    assert not {"centres", "offsets"} & identity(plain)["data"].keys()
    assert digest(plain) != digest(given)


def test_a_funnel_without_points_is_noted() -> None:
    """With offsets 100 and 0 the second funnel is the lower one in all of the box."""
    one = load("funnels", clusters=2, centres=[[1, 1], [-1, -1]], offsets=[100, 0])
    assert one.notes == (
        "funnel 0 has no points: another one is lower everywhere, by data.offsets",
    )
    few = {"train_points": 20, "offsets": [100, 0], "centres": [[1, 1], [-1, -1]]}
    assert load("funnels", clusters=2, **few).notes == one.notes, "beside a training set as well"
    assert load("funnels").notes == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, r"data\.dimension"),
        ({"dimension": 20_001}, r"data\.dimension"),
        ({"clusters": 0}, r"data\.clusters"),
        ({"clusters": 1001}, r"data\.clusters"),
        ({"centre_seed": -1}, r"data\.centre_seed"),
        ({"centres": [[0, 0]]}, r"data\.centres must hold 4 lists .* of 2 numbers"),
        ({"centres": [[0, 0, 0]] * 4}, r"data\.centres must hold 4 lists .* of 2 numbers"),
        ({"centres": []}, r"data\.centres must hold 4 lists"),
        ({"centres": [[0, 2.6]] * 4}, r"data\.centres\[0\]\[1\] must be at most 2\.5"),
        ({"clusters": 2, "centres": [[0, 0], [1e-6, 0]]}, "closer than 0.0001"),
        (
            {"centres": [[0, 0], [1, 0]] * 2, "offsets": [0] * 4, "centre_seed": 1},
            r"data\.centre_seed=1 is not used",
        ),
        ({"offsets": [1, 2]}, r"data\.offsets must hold 4 numbers .*, got 2"),
        ({"offsets": [1, 2, 3, 101]}, r"data\.offsets\[3\] must be at most 100"),
    ],
)
def test_errors_name_the_key(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load("funnels", **options)
