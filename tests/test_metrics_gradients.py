"""What the critic tells the generator: goldens, signs, and the cases that do not apply."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from wganbench.data.target import KnownShape
from wganbench.metrics import Evaluation, Floor, measure, slopes
from wganbench.metrics.distances import paired
from wganbench.metrics.gradients import cosines, direction_ceiling
from wganbench.metrics.transport import exact_transport

N = 40


def make(n=N, **changes):
    """An evaluation of a Wasserstein critic, overwritten by what a test is about."""
    rng = torch.Generator().manual_seed(0)
    parts = {
        "target": KnownShape((2,)),
        "reals": torch.randn(n, 2, generator=rng),
        "fakes": torch.randn(n, 2, generator=rng),
        "score_real": torch.ones(n),
        "score_fake": torch.zeros(n),
        "slopes_hat": torch.ones(n),
        "slopes_real": torch.ones(n),
        "slopes_fake": torch.ones(n),
        "fake_gradients": torch.zeros(n, 2),
        "feedback": torch.ones(n),
        "bce": False,
        "weights_at_clip": None,
        "protocol": "veegan",
        "projections": 4,
        "floor": None,
    }
    return Evaluation(**{**parts, **changes})


def mlp(seed):
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1), torch.nn.Flatten(0)]
    return torch.nn.Sequential(*layers).double()


@pytest.mark.parametrize("shape", [(3,), (1, 4, 4)])
def test_slope_of_a_linear_critic_is_the_norm_of_its_weight(shape):
    weight = torch.randn(shape, dtype=torch.float64)
    x = torch.randn(7, *shape, dtype=torch.float64)
    measured = slopes(lambda batch: (batch * weight).flatten(1).sum(1), x)
    torch.testing.assert_close(measured, weight.norm().expand(7))


def test_slopes_equal_finite_differences_and_carry_no_graph():
    critic, x, h = mlp(0), torch.randn(9, 2, dtype=torch.float64), 1e-6
    columns = [(critic(x + h * e) - critic(x - h * e)) / (2 * h) for e in torch.eye(2).double()]
    measured = slopes(critic, x)
    torch.testing.assert_close(measured, torch.stack(columns, 1).norm(dim=1).detach())
    assert not measured.requires_grad


def test_slopes_of_a_stack_of_critics_are_those_of_each_alone():
    critics, x = [mlp(seed) for seed in range(3)], torch.randn(5, 2, dtype=torch.float64)
    parameters, buffers = stack_module_state(critics)

    def one(p, b):
        return slopes(lambda batch: functional_call(critics[0], (p, b), (batch,)), x)

    stacked = vmap(one)(parameters, buffers)
    torch.testing.assert_close(stacked, torch.stack([slopes(c, x) for c in critics]))


@pytest.mark.parametrize("where", ["slopes_hat", "slopes_real", "slopes_fake"])
def test_lipschitz_is_the_largest_slope_wherever_it_is(where):
    steep = torch.ones(N)
    steep[17] = 6.0
    values = measure(make(**{where: steep}))
    assert values["critic/lipschitz"] == 6
    assert values["critic/slope_mean"] == pytest.approx(1.125 if where == "slopes_hat" else 1)
    assert values["critic/slope_fake"] == pytest.approx(1.125 if where == "slopes_fake" else 1)


def test_slope_std_is_over_interpolates():
    alternating = torch.tensor([1.0, 3.0]).repeat(N // 2)
    assert measure(make(slopes_hat=alternating))["critic/slope_std"] == pytest.approx(1)
    assert measure(make(slopes_fake=alternating))["critic/slope_std"] == 0


@pytest.mark.parametrize("n", [8, 80])
def test_signal_at_a_sample_does_not_depend_on_n(n):
    # A linear critic and L_G = -mean D: dL_G/dx_i = -w / n.
    pull = -torch.tensor([3.0, 4.0]).expand(n, 2) / n
    assert measure(make(n, fake_gradients=pull))["grad_norm/sample"] == pytest.approx(5)


def test_signal_is_a_mean_of_norms_and_survives_tiny_gradients():
    gradients = torch.zeros(N, 2)
    gradients[0] = torch.tensor([3e-30, 4e-30])
    values = measure(make(fake_gradients=gradients))
    assert values["grad_norm/sample"] == pytest.approx(5e-30)


def test_feedback_is_the_mean_over_fakes():
    scores = torch.tensor([-20.0, 0.0, 20.0, 0.0])
    values = measure(make(4, feedback=torch.sigmoid(-scores), score_fake=scores, bce=True))
    assert values["critic/feedback"] == pytest.approx(0.5)
    assert measure(make())["critic/feedback"] == 1


def towards(angle=0.0):
    """Fakes a shift away from the reals, and gradients that push them at an angle to it."""
    fakes = torch.randn(N, 2, generator=torch.Generator().manual_seed(1))
    reals = (fakes + torch.tensor([30.0, 0.0]))[torch.randperm(N)]
    push = torch.tensor([math.cos(angle), math.sin(angle)])
    return {"reals": reals, "fakes": fakes, "fake_gradients": -push.expand(N, 2) / N}


@pytest.mark.parametrize("angle", [0, math.pi / 3, math.pi / 2, math.pi])
def test_direction_is_the_cosine_to_the_partner(angle):
    expected = math.cos(angle)
    value = measure(make(**towards(angle)))["critic/direction"]
    assert value == pytest.approx(expected, abs=0.02)


def test_direction_to_the_exact_partner_is_one():
    evaluation = make()
    way = torch.from_numpy(evaluation.transport.partners).float() - evaluation.fakes
    scale = torch.rand(N, 1) + 0.1
    for sign in (1, -1):
        changed = dataclasses.replace(evaluation, fake_gradients=-sign * scale * way)
        assert measure(changed)["critic/direction"] == pytest.approx(sign)


def test_vectors_without_a_direction_are_left_out():
    parts = towards()
    parts["fake_gradients"] = parts["fake_gradients"].clone()
    parts["fake_gradients"][:10] = 0
    assert measure(make(**parts))["critic/direction"] == pytest.approx(1, abs=0.01)
    parts["fake_gradients"][:] = 0
    assert "critic/direction" not in measure(make(**parts))
    arrived = towards()
    arrived["reals"] = arrived["fakes"]
    assert "critic/direction" not in measure(make(**arrived))


def test_direction_survives_gradients_that_float32_cannot_square():
    parts = towards()
    parts["fake_gradients"] = parts["fake_gradients"] * 1e-30
    assert measure(make(**parts))["critic/direction"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("real", "fake", "accuracy"),
    [
        ([1, 1, 1, 1], [-1, -1, -1, -1], 1),
        ([1, 1, 1, 1], [1, 1, 1, 1], 0.5),
        ([-1, -1, -1, -1], [1, 1, 1, 1], 0),
        ([1, 1, 1, 1], [-1, -1, 1, 1], 0.75),
        ([-1, -1, -1, 1], [-1, -1, -1, -1], 0.625),
        ([0, 0, 0, 0], [0, 0, 0, 0], 0),
    ],
)
def test_accuracy_weighs_reals_and_fakes_alike(real, fake, accuracy):
    scores = {"score_real": torch.tensor(real).float(), "score_fake": torch.tensor(fake).float()}
    assert measure(make(4, bce=True, **scores))["critic/accuracy"] == accuracy


def test_saturation_counts_fakes_alone_from_one_per_cent():
    edge = math.log(0.01 / 0.99)
    fakes = torch.tensor([edge - 1e-3, edge + 1e-3, 9.0, -50.0])
    values = measure(make(4, bce=True, score_real=torch.full((4,), -50.0), score_fake=fakes))
    assert values["critic/saturation"] == 0.5
    values = measure(make(4, bce=True, score_real=torch.full((4,), -50.0)))
    assert values["critic/saturation"] == 0


@pytest.mark.parametrize(
    ("mu", "share"), [(0, 0), (1, 0.161), (2, 0.486), (4, 0.913), (6, 0.9945), (8, 0.99987)]
)
def test_js_estimate_of_the_optimal_discriminator_between_two_gaussians(mu, share):
    n = 20_000
    quantiles = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)
    scores = {"score_real": mu * (quantiles + mu / 2), "score_fake": mu * (quantiles - mu / 2)}
    values = measure_js(n, **scores)
    assert values / math.log(2) == pytest.approx(share, abs=6e-4 if mu < 6 else 1e-4)


def measure_js(n, **scores):
    images = dict.fromkeys(("reals", "fakes", "fake_gradients"), torch.zeros(n, 1, 2, 2))
    return measure(make(n, bce=True, **images, **scores))["divergence/js_estimate"]


def test_js_estimate_ends_at_ln_2_and_is_no_better_than_the_discriminator():
    far = torch.full((9,), 1e4)
    assert measure_js(9, score_real=far, score_fake=-far) == pytest.approx(math.log(2))
    assert measure_js(9, score_real=0 * far, score_fake=0 * far) == pytest.approx(0)
    assert measure_js(9, score_real=-far, score_fake=far) == pytest.approx(math.log(2) - 1e4)


def test_estimate_is_divided_by_the_largest_slope():
    scores = {"score_real": torch.full((N,), 5.0), "score_fake": torch.full((N,), -1.0)}
    values = measure(make(slopes_real=torch.full((N,), 4.0), **scores))
    assert values["wasserstein/estimate_normalized"] == pytest.approx(1.5)


def test_what_does_not_apply_is_absent():
    wasserstein, bce = measure(make()), measure(make(bce=True))
    only_bce = {"critic/saturation", "critic/accuracy", "divergence/js_estimate"}
    assert only_bce <= bce.keys() and not only_bce & wasserstein.keys()
    assert "wasserstein/estimate_normalized" in wasserstein
    assert "wasserstein/estimate_normalized" not in bce
    flat = dict.fromkeys(("slopes_hat", "slopes_real", "slopes_fake"), torch.zeros(N))
    assert "wasserstein/estimate_normalized" not in measure(make(**flat))
    assert measure(make(**flat))["critic/lipschitz"] == 0
    assert "critic/weights_at_clip" not in wasserstein
    assert measure(make(weights_at_clip=0.0))["critic/weights_at_clip"] == 0


def test_a_diverged_critic_shows():
    broken = torch.ones(N)
    broken[3] = math.nan
    values = measure(
        make(slopes_hat=broken, score_fake=broken, fake_gradients=broken.repeat(2, 1).T)
    )
    for tag in (
        "critic/lipschitz",
        "critic/slope_mean",
        "critic/direction",
        "grad_norm/sample",
        "wasserstein/estimate_normalized",
    ):
        assert math.isnan(values[tag]), tag


# The ceiling of the direction.
def shifted(by, n=800, d=2):
    """Fakes N(0, I) and reals N(by e_1, I): the exact potential is x_1, so the truth is e_1."""
    rng = np.random.default_rng(3)
    return rng.standard_normal((n, d)) + by * np.eye(d)[0], rng.standard_normal((n, d))


@pytest.mark.parametrize(
    ("by", "within", "least", "most"),
    [(0.4, 0.06, 0.8, 0.96), (1.0, 0.02, 0.97, 0.995), (6.0, 0.002, 0.999, 1)],
)  # fmt: skip
def test_the_ceiling_is_what_the_exact_potential_scores(by, within, least, most):
    reals, fakes = shifted(by)
    way = exact_transport(fakes, reals).partners - fakes
    truth = float((way[:, 0] / np.linalg.norm(way, axis=1)).mean())
    ceiling = direction_ceiling(paired(reals, fakes))
    assert least < truth <= most
    assert ceiling == pytest.approx(truth, abs=within)


def test_without_a_difference_in_the_plane_the_ceiling_is_low():
    reals, fakes = shifted(0.0)
    assert direction_ceiling(paired(reals, fakes)) < 0.5


def test_the_ceiling_of_two_points_is_one_and_of_equal_points_undefined():
    x = np.zeros((6, 3))
    assert direction_ceiling(paired(x + [3.0, 4.0, 0.0], x)) == pytest.approx(1)
    assert direction_ceiling(paired(x, x)) is None


def test_cosines_leave_out_what_has_no_length():
    a, b = np.array([[1.0, 0], [0, 0], [3, 4]]), np.array([[1.0, 1], [1, 0], [-4, 3]])
    np.testing.assert_allclose(cosines(a, b), [math.sqrt(0.5), 0], atol=1e-15)


@pytest.mark.parametrize(("mean", "there"), [(14.5, True), (15.5, False)])
def test_the_ceiling_is_measured_at_the_end_and_only_above_two_floors(mean, there):
    parts = towards() | {"floor": Floor(mean, 0.1, 2, N)}
    assert measure(make(**parts))["wasserstein/exact"] == pytest.approx(30, abs=0.5)
    assert ("critic/direction_ceiling" in measure(make(**parts))) is there
    assert "critic/direction_ceiling" not in measure(make(**parts, final=False))
    assert "critic/direction_ceiling" not in measure(make(**towards())), "no floor is known"
