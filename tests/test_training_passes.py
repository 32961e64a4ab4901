"""The one cost model, against the products that an iteration executes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training_configs import tiny

from wganbench.config import RunConfig, compose
from wganbench.losses import RECIPES
from wganbench.losses.recipes import Wrapper, composed
from wganbench.networks.layers import SMOOTH
from wganbench.sweeps.cost import Meter
from wganbench.training.passes import StepCost, step_cost
from wganbench.training.stack import Stack

BATCH = 32


def executed(loss: str, n_critic: int, **settings: Any) -> float:
    """Operations of an iteration in passes of a network over one batch."""
    size = {"network.width": 96, "network.depth": 4, "train.batch_size": BATCH}
    return of_config(tiny(loss, **size, **{"loss.n_critic": n_critic}, **settings))


def of_config(config: RunConfig) -> float:
    stack = Stack([config], torch.device("cpu"))
    weights = sum(w.numel() for w in stack.run_parameters(0, "generator").values() if w.ndim == 2)
    with Meter() as meter:
        stack.iterate()
    return meter.flops / (2 * BATCH * weights)


def cost(loss: str, **more: Any) -> StepCost:
    return StepCost(composed(loss, more.pop("penalties", ())), **more)


@pytest.mark.parametrize("loss", list(RECIPES))
def test_the_passes_are_those_that_a_step_executes(loss: str) -> None:
    """The first layer needs no derivative with respect to the data: 2 in 96 of a layer.

    A spectral norm costs products of weights alone, 96 / 32 of a pass for each layer of 96.
    """
    expected, own = cost(loss), 3 if RECIPES[loss].wrapper is Wrapper.SPECTRAL else 0
    once, twice = executed(loss, 1), executed(loss, 2)
    assert twice - once == pytest.approx(expected.critic + own, rel=0.02)
    assert once == pytest.approx(expected.of_run(1, 1) + own, rel=0.02)


def test_the_passes_of_known_losses() -> None:
    known = {"bce": 7, "clip": 7, "rpgan": 7, "ragan": 7, "gp": 11, "dragan": 11, "bce_r1r2": 15,
             "rpgan_r1r2": 15, "hinge_gn": 13}  # fmt: skip
    assert {loss: cost(loss).critic for loss in known} == known
    generators = {"bce": 5, "gp": 5, "rpgan": 7, "ragan": 7, "rpgan_r1r2": 7, "hinge_gn": 6}
    assert {loss: cost(loss).generator for loss in generators} == generators
    assert cost("gp").of_run(10, 2) == 10 * 11 + 2 * 5


@pytest.mark.parametrize(
    ("loss", "activation", "critic", "generator"),
    [("gp", "tanh", 13, 5), ("gp", "softplus", 13, 5), ("gp", "leaky_relu", 11, 5),
     ("bce_r1r2", "tanh", 19, 5), ("bce", "tanh", 7, 5), ("hinge_gn", "softplus", 13, 7)],
)  # fmt: skip
def test_smooth_activations_cost_more_under_a_slope(
    loss: str, activation: str, critic: int, generator: int
) -> None:
    settings = {"network.activation": activation}
    expected = cost(loss, smooth=activation in SMOOTH)
    assert (expected.critic, expected.generator) == (critic, generator)
    once, twice = executed(loss, 1, **settings), executed(loss, 2, **settings)
    assert twice - once == pytest.approx(critic, rel=0.02)
    assert 2 * once - twice == pytest.approx(generator, rel=0.03)


@pytest.mark.parametrize(
    ("loss", "packing", "critic", "generator"),
    [("bce", 2, 4, 4), ("gp", 4, 3.5, 3.5), ("rpgan", 2, 4, 5)],
)
def test_a_critic_of_packs_makes_fewer_passes(
    loss: str, packing: int, critic: float, generator: float
) -> None:
    expected = cost(loss, packing=packing)
    assert (expected.critic, expected.generator) == (critic, generator)
    once, twice = (executed(loss, n, **{"loss.packing": packing}) for n in (1, 2))
    assert twice - once == pytest.approx(critic, rel=0.03)
    assert once == pytest.approx(critic + generator, rel=0.03)


@pytest.mark.parametrize(
    ("loss", "settings", "passes"),
    [
        ("bce", {"unrolled": 1}, 20),
        ("bce", {"unrolled": 3}, 56),
        ("bce", {"unrolled": 2, "packing": 2}, 20.5),
        ("bce_saturating", {"unrolled": 1}, 23),
        ("bce_saturating", {"unrolled": 3}, 59),
        ("rpgan", {"unrolled": 1}, 23),
        ("clip", {"unrolled": 1}, 19),
        ("clip", {"unrolled": 3}, 55),
        ("clip", {"unrolled": 1, "smooth": True}, 23),
        ("hinge_gn", {"unrolled": 1}, 33),
        ("hinge_gn", {"unrolled": 3, "smooth": True}, 109),
    ],
)
def test_the_passes_of_unrolled_steps_are_those_executed(
    loss: str, settings: dict[str, Any], passes: float
) -> None:
    words = {"loss.unrolled": settings["unrolled"], "loss.packing": settings.get("packing", 1)}
    words |= {"network.activation": "tanh"} if settings.get("smooth") else {}
    expected = cost(loss, **settings)
    assert expected.generator == passes
    assert executed(loss, 1, **words) == pytest.approx(expected.of_run(1, 1), rel=0.02)


def test_a_penalty_on_a_critic_that_is_divided_by_its_gradient() -> None:
    words = ["loss=hinge_gn", "loss.penalties=[gp]", "loss.gp_lambda=1", "compile=false"]
    size = ["network.width=96", "network.depth=4", f"train.batch_size={BATCH}", "tuned=none"]
    once, twice = (of_config(compose([*words, *size, f"loss.n_critic={n}"])) for n in (1, 2))
    assert twice - once == pytest.approx(cost("hinge_gn", penalties=["gp"]).critic, rel=0.02)


def test_a_runs_cost_follows_from_its_configuration() -> None:
    config = compose(["loss=bce", "loss.packing=2", "loss.unrolled=2", "network.activation=tanh"])
    assert step_cost(config) == cost("bce", packing=2, unrolled=2, smooth=True)
    assert step_cost(compose(["loss=gp"])) == cost("gp")
    images = compose(["loss=gp", "data=digits", "network.critic_activation=tanh"])
    assert step_cost(images) == cost("gp", smooth=True)
