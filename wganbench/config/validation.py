"""From composed values to a typed, checked `RunConfig`, without importing torch."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from wganbench import bounds
from wganbench.config.convert import check_range, convert_fields
from wganbench.config.schema import RunConfig, TrainConfig
from wganbench.data import DATASETS
from wganbench.errors import ConfigError, told
from wganbench.records.tags import tag_for
from wganbench.registry import UnknownName

COEFFICIENT_RANGES: dict[str, dict[str, float]] = {
    "gp_lambda": {"least": 0},
    "r1_gamma": {"least": 0},
    "clip_value": {"above": 0, "least": 1 / bounds.COEFFICIENT},
}
"""What the built-in coefficients accept; those of a user's own loss accept any number."""

FINITE = {"least": -bounds.COEFFICIENT, "most": bounds.COEFFICIENT}


def validate(values: Mapping[str, Any]) -> RunConfig:
    """The typed configuration behind plain values, composed or stored.

    Types, ranges and cross-field rules are checked; whether the loss, the data and the
    network know their options is `options.check_options`'s part, which imports torch.
    Raises ConfigError, one line that names the key.
    """
    config = RunConfig(**convert_fields(RunConfig, values))
    for name, value in config.loss.coefficients.items():
        check_range(value, COEFFICIENT_RANGES.get(name, {}), f"loss.{name}")
        if math.isinf(value) and name != "clip_value":
            raise ConfigError(f"loss.{name} must be finite; got {value}")
        if not math.isinf(value):
            check_range(value, FINITE, f"loss.{name}")
    check_sizes(config)
    check_train(config.train, config.loss.n_critic)
    check_names(config)
    if config.sweep.objective != "auto":
        try:
            tag_for(config.sweep.objective)
        except UnknownName as error:
            raise ConfigError(f"sweep.objective: {error}") from error
    return config


def check_sizes(config: RunConfig) -> None:
    """Options of data and network are within their bounds, in stored configurations as well.

    What a user's own data and networks accept is theirs to say, but for the names that ours
    have too.
    """
    for name, value in config.network.options.items():
        most = bounds.network_most(name)
        if most is not None and is_number(value):
            check_range(value, {"most": most}, f"network.{name}")
    if config.data.kind not in DATASETS:
        return
    for field in dataclasses.fields(DATASETS[config.data.kind].options):
        check_option(config.data.options.get(field.name), field.metadata, f"data.{field.name}")


def check_option(value: Any, metadata: Mapping[str, Any], key: str) -> None:
    if isinstance(value, list | tuple):
        for i, item in enumerate(value):
            check_option(item, metadata, f"{key}[{i}]")
    elif is_number(value):
        check_range(value, metadata, key)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_train(train: TrainConfig, n_critic: int) -> None:
    """Betas are possible, and bursts either complete or absent."""
    if not all(0 <= beta < 1 for beta in train.betas):
        raise ConfigError(f"train.betas must be at least 0 and below 1; got {train.betas}")
    has_bursts = train.burst_first_steps > 0 or train.burst_every_n_steps > 0
    if has_bursts and train.burst_n_critic < n_critic:
        raise ConfigError(
            f"train.burst_n_critic must be at least loss.n_critic={n_critic} where "
            f"train.burst_first_steps or train.burst_every_n_steps asks for bursts; "
            f"got {train.burst_n_critic}"
        )
    if train.burst_n_critic > 0 and not has_bursts:
        raise ConfigError(
            f"train.burst_n_critic={train.burst_n_critic} is never used: set "
            f"train.burst_first_steps or train.burst_every_n_steps"
        )


def check_names(config: RunConfig) -> None:
    """Names that become folders are safe as such, and the device is written as one."""
    for key, name in (
        ("name", config.name),
        ("data.name", config.data.name),
        ("loss.name", config.loss.name),
    ):
        if not re.fullmatch(r"[\w+=,@-][\w+=,@. -]*", name):
            raise ConfigError(
                f"{key} names a folder: letters, digits, spaces and _-+=,@. without a space or a "
                f"dot at the beginning; got {told(name)}"
            )
    if not config.output_dir.strip():
        raise ConfigError("output_dir is empty; the current folder is output_dir=.")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", config.device):
        raise ConfigError(
            f"device is auto, cpu, cuda or cuda:1 and so on; got {told(config.device)}"
        )
