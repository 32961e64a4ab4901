"""Penalties and clipping against closed forms, finite differences and a second implementation."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from wganbench.losses import clip_weights, gradient_penalty, r1_penalty
from wganbench.losses.constraints import input_gradients, input_slopes, interpolate
from wganbench.training.step import clipped

Critic = Callable[[Tensor], Tensor]
SHAPES = [(1,), (2,), (7,), (1, 4, 4), (3, 5, 2)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_side = pytest.mark.parametrize("one_sided", [False, True], ids=["two-sided", "one-sided"])
seeds = st.integers(0, 2**32 - 1)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(weight: Tensor) -> Critic:
    """D(x) = <w, x> for points of any shape."""
    return lambda x: (x * weight).flatten(start_dim=1).sum(dim=1)


def batch(n: int, shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Reals, fakes and mixing weights."""
    return randn(n, *shape, seed=seed), randn(n, *shape, seed=seed + 1), rand(n, seed=seed + 2)


def smooth_critic(seed: int = 0, dimension: int = 2, width: int = 4) -> nn.Sequential:
    """A small tanh network in float64, with scores of shape (n,)."""
    critic = nn.Sequential(
        nn.Linear(dimension, width), nn.Tanh(), nn.Linear(width, 1), nn.Flatten(start_dim=0)
    ).double()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.copy_(2 * torch.randn(parameter.shape, generator=rng))
    return critic


def reference_penalty(
    critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, one_sided: bool
) -> Tensor:
    """Algorithm 1 as most people write it: autograd.grad with create_graph."""
    per_point = []
    for real, fake, weight in zip(x.detach(), x_fake.detach(), eps.flatten(), strict=True):
        x_hat = (weight * real + (1 - weight) * fake)[None].requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)
        excess = gradient.pow(2).sum().sqrt() - 1
        per_point.append(torch.relu(excess) ** 2 if one_sided else excess**2)
    return torch.stack(per_point).mean()


# The gradient penalty of a linear critic: its slope is |w| everywhere.
@each_shape
@pytest.mark.parametrize("n", [1, 2, 17])
def test_a_linear_critic_gives_its_norm_minus_one_squared(shape: tuple[int, ...], n: int) -> None:
    """One norm a point over all its dimensions, not one a pixel, nor one for the batch."""
    weight = randn(*shape)
    penalty = gradient_penalty(linear(weight), *batch(n, shape))
    assert penalty.shape == ()
    assert penalty.item() == pytest.approx((weight.norm().item() - 1) ** 2, rel=1e-12)


@pytest.mark.parametrize(
    ("norm", "two_sided", "one_sided"),
    [(0.5, 0.25, 0), (1, 0, 0), (2, 1, 1), (5, 16, 16), (0, 1, 0)],
)
def test_one_sided_leaves_slopes_under_one_alone(
    norm: float, two_sided: float, one_sided: float
) -> None:
    weight = norm * torch.tensor([0.6, 0.8], dtype=torch.float64)
    arguments = (linear(weight), *batch(5, (2,)))
    assert gradient_penalty(*arguments).item() == pytest.approx(two_sided, abs=1e-12)
    assert gradient_penalty(*arguments, one_sided=True).item() == pytest.approx(
        one_sided, abs=1e-12
    )


@given(seed=seeds, n=st.integers(1, 6), shift=st.floats(-1e3, 1e3), scale=st.floats(0, 20))
def test_only_the_slope_counts(seed: int, n: int, shift: float, scale: float) -> None:
    """Scores shifted, points moved: nothing changes. Scores scaled: the slope scales."""
    weight = randn(3, seed=seed)
    x, x_fake, eps = batch(n, (3,), seed=seed)
    critic = linear(weight)
    slope = scale * weight.norm().item()
    for one_sided, expected in ((False, (slope - 1) ** 2), (True, max(0.0, slope - 1) ** 2)):
        penalty = gradient_penalty(
            lambda x: scale * critic(x) + shift, x + shift, x_fake - shift, eps, one_sided
        )
        assert penalty.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


# Any critic.
@each_side
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_second_implementation_in_value_and_gradient(one_sided: bool, seed: int) -> None:
    critic = smooth_critic(seed)
    parameters = list(critic.parameters())
    arguments = batch(6, (2,), seed=10 * seed)
    values, gradients = [], []
    for implementation in (gradient_penalty, reference_penalty):
        value = implementation(critic, *arguments, one_sided)
        values.append(value)
        gradients.append(torch.autograd.grad(value, parameters, allow_unused=True))
    assert values[0].item() > 1e-3
    torch.testing.assert_close(*values, rtol=1e-12, atol=0)
    for ours, theirs, parameter in zip(*gradients, parameters, strict=True):
        # The last bias moves no slope; whether it then has no gradient or one of 0 is equal.
        zero = torch.zeros_like(parameter)
        torch.testing.assert_close(
            zero if ours is None else ours, zero if theirs is None else theirs, rtol=1e-10, atol=0
        )


@each_side
def test_gradient_in_the_weights_equals_finite_differences(one_sided: bool) -> None:
    critic, arguments, h = smooth_critic(1), batch(4, (2,)), 1e-6
    gradient_penalty(critic, *arguments, one_sided).backward()
    for name, parameter in critic.named_parameters():
        flat = parameter.data.view(-1)
        measured = []
        for i in range(len(flat)):
            start, ends = flat[i].item(), []
            for moved in (start + h, start - h):
                flat[i] = moved
                ends.append(gradient_penalty(critic, *arguments, one_sided).item())
            flat[i] = start
            measured.append((ends[0] - ends[1]) / (2 * h))
        exact = torch.zeros_like(flat) if parameter.grad is None else parameter.grad.view(-1)
        assert name == "2.bias" or exact.abs().max() > 0.01
        assert exact.tolist() == pytest.approx(measured, rel=1e-6, abs=1e-8)


@each_side
def test_doubling_the_batch_changes_nothing(one_sided: bool) -> None:
    critic, parts = smooth_critic(), batch(5, (2,))
    doubled = [torch.cat([part, part]) for part in parts]
    torch.testing.assert_close(
        gradient_penalty(critic, *doubled, one_sided), gradient_penalty(critic, *parts, one_sided)
    )


@each_side
def test_is_the_mean_of_single_points_in_any_order(one_sided: bool) -> None:
    critic, parts = smooth_critic(), batch(5, (2,))
    whole = gradient_penalty(critic, *parts, one_sided)
    alone = [gradient_penalty(critic, *(p[i : i + 1] for p in parts), one_sided) for i in range(5)]
    torch.testing.assert_close(torch.stack(alone).mean(), whole)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(
        gradient_penalty(critic, *(p[order] for p in parts), one_sided), whole
    )


# A constant critic: slope 0, where the derivative of a norm does not exist.
def flat_critics() -> dict[
    str, tuple[dict[str, Tensor], Callable[[dict[str, Tensor], Tensor], Tensor]]
]:
    one = torch.ones((), dtype=torch.float64)
    network = smooth_critic()
    silent = {k: p.detach().clone() for k, p in network.named_parameters()}
    silent["2.weight"].zero_()
    return {
        "zero weight": ({"w": torch.zeros(2).double()}, lambda p, x: x @ p["w"]),
        "blind": ({"b": one}, lambda p, x: p["b"].expand(len(x))),
        "last layer zero": (silent, lambda p, x: functional_call(network, p, (x,))),
        "relu asleep": (
            {"w": randn(2), "b": -100 * one},
            lambda p, x: torch.relu(x @ p["w"] + p["b"]),
        ),
    }


@pytest.mark.parametrize("kind", list(flat_critics()))
@pytest.mark.parametrize(("one_sided", "expected"), [(False, 1.0), (True, 0.0)])
def test_a_constant_critic_gives_one_and_gradients_of_zero(
    kind: str, one_sided: bool, expected: float
) -> None:
    parameters, function = flat_critics()[kind]
    x, x_fake, eps = batch(3, (2,))

    def penalty(parameters: dict[str, Tensor]) -> Tensor:
        return gradient_penalty(lambda p: function(parameters, p), x, x_fake, eps, one_sided)

    assert penalty(parameters).item() == expected
    lifted = {k: torch.stack([p, p]) for k, p in parameters.items()}
    plain = {k: p.clone().requires_grad_() for k, p in parameters.items()}
    # A critic that does not see its input has no graph: hence the term that changes nothing.
    (penalty(plain) + sum(0 * p.sum() for p in plain.values())).backward()
    for gradients in (
        {k: p.grad for k, p in plain.items()},
        grad(penalty)(parameters),
        vmap(grad(penalty))(lifted),
    ):
        assert all(g is not None and (g == 0).all() for g in gradients.values())


# Interpolates and mixing weights.
@each_shape
def test_eps_one_is_the_real_point_and_zero_the_fake(shape: tuple[int, ...]) -> None:
    x, x_fake, _ = batch(4, shape)
    assert torch.equal(interpolate(x, x_fake, torch.ones(4)), x)
    assert torch.equal(interpolate(x, x_fake, torch.zeros(4)), x_fake)
    quarter = interpolate(x, x_fake, torch.full((4,), 0.25))
    torch.testing.assert_close(quarter, 0.25 * x + 0.75 * x_fake)


def test_each_point_has_its_own_eps() -> None:
    x, x_fake = torch.ones(3, 2, 2), torch.zeros(3, 2, 2)
    mixed = interpolate(x, x_fake, torch.tensor([0.0, 0.5, 1.0]))
    assert mixed.flatten(1).tolist() == [[0.0] * 4, [0.5] * 4, [1.0] * 4]


def test_the_penalty_is_measured_at_the_interpolates() -> None:
    """D(x) = |x|^2 / 2 has slope |x|."""
    x, x_fake = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.zeros(2, 2)
    penalty = gradient_penalty(
        lambda p: p.square().sum(dim=1) / 2, x, x_fake, torch.tensor([0.8, 0.5])
    )
    assert penalty.item() == pytest.approx(((4 - 1) ** 2 + (0.5 - 1) ** 2) / 2)


@each_shape
@each_side
def test_eps_may_have_axes_of_length_one(shape: tuple[int, ...], one_sided: bool) -> None:
    x, x_fake, eps = batch(4, shape)

    def penalty(eps: Tensor) -> Tensor:
        return gradient_penalty(lambda p: p.pow(3).flatten(1).sum(1), x, x_fake, eps, one_sided)

    expected = penalty(eps)
    for axes in range(1, 4):
        assert torch.equal(penalty(eps.reshape(4, *[1] * axes)), expected)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("shape", [(), (1,), (3,), (5,), (4, 2), (4, 4), (1, 4), (2, 2), (4, 1, 2)])
def test_eps_with_another_number_of_values_is_refused(shape: tuple[int, ...]) -> None:
    """One eps for the whole batch would be a line between two clouds, not between pairs."""
    x, x_fake, _ = batch(4, (2,))
    with pytest.raises(ValueError, match="one value a point"):
        gradient_penalty(linear(torch.ones(2)), x, x_fake, torch.zeros(shape))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("shape", [(1, 2), (3, 2), (4, 1), (4, 3), (4,), (4, 2, 1)])
def test_reals_and_fakes_of_unequal_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        gradient_penalty(linear(torch.ones(2)), torch.ones(4, 2), torch.ones(shape), torch.zeros(4))


@pytest.mark.parametrize(
    "critic",
    [
        lambda x: x[:, :1],
        lambda x: x,
        lambda x: x.sum(),
        lambda x: x.sum(dim=0),
        lambda x: x[:1, 0],
    ],
    ids=["(n, 1)", "(n, d)", "()", "(d,)", "(1,)"],
)
def test_a_critic_whose_scores_are_not_a_vector_is_refused(critic: Critic) -> None:
    x, x_fake, eps = batch(4, (2,))
    for penalty in (
        lambda: gradient_penalty(critic, x, x_fake, eps),
        lambda: r1_penalty(critic, x),
    ):
        with pytest.raises(ValueError, match=r"scores of shape \(n,\)"):
            penalty()


# What must get no gradient, and what runs hold in common.
@each_side
def test_no_gradient_reaches_the_generator(one_sided: bool) -> None:
    critic = smooth_critic()
    theta = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    z, x, eps = randn(4, 2), randn(4, 2, seed=1).requires_grad_(), rand(4)
    penalty = gradient_penalty(critic, x, theta * z, eps, one_sided)
    (penalty + r1_penalty(critic, x)).backward()
    assert theta.grad is None
    assert x.grad is None
    assert critic[0].weight.grad.abs().max() > 0
    by_func = grad(lambda t: gradient_penalty(critic, x.detach(), t * z, eps, one_sided))(theta)
    assert by_func.item() == 0


@each_side
def test_arguments_are_left_as_they_were(one_sided: bool) -> None:
    critic, parts = smooth_critic(), batch(4, (2,))
    copies = [part.clone() for part in parts]
    gradient_penalty(critic, *parts, one_sided)
    r1_penalty(critic, parts[0])
    assert all(torch.equal(a, b) for a, b in zip(parts, copies, strict=True))
    assert not any(part.requires_grad for part in parts)
    assert all(parameter.grad is None for parameter in critic.parameters())


@pytest.mark.parametrize("penalty", ["two-sided", "one-sided", "r1"])
def test_stacked_critics_under_vmap_equal_a_loop(penalty: str) -> None:
    critics = [smooth_critic(seed) for seed in range(3)]
    parameters, _ = stack_module_state(critics)
    parameters = {k: p.detach() for k, p in parameters.items()}
    runs = [batch(5, (2,), seed=10 * r) for r in range(3)]
    x, x_fake, eps = (torch.stack(parts) for parts in zip(*runs, strict=True))

    def one_run(p: dict[str, Tensor], x: Tensor, x_fake: Tensor, eps: Tensor) -> Tensor:
        def critic(points: Tensor) -> Tensor:
            return functional_call(critics[0], p, (points,))

        if penalty == "r1":
            return r1_penalty(critic, x)
        return gradient_penalty(critic, x, x_fake, eps, penalty == "one-sided")

    values = vmap(one_run)(parameters, x, x_fake, eps)
    gradients = vmap(grad(one_run))(parameters, x, x_fake, eps)
    for r in range(3):
        own = {k: p[r] for k, p in parameters.items()}
        torch.testing.assert_close(values[r], one_run(own, *runs[r]), rtol=1e-12, atol=1e-14)
        for name, gradient in grad(one_run)(own, *runs[r]).items():
            torch.testing.assert_close(gradients[name][r], gradient, rtol=1e-11, atol=1e-13)


# R1.
@pytest.mark.parametrize("n", [1, 5])
def test_r1_of_a_quadratic_critic(n: int) -> None:
    """D(x) = x'Ax / 2 + b'x with A symmetric: the gradient is Ax + b."""
    root, b, x = randn(3, 3), randn(3, seed=1), randn(n, 3, seed=2)
    matrix = root + root.T

    def penalty(b: Tensor) -> Tensor:
        return r1_penalty(lambda p: ((p @ matrix) * p).sum(1) / 2 + p @ b, x)

    gradient = x @ matrix + b
    assert penalty(b).item() == pytest.approx(gradient.square().sum().item() / n, rel=1e-12)
    # d/db of the mean of |Ax + b|^2.
    torch.testing.assert_close(grad(penalty)(b), 2 * gradient.mean(dim=0))


@each_shape
def test_r1_of_a_linear_critic_is_its_squared_norm(shape: tuple[int, ...]) -> None:
    weight = randn(*shape)
    penalty = r1_penalty(linear(weight), randn(6, *shape, seed=1))
    assert penalty.shape == ()
    assert penalty.item() == pytest.approx(weight.square().sum().item(), rel=1e-12)


@each_shape
def test_slopes_are_the_norms_of_the_gradients(shape: tuple[int, ...]) -> None:
    x = randn(5, *shape)

    def critic(p: Tensor) -> Tensor:
        return p.pow(2).flatten(1).sum(1)

    torch.testing.assert_close(input_gradients(critic, x), 2 * x)
    torch.testing.assert_close(input_slopes(critic, x), 2 * x.flatten(1).norm(dim=1))


# Clipping.
BOX = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=6)


@given(values=BOX, bound=st.floats(1e-3, 20))
def test_clipping_is_a_clamp_in_place_and_idempotent(values: list[float], bound: float) -> None:
    weight = torch.tensor(values, dtype=torch.float64)
    held = weight
    assert clip_weights([weight], bound) is None
    expected = [math.copysign(min(abs(value), bound), value) for value in values]
    assert held.tolist() == expected
    clip_weights([weight], bound)
    assert held.tolist() == expected


def test_every_parameter_is_clipped_and_nothing_else() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(2.0)
            parameter.grad = torch.full_like(parameter, 7.0)
        for buffer in module.buffers():
            buffer.fill_(5)
    clip_weights(module.parameters(), 0.01)
    for parameter in module.parameters():
        assert torch.equal(parameter, torch.full_like(parameter, 0.01))
        assert parameter.requires_grad
        assert parameter.grad is not None and (parameter.grad == 7).all()
    assert all((buffer == 5).all() for buffer in module.buffers())


def test_clipping_at_infinity_leaves_weights_alone() -> None:
    weight = torch.tensor([-1e30, -0.1, 0.0, 3.0])
    before = weight.clone()
    clip_weights([weight], math.inf)
    assert torch.equal(weight, before)
    assert torch.equal(clipped({"w": weight}, torch.tensor(math.inf))["w"], before)


def test_clipping_does_not_hide_a_diverged_weight() -> None:
    weight = torch.tensor([math.nan, 5.0])
    clip_weights([weight], 0.1)
    assert math.isnan(weight[0].item())
    assert weight[1].item() == pytest.approx(0.1)


@pytest.mark.parametrize("bound", [0, 0.0, -0.01, -math.inf, math.nan])
def test_a_clip_value_that_is_not_above_zero_is_refused(bound: float) -> None:
    weight = torch.tensor([3.0])
    with pytest.raises(ValueError, match="clip_value must be above 0"):
        clip_weights([weight], bound)
    assert weight.item() == 3


@given(seed=seeds, bound=st.floats(2**-10, 3, width=32))
def test_the_stacks_clipping_is_the_same_out_of_place(seed: int, bound: float) -> None:
    weight = torch.randn(5, generator=torch.Generator().manual_seed(seed))
    before = weight.clone()
    result = clipped({"w": weight}, torch.tensor(bound))["w"]
    assert torch.equal(weight, before)
    clip_weights([weight], bound)
    assert torch.equal(result, weight)
    assert result.abs().max() <= bound
