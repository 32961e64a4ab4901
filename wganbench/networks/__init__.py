"""Critic and generator networks, ordinary modules for one run; `stack.py` lifts them over runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from wganbench.bounds import Precision
from wganbench.networks.conv_layers import use_patches
from wganbench.networks.dcgan import HALVINGS, DCGANOptions, build_dcgan, takes_pictures
from wganbench.networks.mlp import MLPOptions, PacGANOptions, build_mlp, build_pacgan
from wganbench.networks.pair import (
    INITIALIZATIONS,
    LATENTS,
    Latent,
    Pair,
    Parameters,
    initial_parameters,
    packed_shape,
)
from wganbench.networks.resnet import ResNetOptions, build_resnet
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
    """A kind of network pair: the type of its options, its builder, and the points it takes.

    ``takes`` returns whether points of a shape fit; ``points`` describes them in words.
    ``convolves``: it spends most time in convolutions, which compiling for the CPU does not
    make faster.
    """

    options: type
    build: Callable[[Any, tuple[int, ...], torch.dtype | None], Pair]
    summary: str
    source: str
    takes: Callable[[tuple[int, ...]], bool]
    points: str
    convolves: bool = False


def takes_vectors(shape: tuple[int, ...]) -> bool:
    """Return whether points of this shape are vectors."""
    return len(shape) == 1


VECTORS = "points of shape (d,)"
SIZES = [str(size) for size in HALVINGS]
PICTURES = f"square images (c, s, s) of {', '.join(SIZES[:-1])} or {SIZES[-1]} pixels"


NETWORKS: Registry[Network] = Registry("networks")
ROWS = {
    "mlp": Network(
        MLPOptions,
        build_mlp,
        "two multi-layer perceptrons of equal size",
        "arXiv:1704.00028",
        takes_vectors,
        VECTORS,
    ),
    "pacgan": Network(
        PacGANOptions,
        build_pacgan,
        "maxout discriminator and batch-norm generator of PacGAN's toy protocol",
        "arXiv:1712.04086",
        takes_vectors,
        VECTORS,
    ),
    "dcgan": Network(
        DCGANOptions,
        build_dcgan,
        "halving and doubling convolutions, for images of 8, 28 or 32 pixels",
        "arXiv:1511.06434",
        takes_pictures,
        PICTURES,
        convolves=True,
    ),
    "resnet": Network(
        ResNetOptions,
        build_resnet,
        "residual networks of WGAN-GP's CIFAR-10 figures",
        "arXiv:1704.00028",
        takes_pictures,
        PICTURES,
        convolves=True,
    ),
}
"""The kinds of this package; others are the user's own."""

for name, row in ROWS.items():
    NETWORKS.register(name, row)


def build_pair(
    kind: str,
    options: dict[str, Any],
    shape: tuple[int, ...],
    precision: Precision,
    packing: int = 1,
    on_gpu: bool = False,
) -> Pair:
    """Return critic and generator for points of ``shape``, without weights.

    With ``precision=bf16`` hidden layers compute in bf16; for ``fp32`` and ``tf32`` the networks
    are equal. The critic takes packs of ``packing`` points. ``on_gpu`` gives the same networks in
    the form that a GPU computes faster.
    Raises ValueError when this kind of network cannot take points of that shape, when a module
    holds a tensor that is not a parameter, and for outputs of another shape.
    """
    network = NETWORKS[kind]
    dtype = torch.bfloat16 if precision == "bf16" else None
    if not network.takes(shape):
        raise ValueError(
            f"network={kind} takes {network.points}, the data has {shape}{_advice(shape)}"
        )
    with torch.device("meta"):
        pair = network.build(network.options(**options), shape, dtype)
        if packing > 1:
            packs = packed_shape(shape, packing)
            of_packs = network.build(network.options(**options), packs, dtype)
            pair = replace(pair, critic=of_packs.critic)
    for name, module in (("critic", pair.critic), ("generator", pair.generator)):
        if held := _held_tensors(module):
            raise ValueError(
                f"network={kind}: the {name} holds {held[0]}, a tensor that is no parameter and "
                "has no values: make constants in forward; batch norm keeps no running averages"
            )
    check_names(kind, pair)
    # Ours need no check, for which torch loads for a second what computes without values.
    if kind not in ROWS:
        check_shapes(kind, pair, shape, packing)
    if on_gpu:
        use_patches(pair.critic)
        use_patches(pair.generator)
    return pair


def check_names(kind: str, pair: Pair) -> None:
    """Raise ValueError for an unknown distribution of latents or scheme of initial weights."""
    for what, name, known in (
        ("latent distribution", pair.latent.distribution, LATENTS),
        ("initialization", pair.initialization, INITIALIZATIONS),
    ):
        if name not in known:
            raise ValueError(f"network={kind}: the {what} {name!r} is none of {', '.join(known)}")


def check_shapes(kind: str, pair: Pair, shape: tuple[int, ...], packing: int) -> None:
    """Raise ValueError when a network maps two points to another shape or type than it should.

    Both are computed without values. What cannot be computed so, training will judge.
    """
    of_critic = packed_shape(shape, packing) if packing > 1 else shape
    for name, module, given, wanted in (
        ("critic", pair.critic, of_critic, ()),
        ("generator", pair.generator, pair.latent.shape, shape),
    ):
        try:
            with torch.device("meta"):
                output = module(torch.empty(2, *given))
        except Exception:
            continue
        if not isinstance(output, torch.Tensor) or output.dtype == torch.float64:
            kind_of = getattr(output, "dtype", type(output).__name__)
            raise ValueError(
                f"network={kind}: the {name} must return float32; it returned {kind_of}"
            )
        if (found := tuple(output.shape)) != (2, *wanted):
            raise ValueError(
                f"network={kind}: the {name} must map {(2, *given)} to {(2, *wanted)}, and its "
                f"output is {found}"
            )


def _held_tensors(module: torch.nn.Module) -> list[str]:
    """Return the names of a module's buffers, and of tensors that are its plain attributes."""
    attributes = [
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        for name, value in vars(part).items()
        if isinstance(value, torch.Tensor)
    ]
    return [name for name, _ in module.named_buffers()] + attributes


def _advice(shape: tuple[int, ...]) -> str:
    """Return advice on a network for points of this shape; empty if there is none."""
    if takes_vectors(shape):
        return ": try network=mlp"
    return f": try network=dcgan{shape[1]}" if takes_pictures(shape) else ""
