"""The structures of native.cpp for ctypes, its samplers, and packs of points."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from functools import partial
from types import MethodType

import torch
from torch import Tensor

from wganbench.data.mixtures import Finite, FiniteMixture, Mixture
from wganbench.data.points import Points
from wganbench.draws import stream_key
from wganbench.networks import Latent
from wganbench.training.streams import StreamSampler, mixing, perturbation


class NetworkSpec(ctypes.Structure):
    _fields_ = [
        ("layers", c_int64),
        ("sizes", c_void_p),
        ("parameters", c_void_p),
        ("first", c_void_p),
        ("second", c_void_p),
        ("average", c_void_p),
    ]


class Term(ctypes.Structure):
    _fields_ = [
        ("weight", c_float),
        ("sign", c_float),
        ("form", c_int32),
        ("shift", c_float),
        ("slope", c_float),
    ]


class Penalty(ctypes.Structure):
    _fields_ = [
        ("where", c_int32),
        ("cost", c_int32),
        ("scale", c_float),
        ("unused", c_float),
        ("coefficient", c_void_p),
        ("power", c_void_p),
    ]


class Sampler(ctypes.Structure):
    _fields_ = [
        ("kind", c_int32),
        ("dimension", c_int32),
        ("rows", c_int64),
        ("table", c_void_p),
        ("steps", c_void_p),
        ("keys", c_void_p),
        ("sigma", c_float),
        ("unused", c_int32),
    ]


MOST_PENALTIES = 2
MOST_STREAMS = 6


class Settings(ctypes.Structure):
    _fields_ = [
        ("batch", c_int32),
        ("against", c_int32),
        ("penalties", c_int32),
        ("real", Term),
        ("fake", Term),
        ("generator", Term),
        ("penalty", Penalty * MOST_PENALTIES),
        ("samplers", Sampler * MOST_STREAMS),
    ]


class Optimizer(ctypes.Structure):
    _fields_ = [("rule", c_int32), ("unused", c_int32), ("betas", c_double * 2)]


class Spec(ctypes.Structure):
    _fields_ = [
        ("critic", NetworkSpec),
        ("generator", NetworkSpec),
        ("settings", Settings),
        ("optimizer", Optimizer),
        ("places", c_void_p),
        ("trained", c_int64),
        ("threads", c_int64),
        ("critic_rates", c_void_p),
        ("generator_rates", c_void_p),
        ("clip_values", c_void_p),
        ("steps", c_int64),
        ("pack", c_int64),
        ("decay", c_int32),
        ("average_decay", c_double),
        ("step", c_void_p),
        ("critic_step", c_void_p),
        ("diverged_at", c_void_p),
        ("critic_scalars", c_void_p),
        ("generator_scalars", c_void_p),
    ]


CPU = torch.device("cpu")

# The samplers of our C++. They use the same words as torch's, or get their values passed.
GIVEN, NORMAL, UNIFORM, SYMMETRIC, ROWS, MIXTURE = range(6)


@dataclass(frozen=True)
class NativeSampler:
    """A sampler of native.cpp, and the tensors that it points to."""

    fields: Sampler
    kept: tuple[Tensor, ...] = ()

    @property
    def given(self) -> bool:
        """Whether the values are passed to it instead of drawn."""
        return bool(self.fields.kind == GIVEN)


def native_sampler(
    sampler: StreamSampler,
    stream: str,
    seeds: Sequence[int],
    dimension: int,
    device: torch.device = CPU,
) -> NativeSampler:
    """Return the native sampler of a stream, for runs with these seeds and this point size.

    Its tensors are on the ``device``.
    """
    keys = torch.tensor([_signed(stream_key(seed, stream)) for seed in seeds], device=device)
    owner, function = _owner(sampler)
    if sampler is mixing:
        return _drawn(UNIFORM, keys, 1)
    if isinstance(sampler, partial) and sampler.func is perturbation:
        return _drawn(UNIFORM, keys, dimension)
    if function is Latent.draw and type(owner) is Latent:
        kind = NORMAL if owner.distribution == "normal" else SYMMETRIC
        return _drawn(kind, keys, dimension)
    if type(owner) is Mixture and function is Mixture.draw:
        steps = None if owner.steps is None else owner.steps.contiguous()
        return _drawn(MIXTURE, keys, dimension, owner.modes.contiguous(), steps, owner.sigma)
    draws = {each.draw for each in (Finite, FiniteMixture, Points)}
    if isinstance(owner, Finite | FiniteMixture | Points) and function in draws:
        return _drawn(ROWS, keys, dimension, owner.points.float().contiguous())
    return NativeSampler(Sampler(kind=GIVEN, dimension=dimension))


def _owner(sampler: StreamSampler) -> tuple[object, object]:
    """Return the object and the function of a bound method."""
    return (sampler.__self__, sampler.__func__) if isinstance(sampler, MethodType) else (None, None)


def _signed(key: int) -> int:
    """Return a 64-bit key as the signed number that torch stores."""
    return key - 2**64 if key >= 2**63 else key


def _drawn(
    kind: int,
    keys: Tensor,
    dimension: int,
    table: Tensor | None = None,
    steps: Tensor | None = None,
    sigma: float = 0.0,
) -> NativeSampler:
    table = None if table is None else table.to(keys.device)
    steps = None if steps is None else steps.to(keys.device)
    fields = Sampler(
        kind=kind,
        dimension=dimension,
        rows=0 if table is None else len(table),
        table=None if table is None else table.data_ptr(),
        steps=None if steps is None else steps.data_ptr(),
        keys=keys.data_ptr(),
        sigma=sigma,
    )
    return NativeSampler(fields, tuple(t for t in (keys, table, steps) if t is not None))


# Packs of points: the last one is filled with the first points.
def filled(values: Tensor, size: int) -> Tensor:
    """Return values (R, n, ...) of the points of whole packs, filled as `packed` does it.

    >>> filled(torch.tensor([[1.0, 2.0, 3.0]]), 2).tolist()
    [[1.0, 2.0, 3.0, 1.0]]
    """
    return values.contiguous() if size == 1 else values[:, _points(values.shape[1], size)]


def packs_of(n: int, size: int) -> int:
    """Return the number of packs of so many points."""
    return -(-n // size)


def of_points(values: Tensor, n: int, size: int, sums: bool = False) -> Tensor:
    """Return what n points have of their packs: parts of (R, k, size d), or the values (R, k).

    With ``sums`` a point that also fills the last pack has the sum of its parts.
    """
    if values.ndim == 2:
        return values.repeat_interleave(size, dim=1)[:, :n]
    runs, packs, numbers = values.shape
    apart = values.reshape(runs, packs * size, numbers // size)
    if not sums:
        return apart[:, :n]
    total = torch.zeros(runs, n, numbers // size)
    return total.index_add_(1, _points(n, size), apart)


def _points(n: int, size: int) -> Tensor:
    """Return the point at each place of the packs."""
    return torch.arange(packs_of(n, size) * size) % n
