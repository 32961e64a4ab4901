"""The one cost model, against the products that an iteration executes."""

from __future__ import annotations

import pytest
import torch
from training_configs import tiny

from wganbench.losses import RECIPES
from wganbench.sweeps.cost import Meter
from wganbench.training.passes import critic_passes, generator_passes, run_passes
from wganbench.training.stack import Stack

BATCH = 32


def executed(loss: str, n_critic: int, unrolled: int = 0) -> float:
    """Operations of an iteration in passes of the critic over one batch."""
    config = tiny(loss, **{"network.width": 96, "network.depth": 4, "train.batch_size": BATCH,
                           "loss.n_critic": n_critic, "loss.unrolled": unrolled})  # fmt: skip
    stack = Stack([config], torch.device("cpu"))
    weights = sum(w.numel() for w in stack.run_parameters(0, "critic").values() if w.ndim == 2)
    with Meter() as meter:
        stack.iterate()
    return meter.flops / (2 * BATCH * weights)


@pytest.mark.parametrize(
    "loss", ["bce", "clip", "gp", "lp", "bce_r1", "bce_r1r2", "rpgan", "ragan", "rpgan_r1r2"]
)
def test_the_passes_are_those_that_a_step_executes(loss: str) -> None:
    """The first layer needs no derivative with respect to the data: 2 in 96 of a layer."""
    once, twice = executed(loss, 1), executed(loss, 2)
    assert twice - once == pytest.approx(critic_passes(RECIPES[loss]), rel=0.02)
    assert once == pytest.approx(run_passes(RECIPES[loss], 1, 1), rel=0.02)
    plain = dict.fromkeys(("bce", "clip", "rpgan", "ragan"), 7)
    known = plain | {"bce_r1r2": 15, "rpgan_r1r2": 15}
    assert critic_passes(RECIPES[loss]) == known.get(loss, 11)
    of_generator = 7 if loss in ("rpgan", "ragan", "rpgan_r1r2") else 5
    assert run_passes(RECIPES[loss], 10, 2) == 10 * critic_passes(RECIPES[loss]) + 2 * of_generator


@pytest.mark.parametrize(
    ("loss", "unrolled", "passes"),
    [
        ("bce", 1, 20),
        ("bce", 3, 56),
        ("bce_saturating", 1, 23),
        ("bce_saturating", 3, 59),
        ("rpgan", 1, 23),
    ],
)
def test_the_passes_of_unrolled_steps_are_those_executed(
    loss: str, unrolled: int, passes: int
) -> None:
    found = executed(loss, 1, unrolled)
    assert found == pytest.approx(run_passes(RECIPES[loss], 1, 1, unrolled), rel=0.02)
    assert generator_passes(RECIPES[loss], unrolled) == passes
    assert generator_passes(RECIPES[loss]) == (7 if loss == "rpgan" else 5)
