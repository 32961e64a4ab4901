"""Every loss trains on images, resumes and packs; its further streams are its own."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training_configs import CPU, alike, resumed, same, tiny, trained

from wganbench.cli.app import main
from wganbench.config import ConfigError, RunConfig, compose
from wganbench.losses import RECIPES
from wganbench.networks.pair import (
    gradient_normalised,
    largest_singular_value,
    packed,
    spectrally_normalised,
    spread,
)
from wganbench.training.graphs import CRITIC_STREAMS, PAIRED_REALS, PERTURBATION, step_streams
from wganbench.training.stack import Stack

PICTURES = [
    "data=digits", "network=dcgan8", "device=cpu", "compile=false", "tuned=none",
    "train.batch_size=8", "loss.n_critic=1",
]  # fmt: skip
PLAIN = ["train.optimizer=sgd", "train.betas=[0,0]"]
"""Adam's first steps depend on signs alone, and a gradient of nothing has any."""


@cache
def pictures(loss: str, *words: str) -> RunConfig:
    return compose([f"loss={loss}", *PICTURES, *words])


every_loss = pytest.mark.parametrize("loss", list(RECIPES))


@every_loss
def test_it_trains_on_pictures(loss: str) -> None:
    stack = Stack([pictures(loss)], CPU)
    start = stack.run_states()[0]
    for _ in range(2):
        stack.iterate()
    end = stack.run_states()[0]
    assert stack.diverged_at() == [-1]
    assert all(value.isfinite().all() for value in end.values())
    assert any(not torch.equal(start[k], end[k]) for k in start if k.startswith("generator/"))
    found = stack.probe(10)[0]
    assert all(len(values) == 10 and values.isfinite().all() for values in found.values())


@every_loss
def test_a_resumed_run_goes_on_bit_for_bit(loss: str) -> None:
    configs = alike(loss, 2)
    whole, again = trained(configs, 3), resumed(configs, 1, 2)
    assert all(same(again.run_states()[run], whole.run_states()[run]) for run in range(2))


@pytest.mark.slow
@every_loss
def test_on_pictures_it_stacks_and_resumes(loss: str) -> None:
    """Bit for bit as it would have gone on; as alone to the rounding of grouped convolutions."""
    configs = [pictures(loss, *PLAIN, f"seed={seed}") for seed in (0, 3)]
    whole, again, alone = trained(configs, 2), resumed(configs, 1, 1), trained(configs[1:], 2)
    assert whole.diverged_at() == [-1, -1]
    assert all(same(again.run_states()[run], whole.run_states()[run]) for run in range(2))
    together = whole.run_states()[1]
    for name, value in alone.run_states()[0].items():
        torch.testing.assert_close(value, together[name], rtol=1e-4, atol=1e-5, msg=name)
    assert not same(whole.run_states()[0], together)


@pytest.mark.thorough
def test_one_command_sweeps_all_losses(tmp_path: Path) -> None:
    """Points and images; each with its own settings, a run of a loss."""
    small = ["tuned=none", "train.steps=2", "train.batch_size=16", "device=cpu", "compile=false"]
    small += ["evaluate.n=20", "evaluate.final_n=20", "log.tensorboard=false", "log.figure=false"]
    for words in (["data=ring8", "network.width=8"], ["data=digits", "network.width=4"]):
        name = words[0].partition("=")[2]
        words += [*small, f"output_dir={tmp_path}", f"name={name}"]
        assert main(["sweep", f"loss={','.join(RECIPES)}", *words]) == 0
        records = [json.loads(p.read_text()) for p in (tmp_path / name).glob("*/run.json")]
        found = {each["config"]["loss"]["name"]: each["status"] for each in records}
        assert found == dict.fromkeys(RECIPES, "completed")


# Streams.
def test_only_a_loss_that_needs_them_draws_reals_or_noise() -> None:
    for loss, recipe in RECIPES.items():
        streams = step_streams(recipe)
        assert (PAIRED_REALS in streams.generator) is (loss in ("rpgan", "ragan", "rpgan_r1r2"))
        assert (PERTURBATION in streams.critic) is (loss == "dragan")
        assert streams.critic[:3] == CRITIC_STREAMS


def test_a_generators_reals_are_fresh_ones_of_the_same_law() -> None:
    work = Stack([tiny("rpgan")], CPU).execution.work
    z, x = work.generator_batch(4)
    assert x.shape == (1, 16, 2) and len(z[0]) == 16
    assert not torch.equal(x, work.batch("real", 4))
    # On ring8 the reals lie at its radius.
    assert x.norm(dim=2).mean().item() == pytest.approx(
        work.batch("real", 4).norm(dim=2).mean().item(), abs=0.05
    )


# Packs: the critic sees m points at a time.
@pytest.mark.parametrize("loss", list(RECIPES))
def test_every_loss_packs(loss: str) -> None:
    stack = trained([tiny(loss, **{"loss.packing": 4})], 2)
    assert stack.diverged_at() == [-1]
    assert stack.state.critic["hidden.0.0.weight"].shape == (1, 8, 8)
    row = stack.scalars()[0]
    assert all(math.isfinite(value) for value in row.values())


def test_packs_join_consecutive_points() -> None:
    x = torch.arange(12.0).reshape(6, 2)
    assert packed(x, 3).tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert packed(x, 1) is x
    assert packed(torch.zeros(4, 3, 8, 8), 2).shape == (2, 6, 8, 8)
    assert packed(x[:2], 5).shape == (1, 10)
    assert spread(torch.tensor([1.0, 2.0]), 3, 5).tolist() == [1, 1, 1, 2, 2]


def test_a_packed_critic_is_a_critic_of_longer_points() -> None:
    """One penalised step by hand: the loss of the pack's own points, one norm for each pack."""
    config = tiny("gp", **{"loss.packing": 2, "network.activation": "tanh"})
    stack = Stack([config], CPU)
    x, z, eps = (values[0] for values in stack.execution.work.critic_batch(0))
    critic = stack.algorithm.critic(stack.run_parameters(0, "critic"))
    fakes = stack.algorithm.generator(stack.run_parameters(0, "generator"))(z)
    real, fake = x.reshape(8, 4), fakes.detach().reshape(8, 4)
    at = (eps[:8, None] * real + (1 - eps[:8, None]) * fake).requires_grad_()
    (slopes,) = torch.autograd.grad(critic(at).sum(), at)
    penalty = 10 * ((slopes.norm(dim=1) - 1) ** 2).mean()
    loss = critic(fake).mean() - critic(real).mean() + penalty
    stack.iterate()
    first = Stack([config], CPU)
    with torch.no_grad():
        tags, table = first._critic_update(first.state, *first.execution.work.critic_batch(0))
    row = dict(zip(tags, table[0].tolist(), strict=True))
    assert row["loss/critic"] == pytest.approx(loss.item(), rel=1e-5)
    assert row["loss/penalty"] == pytest.approx(penalty.item(), rel=1e-5)


def test_a_point_has_the_score_of_its_pack() -> None:
    stack = trained([tiny("bce_gp", **{"loss.packing": 4})], 1)
    found = stack.probe(10)[0]
    for name in ("score_real", "slopes_hat", "feedback"):
        assert found[name].shape == (10,)
        assert len(set(found[name].tolist())) == 3, "two packs, and one filled with first points"
        assert found[name][:4].unique().numel() == 1
    assert found["fake_gradients"].shape == (10, 2)


def test_packs_of_pictures_join_channels() -> None:
    stack = Stack([pictures("hinge", "loss.packing=2")], CPU)
    stack.iterate()
    first = next(iter(stack.state.critic.values()))
    assert first.shape[2] == 2 and stack.diverged_at() == [-1]


def test_packs_must_fill_the_batch() -> None:
    with pytest.raises(ConfigError, match=r"loss\.packing=3 does not divide train\.batch_size=256"):
        compose(["loss=gp", "loss.packing=3", "train.batch_size=256"])


# Wrappers.
def test_the_largest_singular_value() -> None:
    known = torch.tensor([[3.0, 0.0], [4.0, 5.0]])
    assert largest_singular_value(known).item() == pytest.approx(math.sqrt(45), rel=1e-6)
    generator = torch.Generator().manual_seed(0)
    for shape in ((64, 64), (64, 2), (1, 64), (5, 300)):
        weight = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        found = largest_singular_value(weight)
        # By power iteration; the derivative is u v'.
        v = torch.ones(shape[1], dtype=torch.float64)
        for _ in range(5000):
            v = weight.detach().t() @ (weight.detach() @ v)
            v = v / v.norm()
        u = weight.detach() @ v
        assert found.item() == pytest.approx(u.norm().item(), rel=1e-9)
        (slope,) = torch.autograd.grad(found, weight)
        assert (slope - torch.outer(u / u.norm(), v)).norm() < 1e-4, shape
    assert largest_singular_value(torch.zeros(3, 4)) == 0
    assert largest_singular_value(torch.eye(7)).item() == pytest.approx(1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_weight_under_spectral_norm_harms_its_own_run(bad: float) -> None:
    stack = trained(alike("hinge_sn", 2), 1)
    clean = trained(alike("hinge_sn", 2), 3)
    stack.state.critic["hidden.0.0.weight"][1, 0, 0] = bad
    for _ in range(2):
        stack.iterate()
    assert [step > 0 for step in stack.diverged_at()] == [False, True]
    assert same(stack.run_states()[0], clean.run_states()[0])


def test_spectral_norm_leaves_biases_and_bounds_the_slope() -> None:
    stack = trained([tiny("wasserstein_sn", **{"train.critic_lr": 0.5})], 3)
    raw = stack.run_parameters(0, "critic")
    parameters = spectrally_normalised(raw)
    for name, value in parameters.items():
        if value.ndim == 2:
            assert torch.linalg.matrix_norm(value, ord=2).item() == pytest.approx(1, abs=1e-4)
        else:
            assert torch.equal(value, raw[name])
    assert stack.probe(50)[0]["slopes_hat"].max() <= 1 + 1e-4


@pytest.mark.parametrize("weight", [0.01, 1.0, 300.0])
def test_gradient_normalisation_of_a_line_is_a_half_at_one(weight: float) -> None:
    def line(x: Tensor) -> Tensor:
        return weight * x[:, 0]

    x = torch.tensor([[1.0], [-1.0], [0.0], [3.0]])
    assert gradient_normalised(line)(x).tolist() == pytest.approx([0.5, -0.5, 0.0, 0.75])
    flat = gradient_normalised(lambda x: 0 * x[:, 0])(x)
    assert flat.tolist() == [0] * 4


def test_a_gradient_normalised_critic_of_straight_pieces_has_slopes_of_at_most_1() -> None:
    settings: dict[str, Any] = {"network.activation": "relu", "train.critic_lr": 0.1}
    found = trained([tiny("hinge_gn", **settings)], 3).probe(200)[0]
    for name in ("slopes_hat", "slopes_real", "slopes_fake"):
        assert found[name].max() <= 1 + 1e-5
    assert found["score_real"].abs().max() <= 1
