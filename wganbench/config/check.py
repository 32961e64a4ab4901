"""Conversion of composed values to a typed, checked `RunConfig`, without importing torch."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wganbench import bounds
from wganbench.config.memory import check_memory, check_training_set
from wganbench.config.schema import LOSS_ADDED_LATER, DataConfig, RunConfig, TrainConfig
from wganbench.data import DATASETS
from wganbench.data.options import ADDED_LATER
from wganbench.errors import ConfigError, expanded, short_repr
from wganbench.files import RECORD_BYTES
from wganbench.registry import Registry, UnknownName
from wganbench.tags.lookup import bias_text, right_distance, tag_for
from wganbench.typed import check_range, convert_fields, nearest_key

if TYPE_CHECKING:
    from wganbench.losses import Recipe
    from wganbench.networks import Pair

FINITE = {"least": -bounds.COEFFICIENT, "most": bounds.COEFFICIENT}
"""The range of a coefficient for which its recipe states none."""


def from_dict(values: Mapping[str, Any]) -> RunConfig:
    """Return the typed configuration of plain values, composed or stored: the inverse of `to_dict`.

    Checks types, ranges and rules across fields. `check_options`, which imports torch, checks
    the options of loss, data and network. Raises ConfigError, one line that names the key.
    """
    if isinstance(loss := values.get("loss"), Mapping):
        values = {**values, "loss": {**LOSS_ADDED_LATER, **loss}}
    config = RunConfig(**convert_fields(RunConfig, values))
    for name, value in config.loss.coefficients.items():
        check_range(value, {} if math.isinf(value) else FINITE, f"loss.{name}")
    config.output_dir = str(check_output_dir(config.output_dir))
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
    """Check that options of data and network are within their bounds; raises ConfigError.

    This holds for stored configurations too. A user's own data sets and networks state their own
    bounds, except for option names that ours have too.
    """
    for name, value in config.network.options.items():
        most = bounds.network_most(name)
        if most is not None and is_number(value):
            check_range(value, {"most": most}, f"network.{name}")
    if config.data.kind not in DATASETS:
        return
    for field in dataclasses.fields(DATASETS[config.data.kind].options):
        value = config.data.options.get(field.name)
        if not (is_number(value) and str(field.type).startswith("list")):  # told by its type
            check_option(value, field.metadata, f"data.{field.name}")


def check_option(value: Any, metadata: Mapping[str, Any], key: str) -> None:
    if isinstance(value, list | tuple):
        for i, item in enumerate(value):
            check_option(item, metadata, f"{key}[{i}]")
    elif is_number(value):
        check_range(value, metadata, key)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_train(train: TrainConfig, n_critic: int) -> None:
    """Check that bursts are complete or absent."""
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
    """Check that names are safe as folders, and that the device is spelled correctly."""
    for key, name in (
        ("name", config.name),
        ("data.name", config.data.name),
        ("loss.name", config.loss.name),
    ):
        check_name(key, name)
    check_device(config.device)


def check_name(key: str, name: str) -> str:
    """Return the name of a folder itself; raises ConfigError if it could lead elsewhere."""
    if not re.fullmatch(r"[\w+=,@-][\w+=,@. -]*", name):
        raise ConfigError(
            f"{key} names a folder: letters, digits, spaces and _-+=,@. without a space or a "
            f"dot at the beginning; got {short_repr(name)}"
        )
    return name


def check_output_dir(folder: str) -> Path:
    """Return the folder of all results, ``~`` expanded; raises ConfigError for an empty text."""
    if not folder.strip():
        raise ConfigError("output_dir is empty; the current folder is output_dir=.")
    return expanded(folder, "output_dir")


def check_device(device: str) -> str:
    """Return the device itself; raises ConfigError for a wrong spelling."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ConfigError(
            f"device must be auto, cpu, cuda or cuda:1 and so on; got {short_repr(device)}"
        )
    return device


# Checks of the options of loss, data and network by their registries; this imports torch.
def check_options(config: RunConfig) -> RunConfig:
    """Return ``config`` with every option converted to the type in its registry row.

    Raises ConfigError for an option that is not in its row or has a wrong value, and for
    combinations that cannot be trained: a batch larger than a fixed training set, batch norm in
    a penalised critic, a norm beside a spectral one, a protocol for another dimension, features
    that cannot be imported, a user's metric without a row for its tag, more rows than can be read.
    """
    typed = typed_rows(config)
    check_normalization(typed, recipe_of(typed))
    check_data(typed)
    check_features(typed)
    check_rows(typed)
    return typed


def typed_rows(config: RunConfig) -> RunConfig:
    """Return ``config`` with its options converted and checked by their registry rows.

    Builds nothing and reads no data, so it is safe for a stored configuration of a stranger.
    Raises ConfigError.
    """
    from wganbench.losses import RECIPES
    from wganbench.metrics import check_tags
    from wganbench.networks import NETWORKS

    check_tags()
    row(RECIPES, config.loss.name, "loss.name")
    recipe = recipe_of(config)
    check_packing(config)
    check_unrolled(config, recipe)
    data = row(DATASETS, config.data.kind, "data.kind")
    network = row(NETWORKS, config.network.kind, "network.kind")
    check_coefficients(config, recipe, dict(RECIPES))
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, options=data_options(config.data, data.options)),
        network=dataclasses.replace(
            config.network,
            options=typed_options(network.options, config.network.options, "network."),
        ),
    )


def recipe_of(config: RunConfig) -> Recipe:
    """Return the loss of a run with its further penalties. Raises ConfigError for nonsense."""
    from wganbench.losses.recipes import composed

    try:
        return composed(config.loss.name, config.loss.penalties)
    except ValueError as error:
        raise ConfigError(f"loss.penalties: {error}") from error


def check_packing(config: RunConfig) -> None:
    """Refuse packs that do not fill the batch."""
    packing, batch = config.loss.packing, config.train.batch_size
    if batch % packing:
        raise ConfigError(
            f"loss.packing={packing} does not divide train.batch_size={batch}: the critic sees "
            f"the batch in packs of {packing}; {batch - batch % packing or packing} is divisible"
        )


def check_unrolled(config: RunConfig, recipe: Recipe) -> None:
    """Refuse unrolled steps of a penalised critic: a penalty holds its points fixed."""
    if config.loss.unrolled and recipe.penalties:
        added = len(config.loss.penalties)
        own = len(recipe.penalties) > added
        ways = [*(["remove loss.penalties"] if added else []), *(["choose bce or clip"] * own)]
        raise ConfigError(
            f"loss.unrolled={config.loss.unrolled} needs a loss without penalties; "
            f"loss={config.loss.name} has one here: set loss.unrolled=0, or {' and '.join(ways)}"
        )


def row(registry: Registry[Any], name: str, key: str) -> Any:
    """Return the row that a key names; raises ConfigError for an unknown name."""
    try:
        return registry[name]
    except UnknownName as error:
        raise ConfigError(f"{key}={name}: {error}") from error


def data_options(data: DataConfig, cls: type) -> dict[str, Any]:
    """Return the typed options of a data set; ``found_at`` is the absolute path of its files."""
    given = ADDED_LATER.get(data.kind, {}) | data.options
    options = typed_options(cls, given, "data.")
    if options.get("path") == "":
        raise ConfigError("data.path is empty: give the path of a file or a folder")
    if "found_at" in options and options["found_at"] is None:
        options["found_at"] = str(expanded(options["path"], "data.path").absolute())
    return options


def typed_options(cls: type, options: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return options by name in the types of their dataclass, with defaults filled in."""
    arguments = convert_fields(cls, options, prefix)
    with as_config_error():
        typed = cls(**arguments)
    return {field.name: getattr(typed, field.name) for field in dataclasses.fields(cls)}


@contextmanager
def as_config_error() -> Iterator[None]:
    """Turn a ValueError or OSError of options and data sets into a ConfigError."""
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error


def check_coefficients(config: RunConfig, recipe: Recipe, recipes: Mapping[str, Recipe]) -> None:
    """Check that exactly the coefficients of the loss are given, each within its range."""
    from wganbench.losses.constraints import TERMS

    given, known = config.loss.coefficients, recipe.coefficients
    for name in given:
        if name not in known:
            users = [loss for loss, other in recipes.items() if name in other.coefficients]
            terms = [term for term, penalty in TERMS.items() if name in penalty.names]
            if terms and config.loss.penalties:
                raise ConfigError(
                    f"loss.{name} belongs to the penalty {terms[0]}, which loss.penalties="
                    f"[{','.join(config.loss.penalties)}] lacks: add it, or remove the key with "
                    f"~loss.{name}"
                )
            raise ConfigError(unused_coefficient(name, config.loss.name, users, known))
    for name in known:
        if name not in given:
            added = [each for each in config.loss.penalties if name in TERMS[each].names]
            needs = f"loss.penalties=[{added[0]}]" if added else f"loss={config.loss.name}"
            raise ConfigError(f"loss.{name} is missing: {needs} needs it")
        check_range(given[name], recipe.ranges.get(name, FINITE), f"loss.{name}")


def unused_coefficient(name: str, chosen: str, users: list[str], known: Iterable[str]) -> str:
    """Return the message for a coefficient that the chosen loss lacks."""
    key = f"loss.{name}"
    hint = nearest_key(key, [f"loss.{other}" for other in known])
    if not users:
        return f"unknown key {key}{hint}"
    have = "has" if len(users) == 1 else "have"
    return f"{key} is not used by loss={chosen}{hint} ({', '.join(users)} {have} it)"


def check_data(config: RunConfig) -> None:
    """Check that the data can be built, hold a batch, and suit network, memory and protocol."""
    from wganbench.data import build
    from wganbench.data.registry import check_training_options
    from wganbench.metrics import check_protocol
    from wganbench.networks import build_pair

    network = config.network
    check_training_set(config)
    with as_config_error():
        target = build(config.data.kind, config.data.options)
        check_training_options(config.data.kind, config.data.options, target)
        pair = build_pair(
            network.kind, network.options, target.shape, config.precision, config.loss.packing
        )
    check_objective(config, target.shape)
    check_pointwise(config, recipe_of(config), pair)
    check_memory(config, target.shape, pair)
    if config.evaluate.features is not None and len(target.shape) != 3:
        raise ConfigError(
            f"evaluate.features is not used by data={config.data.name}: it measures images alone"
        )
    points = target.points
    batch = config.train.batch_size
    if points is not None and batch > len(points):
        raise ConfigError(
            f"train.batch_size={batch} is larger than the training set of {len(points)} points"
        )
    if target.modes is not None:
        try:
            check_protocol(config.evaluate.protocol, math.prod(target.shape))
        except ValueError as error:
            raise ConfigError(f"evaluate.protocol: {error}") from error


def check_objective(config: RunConfig, shape: Sequence[int]) -> None:
    """Refuse exact W1 as a sweep's objective where it is mostly bias, see `BIASED_FROM`."""
    if biased := bias_text(config.sweep.objective, shape):
        right = right_distance(shape)
        raise ConfigError(f"sweep.objective={biased}: take {right}, which auto does too")


def check_features(config: RunConfig) -> None:
    """Check that the user's own image features, named on this command line, can be imported."""
    from wganbench.metrics import allow_features, load_features

    if config.evaluate.features is not None:
        allow_features(config.evaluate.features)
        with as_config_error():
            load_features(config.evaluate.features)


ROW_BYTES = 512
"""Bytes of a row of metrics.csv, and of an evaluation in it; they have about 410 and 380."""

MOST_ROWS = RECORD_BYTES // ROW_BYTES
"""Rows and evaluations of a run: `compare` and others read no larger table."""


def check_rows(config: RunConfig) -> None:
    """Refuse more rows and evaluations than can be read; raises ConfigError."""
    steps = config.train.steps
    every = {
        "log.every_n_steps": config.log.every_n_steps,
        "evaluate.every_n_steps": config.evaluate.every_n_steps,
    }
    rows = {key: steps // n if n else 0 for key, n in every.items()}
    if sum(rows.values()) <= MOST_ROWS:
        return
    often = [key for key, count in rows.items() if count > MOST_ROWS // 2]
    room = MOST_ROWS - sum(count for key, count in rows.items() if key not in often)
    least = math.ceil(len(often) * steps / room)
    raise ConfigError(
        f"{' and '.join(f'{key}={every[key]}' for key in often)} with train.steps={steps} gives a "
        "metrics.csv that is too large to be read: give at least "
        + " and ".join(f"{key}={least}" for key in often)
    )


def check_pointwise(config: RunConfig, recipe: Recipe, pair: Pair) -> None:
    """Refuse a critic that mixes points, such as a user's own, where each score has a slope."""
    if recipe.needs_pointwise_critic and not pair.critic_is_pointwise:
        raise ConfigError(
            f"network.kind={config.network.kind} cannot be used with loss={config.loss.name} here: "
            "this network's critic mixes points, as batch norm does (critic_is_pointwise is False),"
            " and the loss takes the slope at each point"
        )


def check_normalization(config: RunConfig, recipe: Any) -> None:
    """Refuse batch norm where each score has a slope, and any norm beside a spectral one.

    With batch norm a score depends on other points; a norm's factor on its output, which has no
    spectral norm, may have any size.
    """
    from wganbench.losses.recipes import Wrapper

    norm = config.network.options.get("critic_normalization", "none")
    if recipe.wrapper is Wrapper.SPECTRAL and norm != "none":
        raise ConfigError(
            f"network.critic_normalization={norm} cannot be used with loss={config.loss.name}: its "
            "spectral norm bounds the critic's slope, and this norm does not; use none"
        )
    if recipe.needs_pointwise_critic and (
        config.network.options.get("critic_normalization") == "batch"
    ):
        raise ConfigError(
            f"network.critic_normalization=batch cannot be used with loss={config.loss.name}: "
            "batch norm makes D(x)[i] depend on x[j], and the loss takes the slope at "
            "each point; use layer or none"
        )
