"""How our C++ draws a stream: by the same words as torch does, or from what it is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MethodType

import torch
from torch import Tensor

from wganbench.data.finite import Finite, FiniteMixture
from wganbench.data.mixture import Mixture
from wganbench.data.points import Points
from wganbench.draws import stream_key
from wganbench.networks import Latent
from wganbench.training.native import layout
from wganbench.training.streams import OneLaw, mixing

GIVEN, NORMAL, UNIFORM, SYMMETRIC, ROWS, MIXTURE = range(6)


@dataclass(frozen=True)
class NativeLaw:
    """A law as native.cpp has it, and the tensors that it points to."""

    layout: layout.Law
    kept: tuple[Tensor, ...] = ()

    @property
    def given(self) -> bool:
        """Whether the values are handed over."""
        return bool(self.layout.kind == GIVEN)


def native_law(law: OneLaw, stream: str, seeds: Sequence[int], dimension: int) -> NativeLaw:
    """How a stream of runs with these seeds is drawn: values of so many numbers a point."""
    keys = torch.tensor([_signed(stream_key(seed, stream)) for seed in seeds])
    owner, function = _owner(law)
    if law is mixing:
        return _drawn(UNIFORM, keys, 1)
    if function is Latent.draw and type(owner) is Latent:
        kind = NORMAL if owner.distribution == "normal" else SYMMETRIC
        return _drawn(kind, keys, dimension)
    if type(owner) is Mixture and function is Mixture.draw:
        steps = None if owner.steps is None else owner.steps.contiguous()
        return _drawn(MIXTURE, keys, dimension, owner.modes.contiguous(), steps, owner.sigma)
    draws = {each.draw for each in (Finite, FiniteMixture, Points)}
    if isinstance(owner, Finite | FiniteMixture | Points) and function in draws:
        return _drawn(ROWS, keys, dimension, owner.points.float().contiguous())
    return NativeLaw(layout.Law(kind=GIVEN, dimension=dimension))


def _owner(law: OneLaw) -> tuple[object, object]:
    """What a bound method is bound to, and its function."""
    return (law.__self__, law.__func__) if isinstance(law, MethodType) else (None, None)


def _signed(key: int) -> int:
    """A 64-bit key as torch holds it."""
    return key - 2**64 if key >= 2**63 else key


def _drawn(
    kind: int,
    keys: Tensor,
    dimension: int,
    table: Tensor | None = None,
    steps: Tensor | None = None,
    sigma: float = 0.0,
) -> NativeLaw:
    fields = layout.Law(
        kind=kind,
        dimension=dimension,
        rows=0 if table is None else len(table),
        table=None if table is None else table.data_ptr(),
        steps=None if steps is None else steps.data_ptr(),
        keys=keys.data_ptr(),
        sigma=sigma,
    )
    return NativeLaw(fields, tuple(t for t in (keys, table, steps) if t is not None))
