"""Training of critics against fixed generators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wganbench.bounds import Precision
from wganbench.config.schema import RunConfig
from wganbench.data import Target, build
from wganbench.draws import Draws
from wganbench.losses.constraints import input_gradients
from wganbench.metrics.gradients import slopes
from wganbench.networks import Latent, Pair
from wganbench.training.device import fitting_cpu, one_thread, products
from wganbench.training.stack import Stack, pair_of
from wganbench.training.streams import Draw, StreamSampler


@dataclass(frozen=True)
class Fakes(Latent):
    """Takes the place of a latent distribution; its draws are the fakes themselves."""

    def draw(self, draws: Draws, n: int) -> Float[Tensor, ...]:
        raise NotImplementedError("the fakes of a frozen generator are drawn run by run")


class FrozenStack(Stack):
    """R critics with equal static settings; run r is trained against the sampler ``fakes[r]``.

    Without ``fakes`` all critics are trained against the source distribution of the data's
    ``pair``, and are measured against its potential too.

    The generator is the identity, so its latents are the fakes. ``reals[r]`` replaces the samples
    of the configuration's data, in training and in evaluation. Rates, coefficients and seeds may
    differ, as in every stack. ``train.steps`` counts critic steps, and the decay of rates follows
    them.

    Raises ValueError as `Stack` does, and unless there is one sampler for each run, or a pair.
    """

    def __init__(
        self,
        configs: list[RunConfig],
        device: torch.device,
        fakes: Sequence[Draw] | None = None,
        reals: Sequence[Draw] | None = None,
    ) -> None:
        target = target_of(configs[0])
        networks = pair_of(configs[0], target, on_gpu=device.type == "cuda")
        self.of_source = fakes is None
        if fakes is None:
            if target.pair is None:
                name = configs[0].data.name
                raise ValueError(f"data={name} has no source distribution at a known W1")
            fakes = [target.pair.source] * len(configs)
        if len(fakes) != len(configs) or (reals is not None and len(reals) != len(configs)):
            raise ValueError(
                "a frozen stack needs one sampler of fakes, and of reals, for each run"
            )

        def frozen(precision: Precision) -> Pair:
            latent = Fakes("fakes", target.shape)
            return replace(networks(precision), generator=nn.Identity(), latent=latent)

        samplers: dict[str, StreamSampler] = {"latent_critic": list(fakes)}
        if reals:
            samplers |= {"real": list(reals), "evaluate_real": list(reals)}
        super().__init__(configs, device, target=target, pair=frozen, samplers=samplers)

    def probe(self, n: int, draw: int = 0, averaged: bool = False) -> list[dict[str, Tensor]]:
        """Return `Stack.probe`; at points of the source distribution the critics' gradients too."""
        found = super().probe(n, draw, averaged)
        if self.of_source:
            for run, points in enumerate(found):
                critic = self.exact_algorithm.critic(self.run_parameters(run, "critic"))
                at = points["fakes"].to(self.device)
                with products(self.device):
                    points["source_gradients"] = input_gradients(critic, at).detach().cpu()
        return found

    def advance(self, steps: int = 1) -> None:
        """Take ``steps`` critic steps in all runs."""
        for _ in range(steps):
            self.advance_by(self.steps_done, 1, None)
            self.state.step.add_(1)
            self.steps_done += 1


@contextmanager
def fitting_threads(stack: FrozenStack) -> Iterator[None]:
    """Set memory and threads for training critics, as `fitting_cpu` does for runs.

    Beside our C++, which has threads of its own, torch has one. It makes the fakes and reads the
    critics: small products, whose threads would wait for each other at each of them, and for long
    on a busy machine.
    """
    with fitting_cpu(stack), one_thread() if stack.executor == "native" else nullcontext():
        yield


# Samplers of fixed fakes, and of reals at a known distance.
def target_of(config: RunConfig) -> Target:
    """Return the target distribution of a run."""
    return build(config.data.kind, config.data.options)


def noisy(draw: Draw, noise: float) -> Draw:
    """Return a sampler of ``draw`` plus N(0, noise^2 I): a generator that blurs the data."""

    def sampler(n: int, source: torch.Generator) -> Tensor:
        points = draw(n, source)
        return points + noise * torch.randn(points.shape, generator=source, device=source.device)

    return sampler


def gaussian(centre: float, sigma: float, dimension: int = 2) -> Draw:
    """Return a sampler of N(centre e_1, sigma^2 I); sigma = 0 is a point mass."""

    def sampler(n: int, source: torch.Generator) -> Tensor:
        points = sigma * torch.randn(n, dimension, generator=source, device=source.device)
        points[:, 0] += centre
        return points

    return sampler


# Lower and upper bounds of a critic's Lipschitz constant.
FINEST = 1e-3
"""Ratio of the last step size of a climb to the first."""


def steepest(
    critic: Callable[[Tensor], Tensor],
    starts: Float[Tensor, "n d"],
    source: torch.Generator,
    climbers: int,
    rounds: int,
    reach: float,
) -> float:
    """Return the largest ||grad_x D(x)|| found by climbing, a lower Lipschitz bound.

    The steepest ``climbers`` of the starts take random steps, of size ``reach`` at first and a
    thousandth of it at the end, and keep a step if the slope grows. Gradient ascent on the slope
    would not move: a ReLU network is piecewise linear, and its slope is constant on each piece.
    The result is nan if the slope at any start is not finite.

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
    """Return prod_l ||W_l||_2, an upper bound of the Lipschitz constant of a ReLU MLP.

    ReLU and biases never increase the distance of two points; a layer increases it at most by
    the factor of its largest singular value. Source: arXiv:1312.6199, section 4.3.
    """
    weights = [p.double() for p in parameters.values() if p.ndim == 2]
    return float(torch.stack([torch.linalg.matrix_norm(w, ord=2) for w in weights]).prod())


def clip_bound(parameters: Mapping[str, Tensor], clip_value: float) -> float:
    """Return prod_l c sqrt(fan_in fan_out), the Lipschitz bound of any weights clipped at c.

    ||W||_2 <= ||W||_F <= c sqrt(fan_in fan_out) if all |w| <= c.
    """
    sizes = [p.numel() for p in parameters.values() if p.ndim == 2]
    return math.prod(clip_value * math.sqrt(size) for size in sizes)


def critic_of(stack: FrozenStack, run: int) -> Callable[[Tensor], Tensor]:
    """Return one run's critic on the CPU."""
    parameters = stack.run_parameters(run, "critic")
    return stack.exact_algorithm.critic({name: p.cpu() for name, p in parameters.items()})


def optimal_slope(distance: float, gp_lambda: float) -> float:
    """Return the slope of WGAN-GP's best critic between two point masses: 1 + L / (2 lambda).

    There -L s + lambda (s - 1)^2 is minimal.
    """
    return 1 + distance / (2 * gp_lambda)


def critic_in_double(stack: FrozenStack, run: int) -> Callable[[Tensor], Tensor]:
    """Return one run's critic on the CPU, in float64.

    In float32 a discriminator's tails underflow, and the scores of a clipped critic differ in
    late digits only.
    """
    parameters = stack.run_parameters(run, "critic")
    return stack.algorithm.critic({name: p.cpu().double() for name, p in parameters.items()})
