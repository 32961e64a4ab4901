"""Unrolled GANs: the generator's gradient through the critic's steps, against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_configs import CPU, alike, resumed, same, tiny, trained

from wganbench.losses import RECIPES
from wganbench.networks import Latent, Pair, Parameters
from wganbench.training.graphs import PAIRED_REALS
from wganbench.training.optimizers import OPTIMIZERS, directions, initial_moments
from wganbench.training.stack import Stack
from wganbench.training.step import RULES, Algorithm, Unrolled

ETA = 0.2


# Dirac-GAN: reals at 0, the fake at theta, D(x) = psi x, gradient steps at the rate eta.
class Slope(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(-1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.psi * x[:, 0]


class Place(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(1.0))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta + 0 * z


def dirac(
    loss: str, steps: int, theta: float = 1.0, psi: float = -1.0, real: float = 0.0, **more: Any
) -> float:
    """dL_G / dtheta with ``steps`` steps of plain gradient descent ahead; reals at ``real``."""
    pair = Pair(Slope(), Place(), Latent("normal", (1,)), "pytorch", critic_is_pointwise=True)
    unrolled = Unrolled(Algorithm(pair, RECIPES[loss]), steps, "sgd", [0.0, 0.0])
    at = {name: torch.tensor(value, dtype=torch.float64) for name, value in
          (("theta", theta), ("psi", psi))}  # fmt: skip
    zero = torch.zeros(1, 1, dtype=torch.float64)

    def loss_of(generator: Parameters) -> Tensor:
        moments = {"momentum_buffer": {"psi": torch.zeros((), dtype=torch.float64)}}
        rate = torch.tensor(ETA, dtype=torch.float64)
        critic = {"psi": at["psi"]}
        taken = torch.zeros(())
        x = zero + real
        return unrolled.generator_loss(generator, critic, zero, x, moments, taken, rate, more)[0]

    return torch.func.grad(loss_of)({"theta": at["theta"]})["theta"].item()


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize(("theta", "psi"), [(1.0, -1.0), (-0.7, 0.4)])
def test_wasserstein_on_dirac_has_a_closed_form(steps: int, theta: float, psi: float) -> None:
    """dL_D/dpsi = theta at every step, so psi_K = psi - K eta theta and L_G = -psi_K theta.

    Its derivative is -psi + 2 K eta theta. Half of the second part is that of steps whose
    dependence on theta is forgotten.
    """
    expected = -psi + 2 * steps * ETA * theta
    assert dirac("wasserstein", steps, theta, psi) == pytest.approx(expected, rel=1e-12)


# Reals at a point that is not 0, so that their term moves with the critic.
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize(("theta", "psi", "real"), [(1.0, -1.0, 0.6), (-0.7, 0.4, -2.0)])
def test_the_saddle_of_the_wasserstein_game_counts_the_reals(
    steps: int, theta: float, psi: float, real: float
) -> None:
    """f = psi_K (real - theta) with psi_K = psi - K eta (theta - real): without the reals' term
    the derivative -psi + 2 K eta (theta - real) would be -psi + K eta (2 theta - real)."""
    expected = -psi + 2 * steps * ETA * (theta - real)
    assert dirac("wasserstein", steps, theta, psi, real) == pytest.approx(expected, rel=1e-12)


def saddle(steps: int, theta: float, psi: float, real: float) -> float:
    """f(theta, psi_K(theta)) = -L_D of cross-entropy, by hand; log sigmoid is concave in psi."""
    for _ in range(steps):
        psi += ETA * (real * sigmoid(-psi * real) - theta * sigmoid(psi * theta))
    return math.log(sigmoid(psi * real)) + math.log(sigmoid(-psi * theta))


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
@pytest.mark.parametrize(("theta", "psi", "real"), [(1.0, -1.0, 0.6), (-0.7, 0.4, -2.0)])
def test_the_saddle_of_cross_entropy_is_the_whole_f(
    steps: int, theta: float, psi: float, real: float
) -> None:
    """By central differences of f; the part of fakes alone has another derivative."""
    h = 1e-5
    ahead, behind = (saddle(steps, theta + e, psi, real) for e in (h, -h))
    expected = (ahead - behind) / (2 * h)
    assert dirac("bce_saturating", steps, theta, psi, real) == pytest.approx(expected, rel=1e-7)


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def by_hand(steps: int, generator_pull: Callable[[float], float]) -> float:
    """BCE on Dirac: psi_k and its derivative d_k with respect to theta, a step at a time.

    dL_D/dpsi = theta sigmoid(theta psi). ``generator_pull`` is dL_G/dscore.
    """
    theta, psi, d = 1.0, -1.0, 0.0
    for _ in range(steps):
        s = sigmoid(theta * psi)
        slope = s * (1 - s)
        d -= ETA * (s + theta * slope * (psi + theta * d))
        psi -= ETA * theta * s
    return generator_pull(theta * psi) * (psi + theta * d)


@pytest.mark.parametrize(
    ("loss", "pull", "golden"),
    [
        ("bce_saturating", lambda t: -sigmoid(t), {0: 0.268941, 1: 0.276142, 5: 0.287162}),
        ("bce", lambda t: -sigmoid(-t), {0: 0.731059, 1: 0.792112, 5: 1.001612}),
    ],
)
def test_cross_entropy_on_dirac(
    loss: str, pull: Callable[[float], float], golden: dict[int, float]
) -> None:
    for steps, value in golden.items():
        assert by_hand(steps, pull) == pytest.approx(value, abs=1e-6)
        assert dirac(loss, steps) == pytest.approx(value, abs=1e-6)


def test_an_unrolled_critic_stays_clipped() -> None:
    """psi = -.5, then -.6 clipped to -.55, which does not depend on theta: dL_G/dtheta = .55."""
    clip = torch.tensor(0.55)
    assert dirac("clip", 1, 0.5, -0.5, clip_value=clip) == pytest.approx(0.55, rel=1e-6)
    free = torch.tensor(0.65)
    assert dirac("clip", 1, 0.5, -0.5, clip_value=free) == pytest.approx(0.5 + 2 * 0.1)


# The rules, as functions that derivatives pass through.
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("betas", [[0.5, 0.9], [0.0, 0.99]])
def test_the_rules_are_those_of_training(optimizer: str, betas: list[float]) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {"w": torch.zeros(4, dtype=torch.float64)}
    kept = initial_moments(optimizer, weights)
    own = {kind: values["w"].clone() for kind, values in kept.items()}
    for taken in range(4):
        gradient = torch.randn(4, generator=generator, dtype=torch.float64)
        gradient[0] = 0
        expected = directions(
            optimizer, weights, {"w": gradient.clone()}, kept, torch.tensor(float(taken)), betas
        )["w"]
        step = torch.tensor(taken + 1, dtype=torch.float64)
        direction, own = RULES[optimizer](gradient, own, step, betas)
        assert direction.tolist() == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-12)
        assert own.keys() == kept.keys()


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_the_rules_have_derivatives(optimizer: str) -> None:
    """By central differences; a gradient of 0 that was always 0 gives 0 and no nan."""
    zeros = initial_moments(optimizer, {"w": torch.zeros(3, dtype=torch.float64)})
    own = {kind: values["w"] + 0.3 for kind, values in zeros.items()}
    step, betas = torch.tensor(3.0, dtype=torch.float64), [0.5, 0.9]
    at = torch.tensor([0.4, -1.1, 0.02], dtype=torch.float64)

    def total(gradient: Tensor, moments: dict[str, Tensor]) -> Tensor:
        return RULES[optimizer](gradient, moments, step, betas)[0].sum()

    found = torch.func.grad(total)(at, own)
    h = 1e-5 * torch.eye(3, dtype=torch.float64)
    differences = [(total(at + e, own) - total(at - e, own)).item() / 2e-5 for e in h]
    assert found.tolist() == pytest.approx(differences, rel=1e-5)
    dead = torch.func.grad(total)(0 * at, {kind: 0 * value for kind, value in own.items()})
    assert dead.isfinite().all()


# In a stack.
def surrogate(stack: Stack, steps: int) -> float:
    """L_G of a stack's only run after ``steps`` ordinary critic steps on one batch.

    It is minus the critic's loss in the two zero-sum games here.
    """
    (z, x), algorithm = stack.execution.work.generator_batch(0), stack.algorithm
    train, critic = stack.config.train, stack.run_parameters(0, "critic")
    generator = stack.run_parameters(0, "generator")
    moments = {k: {n: m[0].clone() for n, m in of.items()}
               for k, of in stack.state.critic_moments.items()}  # fmt: skip

    def critic_loss(c: Parameters) -> Tensor:
        return algorithm.critic_loss(c, generator, x[0], z[0], torch.zeros(16), {})[0]

    for number in range(steps):
        gradients = torch.func.grad(critic_loss)(critic)
        taken = stack.state.critic_step + number
        moves = directions(train.optimizer, critic, gradients, moments, taken, train.betas)
        critic = {name: w + train.critic_lr * moves[name] for name, w in critic.items()}
    if stack.config.loss.name in ("bce_saturating", "wasserstein"):
        return -critic_loss(critic).item()
    reals = x[0] if algorithm.recipe.objective.paired else None
    return algorithm.generator_loss(generator, critic, z[0], reals)[0].item()


@pytest.mark.parametrize("loss", ["bce", "bce_saturating", "hinge", "rpgan", "wasserstein"])
def test_the_loss_is_that_of_a_critic_some_steps_ahead(loss: str) -> None:
    """The run's own rule from its own moments; the critic's own state does not change by it."""
    stack = trained([tiny(loss, **{"loss.unrolled": 3})], 1)
    critic = stack.run_parameters(0, "critic")
    expected = surrogate(stack, 3)
    assert abs(expected - surrogate(stack, 0)) > 1e-4
    with torch.no_grad():
        tags, table = stack._generator_update(stack.state, *stack.execution.work.generator_batch(0))
    row = dict(zip(tags, table[0].tolist(), strict=True))
    assert row["loss/generator"] == pytest.approx(expected, rel=1e-4)
    assert same(stack.run_parameters(0, "critic"), critic)


SORTS = [
    {"loss": "bce", "loss.unrolled": 2},
    {"loss": "clip", "loss.unrolled": 1},
    {"loss": "rpgan", "loss.unrolled": 1, "loss.packing": 2},
    {"loss": "hinge_sn", "loss.unrolled": 1},
    {"loss": "hinge_gn", "loss.unrolled": 1},
    {"loss": "bce", "loss.unrolled": 1, "train.optimizer": "optimistic_adam"},
]


@pytest.mark.parametrize("settings", SORTS, ids=lambda s: "-".join(map(str, s.values())))
def test_it_stacks_and_resumes_bit_for_bit(settings: dict[str, Any]) -> None:
    configs = alike(settings["loss"], 2, **{k: v for k, v in settings.items() if k != "loss"})
    whole, again = trained(configs, 3), resumed(configs, 1, 2)
    assert all(same(again.run_states()[run], whole.run_states()[run]) for run in range(2))
    assert whole.diverged_at() == [-1, -1]
    alone = trained(configs[1:], 3).run_states()[0]
    together = whole.run_states()[1]
    for name, value in alone.items():
        assert torch.allclose(value, together[name], rtol=1e-4, atol=1e-6), name


def test_its_steps_see_fresh_reals_and_only_it_draws_them() -> None:
    work = Stack([tiny("bce", **{"loss.unrolled": 1})], CPU).execution.work
    z, x = work.generator_batch(2)
    assert len(z[0]) == 16 and x.shape == (1, 16, 2)
    assert not torch.equal(x, work.batch("real", 2))
    plain = Stack([tiny("bce")], CPU).execution.work
    assert PAIRED_REALS not in plain.drawn.generator


def test_torch_trains_it_and_says_why() -> None:
    stack = Stack([tiny("bce", compile="auto", **{"loss.unrolled": 2})], CPU)
    assert stack.executor == "eager" and stack.why_not_ours() == "it knows no unrolled critic"
