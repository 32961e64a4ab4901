"""Whole methods against closed forms: Dirac-GAN, two point masses, two Gaussians."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from wganbench.losses import RECIPES, Recipe, clip_weights

REAL = torch.zeros(1, 1, dtype=torch.float64)
HALF = torch.full((1,), 0.5, dtype=torch.float64)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def line(slope: Tensor) -> Callable[[Tensor], Tensor]:
    """The linear critic D(x) = slope x in one dimension."""
    return lambda x: slope * x[:, 0]


def critic_loss(
    recipe: Recipe, slope: Tensor, x: Tensor, x_fake: Tensor, coefficients: dict[str, float]
) -> Tensor:
    critic = line(slope)
    loss = recipe.objective.critic(critic(x), critic(x_fake))
    if recipe.penalties:
        loss = loss + recipe.penalty(critic, x, x_fake, HALF, coefficients)
    return loss


# Dirac-GAN (Mescheder et al., arXiv:1801.04406): the data is one point at 0, the generator
# one point theta, the critic D(x) = psi x. The paper's critic is high on the fake and
# starts at psi = 1; ours is high on the real one, so it starts at -1.
SATURATING_R1 = replace(RECIPES["bce_r1"], objective=RECIPES["bce_saturating"].objective)
DIRAC = {
    "saturating": (RECIPES["bce_saturating"], {}),
    "non-saturating": (RECIPES["bce"], {}),
    "clip": (RECIPES["clip"], {"clip_value": 1.0}),
    "gp": (RECIPES["gp"], {"gp_lambda": 0.35}),
    "r1": (SATURATING_R1, {"r1_gamma": 0.3}),
    "wasserstein": (RECIPES["wasserstein"], {}),
}


def dirac_gan(method: str, alternating: bool, steps: int, rate: float = 0.2) -> list[float]:
    """sqrt(theta^2 + psi^2) after each of the steps of gradient descent."""
    recipe, coefficients = DIRAC[method]
    theta, psi = scalar(1.0), scalar(-1.0)

    def generator_gradient() -> Tensor:
        loss = recipe.objective.generator(None, line(psi)(theta.reshape(1, 1)))
        return torch.autograd.grad(loss, theta)[0]

    def critic_gradient() -> Tensor:
        loss = critic_loss(recipe, psi, REAL, theta.detach().reshape(1, 1), coefficients)
        return torch.autograd.grad(loss, psi)[0]

    def move(parameter: Tensor, gradient: Tensor) -> None:
        with torch.no_grad():
            parameter.sub_(rate * gradient)

    radii = []
    for _ in range(steps):
        if alternating:
            move(theta, generator_gradient())
            move(psi, critic_gradient())
        else:
            theta_gradient, psi_gradient = generator_gradient(), critic_gradient()
            move(theta, theta_gradient)
            move(psi, psi_gradient)
        if recipe.clips:
            clip_weights([psi], coefficients["clip_value"])
        radii.append(math.hypot(theta.item(), psi.item()))
    return radii


@pytest.mark.parametrize(
    ("method", "alternating", "radius"),
    [
        ("saturating", False, 3.09695),
        ("saturating", True, 1.42102),
        ("non-saturating", False, 0.640207),
        ("non-saturating", True, 0.283923),
        ("clip", False, 1.00215),
        ("clip", True, 1.02412),
        ("gp", False, 1.80179),
        ("gp", True, 1.22107),
        ("r1", False, 2.64e-6),
        ("r1", True, 2.30e-7),
    ],
)
def test_dirac_gan_ends_where_it_should(method: str, alternating: bool, radius: float) -> None:
    final = dirac_gan(method, alternating, steps=500)[-1]
    assert final == pytest.approx(radius, abs=1e-5)
    # The published figures carry three to six digits, which says more of the tiny ones.
    assert final == pytest.approx(radius, rel=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "alternating", "radius"),
    [("saturating", False, 4.24), ("non-saturating", True, 0.0880)],
)
def test_dirac_gan_in_the_long_run(method: str, alternating: bool, radius: float) -> None:
    assert dirac_gan(method, alternating, steps=5000)[-1] == pytest.approx(radius, rel=2e-3)


@pytest.mark.slow
def test_dirac_gan_non_saturating_and_simultaneous_cycles_for_ever() -> None:
    late = dirac_gan("non-saturating", alternating=False, steps=5000)[1000:]
    assert 0.615 < min(late) < max(late) < 0.645


def test_dirac_gan_without_a_constraint_follows_its_closed_form() -> None:
    """Simultaneous steps are a rotation times sqrt(1 + h^2): outwards, and never back."""
    radii = dirac_gan("wasserstein", alternating=False, steps=40, rate=0.2)
    expected = [math.sqrt(2 * 1.04**k) for k in range(1, 41)]
    assert radii == pytest.approx(expected, rel=1e-12)


# Two point masses at a distance L, a linear critic. The real one lies at L, the fake one
# at 0: the penalised loss -L w + lambda (w - 1)^2 has its minimum at w = 1 + L / (2 lambda).
def trained_slope(
    method: str, distance: float, coefficients: dict[str, float], rate: float, steps: int
) -> float:
    """Slope of the linear critic after so many steps of gradient descent from 2."""
    recipe = RECIPES[method]
    real = torch.full((1, 1), distance, dtype=torch.float64)
    slope = scalar(2.0)
    for _ in range(steps):
        loss = critic_loss(recipe, slope, real, REAL, coefficients)
        gradient = torch.autograd.grad(loss, slope)[0]
        with torch.no_grad():
            slope.sub_(rate * gradient)
        if recipe.clips:
            clip_weights([slope], coefficients["clip_value"])
    return slope.item()


def estimate(slope: float, distance: float) -> float:
    """E D(x) - E D(G(z)) by the recipe's own objective, without the penalty."""
    critic = line(scalar(slope))
    real = torch.full((1, 1), distance, dtype=torch.float64)
    return -RECIPES["wasserstein"].objective.critic(critic(real), critic(REAL)).item()


@pytest.mark.parametrize("method", ["gp", "lp"])
@pytest.mark.parametrize(
    ("distance", "gp_lambda", "expected"),
    [(1, 10, 1.05), (1, 0.1, 6.0), (3, 1, 7.5), (0.2, 2, 0.21)],
)
def test_a_penalised_linear_critic_overestimates(
    method: str, distance: float, gp_lambda: float, expected: float
) -> None:
    # On a parabola a step of 1 / (second derivative) is Newton's: two of them are exact.
    coefficients = {"gp_lambda": gp_lambda}
    slope = trained_slope(method, distance, coefficients, rate=1 / (2 * gp_lambda), steps=2)
    assert slope == pytest.approx(1 + distance / (2 * gp_lambda), rel=1e-12)
    assert estimate(slope, distance) == pytest.approx(expected, rel=1e-12)
    assert estimate(slope, distance) / slope == pytest.approx(distance, rel=1e-12)


@pytest.mark.parametrize("method", ["gp", "lp"])
@pytest.mark.parametrize("gp_lambda", [0.1, 10.0])
def test_that_slope_is_the_minimum_over_all_linear_critics_of_the_plane(
    method: str, gp_lambda: float
) -> None:
    recipe, distance = RECIPES[method], 1.5
    direction = torch.tensor([0.6, 0.8], dtype=torch.float64)
    fake = torch.zeros(1, 2, dtype=torch.float64)
    real = distance * direction[None]

    def loss(weight: Tensor) -> Tensor:
        def critic(x: Tensor) -> Tensor:
            return x @ weight

        penalty = recipe.penalty(critic, real, fake, HALF, {"gp_lambda": gp_lambda})
        return recipe.objective.critic(critic(real), critic(fake)) + penalty

    best = (1 + distance / (2 * gp_lambda)) * direction
    torch.testing.assert_close(torch.func.grad(loss)(best), torch.zeros(2, dtype=torch.float64))
    rng = torch.Generator().manual_seed(0)
    others = best + torch.randn(200, 2, generator=rng, dtype=torch.float64) * best.norm()
    assert (torch.func.vmap(loss)(others) > loss(best)).all()


@pytest.mark.parametrize("clip_value", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("distance", [0.5, 4.0])
def test_a_clipped_linear_critic_estimates_c_times_the_distance(
    clip_value: float, distance: float
) -> None:
    slope = trained_slope("clip", distance, {"clip_value": clip_value}, rate=0.1, steps=3)
    assert slope == pytest.approx(clip_value, rel=1e-12)
    assert estimate(slope, distance) == pytest.approx(clip_value * distance, rel=1e-12)
    assert estimate(slope, distance) / slope == pytest.approx(distance, rel=1e-12)


def test_without_a_constraint_the_slope_grows_for_ever() -> None:
    slopes = [trained_slope("wasserstein", 3.0, {}, 0.5, steps) for steps in (10, 20, 40)]
    assert slopes == pytest.approx([2 + 0.5 * 3.0 * steps for steps in (10, 20, 40)])


# Two Gaussians of variance 1, mu apart, and the optimal discriminator, whose logit is
# mu x - mu^2 / 2. Expectations run over the midpoints of equal slices of probability; the
# expected figures are adaptive quadrature of the same integrals.
SLICES = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
NORMAL = torch.special.ndtri(SLICES)


@pytest.mark.parametrize(
    ("mu", "js"),
    [(0, 0.0), (1, 0.160747), (1.6, 0.352701), (4, 0.912822), (6, 0.994447), (8, 0.999865)],
)
def test_optimal_discriminators_loss_is_the_jensen_shannon_divergence(mu: float, js: float) -> None:
    real, fake = mu * (NORMAL + mu) - mu**2 / 2, mu * NORMAL - mu**2 / 2
    loss = RECIPES["bce"].objective.critic(real, fake).item()
    assert (math.log(2) - loss / 2) / math.log(2) == pytest.approx(js, abs=1e-5)


@pytest.mark.parametrize(
    ("method", "mu", "norm"),
    [
        ("bce_saturating", 1, 0.397973),
        ("bce_saturating", 1.6, 0.467122),
        ("bce_saturating", 4, 0.137195),
        ("bce_saturating", 6, 0.0124532),
        ("bce_saturating", 8, 3.92875e-4),
        ("bce", 1, 1 - 0.397973),
        ("bce", 4, 4 - 0.137195),
        ("bce", 6, 6 - 0.0124532),
        ("bce", 10, 10.0),
    ],
)
def test_gradient_of_the_generators_mean_vanishes_only_when_saturating(
    method: str, mu: float, norm: float
) -> None:
    mean = scalar(0.0)
    scores = mu * (NORMAL + mean) - mu**2 / 2
    (gradient,) = torch.autograd.grad(RECIPES[method].objective.generator(None, scores), mean)
    assert -gradient.item() == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("mu", [0.5, 4, 20])
def test_gradient_from_a_wasserstein_critic_of_slope_1_is_1_everywhere(mu: float) -> None:
    mean = scalar(0.0)
    scores = NORMAL + mean - mu / 2
    (gradient,) = torch.autograd.grad(RECIPES["gp"].objective.generator(None, scores), mean)
    assert gradient.item() == pytest.approx(-1, rel=1e-12)
