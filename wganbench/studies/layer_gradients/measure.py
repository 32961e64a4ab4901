"""How the critic's gradient changes from layer to layer on its way back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from wganbench.losses import wasserstein_critic_loss
from wganbench.networks import Parameters

PAPER_WIDTH = 512
"""Width of the networks for which arXiv:1704.00028 chose its clip values."""


def scaled_clip(clip_value: float, width: int) -> float:
    """Return the clip value for ``width`` units that acts as ``clip_value`` does for 512.

    It is c sqrt(512 / width), because a matrix with random entries +-c and half of its units
    active multiplies a gradient by c sqrt(width / 2).

    >>> scaled_clip(0.1, 512)
    0.1
    """
    return clip_value * math.sqrt(PAPER_WIDTH / width)


def expected_slope(clip_value: float, width: int) -> float:
    """Return log10(c sqrt(width / 2)), in decades per layer, for weights +-c with random signs.

    >>> [round(expected_slope(c, 512), 2) for c in (0.1, 0.01, 0.001)]
    [0.2, -0.8, -1.8]
    """
    return math.log10(clip_value * math.sqrt(width / 2))


def steepest_slope(clip_value: float, width: int) -> float:
    """Return log10(c width), in decades per layer: the largest spectral norm of entries in +-c.

    It needs signs that agree along rows and columns, which training can produce.
    """
    return math.log10(clip_value * width)


def activation_gradients(
    critic: nn.Module,
    parameters: Parameters,
    x: Float[Tensor, "n d"],
    x_fake: Float[Tensor, "n d"],
) -> list[float]:
    """Return ||dL/dh_l||, L = E D(x_fake) - E D(x), of each hidden output h_l, first layer first.

    Each is one norm over all points and units, in float64; ``critic`` is an MLP with its blocks in
    ``hidden``. L contains no penalty, because that acts on other points.
    """
    activations: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda module, inputs, output: activations.append(output))
        for block in hidden_blocks(critic)
    ]
    try:
        wide = {name: p.detach().double() for name, p in parameters.items()}
        points = torch.cat([x, x_fake]).double().requires_grad_()
        scores = functional_call(critic, wide, (points,))
    finally:
        for hook in hooks:
            hook.remove()
    loss = wasserstein_critic_loss(scores[: len(x)], scores[len(x) :])
    return [float(g.norm()) for g in torch.autograd.grad(loss, activations)]


def hidden_blocks(critic: nn.Module) -> list[nn.Module]:
    blocks = critic.get_submodule("hidden")
    return list(blocks.children())


def slope_per_layer(norms: Sequence[float]) -> float | None:
    """Return the decades that a gradient gains per layer backwards; above 0 it explodes.

    It is the least-squares slope of log10 of the norms (first layer first) over the number of
    layers behind; None if a norm is zero or not finite.

    >>> slope_per_layer([1.0, 10.0, 100.0])
    -1.0
    """
    if not all(math.isfinite(norm) and norm > 0 for norm in norms):
        return None
    behind = np.arange(len(norms))[::-1]
    slope, _ = np.polyfit(behind, np.log10(norms), 1)
    return round(float(slope), 12)


def hidden_weights(parameters: Parameters) -> Tensor:
    """Return the entries of all matrices between hidden layers."""
    matrices = [p for name, p in parameters.items() if name.endswith("weight") and is_square(p)]
    return torch.cat([matrix.flatten() for matrix in matrices]).cpu()


def is_square(matrix: Tensor) -> bool:
    return matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]


def share_at(weights: Tensor, clip_value: float) -> float:
    """Return the share of weights at plus or minus the clip value, to a relative 1e-6.

    >>> share_at(torch.tensor([0.5, -0.5, 0.2, 0.0]), 0.5)
    0.5
    """
    return float((weights.abs() >= clip_value * (1 - 1e-6)).float().mean())


def histogram(weights: Tensor, reach: float, bins: int) -> list[float]:
    """Return the shares of weights in equal bins on [-reach, reach]; outer bins hold the rest.

    >>> histogram(torch.tensor([-9.0, 0.0, 0.1, 1.0]), 1.0, 3)
    [0.25, 0.5, 0.25]
    """
    counts = torch.histc(weights.double().clamp(-reach, reach), bins, -reach, reach)
    return [float(count) / len(weights) for count in counts]
