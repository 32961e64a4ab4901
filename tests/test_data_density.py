"""Exact densities and their gradients: by integration, finite differences and scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wganbench.config import compose
from wganbench.data import Mixture, Target, load, mixtures
from wganbench.data.target import Density, adapted
from wganbench.drawing.samples import DENSITY_SHARES, Arrows, CriticGrid
from wganbench.training.figures import with_density, with_rising
from wganbench.training.measuring import RebuiltSubject

TILTED = {
    "mean": [1.0, -2.0, 0.5],
    "covariance": [[2.0, 0.7, -0.2], [0.7, 1.0, 0.1], [-0.2, 0.1, 0.5]],
    "source_mean": [0.0, 0.0, 0.0],
    "source_covariance": [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]],
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "wide ring": ("ring8", {"sigma": 0.3}),
    "ring": ("ring8", {}),
    "unequal": ("random10", {"sigma": 0.2}),
    "decades": ("decades", {"sigma": 0.2}),
    "a weight of 0": ("mixture", {"weights": [1.0, 0.0, 2.0], "sigma": 0.4}),
    "three dimensions": ("two_gaussians", {"dimension": 3}),
    "gaussian": ("gaussian_pair", {}),
    "gaussian in three dimensions": ("gaussian_pair", TILTED),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def case(name: str) -> tuple[Target, Density]:
    kind, options = CASES[name]
    target = load(kind, **options)
    assert target.density is not None
    return target, target.density


def grid(low: float, high: float, n: int) -> tuple[Tensor, float]:
    side = torch.linspace(low, high, n, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).reshape(-1, 2)
    return points, ((high - low) / (n - 1)) ** 2


@pytest.mark.parametrize("name", [name for name in CASES if "three" not in name])
def test_the_density_integrates_to_1(name: str) -> None:
    _, density = case(name)
    # The ring of sigma 0.014 needs the finest grid; the widest law here ends within 8.
    low, n = (-1.6, 801) if name == "ring" else (-8.0, 801)
    points, cell = grid(low, -low, n)
    p = density.log_density(points).exp()
    assert float(p.sum()) * cell == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_the_log_density(name: str) -> None:
    target, density = case(name)
    spread = 0.3 * torch.randn(200, *target.shape, generator=seeded(1)).double()
    # Near the law and far from it, where every term of a mixture is 0 in floating point.
    for scale in (1, 30):
        x = scale * (target.sample(200, seeded()).double() + spread)
        found = density.log_density_gradient(x)
        step = 1e-6 * scale
        for k in range(x.shape[1]):
            ahead, behind = x.clone(), x.clone()
            ahead[:, k] += step
            behind[:, k] -= step
            slope = (density.log_density(ahead) - density.log_density(behind)) / (2 * step)
            worst = found.abs().amax(dim=1).clamp(min=1)
            assert float(((slope - found[:, k]) / worst).abs().max()) < 1e-4
        assert bool(found.isfinite().all())


@pytest.mark.parametrize("name", CASES)
def test_the_density_is_that_of_scipy(name: str) -> None:
    target, density = case(name)
    x = target.sample(100, seeded()).double()
    if isinstance(target, Mixture):
        parts = [
            float(w) * stats.multivariate_normal(m, target.sigma**2).pdf(x.numpy())
            for m, w in zip(target.modes.double().numpy(), target.weights.double(), strict=True)
        ]
        expected = np.log(np.sum(parts, axis=0))
    else:
        plain = {"mean": [1, 0.5], "covariance": [[1, 0.6], [0.6, 0.5]]}
        options: dict[str, Any] = TILTED if "three" in name else plain
        law = stats.multivariate_normal(options["mean"], options["covariance"])
        expected = law.logpdf(x.numpy())
    np.testing.assert_allclose(density.log_density(x), expected, rtol=1e-9, atol=1e-9)
    in_float32 = density.log_density(x.float())
    assert in_float32.dtype == torch.float32
    np.testing.assert_allclose(in_float32, expected, rtol=1e-3, atol=1e-3)


def test_one_gaussian_by_hand() -> None:
    """At its centre 1 / (2 pi sigma^2); the gradient is -x / sigma^2."""
    density = load("ring8", modes=1, radius=1.0, sigma=0.5).density
    assert density is not None
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).double()
    expected = math.log(1 / (2 * math.pi * 0.25))
    assert density.log_density(x).tolist() == pytest.approx([expected, expected - 2])
    assert density.log_density_gradient(x).tolist() == [[0, 0], [0, -4]]
    # Leading axes stay.
    assert density.log_density(x.reshape(2, 1, 2)).shape == (2, 1)
    assert density.log_density_gradient(x.reshape(2, 1, 2)).shape == (2, 1, 2)


def test_many_points_are_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    target, density = case("unequal")
    x = target.sample(101, seeded()).double()
    whole = density.log_density(x), density.log_density_gradient(x)
    monkeypatch.setattr(mixtures, "AT_ONCE", 70)
    parts = density.log_density(x), density.log_density_gradient(x)
    torch.testing.assert_close(whole, parts, rtol=1e-12, atol=1e-12)


def test_the_density_belongs_to_every_form_of_the_target() -> None:
    for name in ("ring8", "gaussian_pair"):
        truth, finite = load(name), load(name, train_points=50)
        assert truth.density is not None and finite.density is not None
        x = truth.sample(20, seeded())
        assert torch.equal(truth.density.log_density(x), finite.density.log_density(x))
    assert load("swiss_roll").density is None and load("funnels").density is None

    class Plain:
        shape, density = (2,), load("ring8").density
        sample = held_out = staticmethod(load("ring8").sample)

    assert adapted(Plain()).density is Plain.density


def test_contours_in_a_figure_hold_their_share_of_the_data() -> None:
    target, density = case("gaussian")
    side = np.linspace(-4, 4, 5)
    subject = RebuiltSubject(compose(["data=gaussian_pair"]), target)
    grid = CriticGrid(side, side, side)
    reals = target.sample(4000, seeded())
    found = with_density(grid, subject, reals)
    assert found is not None and found.density is not None
    values, levels = found.density
    there = density.log_density(torch.tensor([[side[3], side[1]]]))
    assert values.shape == (5, 5) and values[1, 3] == pytest.approx(float(there))
    # Of a Gaussian in the plane the share s lies within log p = its largest value + log(1 - s).
    top = float(density.log_density(torch.tensor([[1.0, 0.5]]).double()))
    expected = [top + math.log(1 - share) for share in DENSITY_SHARES]
    np.testing.assert_allclose(levels, expected, atol=0.25)
    assert with_density(None, subject, reals) is None
    arrows = Arrows(reals[:3].numpy(), reals[:3].numpy())
    rising = with_rising(arrows, subject).rising
    assert rising is not None
    np.testing.assert_array_equal(rising, density.log_density_gradient(reals[:3].double()))
    subject = RebuiltSubject(compose(["data=swiss_roll"]), load("swiss_roll"))
    plain = with_density(grid, subject, reals)
    assert plain is grid and with_rising(arrows, subject) is arrows
