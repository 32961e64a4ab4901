"""The settings of a study, from its YAML file by budget and from command-line overrides."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wganbench import bounds
from wganbench.config.check import check_device, check_output_dir
from wganbench.config.from_python import unquoted
from wganbench.errors import ConfigError, short_repr
from wganbench.presets import read_preset
from wganbench.registry import unknown
from wganbench.tuning.space import FIRST_TUNING_SEED
from wganbench.typed import check_range, convert

QUICK = "quick"


@dataclass(frozen=True)
class Settings:
    """The settings of a study; ``minutes`` is the planned time on two CPU cores."""

    budget: str
    seeds: tuple[int, ...]
    minutes: float
    output_dir: Path
    device: str
    values: Mapping[str, Any]


@contextlib.contextmanager
def numbers_that_fail(study: str, overrides: Sequence[str]) -> Iterator[None]:
    """Turn a failure of the arithmetic under settings of the user's own into a ConfigError.

    Under the study's own settings it is a fault of the study, and passes.
    """
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, ArithmeticError) as error:
        places = ("budget", "device", "output_dir")
        own = [word for word in overrides if word.partition("=")[0] not in places]
        if not own:
            raise
        raise ConfigError(
            f"study {study} cannot be measured with {' '.join(own)}: {error}"
        ) from error


def budgets(study: str) -> dict[str, dict[str, Any]]:
    """Return a study's budgets by name: ``quick``, and others that replace some of its values.

    Raises ConfigError for a study without a YAML file, and for a file without them.
    """
    found = settings_file(study).get("budgets")
    if not isinstance(found, dict) or not isinstance(found.get(QUICK), dict):
        raise ConfigError(f"study/{study}.yaml has no settings: it needs budgets: {QUICK}: ...")
    missing = {"seeds", "minutes"} - found[QUICK].keys()
    if missing:
        raise ConfigError(f"study/{study}.yaml: budgets.{QUICK} lacks {', '.join(sorted(missing))}")
    wrong = next((name for name, own in found.items() if not isinstance(own, dict | None)), None)
    if wrong is not None:
        raise ConfigError(f"study/{study}.yaml: budgets.{wrong} must hold settings by key")
    quick = dict(found[QUICK])
    return {name: quick | dict(values or {}) for name, values in found.items()}


def settings_file(study: str) -> dict[str, Any]:
    """Return the values of a study's YAML file, the user's folders first. Raises ConfigError."""
    try:
        return read_preset("study", study)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(
            f"the study {study} has no settings: there is no study/{study}.yaml in conf, beside "
            "a plugin file in conf, or in --config-dir"
        ) from error


def read_settings(study: str, protects: Mapping[str, str], overrides: Sequence[str]) -> Settings:
    """Return the settings of a command line. Raises ConfigError, one line that names the key."""
    given = dict(split(override) for override in overrides)
    known = budgets(study)
    budget = str(given.pop("budget", QUICK))
    if budget not in known:
        raise ConfigError(unknown("budget", budget, list(known)))
    values = dict(known[budget])
    output_dir = check_output_dir(as_text(given.pop("output_dir", "outputs")))
    device = check_device(as_text(given.pop("device", "auto")))
    minutes = convert(values.pop("minutes"), float, f"study/{study}.yaml: minutes")
    for key, value in given.items():
        values[key] = replaced(study, key, value, values, protects)
    seen = seen_seeds(study)
    quick = () if budget == QUICK else read_seeds(known[QUICK]["seeds"], seen)
    seeds = read_seeds(values.pop("seeds"), seen, quick)
    return Settings(budget, seeds, minutes, output_dir, device, values)


def as_text(value: Any) -> str:
    """Return a value as typed; an empty one is empty and not ``None``."""
    return "" if value is None else str(value)


def split(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{override!r}: write KEY=VALUE, such as seeds=5 or budget=full")
    try:
        return key.strip(), unquoted(text) if text[:1] == "'" else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{key}: {short_repr(text)} is no value: {error}") from error


def replaced(
    study: str, key: str, value: Any, values: Mapping[str, Any], protects: Mapping[str, str]
) -> Any:
    """Return a setting's new value in its old type. Raises ConfigError."""
    if key in protects:
        raise ConfigError(f"{key} cannot be changed in the study {study}: {protects[key]}")
    if key not in values:
        known = ["budget", "device", "output_dir", *values]
        if "." in key or key in ("loss", "data", "network", "train", "seed"):
            raise ConfigError(
                f"{key} belongs to a run; the study {study} sets it itself. Its own settings: "
                f"{', '.join(known)}"
            )
        raise ConfigError(unknown("setting", key, known))
    return typed_like(key, value, values[key])


def typed_like(key: str, value: Any, pattern: Any) -> Any:
    """Return ``value`` in the type of ``pattern``; a single value becomes a list of one.

    A number at least 0 stays so, and a count at least 1. Raises ConfigError.
    """
    if key == "seeds":
        return seeds_like(value)
    if isinstance(pattern, list):
        items = value if isinstance(value, list) else [value]
        if not items:
            raise ConfigError(f"{key} must not be empty")
        return [typed_like(key, item, pattern[0]) for item in items]
    number = isinstance(pattern, int | float) and not isinstance(pattern, bool)
    if number and isinstance(value, str):  # YAML 1.1 takes 1e-3 for a string
        with contextlib.suppress(ValueError):
            value = float(value)
    value = convert(value, type(pattern), key)
    if number:
        check_range(value, bounds_like(pattern), key)
    return value


def seeds_like(value: Any) -> Any:
    """Return a number of seeds, or a list of them, for `read_seeds`. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, list | int):
        raise ConfigError(
            f"seeds={short_repr(as_text(value))}: give how many, such as seeds=5, or which, such "
            "as seeds=[1,2]"
        )
    if isinstance(value, int):
        check_range(value, {"least": 1, "most": FIRST_TUNING_SEED}, "seeds")
    return value


def bounds_like(pattern: float) -> dict[str, float]:
    """Return the bounds of a number in the place of ``pattern``."""
    if isinstance(pattern, int):
        return {"least": min(pattern, 1), "most": bounds.STEPS}
    return {"least": 0 if pattern >= 0 else -bounds.LARGEST, "most": bounds.LARGEST}


def seen_seeds(study: str) -> tuple[int, ...]:
    """Return the seeds whose results were looked at while the study was made."""
    return tuple(settings_file(study).get("seen", ()))


def read_seeds(value: Any, seen: Sequence[int] = (), quick: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the seeds: ``5`` means the first five that were not ``seen``; a list names them.

    The first five pass over those of the ``quick`` budget too: its results were known when the
    larger budgets were sized. Raises ConfigError, also for a named seed that was seen.
    """
    seeds: list[Any]
    if isinstance(value, int):
        known = {*seen, *quick}
        seeds = [seed for seed in range(value + len(known)) if seed not in known][:value]
    else:
        seeds = list(value)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"seeds={short_repr(value).replace(' ', '')}: give at least one seed, and none twice, "
            "such as seeds=5 or seeds=[0,1]"
        )
    wrong = [s for s in seeds if not isinstance(s, int) or not 0 <= s < FIRST_TUNING_SEED]
    if wrong:
        raise ConfigError(
            f"seeds run from 0 to {FIRST_TUNING_SEED - 1}, those above have tuned the settings "
            f"and decide nothing; got {wrong[0]!r}"
        )
    refused = [seed for seed in seeds if seed in seen]
    if refused:
        raise ConfigError(
            f"seeds: {refused[0]} was looked at while the study was made and decides nothing; "
            f"take seeds from {max(seen) + 1} on"
        )
    return tuple(seeds)
