"""Hydra's and OmegaConf's errors in one line that a user can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wganbench.config.arguments import Arguments
from wganbench.config.keys import all_keys, chosen_keys, default_choice, owners
from wganbench.config.suggest import alias, nearest
from wganbench.errors import ConfigError
from wganbench.registry import unknown


def readable(error: BaseException, arguments: Arguments) -> ConfigError:
    """The ConfigError for an error that left Hydra; its own where one started the chain."""
    from hydra.errors import MissingConfigException

    for cause in chain(error):
        if isinstance(cause, ConfigError):
            return cause
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            group, _, name = str(cause.missing_cfg_file).rpartition("/")
            return ConfigError(unknown(group, name, list(cause.options or [])))
    if isinstance(error, OSError) and error.filename:
        return ConfigError(f"cannot write {error.filename}: {error.strerror}; set output_dir")
    told = of_a_reference(error)
    if told:
        return ConfigError(told)
    found = re.search(r"Could not \w+ '([^']+)'", str(error))
    if found and not re.search(r"multiple|already", str(error)):
        return ConfigError(unknown_key(found[1].partition("@")[0], arguments))
    key = getattr(error, "full_key", None)
    message = next((line for line in str(error).splitlines() if line.strip()), repr(error))
    return ConfigError(f"{key}: {message}" if key and str(key) not in message else message)


def of_a_reference(error: BaseException) -> str | None:
    """The line for a value such as ``${seed}`` that stands for what is not there."""
    from omegaconf.errors import (
        GrammarParseError,
        InterpolationResolutionError,
        MissingMandatoryValue,
        UnsupportedInterpolationType,
    )

    causes = list(chain(error))
    key = next((k for k in (getattr(c, "full_key", None) for c in causes) if k), None)
    of_a_key = f"{key}: " if key and not str(key).startswith("hydra") else ""
    for cause in causes:
        if isinstance(cause, MissingMandatoryValue) or "Missing mandatory value" in str(cause):
            found = re.search(r"value: (\S+)", str(cause))
            missing = f"{found[1]}: " if found else of_a_key
            return f"{missing}'???' stands for a value that must be given"
        if isinstance(cause, GrammarParseError):
            return (
                f"{of_a_key}'${{' begins a reference to another key, such as ${{seed}}, "
                "and has no end"
            )
        variable = re.search(r"Environment variable '([^']*)'", str(cause))
        if variable:
            return f"{of_a_key}there is no environment variable {variable[1]!r}"
        if isinstance(cause, InterpolationResolutionError | UnsupportedInterpolationType):
            key_of = re.search(r"'([^']*)'", str(cause).partition("nterpolation")[2])
            name = f"${{{key_of[1]}}}" if key_of else "a reference in ${...}"
            return f"{of_a_key}{name} stands for another key's value, and there is none"
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def unknown_key(key: str, arguments: Arguments) -> str:
    """The line for a key that the composed configuration does not have.

    Names the key that was meant, and, for a knob of other choices than the user's
    (``loss.clip_value`` under ``loss=gp``), the choices that have it.
    """
    valid, everything = chosen_keys(arguments.chosen, arguments.where), all_keys(arguments.where)
    if key in everything:
        return f"{key} is {not_used(key, arguments)}"
    meant = alias(key, everything) or nearest(key, valid) or nearest(key, everything)
    if meant is None:
        return f"unknown key {key}; wganbench train --cfg job prints all there are"
    line = f"unknown key {key}; did you mean {meant}?"
    if meant not in valid and " and " not in meant:
        line += f" It is {not_used(meant, arguments)}"
    return line


def not_used(key: str, arguments: Arguments) -> str:
    group = key.partition(".")[0]
    chosen = arguments.chosen.get(group) or default_choice(group)
    return f"not used by {group}={chosen}; those that have it: " + ", ".join(
        owners(key, arguments.where)
    )
