"""Conversion of Hydra's and OmegaConf's errors to one line that helps the user."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

from wganbench.config.overrides import Arguments, check_tuned, group_of
from wganbench.errors import ConfigError
from wganbench.presets import (
    GROUPS,
    all_keys,
    choices,
    chosen_keys,
    content_of,
    default_choice,
    defaults_of,
    find_preset,
    is_global,
    of_yaml,
    owners,
    preset_values,
    read,
    readable_values,
)
from wganbench.registry import unknown
from wganbench.typed import alias, nearest, nearest_key

HYDRA_PLUGINS = {
    "hydra/launcher=joblib": "hydra-joblib-launcher",
    "hydra/launcher=rq": "hydra-rq-launcher",
    "hydra/launcher=submitit_local": "hydra-submitit-launcher",
    "hydra/launcher=submitit_slurm": "hydra-submitit-launcher",
    "hydra/sweeper=ax": "hydra-ax-sweeper",
    "hydra/sweeper=nevergrad": "hydra-nevergrad-sweeper",
    "hydra/sweeper=optuna": "hydra-optuna-sweeper",
}
"""The packages of other launchers and sweepers of Hydra, by what is typed."""


@contextmanager
def in_one_line(arguments: Arguments) -> Iterator[None]:
    """Turn an error of Hydra about the configuration into a ConfigError.

    The chosen YAML files are checked before, because Hydra takes some mistakes for values.
    """
    check_files(arguments)
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        if not from_configuration(error):
            raise
        raise readable(error, arguments) from error


def readable(error: BaseException, arguments: Arguments) -> ConfigError:
    """Return the ConfigError for an error from Hydra; a ConfigError in its chain comes first."""
    import yaml
    from hydra.errors import MissingConfigException

    for cause in chain(error):
        if isinstance(cause, ConfigError):
            return cause
        if isinstance(cause, yaml.MarkedYAMLError) and cause.problem_mark:
            return ConfigError(of_yaml(cause, cause.problem_mark.name))
    try:
        check_files(arguments)
    except ConfigError as wrong:
        return wrong
    for cause in chain(error):
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            group, _, name = str(cause.missing_cfg_file).rpartition("/")
            package = HYDRA_PLUGINS.get(f"{group}={name}")
            if package is not None:
                return ConfigError(f"{group}={name} needs a package: pip install {package}")
            return ConfigError(unknown(group, name, list(cause.options or [])))
    if isinstance(error, OSError) and error.filename:
        if any(Path(error.filename).is_relative_to(folder) for folder in arguments.where):
            return ConfigError(f"cannot read {error.filename}: {error.strerror}")
        return ConfigError(f"cannot write {error.filename}: {error.strerror}; set output_dir")
    if isinstance(error, OSError) and error.strerror:
        return ConfigError(
            f"the folder of runs cannot be written: {error.strerror}; set output_dir"
        )
    message = of_a_reference(error)
    if message:
        return ConfigError(message)
    there = re.search(r"Could not append to config.*already at '([^']+)'", str(error))
    if there:
        return ConfigError(f"+{there[1]}: there is a {there[1]} already: write {there[1]}=...")
    found = re.search(r"Could not \w+ '([^']+)'", str(error))
    if found and not re.search(r"multiple|already", str(error)):
        return ConfigError(unknown_key(found[1].partition("@")[0], arguments))
    key = getattr(error, "full_key", None)
    message = next((line for line in str(error).splitlines() if line.strip()), repr(error))
    return ConfigError(f"{key}: {message}" if key and str(key) not in message else message)


def check_files(arguments: Arguments) -> None:
    """Raise ConfigError for what is wrong with a chosen YAML file or with its defaults list."""
    chosen = {group: default_choice(group) for group in GROUPS} | arguments.chosen
    chosen["tuned"] = arguments.chosen.get("tuned", f"{chosen['loss']}-{chosen['data']}")
    for group, name in chosen.items():
        if name is not None and find_preset(group, name, arguments.where):
            check_file(group, name, arguments.where, ())


def check_choices(chosen: Mapping[str, str | None], where: Sequence[Path]) -> None:
    """Check the files of a composed job, of which an experiment or its sweep may name some.

    Raises ConfigError.
    """
    names = {group: name for group, name in chosen.items() if name is not None}
    tuned = names.get("tuned", "none")
    if tuned != f"{names['loss']}-{names['data']}":
        check_tuned([tuned], where)
    check_files(Arguments([], names, tuple(where)))


def check_file(group: str, name: str, where: Sequence[Path], above: tuple[str, ...]) -> None:
    """Check a YAML file and those that its defaults list names; ``above`` led to it.

    Raises ConfigError for a file that cannot be read, is missing, names itself or lacks the first
    line that it needs.
    """
    this = f"{group}/{name}"
    path = find_preset(group, name, where)
    if path is None:
        message = unknown(group, name, choices(group, where))
        raise ConfigError(f"{above[-1]}.yaml, defaults: {message}")
    if this in above:
        way = " -> ".join([*above[above.index(this) :], this])
        raise ConfigError(f"{path}: its defaults list leads to the file itself: {way}")
    for entry in defaults_of(path):
        if isinstance(entry, str) and entry != "_self_" and "/" not in entry:
            check_file(group, entry, where, (*above, this))
        elif isinstance(entry, dict):
            for key, value in entry.items():
                other = group_of(str(key))
                if other in GROUPS and isinstance(value, str) and "$" not in value:
                    check_file(other, value, where, (*above, this))
    check_header(group, path)


HEADER = "# @package _global_"


def check_header(group: str, path: Path) -> None:
    """Raise ConfigError for a file with keys of several groups that Hydra takes for one group's.

    A loss may also hold its own keys alone, without a header.
    """
    if group not in ("loss", "experiment", "tuned"):
        return
    if is_global(path):
        if content_of(path).startswith(codecs.BOM_UTF8):
            raise ConfigError(
                f"{path} begins with a byte order mark (BOM), which hides its line {HEADER!r} from "
                "Hydra: save the file as UTF-8 without BOM"
            )
        return
    own = [value for name, value in read(path).items() if name != "defaults"]
    meant = any(
        isinstance(value, dict) for value in (own if group == "loss" else defaults_of(path))
    )
    if meant or (own and group != "loss"):
        raise ConfigError(f"{path}: its first line must be {HEADER!r}")


def of_a_reference(error: BaseException) -> str | None:
    """Return the message for a reference such as ``${seed}`` to a missing value, else None."""
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
            own = ": its YAML file needs a name: line" if name == "${data.name}" else ""
            return f"{of_a_key}{name} stands for another key's value, and there is none{own}"
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and then its causes."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def unknown_key(key: str, arguments: Arguments) -> str:
    """Return the message for a key that the composed configuration does not have.

    It suggests a similar key. For a key of other choices than the user's (``loss.clip_value``
    under ``loss=gp``) it names the choices that have it.
    """
    if key.startswith("hydra.launcher."):
        return unknown_launcher_key(key, arguments.where)
    valid, everything = chosen_keys(arguments.chosen, arguments.where), all_keys(arguments.where)
    if key in everything:
        return f"{key} is {not_used(key, arguments)}"
    meant = alias(key, valid) or nearest(key, valid) or nearest(key, everything)
    if meant is None:
        return f"unknown key {key}; wganbench train --cfg job prints all there are"
    line = f"unknown key {key}; did you mean {meant}?"
    if meant not in valid and " and " not in meant:
        line += f" It is {not_used(meant, arguments)}"
    return line


def unknown_launcher_key(key: str, where: Sequence[Path]) -> str:
    """Return the message for a setting that the chosen launcher does not have."""
    having = launcher_keys(where)
    if key in having:
        return f"{key} is a setting of hydra/launcher={' or '.join(having[key])}: choose it as well"
    near = nearest_key(key, having) or "; conf/hydra/launcher lists them"
    return f"unknown key {key}{near}"


def launcher_keys(where: Sequence[Path]) -> dict[str, list[str]]:
    """Return the launchers that have each setting, by its key."""
    group, having = "hydra/launcher", dict[str, list[str]]()
    for name in choices(group, where):
        for key in readable_values(group, name, where):
            if not key.endswith("_target_"):
                having.setdefault(key.replace("/", "."), []).append(name)
    return having


def not_used(key: str, arguments: Arguments) -> str:
    group = key.partition(".")[0]
    chosen = arguments.chosen.get(group) or default_choice(group)
    have = ", ".join(owners(key, arguments.where))
    hint = penalty_hint(key, str(chosen), arguments.where)
    own = [one for one in chosen_keys(arguments.chosen, arguments.where) if one != key]
    near = difflib.get_close_matches(key, [one for one in own if one.startswith(group)], 1, 0.9)
    beside = f", which has {near[0]}" if near else ""
    return f"not used by {group}={chosen}{beside}; {hint}those that have it: {have}"


def penalty_hint(key: str, loss: str, where: Sequence[Path]) -> str:
    """Return which penalty would bring a coefficient; empty for another key or with clipping."""
    from wganbench.losses import RECIPES
    from wganbench.losses.constraints import TERMS

    names = [name for name, term in TERMS.items() if key in [f"loss.{own}" for own in term.names]]
    if not names:
        return ""
    row = preset_values("loss", loss, where).get("loss.name", loss)
    clips = row in RECIPES and RECIPES[row].clips
    return "" if clips else f"loss.penalties=[{names[0]}] adds its penalty; "


def from_configuration(error: Exception) -> bool:
    """Return whether an error from Hydra is about flags, configuration, YAML files or folders.

    Hydra and its parser raise errors of any class for unexpected input.
    """
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    kinds = (
        HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError, RecursionError,
    )  # fmt: skip
    last = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)][-1:]
    return isinstance(error, kinds) or any(
        name.partition(".")[0] in ("hydra", "omegaconf", "antlr4") for name in last
    )
