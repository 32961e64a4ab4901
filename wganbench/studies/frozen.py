"""Critics trained against generators that never move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wganbench.config.schema import RunConfig
from wganbench.draws import Draws
from wganbench.losses.recipes import RECIPES
from wganbench.networks import Latent, build_pair
from wganbench.training.stack import Stack
from wganbench.training.step import Algorithm
from wganbench.training.streams import Draw, Law, OneLaw


@dataclass(frozen=True)
class Fakes(Latent):
    """Stands where a latent distribution stands: what is drawn are the fakes themselves."""

    def draw(self, draws: Draws, n: int) -> Float[Tensor, ...]:
        raise NotImplementedError("the fakes of a frozen generator are drawn run by run")


class FrozenStack(Stack):
    """R critics with equal static settings, run r trained against the fixed law ``fakes[r]``.

    The generator is the identity, so the draws of its latents are the fakes. ``reals[r]``
    replaces the samples of the configuration's data, in training and when measured. Rates,
    coefficients and seeds may differ, as in every stack; ``train.steps`` counts critic steps
    (its decay follows them). With ``double`` the critics train in float64.

    Raises ValueError as `Stack`, and when there is not one law for each run.
    """

    def __init__(
        self,
        configs: list[RunConfig],
        device: torch.device,
        fakes: Sequence[Draw],
        reals: Sequence[Draw] | None = None,
        double: bool = False,
    ) -> None:
        if len(fakes) != len(configs) or (reals is not None and len(reals) != len(configs)):
            raise ValueError("a frozen stack needs one law of fakes, and of reals, for each run")
        self.fakes, self.reals, self.double = list(fakes), reals, double
        super().__init__(configs, device)
        if double:
            self._to_double()

    def _algorithm(self, precision: str) -> Algorithm:
        network, shape = self.config.network, self.target.shape
        pair = build_pair(network.kind, network.options, shape, precision)
        pair = replace(pair, generator=nn.Identity(), latent=Fakes("fakes", shape))
        return Algorithm(pair, RECIPES[self.config.loss.name])

    def why_not_native(self) -> str:
        """As `Stack`; in float64 it does not."""
        return "it computes in fp32" if self.double else super().why_not_native()

    def _to_double(self) -> None:
        # The moments of the critic's optimizer follow its parameters.
        for part in (self.state.critic, *self.state.critic_moments.values()):
            for name, tensor in part.items():
                part[name] = tensor.double()

    def _laws(self) -> dict[str, OneLaw]:
        laws = super()._laws()
        laws["latent_critic"] = self.fakes
        if self.reals:
            laws["real"] = laws["evaluate_real"] = list(self.reals)
        return {name: in_double(law) for name, law in laws.items()} if self.double else laws

    def advance(self, steps: int = 1) -> None:
        """``steps`` critic steps of all runs."""
        for _ in range(steps):
            self._advance(self.steps_done, 1, None)
            self.state.step.add_(1)
            self.steps_done += 1


def in_double(law: OneLaw) -> OneLaw:
    """The same draws in float64."""
    if isinstance(law, list):
        return [_draw_in_double(draw) for draw in law]
    return _law_in_double(law)


def _draw_in_double(draw: Draw) -> Draw:
    return lambda n, generator: draw(n, generator).double()


def _law_in_double(law: Law) -> Law:
    return lambda draws, n: law(draws, n).double()
