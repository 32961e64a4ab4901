"""torch.optim's update rules on plain dictionaries of tensors, with one rate per run.

torch.optim's functional forms take a single learning rate. Here they step from zero at
rate 1, which gives the direction; the caller then scales it by each run's rate:
p <- p + rate * direction. Without weight decay this equals torch's own optimizers to
rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from wganbench.networks import Parameters

Moments = dict[str, dict[str, Tensor]]
"""Optimizer state: moment name -> parameter name -> tensor."""

Moved = dict[str, list[Tensor]]
"""Optimizer state: moment name -> tensors in the order of the parameters of a step."""

Step = Callable[[list[Tensor], list[Tensor], Moved, list[Tensor], list[float]], None]


@dataclass(frozen=True)
class Optimizer:
    """An update rule: the moments it keeps and the step that adds to the parameters."""

    moments: tuple[str, ...]
    step: Step
    summary: str


def _adam(
    parameters: list[Tensor],
    gradients: list[Tensor],
    moments: Moved,
    steps: list[Tensor],
    betas: list[float],
) -> None:
    adam(
        parameters,
        gradients,
        moments["exp_avg"],
        moments["exp_avg_sq"],
        [],
        steps,
        foreach=True,
        capturable=_capturable(parameters[0]),
        amsgrad=False,
        beta1=betas[0],
        beta2=betas[1],
        lr=1.0,
        weight_decay=0.0,
        eps=1e-8,
        maximize=False,
    )


def _rmsprop(
    parameters: list[Tensor],
    gradients: list[Tensor],
    moments: Moved,
    steps: list[Tensor],
    betas: list[float],
) -> None:
    rmsprop(
        parameters,
        gradients,
        moments["square_avg"],
        [],
        moments["momentum_buffer"] if betas[0] > 0 else [],
        steps,
        foreach=True,
        capturable=_capturable(parameters[0]),
        lr=1.0,
        alpha=betas[1],
        eps=1e-8,
        weight_decay=0.0,
        momentum=betas[0],
        centered=False,
    )


def _sgd(
    parameters: list[Tensor],
    gradients: list[Tensor],
    moments: Moved,
    steps: list[Tensor],
    betas: list[float],
) -> None:
    buffers: list[Tensor | None] = list(moments["momentum_buffer"])
    sgd(
        parameters,
        gradients,
        buffers,
        foreach=True,
        weight_decay=0.0,
        momentum=betas[0],
        lr=1.0,
        dampening=0.0,
        nesterov=False,
        maximize=False,
    )


def _optimistic(rule: Step) -> Step:
    """Return the optimistic form of a rule: p <- p + 2 d_t - d_(t-1), the first step plain.

    Source: arXiv:1711.00141, Algorithm 1.
    """

    def step(
        parameters: list[Tensor],
        gradients: list[Tensor],
        moments: Moved,
        steps: list[Tensor],
        betas: list[float],
    ) -> None:
        begun = [taken > 0 for taken in steps]
        rule(parameters, gradients, moments, steps, betas)
        for own, previous, later in zip(parameters, moments["previous_step"], begun, strict=True):
            direction = own.clone()
            own.add_(direction - torch.where(later, previous, direction))
            previous.copy_(direction)

    return step


def _capturable(parameter: Tensor) -> bool:
    """Return whether the step count stays a tensor (GPU, compiled code); else it is read."""
    return torch.compiler.is_compiling() or parameter.is_cuda


OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Optimizer(("exp_avg", "exp_avg_sq"), _adam, "betas as in arXiv:1412.6980"),
    "rmsprop": Optimizer(
        ("square_avg", "momentum_buffer"), _rmsprop, "betas = (momentum, smoothing alpha)"
    ),
    "sgd": Optimizer(("momentum_buffer",), _sgd, "betas = (momentum, unused)"),
    "optimistic_adam": Optimizer(
        ("exp_avg", "exp_avg_sq", "previous_step"),
        _optimistic(_adam),
        "Adam with optimistic steps (arXiv:1711.00141)",
    ),
    "optimistic_sgd": Optimizer(
        ("momentum_buffer", "previous_step"),
        _optimistic(_sgd),
        "optimistic gradient descent (OGDA, arXiv:1711.00141)",
    ),
}


def initial_moments(optimizer: str, parameters: dict[str, Tensor]) -> Moments:
    """Return all moments, with value zero."""
    return {
        moment: {name: torch.zeros_like(p) for name, p in parameters.items()}
        for moment in OPTIMIZERS[optimizer].moments
    }


def directions(
    optimizer: str,
    parameters: dict[str, Tensor],
    gradients: dict[str, Tensor],
    moments: Moments,
    taken: Tensor,
    betas: list[float],
) -> dict[str, Tensor]:
    """Return the step at learning rate 1 by parameter name; updates ``moments`` in place.

    ``taken`` is the number of earlier steps (a float tensor without shape). The caller
    advances it.
    """
    rule = OPTIMIZERS[optimizer]
    names = list(parameters)
    leaves = [torch.zeros_like(parameters[name]) for name in names]
    steps = [taken.clone() for _ in names]
    kept = {moment: [moments[moment][name] for name in names] for moment in rule.moments}
    rule.step(leaves, [gradients[name] for name in names], kept, steps, betas)
    return dict(zip(names, leaves, strict=True))


# The state of training of all runs of a stack.
@dataclass
class State:
    """Everything that training changes, stacked over runs: the content of checkpoints."""

    critic: Parameters
    generator: Parameters
    average: Parameters
    critic_moments: Moments
    generator_moments: Moments
    step: Tensor
    critic_step: Tensor
    diverged_at: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Return all per-run tensors by a flat name, each with leading axis R."""
        flat = {"diverged_at": self.diverged_at}
        for part in ("critic", "generator", "average"):
            flat |= {f"{part}/{name}": p for name, p in getattr(self, part).items()}
        for part in ("critic_moments", "generator_moments"):
            for moment, tensors in getattr(self, part).items():
                flat |= {f"{part}/{moment}/{name}": p for name, p in tensors.items()}
        return flat
