"""What the user typed: Hydra's flags and the overrides, judged before Hydra acts on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from wganbench.config.keys import GROUPS, choices, directories, read
from wganbench.errors import ConfigError
from wganbench.registry import unknown


@dataclass(frozen=True)
class Arguments:
    """A command line: its overrides, the choices they make, where YAML files are looked for."""

    overrides: list[str]
    chosen: dict[str, str]
    where: tuple[Path, ...]


def parse_arguments(arguments: Sequence[str], several: bool = False) -> Arguments:
    """Hydra's flags and overrides; raises ConfigError for what `train` cannot do.

    ``several`` runs may be asked for by `sweep`.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    setattr(parser, "error", refuse)  # noqa: B010  (argparse would print its usage and exit)
    flags = parser.parse_args(list(arguments))
    if flags.multirun and not several:
        refuse_sweep("-m", flags.overrides)
    return parse_overrides(flags.overrides, flags.config_dir, several)


def parse_overrides(
    overrides: Sequence[str], config_dir: str | None = None, several: bool = False
) -> Arguments:
    """Overrides alone; raises ConfigError for a malformed one or one that asks for a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    where = directories(config_dir)
    parser = OverridesParser.create()
    chosen: dict[str, str] = {}
    for text in overrides:
        try:
            (override,) = parser.parse_overrides([text])
        except OverrideParseException as error:
            raise ConfigError(malformed(text, where)) from error
        key = override.key_or_group
        asks_for_several = override.is_sweep_override() or key == "hydra.mode"
        if asks_for_several and not several:
            refuse_sweep(text, overrides)
        if asks_for_several:
            continue
        if key in GROUPS and isinstance(override.value(), str):
            chosen[key] = str(override.value())
    # Hydra passes over a missing file of an optional entry; one that was asked for must exist.
    if "tuned" in chosen and chosen["tuned"] not in choices("tuned", where):
        raise ConfigError(unknown("tuned", chosen["tuned"], choices("tuned", where)))
    return Arguments(list(overrides), experiment_choices(chosen, where) | chosen, where)


def refuse(message: str) -> NoReturn:
    raise ConfigError(message)


def refuse_sweep(what: str, overrides: Iterable[str]) -> NoReturn:
    words = " ".join(f"'{text}'" if set(text) & set("()[]{} *$") else text for text in overrides)
    raise ConfigError(
        f"{what} asks for several runs and train does one; use: wganbench sweep {words}"
    )


def malformed(text: str, where: Sequence[Path]) -> str:
    """The line for an argument that is no override."""
    for group in GROUPS:
        if text in choices(group, where):
            return f"{text!r} is no override; did you mean {group}={text}?"
    return f"{text!r} is no override: overrides are KEY=VALUE, such as loss=gp or train.steps=100"


def experiment_choices(chosen: dict[str, str], where: Sequence[Path]) -> dict[str, str]:
    """The choices that the chosen experiment's defaults list makes."""
    name = chosen.get("experiment")
    paths = [folder / "experiment" / f"{name}.yaml" for folder in where]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return {}
    entries: list[Any] = read(path).get("defaults") or []
    return {
        str(key).removeprefix("override ").lstrip("/"): str(value)
        for entry in entries
        if isinstance(entry, dict)
        for key, value in entry.items()
    }
