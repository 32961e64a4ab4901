"""Critics against frozen generators: the same critic steps as in ordinary training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from training_configs import CPU, alike, same, tiny

from wganbench.config import compose
from wganbench.studies.frozen import FrozenStack
from wganbench.training.stack import Stack
from wganbench.training.streams import Draw


def law_of(stack: Stack, run: int) -> Draw:
    """What one run's generator makes, as a sampler."""
    generator = stack.algorithm.generator(stack.run_parameters(run, "generator"))
    latent = stack.algorithm.pair.latent

    def draw(n: int, source: torch.Generator) -> Tensor:
        with torch.no_grad():
            return generator(latent.sample(n, source))

    return draw


@pytest.mark.parametrize("loss", ["gp", "clip", "bce"])
def test_its_critic_steps_are_those_of_training(loss: str) -> None:
    configs = alike(loss, 3, **{"loss.n_critic": 4, "train.optimizer": "sgd"})
    start, ordinary = Stack(configs, CPU), Stack(configs, CPU)
    # A sampler of its own takes a generator, so ordinary training is given its latents by one.
    ordinary.samplers["latent_critic"] = [ordinary.algorithm.pair.latent.sample] * 3
    ordinary.iterate()
    frozen = FrozenStack(configs, CPU, [law_of(start, r) for r in range(3)])
    frozen.advance(4)
    for run in range(3):
        critic = frozen.run_parameters(run, "critic")
        expected = ordinary.run_parameters(run, "critic")
        # Fakes made outside of the stack may differ in their last bit. (Adam would divide a
        # gradient that is nothing but such bits by its own size.)
        assert all(torch.allclose(critic[k], expected[k], rtol=0, atol=1e-7) for k in critic)
        assert not same(critic, start.run_parameters(run, "critic"))


def test_each_run_has_its_own_law_and_measures_it() -> None:
    def at(value: float) -> Draw:
        return lambda n, g: torch.full((n, 2), value)

    stack = FrozenStack(alike("gp", 2), CPU, [at(1.0), at(-3.0)], reals=[at(0.5), at(0.25)])
    for points, fake, real in zip(stack.probe(6), (1.0, -3.0), (0.5, 0.25), strict=True):
        assert torch.equal(points["fakes"], torch.full((6, 2), fake))
        assert torch.equal(points["reals"], torch.full((6, 2), real))


def test_gradients_at_the_source_are_measured_in_true_fp32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = ["tuned=none", "compile=false", "network.width=8", "data.dimension=2"]
    stack = FrozenStack([compose(["loss=gp", "data=funnels", *small])], CPU)
    seen, moved = list[str](), Tensor.to

    def gradients(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return torch.zeros_like(x)

    def to(self: Tensor, place: Any, *more: Any) -> Tensor:
        return self if place == torch.device("cuda") else moved(self, place, *more)

    before = torch.get_float32_matmul_precision()
    with monkeypatch.context() as patched:
        patched.setattr("wganbench.studies.frozen.input_gradients", gradients)
        patched.setattr(Tensor, "to", to)
        stack.device = torch.device("cuda")
        torch.set_float32_matmul_precision("high")
        try:
            stack.probe(4)
        finally:
            torch.set_float32_matmul_precision(before)
    assert seen == ["highest"]


def test_laws_that_do_not_match_the_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="for each run"):
        FrozenStack([tiny("gp")], CPU, [])
