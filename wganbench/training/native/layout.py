"""The structures of native.cpp as ctypes has them, field by field."""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_float, c_int32, c_int64, c_void_p


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
        ("softplus", c_int32),
        ("unused", c_int32),
    ]


class Penalty(ctypes.Structure):
    _fields_ = [
        ("where", c_int32),
        ("one_sided", c_int32),
        ("target", c_float),
        ("scale", c_float),
        ("coefficient", c_void_p),
    ]


class Law(ctypes.Structure):
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


class Settings(ctypes.Structure):
    _fields_ = [
        ("batch", c_int32),
        ("real", Term),
        ("fake", Term),
        ("generator", Term),
        ("penalty", Penalty),
        ("laws", Law * 4),
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
        ("decay", c_int32),
        ("unused", c_int32),
        ("average_decay", c_double),
        ("step", c_void_p),
        ("critic_step", c_void_p),
        ("diverged_at", c_void_p),
        ("critic_scalars", c_void_p),
        ("generator_scalars", c_void_p),
    ]
