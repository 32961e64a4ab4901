"""The typed configuration of one run: types and ranges; the values are in YAML.

A field's metadata restricts its values: ``least`` and ``most`` (inclusive bounds), ``above`` and
``below`` (exclusive bounds), or ``length``. A `Literal` names the values of a text. A
``flat`` field takes all keys of its group without a field of their own: ``loss.gp_lambda`` in YAML
is ``loss.coefficients["gp_lambda"]`` here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from wganbench import bounds
from wganbench.data.options import ADDED_LATER
from wganbench.typed import INFINITE

OUTSIDE_IDENTITY = ("device", "output_dir", "name", "compile", "overwrite", "sweep", "hydra")
"""Keys for where and how a run is computed; they are not part of its identity."""

RECORDING = ("evaluate", "log", "checkpoint")
"""Keys for what is measured and recorded of a run."""

WHERE_DATA_LIES = ("root", "download", "found_at")
"""Options of ``data`` for the place and download of its files; also outside the identity."""


LOSS_ADDED_LATER: dict[str, Any] = {"penalties": [], "packing": 1, "unrolled": 0}
"""Keys of ``loss`` that came later, with their values in older configurations."""


def within(least: float, most: float) -> Any:
    """Return a field for a number in the closed range [least, most]."""
    return field(metadata={"least": least, "most": most})


def rate() -> Any:
    return field(metadata={"above": 0, "most": bounds.RATE})


def flat() -> Any:
    return field(default_factory=dict, metadata={"flat": True})


@dataclass(kw_only=True)
class LossConfig:
    """The loss, its coefficients, and the number of critic steps per generator step.

    ``penalties`` are added to those of the loss. ``unrolled`` is the number of critic steps through
    which the generator's gradient passes. Older configurations lack these two and ``packing``, see
    `LOSS_ADDED_LATER`.
    """

    name: str
    n_critic: int = within(1, bounds.CRITIC_STEPS)
    penalties: list[str] = field()
    packing: int = within(1, bounds.PACKING)
    unrolled: int = within(0, bounds.UNROLLED)
    coefficients: dict[str, float] = flat()


@dataclass(kw_only=True)
class DataConfig:
    """A target distribution: the name of its preset, its registry row (``kind``), its options."""

    name: str
    kind: str
    options: dict[str, Any] = flat()


@dataclass(kw_only=True)
class NetworkConfig:
    """The pair of networks: the name of its preset, its registry row (``kind``), its options."""

    name: str
    kind: str
    options: dict[str, Any] = flat()


Optimizer = Literal["adam", "rmsprop", "sgd", "optimistic_adam", "optimistic_sgd"]
Decay = Literal["none", "linear", "cosine"]


@dataclass(kw_only=True)
class TrainConfig:
    """The schedule and the optimizers of Algorithm 1. Steps are generator steps."""

    steps: int = within(1, bounds.STEPS)
    batch_size: int = within(1, bounds.BATCH)
    optimizer: Optimizer = field()
    critic_lr: float = rate()
    generator_lr: float = rate()
    betas: list[float] = field(metadata={"length": 2, "least": 0, "below": 1})
    decay: Decay = field()
    burst_n_critic: int = within(0, bounds.CRITIC_STEPS)
    burst_first_steps: int = within(0, bounds.STEPS)
    burst_every_n_steps: int = within(0, bounds.EVERY_STEPS)
    average_decay: float = field(metadata={"least": 0, "below": 1})


@dataclass(kw_only=True)
class LogConfig:
    """How often scalars and pictures are written, and which files a run writes."""

    every_n_steps: int = within(1, bounds.EVERY_STEPS)
    picture_every_n_steps: int = within(1, bounds.EVERY_STEPS)
    tensorboard: bool = field()
    animation: bool = field()
    figure: bool = field()


@dataclass(kw_only=True)
class EvaluateConfig:
    """How often a run is measured, on how many samples, and by which protocol."""

    every_n_steps: int = within(0, bounds.EVERY_STEPS)
    n: int = within(10, bounds.SAMPLES)
    final_n: int = within(10, bounds.SAMPLES)
    final_draws: int = within(1, bounds.REPEATS)
    floor_pairs: int = within(2, bounds.REPEATS)
    protocol: bounds.ModeProtocol = field()
    projections: int = within(1, bounds.LINES)
    features: str | None = field()


@dataclass(kw_only=True)
class CheckpointConfig:
    """How often a run is saved, in generator steps."""

    every_n_steps: int = within(1, bounds.EVERY_STEPS)


@dataclass(kw_only=True)
class SweepConfig:
    """Where and how the runs of a sweep are computed; no setting here changes their numbers."""

    devices: str | list[str] = field()
    stacks_per_device: int = within(1, bounds.REPEATS)
    max_stack: int = within(0, bounds.REPEATS)
    objective: str = field()


@dataclass(kw_only=True)
class RunConfig:
    """All settings of one run."""

    seed: int = within(0, bounds.SEEDS)
    device: str = field()
    precision: bounds.Precision = field()
    compile: Literal["auto", "true", "false"] = field()
    deterministic: bool = field()
    name: str = field()
    output_dir: str = field()
    overwrite: bool = field()
    loss: LossConfig = field()
    data: DataConfig = field()
    network: NetworkConfig = field()
    train: TrainConfig = field()
    log: LogConfig = field()
    evaluate: EvaluateConfig = field()
    checkpoint: CheckpointConfig = field()
    sweep: SweepConfig = field()


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Return a plain nested dictionary with the keys of the YAML files, as in run.json.

    An infinite number becomes ``"inf"``.
    """
    values: dict[str, Any] = {}
    for field_ in dataclasses.fields(config):
        part = getattr(config, field_.name)
        values[field_.name] = storable(as_keys(part) if dataclasses.is_dataclass(part) else part)
    return values


def as_keys(part: Any) -> dict[str, Any]:
    """Return a group's values by key; the keys of its flat field are merged in."""
    values: dict[str, Any] = {}
    for field_ in dataclasses.fields(part):
        value = getattr(part, field_.name)
        values |= value if field_.metadata.get("flat") else {field_.name: value}
    return values


def storable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return INFINITE if value == math.inf else value


# The identity of a run: its settings, their digest and the name of its folder.
DIGEST_DIGITS = 8


def identity(config: RunConfig) -> dict[str, Any]:
    """Return the typed configuration without the keys for where and how it is computed.

    Options in `ADDED_LATER` and `LOSS_ADDED_LATER` with their first value are left out too, so
    that runs from before these options keep their identity.
    """
    values = {key: value for key, value in to_dict(config).items() if key not in OUTSIDE_IDENTITY}
    values["loss"] = without_later(values["loss"])
    values["data"] = {"name": config.data.name} | identity_of_data(config.data)
    return values


def identity_of_data(data: DataConfig) -> dict[str, Any]:
    """Return the kind and those options on which the target distribution depends."""
    plain = ADDED_LATER.get(data.kind, {}).items()
    options: dict[str, Any] = storable(data.options)
    return {"kind": data.kind} | {
        k: v for k, v in options.items() if k not in WHERE_DATA_LIES and (k, v) not in plain
    }


def without_later(loss: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a loss but those of `LOSS_ADDED_LATER` that have their first value."""
    return {k: v for k, v in loss.items() if (k, v) not in LOSS_ADDED_LATER.items()}


def digest(config: RunConfig) -> str:
    """Return the SHA-256, in hex, of the identity as JSON with sorted keys and no spaces."""
    return sha256(identity(config))


def digest_of_training(config: RunConfig) -> str:
    """Return the digest of what decides a run's weights: its identity without `RECORDING`."""
    return sha256({k: value for k, value in identity(config).items() if k not in RECORDING})


def sha256(values: dict[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def run_id(config: RunConfig) -> str:
    """Return the name of the run's folder, such as ``ring8-gp-gp_lambda=10-seed=0-1f3a5c7e``.

    It holds data, loss, each coefficient, seed, and the first digits of the identity's digest.
    """
    coefficients = [f"{name}={value:g}" for name, value in config.loss.coefficients.items()]
    words = [config.data.name, config.loss.name, *coefficients, f"seed={config.seed}"]
    return "-".join([*words, digest(config)[:DIGEST_DIGITS]])


def run_folder(config: RunConfig) -> Path:
    """Return the folder of the run's files: ``output_dir/name/run_id``."""
    return Path(config.output_dir) / config.name / run_id(config)


# The settings that runs of one stack share.
TRACED = ("critic_lr", "generator_lr")


def static_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings that runs of a stack share: all but seed, rates and coefficients."""
    settings = identity(config)
    settings.pop("seed")
    traced = config.loss.coefficients
    settings["loss"] = {k: v for k, v in settings["loss"].items() if k not in traced}
    settings["train"] = {k: v for k, v in settings["train"].items() if k not in TRACED}
    return settings
