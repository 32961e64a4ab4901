"""Critics trained against generators that never move."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wganbench.config.schema import RunConfig
from wganbench.data import Target, build
from wganbench.draws import Draws
from wganbench.metrics.gradients import slopes
from wganbench.networks import Latent, Pair, build_pair
from wganbench.training.stack import Stack
from wganbench.training.streams import Draw, StreamSampler


@dataclass(frozen=True)
class Fakes(Latent):
    """Stands where a latent distribution stands: what is drawn are the fakes themselves."""

    def draw(self, draws: Draws, n: int) -> Float[Tensor, ...]:
        raise NotImplementedError("the fakes of a frozen generator are drawn run by run")


class FrozenStack(Stack):
    """R critics with equal static settings, run r trained against the fixed sampler ``fakes[r]``.

    The generator is the identity, so the draws of its latents are the fakes. ``reals[r]``
    replaces the samples of the configuration's data, in training and when measured. Rates,
    coefficients and seeds may differ, as in every stack; ``train.steps`` counts critic steps
    (its decay follows them). With ``double`` the critics train in float64.

    Raises ValueError as `Stack`, and when there is not one sampler for each run.
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
            raise ValueError(
                "a frozen stack needs one sampler of fakes, and of reals, for each run"
            )
        network, target = configs[0].network, target_of(configs[0])

        def frozen(precision: str) -> Pair:
            pair = build_pair(network.kind, network.options, target.shape, precision)
            latent = Fakes("fakes", target.shape)
            return replace(pair, generator=nn.Identity(), latent=latent)

        samplers: dict[str, StreamSampler] = {"latent_critic": list(fakes)}
        if reals:
            samplers |= {"real": list(reals), "evaluate_real": list(reals)}
        super().__init__(
            configs, device, target=target, pair=frozen, samplers=samplers, double=double
        )

    def advance(self, steps: int = 1) -> None:
        """``steps`` critic steps of all runs."""
        for _ in range(steps):
            self.advance_by(self.steps_done, 1, None)
            self.state.step.add_(1)
            self.steps_done += 1


# Samplers of fakes that never move, and of reals at a distance that is known.
def target_of(config: RunConfig) -> Target:
    """The target distribution of a run."""
    return build(config.data.kind, config.data.options)


def noisy(draw: Draw, noise: float) -> Draw:
    """What ``draw`` gives, plus N(0, noise^2 I): a generator that is blurred, not collapsed."""

    def sampler(n: int, source: torch.Generator) -> Tensor:
        points = draw(n, source)
        return points + noise * torch.randn(points.shape, generator=source, device=source.device)

    return sampler


def gaussian(centre: float, sigma: float, dimension: int = 2) -> Draw:
    """N(centre e_1, sigma^2 I); sigma = 0 is a point mass."""

    def sampler(n: int, source: torch.Generator) -> Tensor:
        points = sigma * torch.randn(n, dimension, generator=source, device=source.device)
        points[:, 0] += centre
        return points

    return sampler


# How steep a critic is: bounds of its Lipschitz constant from below and from above.
FINEST = 1e-3
"""The last steps of a climb, as a part of its first ones."""


def steepest(
    critic: Callable[[Tensor], Tensor],
    starts: Float[Tensor, "n d"],
    source: torch.Generator,
    climbers: int,
    rounds: int,
    reach: float,
) -> float:
    """The largest ||grad_x D(x)|| found by climbing: a lower bound of the Lipschitz constant.

    The steepest ``climbers`` of the starts move at random, ``reach`` far at first and a
    thousandth of it in the end, and stay where it is steeper. Following the derivative of
    the slope instead would stand still: a ReLU network is linear in pieces, its slope is
    constant on each. nan if the slope at any start is.

    >>> w = torch.tensor([3.0, 4.0])
    >>> steepest(lambda x: x @ w, torch.zeros(2, 2), torch.Generator(), 2, 5, 1.0)
    5.0
    """
    found = slopes(critic, starts)
    if not bool(found.isfinite().all()):
        return math.nan
    best, chosen = found.topk(min(climbers, len(starts)))
    x = starts[chosen]
    for k in range(rounds):
        step = reach * FINEST ** (k / max(rounds - 1, 1))
        noise = torch.randn(x.shape, generator=source, device=source.device, dtype=x.dtype)
        moved = x + step * noise
        slope = slopes(critic, moved)
        steeper = slope > best
        x = torch.where(steeper[:, None], moved, x)
        best = torch.where(steeper, slope, best)
    return float(best.max())


def spectral_product(parameters: Mapping[str, Tensor]) -> float:
    """prod_l ||W_l||_2: an upper bound of the Lipschitz constant of a ReLU MLP.

    ReLU moves no two points apart, biases move none; a layer stretches by its largest
    singular value at most. Source: arXiv:1312.6199, section 4.3.
    """
    weights = [p.double() for p in parameters.values() if p.ndim == 2]
    return float(torch.stack([torch.linalg.matrix_norm(w, ord=2) for w in weights]).prod())


def clip_bound(parameters: Mapping[str, Tensor], clip_value: float) -> float:
    """prod_l c sqrt(fan_in fan_out): what clipping at c grants whatever the weights are.

    ||W||_2 <= ||W||_F <= c sqrt(fan_in fan_out) when all |w| <= c.
    """
    sizes = [p.numel() for p in parameters.values() if p.ndim == 2]
    return math.prod(clip_value * math.sqrt(size) for size in sizes)
