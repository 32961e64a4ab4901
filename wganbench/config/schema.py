"""The typed configuration of one run: types and ranges, no values (YAML holds those).

A field's metadata says what it accepts beyond its type: ``choices``, ``least`` and
``most`` (smallest and largest value allowed), ``above`` or ``below`` (a bound that is
itself refused), or ``length``. A ``flat`` field takes the keys of its group that no other
field does: ``loss.gp_lambda`` in YAML is ``loss.coefficients["gp_lambda"]`` here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wganbench import bounds
from wganbench.data.options import ADDED_LATER

OUTSIDE_IDENTITY = ("device", "output_dir", "name", "compile", "overwrite", "sweep", "hydra")
"""Keys that say where and how a run is computed, not which run it is."""

WHERE_DATA_LIES = ("root", "download", "found_at")
"""Options of ``data`` that say where its files lie and how they got there: outside too."""


def choice(*choices: str) -> Any:
    return field(metadata={"choices": choices})


def within(least: float, most: float) -> Any:
    """A number of this range, its ends included."""
    return field(metadata={"least": least, "most": most})


def rate() -> Any:
    return field(metadata={"above": 0, "most": bounds.RATE})


def flat() -> Any:
    return field(default_factory=dict, metadata={"flat": True})


@dataclass(kw_only=True)
class LossConfig:
    """Which loss, how many critic steps per generator step, and its coefficients."""

    name: str
    n_critic: int = within(1, bounds.CRITIC_STEPS)
    coefficients: dict[str, float] = flat()


@dataclass(kw_only=True)
class DataConfig:
    """A target distribution: its preset's name, the registry row that builds it, its options."""

    name: str
    kind: str
    options: dict[str, Any] = flat()


@dataclass(kw_only=True)
class NetworkConfig:
    """The pair of networks: the registry row that builds it and its options."""

    name: str
    kind: str
    options: dict[str, Any] = flat()


@dataclass(kw_only=True)
class TrainConfig:
    """Algorithm 1's schedule and optimizers. Steps are generator steps."""

    steps: int = within(1, bounds.STEPS)
    batch_size: int = within(1, bounds.BATCH)
    optimizer: str = choice("adam", "rmsprop", "sgd")
    critic_lr: float = rate()
    generator_lr: float = rate()
    betas: list[float] = field(metadata={"length": 2})
    decay: str = choice("none", "linear", "cosine")
    burst_n_critic: int = within(0, bounds.CRITIC_STEPS)
    burst_first_steps: int = within(0, bounds.STEPS)
    burst_every_n_steps: int = within(0, bounds.STEPS)
    average_decay: float = field(metadata={"least": 0, "below": 1})


@dataclass(kw_only=True)
class LogConfig:
    """How often scalars are read from the device and written."""

    every_n_steps: int = within(1, bounds.STEPS)
    picture_every_n_steps: int = within(1, bounds.STEPS)
    tensorboard: bool = field()
    animation: bool = field()
    figure: bool = field()


@dataclass(kw_only=True)
class EvaluateConfig:
    """What is measured how often, and on how many samples."""

    every_n_steps: int = within(0, bounds.STEPS)
    n: int = within(10, bounds.SAMPLES)
    final_n: int = within(10, bounds.SAMPLES)
    final_draws: int = within(1, bounds.REPEATS)
    floor_pairs: int = within(2, bounds.REPEATS)
    protocol: str = choice("veegan", "box", "chi2")
    projections: int = within(1, bounds.LINES)
    features: str | None = field()


@dataclass(kw_only=True)
class CheckpointConfig:
    """How often a run is saved, in generator steps."""

    every_n_steps: int = within(1, bounds.STEPS)


@dataclass(kw_only=True)
class SweepConfig:
    """Where and how the runs of a sweep are computed; nothing that changes their numbers."""

    devices: str | list[str] = field()
    stacks_per_device: int = within(1, bounds.REPEATS)
    max_stack: int = within(0, bounds.REPEATS)
    objective: str = field()


@dataclass(kw_only=True)
class RunConfig:
    """Everything one run depends on."""

    seed: int = within(0, bounds.SEEDS)
    device: str = field()
    precision: str = choice("fp32", "tf32", "bf16")
    compile: str = choice("auto", "true", "false")
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
    """Plain nested dictionary with the keys of the YAML files, as stored in run.json.

    An infinite number is ``"inf"`` there.
    """
    values: dict[str, Any] = {}
    for field_ in dataclasses.fields(config):
        part = getattr(config, field_.name)
        values[field_.name] = storable(as_keys(part) if dataclasses.is_dataclass(part) else part)
    return values


def as_keys(part: Any) -> dict[str, Any]:
    """A group's values by key, those of its flat field beside the others."""
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
    return "inf" if value == math.inf else value


def from_dict(values: dict[str, Any]) -> RunConfig:
    """The inverse of `to_dict`, typed and checked; raises ConfigError."""
    from wganbench.config.check import validate

    return validate(values)


# Which run a configuration is: its identity, its digest and the name of its folder.
DIGEST_DIGITS = 8


def identity(config: RunConfig) -> dict[str, Any]:
    """The typed configuration without the keys that say where and how it is computed.

    Nor with those of `ADDED_LATER` that have their first value: what a run of before is.
    """
    values = {key: value for key, value in to_dict(config).items() if key not in OUTSIDE_IDENTITY}
    plain = ADDED_LATER.get(config.data.kind, {}).items()
    values["data"] = {
        k: v for k, v in values["data"].items() if k not in WHERE_DATA_LIES and (k, v) not in plain
    }
    return values


def digest(config: RunConfig) -> str:
    """SHA-256, in hex, of the identity as JSON with sorted keys and no spaces."""
    canonical = json.dumps(identity(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def run_id(config: RunConfig) -> str:
    """A legible name for the run's folder, such as ``ring8-gp-gp_lambda=10-seed=0-1f3a5c7e``.

    Data, loss, each coefficient, seed, and the first digits of the identity's digest.
    """
    coefficients = [f"{name}={value:g}" for name, value in config.loss.coefficients.items()]
    words = [config.data.name, config.loss.name, *coefficients, f"seed={config.seed}"]
    return "-".join([*words, digest(config)[:DIGEST_DIGITS]])


def run_folder(config: RunConfig) -> Path:
    """Where the run's files go: ``output_dir/name/run_id``."""
    return Path(config.output_dir) / config.name / run_id(config)


# Which runs may share a stack.
TRACED = ("critic_lr", "generator_lr")


def static_settings(config: RunConfig) -> dict[str, Any]:
    """What runs of one stack must share: everything but seed, rates and coefficients."""
    settings = identity(config)
    settings.pop("seed")
    settings["loss"] = {"name": config.loss.name, "n_critic": config.loss.n_critic}
    settings["train"] = {k: v for k, v in settings["train"].items() if k not in TRACED}
    return settings
