"""The structures of native.cpp for ctypes, its samplers, and the build of its library."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Sequence
from ctypes import c_double, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import MethodType

import torch
from torch import Tensor

from wganbench.data.mixtures import Finite, FiniteMixture, Mixture
from wganbench.data.points import Points
from wganbench.draws import stream_key
from wganbench.nativecode import build, is_built
from wganbench.networks import Latent
from wganbench.training.native import layout
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

    layout: layout.Sampler
    kept: tuple[Tensor, ...] = ()

    @property
    def given(self) -> bool:
        """Whether the values are passed to it instead of drawn."""
        return bool(self.layout.kind == GIVEN)


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
    return NativeSampler(layout.Sampler(kind=GIVEN, dimension=dimension))


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
    fields = layout.Sampler(
        kind=kind,
        dimension=dimension,
        rows=0 if table is None else len(table),
        table=None if table is None else table.data_ptr(),
        steps=None if steps is None else steps.data_ptr(),
        keys=keys.data_ptr(),
        sigma=sigma,
    )
    return NativeSampler(fields, tuple(t for t in (keys, table, steps) if t is not None))


# The libraries built from this folder's C++.
SOURCES = Path(__file__).parent
MAIN = "native.cpp"

FLAGS = (
    "-std=gnu++17",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-pthread",
)


SPECTRAL = 1
"""The number of spectral norm among the wrappers."""


@cache
def native_library(activation: int, wrapper: int = 0) -> ctypes.CDLL:
    """Return the library for one activation and wrapper of the critic. Raises NoCompiler."""
    library = build([SOURCES / MAIN], all_flags(activation, wrapper))
    declare(library, wrapper)
    return library


def has_library(activation: int, wrapper: int) -> bool:
    """Return whether this machine has built that library."""
    return is_built([SOURCES / MAIN], all_flags(activation, wrapper))


def all_flags(activation: int, wrapper: int) -> list[str]:
    """Return the compiler's flags besides those of all our C++."""
    wide = ["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []
    return [*FLAGS, *wide, f"-DACTIVATION={activation}", f"-DWRAPPER={wrapper}"]


def declare(library: ctypes.CDLL, wrapper: int) -> None:
    """Declare the argument and result types of the library's functions."""
    address, whole = ctypes.c_void_p, ctypes.c_int64
    library.wgan_open.argtypes, library.wgan_open.restype = [address], address
    library.wgan_close.argtypes, library.wgan_close.restype = [address], None
    library.wgan_threads.argtypes, library.wgan_threads.restype = [address], whole
    library.wgan_advance.argtypes = [address, whole, whole, whole, address]
    library.wgan_probe.argtypes = [address, ctypes.c_int, whole, address, address]
    if wrapper == SPECTRAL:
        library.wgan_singular.argtypes = [address, whole, whole, address, address]
        library.wgan_singular.restype = ctypes.c_double
    library.wgan_draw.argtypes = [address, whole, whole, whole, address]
