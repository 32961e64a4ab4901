"""Conversion of plain values to the types of a dataclass, so that 2 and 2.0 become equal."""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from wganbench.bounds import outside
from wganbench.errors import LONGEST_VALUE, ConfigError, short_repr, shortened

# Suggestions for keys that do not exist.
ALIASES = {
    "lambda": "loss.gp_lambda",
    "lam": "loss.gp_lambda",
    "lambda_gp": "loss.gp_lambda",
    "gp": "loss.gp_lambda",
    "gp_lamda": "loss.gp_lambda",
    "gp_weight": "loss.gp_lambda",
    "penalty_weight": "loss.gp_lambda",
    "c": "loss.clip_value",
    "clip": "loss.clip_value",
    "weight_clip": "loss.clip_value",
    "gamma": "loss.r1_gamma",
    "r1": "loss.r1_gamma",
    "critic_steps": "loss.n_critic",
    "critic_iters": "loss.n_critic",
    "n_dis": "loss.n_critic",
    "lr": "train.critic_lr and train.generator_lr",
    "learning_rate": "train.critic_lr and train.generator_lr",
    "lr_d": "train.critic_lr",
    "d_lr": "train.critic_lr",
    "lr_critic": "train.critic_lr",
    "lr_g": "train.generator_lr",
    "g_lr": "train.generator_lr",
    "lr_generator": "train.generator_lr",
    "epochs": "train.steps",
    "iterations": "train.steps",
    "iters": "train.steps",
    "max_steps": "train.steps",
    "n_steps": "train.steps",
    "bs": "train.batch_size",
    "batch": "train.batch_size",
    "batchsize": "train.batch_size",
    "beta1": "train.betas",
    "beta2": "train.betas",
    "opt": "train.optimizer",
    "ema": "train.average_decay",
    "hidden": "network.width",
    "hidden_dim": "network.width",
    "layers": "network.depth",
    "z_dim": "network.latent_dim",
    "nz": "network.latent_dim",
    "data.d": "data.dimension",
    "data.dim": "data.dimension",
    "data.k": "data.clusters",
    "data.seed": "data.centre_seed",
    "data.theta": "data.offset",
    "dataset": "data",
    "model": "network",
    "arch": "network",
    "gpu": "device",
    "random_seed": "seed",
    "dtype": "precision",
    "amp": "precision",
    "out": "output_dir",
    "outputs": "output_dir",
}
"""Common names for the last words of our keys."""


def nearest(key: str, valid: Iterable[str]) -> str | None:
    """Return the valid key that ``key`` most likely means, or None.

    The order is: an alias, a key with the same last word, the most similar last word in the same
    group, the most similar one anywhere. Capital letters are like small ones.

    >>> nearest("loss.gp_lamda", ["loss.gp_lambda"]), nearest("Steps", ["train.steps"])
    ('loss.gp_lambda', 'train.steps')
    """
    keys = list(dict.fromkeys(valid))
    word = last_word(key).lower()
    known = alias(key, keys)
    if known is not None:
        return known
    for candidate in keys:
        if last_word(candidate).lower() == word:
            return candidate
    group = key.rpartition(".")[0]
    for candidates in ([one for one in keys if one.rpartition(".")[0] == group], keys):
        by_word = {last_word(candidate).lower(): candidate for candidate in reversed(candidates)}
        near = difflib.get_close_matches(word, by_word, n=1, cutoff=0.6)
        if near:
            return by_word[near[0]]
    return None


def alias(key: str, valid: Iterable[str]) -> str | None:
    """Return our key, or keys, for the common name ``key``, if they are valid."""
    name, keys = key.lower(), set(valid)
    ours = ALIASES.get(name) or ALIASES.get(last_word(name))
    return ours if ours is not None and keys.issuperset(ours.split(" and ")) else None


def nearest_key(key: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean x?"``, or an empty text if no valid key is similar."""
    found = nearest(key, valid)
    return f"; did you mean {found}?" if found else ""


def last_word(key: str) -> str:
    return key.rpartition(".")[2]


def convert_fields(cls: type, values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return arguments for the dataclass ``cls``: typed, complete and within their ranges.

    ``prefix`` precedes a field's name in messages, such as ``"train."``. A field's metadata may
    hold ``choices``, ``least``, ``most``, ``above``, ``below`` and ``length``; the field marked
    ``flat`` takes all values without a field of their own.
    Raises ConfigError for an unknown, missing, ill-typed or out-of-range value.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    flat = next((name for name in fields if fields[name].metadata.get("flat")), None)
    if flat is not None and flat not in values:
        rest = {name: value for name, value in values.items() if name not in fields}
        values = {name: values[name] for name in values if name in fields} | {flat: rest}
    for name in values:
        if name not in fields:
            key = prefix + str(name)
            raise ConfigError(unknown_key(key, [prefix + field for field in fields]))
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        key = prefix.rstrip(".") if name == flat else prefix + name
        if name in values:
            arguments[name] = convert(values[name], hints[name], key)
            check_range(arguments[name], field.metadata, key)
        elif not has_default(field):
            raise ConfigError(f"{key} is missing")
    return arguments


def unknown_key(key: str, known: list[str]) -> str:
    near = nearest_key(key, known) or "; wganbench train --cfg job prints all there are"
    return f"unknown key {shortened(key, LONGEST_VALUE)}{near}"


def has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def convert(value: Any, hint: Any, key: str) -> Any:
    """Return ``value`` as the type ``hint``; raises ConfigError for a value of another type.

    Arrays and tensors are treated as the lists and numbers that they hold.
    """
    origin = typing.get_origin(hint)
    value = value.tolist() if hasattr(value, "tolist") else value
    if hint is Any:
        return value
    if value is None and type(None) not in typing.get_args(hint):
        raise ConfigError(f"{key} must be given")
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key} must be a group of keys; got {short_repr(value)}")
        return hint(**convert_fields(hint, value, f"{key}."))
    if origin in (typing.Union, types.UnionType):
        return convert_union(value, typing.get_args(hint), key)
    if origin in (list, tuple):
        return convert_items(value, hint, key)
    if origin is dict:
        return convert_mapping(value, typing.get_args(hint), key)
    if origin is typing.Literal:
        return convert_choice(value, typing.get_args(hint), key)
    if hint in SCALARS:
        return convert_scalar(value, hint, key)
    raise TypeError(f"{key}: a configuration field cannot have the type {hint}")


def convert_union(value: Any, hints: tuple[Any, ...], key: str) -> Any:
    if value is None and type(None) in hints:
        return None
    errors = []
    for hint in hints:
        if hint is not type(None):
            try:
                return convert(value, hint, key)
            except ConfigError as error:
                errors.append(error)
    raise errors[0]


def convert_items(value: Any, hint: Any, key: str) -> Any:
    if not isinstance(value, list | tuple):
        such = example(value, typing.get_args(hint)[0])
        raise ConfigError(f"{key} must be a list such as {such}; got {short_repr(value)}")
    origin, hints = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and hints[-1] is not Ellipsis:
        if len(value) != len(hints):
            raise ConfigError(f"{key} must hold {len(hints)} values; got {short_repr(value)}")
        pairs = list(zip(value, hints, strict=True))
    else:
        pairs = [(item, hints[0]) for item in value]
    items = [convert(item, item_hint, f"{key}[{i}]") for i, (item, item_hint) in enumerate(pairs)]
    return tuple(items) if origin is tuple else items


def example(value: Any, hint: Any) -> str:
    """Return a list of items of a type; of texts it holds the text ``value``, if that is a name.

    >>> example("r1", str), example(None, str), example("r1", float), example(0, list[float])
    ('[r1]', '[a,b]', '[0.5,0.9]', '[[0.5,0.9]]')
    """
    if typing.get_origin(hint) is list:
        return f"[{example(value, typing.get_args(hint)[0])}]"
    if hint is not str and typing.get_origin(hint) is not typing.Literal:
        return "[0.5,0.9]" if hint is float else "[0,1]"
    is_name = isinstance(value, str) and value.replace(",", "").isidentifier()
    return f"[{value}]" if is_name and len(value) <= LONGEST_VALUE else "[a,b]"


def convert_choice(value: Any, choices: Sequence[str], key: str) -> str:
    """Return the text ``value``; raises ConfigError unless it is one of the choices."""
    text: str = convert_scalar(value, str, key)
    if text not in choices:
        raise ConfigError(
            f"{key}={text}: no such choice{nearest_key(text, choices)} "
            f"(there are: {', '.join(choices)})"
        )
    return text


def choices_of(hint: Any, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the values that a field's type or metadata allows; empty for a free value.

    >>> choices_of(typing.Literal["a", "b"], {}), choices_of(str, {"choices": ("c",)})
    (('a', 'b'), ('c',))
    """
    is_literal = typing.get_origin(hint) is typing.Literal
    return typing.get_args(hint) if is_literal else tuple(metadata.get("choices", ()))


def convert_mapping(value: Any, hints: tuple[Any, ...], key: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a mapping; got {short_repr(value)}")
    return {name: convert(item, hints[1], f"{key}.{name}") for name, item in value.items()}


INFINITE, INFINITIES = "inf", (math.inf, -math.inf)
"""The stored text of an infinite number, which JSON lacks, and the infinite values."""

MOST_DIGITS = 4300
"""The most digits of an integer that Python converts to text."""

SCALARS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}


def convert_scalar(value: Any, hint: type, key: str) -> Any:
    """Return a number, boolean or text; a text that looks like a number or boolean stays text."""
    if hint is bool and isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str | float | int) and not endless(value):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if hint is float and value == INFINITE:
        return math.inf
    if isinstance(value, int | float) and not isinstance(value, bool):
        if hint is float and (abs(value) <= sys.float_info.max or value in INFINITIES):
            return float(value)
        if hint is int and (isinstance(value, int) or value.is_integer()):
            return int(value)
    raise ConfigError(f"{key} must be {SCALARS[hint]}; got {short_repr(value)}")


def endless(value: Any) -> bool:
    """Return whether a number has more digits than Python converts to text."""
    return isinstance(value, int) and value.bit_length() > MOST_DIGITS * math.log2(10)


def check_range(value: Any, metadata: Mapping[str, Any], key: str) -> None:
    """Raise ConfigError unless a field's metadata allows ``value``."""
    if "length" in metadata and len(value) != metadata["length"]:
        raise ConfigError(f"{key} must hold {metadata['length']} values; got {short_repr(value)}")
    if isinstance(value, list | tuple):
        bounds = {name: bound for name, bound in metadata.items() if name != "length"}
        for i, item in enumerate(value):
            check_range(item, bounds, f"{key}[{i}]")
    elif value is not None:
        check_value(value, metadata, key)


def check_value(value: Any, metadata: Mapping[str, Any], key: str) -> None:
    if "choices" in metadata:
        convert_choice(value, metadata["choices"], key)
    broken = outside(value, metadata)
    if broken:
        endless = isinstance(value, float) and not math.isfinite(value)
        right = "finite" if endless else broken
        raise ConfigError(f"{key} must be {right}; got {short_repr(value)}")


def as_override(value: Any, form: str = "") -> str:
    """Return a YAML value as an override holds it; ``form`` is the format of its numbers.

    >>> as_override([0.5, True, None]), as_override(1.0), as_override([1.0, 5e-5], ".4g")
    ('[0.5,true,null]', '1.0', '[1,5e-05]')
    """
    if isinstance(value, list | tuple):
        return "[" + ",".join(as_override(item, form) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return format(value, form) if isinstance(value, float) else str(value)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested values by dotted key; an empty group is a leaf.

    >>> dict(flatten({"loss": {"name": "gp"}, "seed": 0}))
    {'loss.name': 'gp', 'seed': 0}
    """
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
