"""Objectives and recipes: values, gradients, signs, and what they refuse."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from wganbench import losses
from wganbench.errors import ConfigError
from wganbench.losses import (
    BCE,
    BCE_SATURATING,
    RECIPES,
    WASSERSTEIN,
    Recipe,
    bce_critic_loss,
    bce_generator_loss,
    gradient_penalty,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from wganbench.losses.recipes import Wrapper

LN2 = math.log(2)
FUNCTIONS: dict[str, tuple[Callable[..., Tensor], int]] = {
    "bce_critic_loss": (bce_critic_loss, 2),
    "bce_generator_loss": (bce_generator_loss, 1),
    "bce_generator_loss, saturating": (lambda s: bce_generator_loss(s, saturating=True), 1),
    "wasserstein_critic_loss": (wasserstein_critic_loss, 2),
    "wasserstein_generator_loss": (wasserstein_generator_loss, 1),
}
each_function = pytest.mark.parametrize(
    ("function", "scores"), FUNCTIONS.values(), ids=FUNCTIONS.keys()
)
each_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
penalised_recipe = pytest.mark.parametrize("name", [n for n, r in RECIPES.items() if r.penalties])
vectors = st.lists(st.floats(-30, 30), min_size=1, max_size=8).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


def leaf(*values: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    return torch.autograd.grad(function(at), at)[0]


# Values.
def test_bce_at_scores_of_zero() -> None:
    zeros = torch.zeros(5, dtype=torch.float64)
    assert bce_critic_loss(zeros, zeros).item() == pytest.approx(2 * LN2, rel=1e-15)
    assert bce_generator_loss(zeros).item() == pytest.approx(LN2, rel=1e-15)
    assert bce_generator_loss(zeros, saturating=True).item() == pytest.approx(-LN2, rel=1e-15)


@given(real=vectors, fake=vectors)
def test_bce_is_the_cross_entropy_of_probabilities(real: Tensor, fake: Tensor) -> None:
    """Against logarithms of sigmoids in float64; the two batches may differ in size."""
    on_real, on_fake = torch.sigmoid(real), torch.sigmoid(fake)
    expected = -on_real.log().mean() - torch.sigmoid(-fake).log().mean()
    torch.testing.assert_close(bce_critic_loss(real, fake), expected)
    torch.testing.assert_close(bce_generator_loss(fake), -on_fake.log().mean())
    saturating = bce_generator_loss(fake, saturating=True)
    torch.testing.assert_close(saturating, torch.sigmoid(-fake).log().mean())


@given(real=vectors, fake=vectors, shift=st.floats(-100, 100))
def test_wasserstein_is_a_difference_of_means(real: Tensor, fake: Tensor, shift: float) -> None:
    loss = wasserstein_critic_loss(real, fake)
    torch.testing.assert_close(loss, sum(fake) / len(fake) - sum(real) / len(real))
    torch.testing.assert_close(wasserstein_generator_loss(fake), -sum(fake) / len(fake))
    # Only differences of scores mean something.
    torch.testing.assert_close(wasserstein_critic_loss(real + shift, fake + shift), loss)
    torch.testing.assert_close(wasserstein_critic_loss(fake, real), -loss)


@each_function
def test_losses_are_means_so_that_a_doubled_batch_changes_nothing(
    function: Callable[..., Tensor], scores: int
) -> None:
    rng = torch.Generator().manual_seed(0)
    batches = [torch.randn(6, generator=rng, dtype=torch.float64) for _ in range(scores)]
    doubled = [torch.cat([batch, batch]) for batch in batches]
    assert function(*batches).shape == ()
    torch.testing.assert_close(function(*batches), function(*doubled))


# Gradients.
def test_saturation_at_a_score_of_minus_20() -> None:
    score = leaf(-20.0, dtype=torch.float32)
    saturating = gradient(lambda s: bce_generator_loss(s, saturating=True), score)
    assert saturating.item() == pytest.approx(-2.0611536e-9, rel=1e-6)
    assert gradient(bce_generator_loss, score).item() == pytest.approx(-1, rel=1e-6)
    assert gradient(wasserstein_generator_loss, score).item() == -1


@each_function
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_and_right_far_out(
    function: Callable[..., Tensor], scores: int, size: float, dtype: torch.dtype
) -> None:
    """Far out, softplus is max(0, s): the values are exact, not merely finite."""
    score = leaf(size, -size, dtype=dtype)
    loss = function(*[score] * scores)
    (slope,) = torch.autograd.grad(loss, score)
    assert slope.isfinite().all()
    # Two critic terms: size / 2 from each side in BCE, which cancel in Wasserstein.
    expected = {
        "bce_critic_loss": size,
        "bce_generator_loss": size / 2,
        "bce_generator_loss, saturating": -size / 2,
        "wasserstein_critic_loss": 0,
        "wasserstein_generator_loss": 0,
    }
    (name,) = (name for name, row in FUNCTIONS.items() if row[0] is function)
    assert loss.item() == pytest.approx(expected[name], rel=1e-6)


MONOTONE = (BCE, BCE_SATURATING, WASSERSTEIN)
"""Objectives that pull at every score; hinge stops at a margin and least squares at a target."""
monotone_recipe = pytest.mark.parametrize(
    "recipe",
    [row for row in RECIPES.values() if row.objective in MONOTONE],
    ids=[name for name, row in RECIPES.items() if row.objective in MONOTONE],
)


@monotone_recipe
@given(real=vectors, fake=vectors)
def test_critic_and_generator_pull_the_fakes_scores_apart(
    recipe: Recipe, real: Tensor, fake: Tensor
) -> None:
    """The critic lifts reals and lowers fakes; the generator lifts fakes: all by descent."""
    real, fake = real.requires_grad_(), fake.requires_grad_()
    on_real, on_fake = torch.autograd.grad(recipe.objective.critic(real, fake), (real, fake))
    assert (on_real < 0).all()
    assert (on_fake > 0).all()
    assert (gradient(partial(recipe.objective.generator, None), fake) < 0).all()


@each_recipe
def test_a_zero_sum_generator_pulls_against_the_critic_as_hard_and_no_other(recipe: Recipe) -> None:
    """dL_G/df = -dL_D/df at every score, or the game is not zero-sum."""
    real, fake = torch.tensor([0.5, 2.0, -3.0]), torch.tensor([-0.5, 1.0, -4.0])
    fake.requires_grad_()
    reals = real if recipe.objective.paired else None
    by_generator = gradient(partial(recipe.objective.generator, reals), fake)
    by_critic = gradient(partial(recipe.objective.critic, real), fake)
    # Beyond the margin -1 the critic of hinge does not pull.
    opposite = torch.allclose(by_generator, -by_critic, atol=1e-6)
    assert recipe.objective.zero_sum == opposite
    assert opposite == (recipe.objective in (BCE_SATURATING, WASSERSTEIN))


@monotone_recipe
def test_critics_and_generators_gradients_at_the_fakes_are_opposite(recipe: Recipe) -> None:
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 16, generator=rng, dtype=torch.float64)

    def critic(x: Tensor) -> Tensor:
        return torch.tanh(x @ weight).mean(dim=1)

    real = torch.randn(7, 3, generator=rng, dtype=torch.float64)
    fake = torch.randn(7, 3, generator=rng, dtype=torch.float64)
    by_critic = torch.func.grad(lambda x: recipe.objective.critic(critic(real), critic(x)))(fake)
    by_generator = torch.func.grad(lambda x: recipe.objective.generator(None, critic(x)))(fake)
    cosines = torch.cosine_similarity(by_critic, by_generator, dim=1)
    torch.testing.assert_close(cosines, -torch.ones(7, dtype=torch.float64))


@each_recipe
def test_bce_says_what_it_is(recipe: Recipe) -> None:
    """BCE is the cross-entropy: the tags that need that are those of such recipes alone."""
    real, fake = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])
    equal = torch.isclose(recipe.objective.critic(real, fake), bce_critic_loss(real, fake))
    assert equal.item() is recipe.objective.bce


@each_recipe
def test_a_shift_of_all_scores_changes_only_losses_with_a_zero(recipe: Recipe) -> None:
    """Wasserstein and relativistic scores are free up to a constant; the others are not."""
    real, fake = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])
    shifted = recipe.objective.critic(real + 3, fake + 3)
    unchanged = torch.isclose(shifted, recipe.objective.critic(real, fake), atol=1e-5)
    free = recipe.objective is WASSERSTEIN or recipe.objective.paired
    assert unchanged.item() is free


# What is refused.
WRONG = [(4, 1), (1, 4), (4, 2), (), (2, 2, 1)]


@pytest.mark.usefixtures("without_shape_checks")
@each_function
@pytest.mark.parametrize("shape", WRONG)
def test_scores_of_another_shape_are_refused(
    function: Callable[..., Tensor], scores: int, shape: tuple[int, ...]
) -> None:
    """(n, 1) against (n,) would broadcast to (n, n) without a word."""
    for wrong in range(scores):
        batches = [torch.zeros(shape if i == wrong else 4) for i in range(scores)]
        with pytest.raises(ValueError, match=r"shape \(n,\)"):
            function(*batches)


@pytest.mark.usefixtures("shape_checks")
@each_function
def test_annotations_are_checked_in_this_session(
    function: Callable[..., Tensor], scores: int
) -> None:
    with pytest.raises(TypeCheckError):
        function(*[torch.zeros(4, 1)] * scores)
    with pytest.raises(TypeCheckError):
        function(*[torch.zeros(4, dtype=torch.int64)] * scores)


# Penalties as parts of a loss. A linear critic of slope 3 on two points in one dimension.
X = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
X_FAKE = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
EPS = torch.tensor([0.25, 0.5], dtype=torch.float64)


def penalty_at(name: str, slope: Tensor, coefficients: dict[str, Any]) -> Tensor:
    noise = torch.full_like(X, 0.5)
    return RECIPES[name].penalty(lambda x: slope * x[:, 0], X, X_FAKE, EPS, coefficients, noise)


@pytest.mark.parametrize(
    ("name", "slope", "expected"),
    [
        ("gp", 3, 4 * 0.7),
        ("gp", 0.5, 0.25 * 0.7),
        ("bce_gp", 3, 4 * 0.7),
        ("bce_gp", 0.5, 0.25 * 0.7),
        ("lp", 3, 4 * 0.7),
        ("lp", 0.5, 0),
        ("bce_r1", 3, 9 * 0.7 / 2),
        ("bce_r1", 0.5, 0.25 * 0.7 / 2),
    ],
)
def test_penalty_with_its_coefficient(name: str, slope: float, expected: float) -> None:
    (coefficient,) = RECIPES[name].coefficients
    penalty = penalty_at(name, leaf(slope)[0], {coefficient: 0.7})
    assert penalty.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "told"), [(torch.ones(2), r"mine returned \(2,\)"), (None, "mine returned None")]
)
def test_a_penalty_of_a_user_that_is_no_number_is_refused(value: Any, told: str) -> None:
    def mine(*_: Any) -> Any:
        return value

    recipe = dataclasses.replace(RECIPES["gp"], penalties=(mine,))
    with pytest.raises(ConfigError, match=told):
        recipe.penalty(lambda x: x[:, 0], X, X_FAKE, EPS, {"gp_lambda": 1.0})


def weighed(name: str, weight: float | Tensor) -> dict[str, Any]:
    """The coefficients of a recipe, all of one weight; a power is 6."""
    return {c: 6.0 if c == "div_p" else weight for c in RECIPES[name].coefficients}


@penalised_recipe
def test_a_penalty_is_proportional_to_its_coefficients_also_as_tensors(name: str) -> None:
    slope = leaf(3.0)[0]
    once, twice = (penalty_at(name, slope, weighed(name, value)).item() for value in (1.5, 3.0))
    assert twice == pytest.approx(2 * once)
    of_tensors = weighed(name, torch.tensor(1.5, dtype=torch.float64))
    assert penalty_at(name, slope, of_tensors).item() == pytest.approx(once)
    assert penalty_at(name, slope, weighed(name, 0)).item() == 0


@penalised_recipe
@given(slope=st.floats(1.01, 50))
def test_breaking_the_constraint_costs_the_more_the_steeper(name: str, slope: float) -> None:
    steepness = leaf(slope)[0]
    penalty = penalty_at(name, steepness, weighed(name, 1.0))
    assert penalty.item() > 0
    assert torch.autograd.grad(penalty, steepness)[0].item() > 0


def test_plus_the_penalty_under_max_rewards_breaking_the_constraint() -> None:
    """max E D(x) - E D(G(z)) + lambda (|w| - 1)^2 diverges; the recipe's loss does not.

    Two point masses at a distance L, slope w: the distance to the stationary slope
    1 -+ L / (2 lambda) is multiplied by 1 +- 2 lambda h in each step of size h.
    """
    distance, gp_lambda, rate, steps, start = 1.0, 10.0, 0.01, 100, 2.0
    real = torch.full((1, 1), distance, dtype=torch.float64)
    fake, eps = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    recipe = RECIPES["gp"]

    def ours(w: Tensor) -> Tensor:
        scores = recipe.objective.critic(w * real[:, 0], w * fake[:, 0])
        penalty = recipe.penalty(lambda x: w * x[:, 0], real, fake, eps, {"gp_lambda": gp_lambda})
        return scores + penalty

    def wrong(w: Tensor) -> Tensor:
        estimate = -recipe.objective.critic(w * real[:, 0], w * fake[:, 0])
        reg = gradient_penalty(lambda x: w * x[:, 0], real, fake, eps)
        return -(estimate + gp_lambda * reg)

    def train(loss: Callable[[Tensor], Tensor]) -> float:
        w = leaf(start)[0].detach().requires_grad_()
        for _ in range(steps):
            w = (w - rate * torch.autograd.grad(loss(w), w)[0]).detach().requires_grad_()
        return w.item()

    offset = distance / (2 * gp_lambda)
    assert train(ours) == pytest.approx(1 + offset, rel=1e-8)
    explosion = (1 - offset) + (start - 1 + offset) * (1 + 2 * gp_lambda * rate) ** steps
    assert train(wrong) == pytest.approx(explosion, rel=1e-9)
    assert explosion > 1e7


# The table.
@each_recipe
def test_a_recipe_is_penalised_or_clipped_or_neither(recipe: Recipe) -> None:
    assert not (recipe.clips and recipe.penalties)
    assert ("clip_value" in recipe.coefficients) is recipe.clips
    assert bool(set(recipe.coefficients) - {"clip_value"}) is bool(recipe.penalties)
    normalised = recipe.wrapper is Wrapper.GRADIENT
    assert recipe.needs_pointwise_critic is (bool(recipe.penalties) or normalised)
    assert recipe.slope_target in ("1", "at most 1", "0", "some K", "none")
    assert recipe.known_for and all(recipe.objective.formulas)


def test_the_papers_methods_differ_where_they_say() -> None:
    gp, lp, clip, control = (RECIPES[name] for name in ("gp", "lp", "clip", "wasserstein"))
    assert gp.objective == lp.objective == clip.objective == control.objective
    assert RECIPES["bce"].objective == RECIPES["bce_gp"].objective == RECIPES["bce_r1"].objective
    assert gp.penalties == RECIPES["bce_gp"].penalties
    minimax, standard = RECIPES["bce_saturating"].objective, RECIPES["bce"].objective
    assert minimax.critic is standard.critic
    assert minimax.generator is not standard.generator


@pytest.mark.parametrize("name", [n for n in losses.__all__ if n.islower()])
def test_every_public_function_gives_its_source(name: str) -> None:
    assert "Source: " in (inspect.getdoc(getattr(losses, name)) or "")
