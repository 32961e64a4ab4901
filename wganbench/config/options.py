"""Whether loss, data and network know their options: asks their registries, imports torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wganbench.config.convert import convert_fields
from wganbench.config.memory import check_memory, check_training_set
from wganbench.config.schema import DataConfig, RunConfig
from wganbench.config.suggest import nearest_key
from wganbench.data.options import ADDED_LATER
from wganbench.errors import ConfigError
from wganbench.registry import Registry, UnknownName


def check_options(config: RunConfig) -> RunConfig:
    """``config`` with every option typed by the registry row it belongs to.

    Raises ConfigError for an option that its row does not have or that does not fit, and
    for combinations that cannot be trained: a batch larger than a fixed training set,
    batch norm in a penalised critic, a protocol in another dimension than its own,
    features that cannot be imported, a metric of a user's own without its tag's row.
    """
    from wganbench.losses import RECIPES

    typed = typed_rows(config)
    check_batch_norm(typed, RECIPES[typed.loss.name])
    check_data(typed)
    check_features(typed)
    return typed


def typed_rows(config: RunConfig) -> RunConfig:
    """``config`` with its options in the types and ranges of the rows they belong to.

    Builds nothing and reads no data: good for a stored configuration too, which a stranger may
    have written. Raises ConfigError.
    """
    from wganbench.data import DATASETS
    from wganbench.losses import RECIPES
    from wganbench.metrics import check_tags
    from wganbench.networks import NETWORKS

    check_tags()
    recipe = row(RECIPES, config.loss.name, "loss.name")
    data = row(DATASETS, config.data.kind, "data.kind")
    network = row(NETWORKS, config.network.kind, "network.kind")
    check_coefficients(config, recipe.coefficients, {name: RECIPES[name] for name in RECIPES})
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, options=data_options(config.data, data.options)),
        network=dataclasses.replace(
            config.network,
            options=typed_options(network.options, config.network.options, "network."),
        ),
    )


def row(registry: Registry[Any], name: str, key: str) -> Any:
    """The row that a key names; raises ConfigError for a name without one."""
    try:
        return registry[name]
    except UnknownName as error:
        raise ConfigError(f"{key}={name}: {error}") from error


def data_options(data: DataConfig, cls: type) -> dict[str, Any]:
    """The typed options of a data set, and in ``found_at`` where its files lie."""
    given = ADDED_LATER.get(data.kind, {}) | data.options
    options = typed_options(cls, given, "data.")
    if "found_at" in options and options["found_at"] is None:
        options["found_at"] = str(Path(options["path"]).expanduser().absolute())
    return options


def typed_options(cls: type, options: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Options in the types of their dataclass, by name, defaults filled in."""
    arguments = convert_fields(cls, options, prefix)
    with as_config_error():
        typed = cls(**arguments)
    return {field.name: getattr(typed, field.name) for field in dataclasses.fields(cls)}


@contextmanager
def as_config_error() -> Iterator[None]:
    """What options and data sets refuse with a ValueError, or cannot read, is the user's."""
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error


def check_coefficients(config: RunConfig, known: Iterable[str], recipes: dict[str, Any]) -> None:
    """A coefficient that the loss does not use is refused, one that it needs is there."""
    given, known = config.loss.coefficients, list(known)
    for name in given:
        if name not in known:
            users = [loss for loss, recipe in recipes.items() if name in recipe.coefficients]
            raise ConfigError(unused_knob(f"loss.{name}", "loss", config.loss.name, users, known))
    for name in known:
        if name not in given:
            raise ConfigError(f"loss.{name} is missing: loss={config.loss.name} needs it")


def unused_knob(key: str, group: str, chosen: str, users: list[str], known: Iterable[str]) -> str:
    """The line for a knob that the chosen loss, data set or network does not have."""
    hint = nearest_key(key, [f"{group}.{name}" for name in known])
    if not users:
        return f"unknown key {key}{hint}"
    return f"{key} is not used by {group}={chosen}{hint} ({', '.join(users)} have it)"


def check_data(config: RunConfig) -> None:
    """The data can be built, holds a batch, suits network and protocol that counts its modes."""
    from wganbench.data import build
    from wganbench.metrics import check_protocol
    from wganbench.networks import build_pair

    network = config.network
    check_training_set(config)
    with as_config_error():
        target = build(config.data.kind, config.data.options)
        pair = build_pair(network.kind, network.options, target.shape, config.precision)
    check_memory(config, target.shape, pair)
    points = getattr(target, "points", None)
    batch = config.train.batch_size
    if points is not None and batch > len(points):
        raise ConfigError(
            f"train.batch_size={batch} is larger than the training set of {len(points)} points"
        )
    if hasattr(target, "modes"):
        try:
            check_protocol(config.evaluate.protocol, math.prod(target.shape))
        except ValueError as error:
            raise ConfigError(f"evaluate.protocol: {error}") from error


def check_features(config: RunConfig) -> None:
    """A user's own features of pictures, which this command line names, can be imported."""
    from wganbench.metrics import allow_features, load_features

    if config.evaluate.features is not None:
        allow_features(config.evaluate.features)
        with as_config_error():
            load_features(config.evaluate.features)


def check_batch_norm(config: RunConfig, recipe: Any) -> None:
    """The penalty of a point's slope needs a score that depends on that point alone."""
    if recipe.needs_pointwise_critic and (
        config.network.options.get("critic_normalization") == "batch"
    ):
        raise ConfigError(
            f"network.critic_normalization=batch cannot be used with loss={config.loss.name}: "
            "batch norm makes D(x)[i] depend on x[j], and the penalty is on the slope at "
            "each point; use layer or none"
        )
