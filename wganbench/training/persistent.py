"""A whole iteration of small MLPs in one launch: which runs it is for, and its host side.

The kernel (`persistent_kernel.py`) computes what `step.py` defines. It changes the stacked
tensors of a `State` in place, so checkpoints and resuming know nothing of it.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wganbench.config.options import typed_rows
from wganbench.config.schema import RunConfig
from wganbench.losses.recipes import (
    BCE,
    BCE_SATURATING,
    RECIPES,
    WASSERSTEIN,
    Penalty,
    one_sided,
    r1,
    two_sided,
)
from wganbench.networks import Parameters
from wganbench.training.optimizers import Moments
from wganbench.training.state import State

OBJECTIVES = {BCE: "bce", BCE_SATURATING: "bce_saturating", WASSERSTEIN: "wasserstein"}
PENALTIES: dict[Penalty | None, str] = {
    None: "none",
    two_sided: "two_sided",
    one_sided: "one_sided",
    r1: "r1",
}
SLOPES = {"relu": 0.0, "leaky_relu": 0.2}
"""Factor of an activation below 0."""

WIDEST, DEEPEST, MOST_DIMENSIONS, LONGEST_LATENT = 128, 4, 16, 64
LEAST_ROWS = 16
"""Rows of a tile, at least: a product of the tensor cores has 16."""

PRECISIONS = ("ieee", "tf32x3", "bf16x6", "bf16x3", "tf32")
"""Of products of hidden layers. ieee: fp32 without tensor cores. tf32x3, bf16x6: fp32 to
rounding, in three or six products of tensor cores. bf16x3: 16 bits of mantissa. tf32: 10 bits.
Products that touch points or latents are in fp32 whatever it is."""


@dataclass(frozen=True)
class Tiling:
    """Rows of a batch that a program takes at once, and its warps of 32 threads."""

    rows: int
    warps: int


def tiling(width: int, batch_size: int, precision: str) -> Tiling:
    """The tiles for a width of at most 128, whose rows divide the batch.

    64 rows and more than 64 units leave neither registers nor shared memory (227 KB), and take
    minutes to compile; without tensor cores half as many rows do.
    """
    wide, exact = width > 64, precision == "ieee"
    rows = 64 // (2 if wide else 1) // (2 if exact else 1)
    while batch_size % rows:
        rows //= 2
    return Tiling(rows, warps=8)


def why_not(config: RunConfig, shape: tuple[int, ...]) -> str | None:
    """Why a run is not trained by this kernel, in one line; None where it can be.

    ``shape`` is that of a point; for the device see `why_not_on`.
    """
    if config.network.kind != "mlp":
        return f"network.kind={config.network.kind}: only mlp"
    options, train = config.network.options, config.train
    recipe = RECIPES[config.loss.name]
    limits = [
        (options["activation"] in SLOPES, f"network.activation: only {' or '.join(SLOPES)}"),
        (options["critic_normalization"] == "none", "network.critic_normalization: only none"),
        (
            options["generator_normalization"] == "none",
            "network.generator_normalization: only none",
        ),
        (options["depth"] <= DEEPEST, f"network.depth: at most {DEEPEST}"),
        (
            options["width"] <= WIDEST and options["width"] % 16 == 0,
            f"network.width: multiples of 16 up to {WIDEST}",
        ),
        (options["latent_dim"] <= LONGEST_LATENT, f"network.latent_dim: at most {LONGEST_LATENT}"),
        (math.prod(shape) <= MOST_DIMENSIONS, f"points of at most {MOST_DIMENSIONS} dimensions"),
        (train.batch_size % LEAST_ROWS == 0, f"train.batch_size: multiples of {LEAST_ROWS}"),
        (config.precision == "fp32", "precision: only fp32"),
        (
            recipe.objective in OBJECTIVES and recipe.penalty in PENALTIES,
            f"loss={config.loss.name}: only losses that come with wganbench",
        ),
    ]
    return next((reason for fits, reason in limits if not fits), None)


def why_not_on(device: torch.device) -> str | None:
    """Why no run is trained by this kernel on a device, in one line; None where it can be."""
    if device.type != "cuda":
        return f"device={device.type}: only CUDA"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "the GPU is older than compute capability 8.0"
    return None if importlib.util.find_spec("triton") else "Triton is not installed"


class Persistent:
    """The launches of a stack's iterations.

    ``critic_lr``, ``generator_lr`` and each of ``coefficients`` hold a value a run;
    ``precision`` is one of `PRECISIONS`. The state's tensors are those of now: replace their
    values, not them. Raises ValueError for runs that `why_not` refuses.
    """

    def __init__(
        self,
        config: RunConfig,
        state: State,
        critic_lr: Tensor,
        generator_lr: Tensor,
        coefficients: dict[str, Tensor],
        shape: tuple[int, ...],
        precision: str = "tf32x3",
        tiles: Tiling | None = None,
    ) -> None:
        reason = why_not(config, shape)
        if reason is not None:
            raise ValueError(reason)
        typed_rows(config)
        self.config, self.state = config, state
        self._recipe = RECIPES[config.loss.name]
        self._rates = (critic_lr, generator_lr)
        (self._coefficient,) = coefficients.values() or (torch.zeros_like(critic_lr),)
        batch, dimensions = config.train.batch_size, math.prod(shape)
        self._tiling = tiles or tiling(config.network.options["width"], batch, precision)
        self._constants = self._as_constants(dimensions, precision)
        self._networks = (
            _network(state.critic, state.critic_moments, {}),
            _network(state.generator, state.generator_moments, state.average),
        )
        momentum, smoothing = betas = config.train.betas
        self._betas = (
            (momentum, 1 - momentum, smoothing, 1 - smoothing, 1 - config.train.average_decay),
            tuple(math.log(max(beta, 1e-38)) for beta in betas),
        )
        self.critic_tags, self.generator_tags = self._tags()
        runs, device = len(critic_lr), critic_lr.device
        self._points = torch.empty(runs, 3 * batch, dimensions, device=device)
        self._critic_table = torch.zeros(runs, len(self.critic_tags), device=device)
        self._generator_table = torch.zeros(runs, len(self.generator_tags), device=device)
        self._arrived = torch.zeros(1, dtype=torch.int32, device=device)

    def iterate(
        self, x: Tensor, z: Tensor, eps: Tensor, z_generator: Tensor
    ) -> dict[str, tuple[list[str], Tensor]]:
        """All critic steps of an iteration and its generator step, in one launch.

        ``x`` (n_critic, R, n, d), ``z`` (n_critic, R, n, k), ``eps`` (n_critic, R, n) and
        ``z_generator`` (R, n, k) are contiguous. Returns tags and a table (R, tags) of the
        last critic step and of the generator step, by ``critic`` and ``generator``; the next
        call writes into the same tables.
        """
        # Not at the head: machines without CUDA have no Triton.
        from wganbench.training.persistent_kernel import iteration

        state = self.state
        iteration[(len(self._points),)](
            *self._networks,
            *(x, z, eps, z_generator, self._points, *self._rates, self._coefficient),
            *(state.step, state.critic_step, state.diverged_at),
            *(self._critic_table, self._generator_table, self._arrived),
            *(len(x), self.config.train.steps),
            *self._betas,
            **self._constants,
            num_warps=self._tiling.warps,
            num_stages=1,
        )
        return {
            "critic": (self.critic_tags, self._critic_table),
            "generator": (self.generator_tags, self._generator_table),
        }

    def _as_constants(self, dimensions: int, precision: str) -> dict[str, Any]:
        """What the kernel is compiled for."""
        options, train = self.config.network.options, self.config.train
        width, latent = options["width"], options["latent_dim"]
        return {
            "N": train.batch_size,
            "B": self._tiling.rows,
            "D": dimensions,
            "DP": padded(dimensions + 1),
            "K": latent,
            "KP": padded(latent + 1),
            "W": width,
            "WP": padded(width),
            "DEPTH": options["depth"],
            "SLOPE": SLOPES[options["activation"]],
            "OBJECTIVE": OBJECTIVES[self._recipe.objective],
            "PENALTY": PENALTIES[self._recipe.penalty],
            "CLIPS": self._recipe.clips,
            "OPTIMIZER": train.optimizer,
            "DECAY": train.decay,
            "AVERAGES": bool(self.state.average),
            "P": precision,
            "NARROW": "ieee" if precision == "ieee" else "tf32x3",
        }

    def _tags(self) -> tuple[list[str], list[str]]:
        """Tags of the two tables, in the order of `step.py`'s scalars."""
        layers = range(self.config.network.options["depth"] + 1)
        critic = ["wasserstein/estimate", "critic/score_real", "critic/score_fake"]
        critic += ["loss/penalty"] if self._recipe.penalty else []

        def norms(network: str) -> list[str]:
            return [f"grad_norm/{network}", *(f"grad_norm/{network}_layer_{i}" for i in layers)]

        return (
            ["loss/critic", *critic, *norms("critic")],
            ["loss/generator", *norms("generator")],
        )


def padded(size: int) -> int:
    """The next power of two from 16 on: what a tile of the kernel can be long."""
    return int(max(16, 2 ** math.ceil(math.log2(size))))


def _network(parameters: Parameters, moments: Moments, average: Parameters) -> tuple[Any, ...]:
    """Parameters, first and second moment, average: tensors of each, layer by layer.

    Where there is no such thing the parameters stand for it; they are not touched then.
    """
    kept = [*moments.values()]
    if "square_avg" in moments:  # the kernel's order: what moves, then what scales
        kept = [moments["momentum_buffer"], moments["square_avg"]]
    first, second = [*kept, parameters][:2]
    return tuple(
        tuple(part.values()) for part in (parameters, first, second, average or parameters)
    )
