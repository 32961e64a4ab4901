"""Critic and generator networks: ordinary modules, lifted over runs elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from wganbench.networks.mlp import MLPOptions, PacGANOptions, build_mlp, build_pacgan
from wganbench.networks.pair import Latent, Pair, Parameters, initial_parameters
from wganbench.registry import Registry

__all__ = [
    "NETWORKS",
    "Latent",
    "Network",
    "Pair",
    "Parameters",
    "build_pair",
    "initial_parameters",
]


@dataclass(frozen=True)
class Network:
    """A kind of network pair: its options' types and how it is built."""

    options: type
    build: Callable[[Any, tuple[int, ...], torch.dtype | None], Pair]
    summary: str
    source: str


NETWORKS: Registry[Network] = Registry("networks")
NETWORKS.register(
    "mlp",
    Network(MLPOptions, build_mlp, "two multi-layer perceptrons of equal size", "arXiv:1704.00028"),
)
NETWORKS.register(
    "pacgan",
    Network(
        PacGANOptions,
        build_pacgan,
        "maxout discriminator and batch-norm generator of PacGAN's toy protocol",
        "arXiv:1712.04086",
    ),
)


def build_pair(kind: str, options: dict[str, Any], shape: tuple[int, ...], precision: str) -> Pair:
    """Critic and generator for points of ``shape``, without weights.

    ``precision`` is ``fp32`` or ``bf16`` (hidden layers only). Raises ValueError when
    this kind of network cannot take points of that shape.
    """
    network = NETWORKS[kind]
    dtype = torch.bfloat16 if precision == "bf16" else None
    if kind in ("mlp", "pacgan") and len(shape) != 1:
        raise ValueError(f"network {kind!r} takes points of shape (d,); the data has {shape}")
    with torch.device("meta"):
        return network.build(network.options(**options), shape, dtype)
