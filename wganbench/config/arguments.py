"""What the user typed: Hydra's flags and the overrides, judged before Hydra acts on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from wganbench.config.flags import split_flags
from wganbench.config.keys import GROUPS, choices, directories, read
from wganbench.config.words import read_override, understood
from wganbench.errors import ConfigError, shortened, told
from wganbench.registry import unknown

LONGEST_CHOICE = 100
"""Characters of a name in conf/; Hydra looks for a file of whatever name it is given."""


@dataclass(frozen=True)
class Arguments:
    """A command line: its overrides, the choices they make, where YAML files are looked for.

    ``flags`` are Hydra's own; ``notes`` say which names were other people's.
    """

    overrides: list[str]
    chosen: dict[str, str]
    where: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """All of it in the order that Hydra wants."""
        return [*self.overrides, *self.flags]


def parse_arguments(arguments: Sequence[str], several: bool = False) -> Arguments:
    """Hydra's flags and overrides; raises ConfigError for what `train` cannot do.

    ``several`` runs may be asked for by `sweep`.
    """
    found = split_flags(arguments, several)
    if "--multirun" in found.flags and not several:
        refuse_sweep("-m", found.overrides)
    parsed = parse_overrides(found.overrides, found.config_dir, several)
    flags = [flag for flag in found.flags if flag != "--multirun"]
    return replace(parsed, flags=tuple(flags))


def parse_overrides(
    overrides: Sequence[str], config_dir: str | None = None, several: bool = False
) -> Arguments:
    """Overrides alone; raises ConfigError for a malformed one or one that asks for a sweep."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob, QuotedString

    where = directories(config_dir)
    words = understood(overrides, several, where)
    chosen: dict[str, str] = {}
    for text in words.overrides:
        override = read_override(text)
        key = override.key_or_group
        asks_for_several = override.is_sweep_override() or key == "hydra.mode"
        if asks_for_several and not several:
            refuse_sweep(text, overrides)
        if key not in GROUPS:
            continue
        value = override.value()
        names = list(value.list) if isinstance(value, ChoiceSweep) else [value]
        if override.is_delete() or isinstance(value, Glob):
            continue
        if not all(isinstance(name, str | QuotedString) for name in names):
            raise ConfigError(
                f"{told(text)}: {key} is chosen by a name, such as {key}={choices(key, where)[0]}, "
                f"and several are swept over: wganbench sweep {key}=A,B"
            )
        long = next((name for name in map(str, names) if len(name) > LONGEST_CHOICE), None)
        if long is not None:
            raise ConfigError(unknown(key, long, choices(key, where)))
        if not asks_for_several:
            chosen[key] = str(value)
    # Hydra passes over a missing file of an optional entry; one that was asked for must exist.
    if "tuned" in chosen and chosen["tuned"] not in choices("tuned", where):
        raise ConfigError(unknown("tuned", chosen["tuned"], choices("tuned", where)))
    chosen = experiment_choices(chosen, where) | chosen
    return Arguments(words.overrides, chosen, where, tuple(words.notes))


def refuse_sweep(what: str, overrides: Iterable[str]) -> NoReturn:
    words = " ".join(f"'{text}'" if set(text) & set("()[]{} *$") else text for text in overrides)
    raise ConfigError(
        f"{shortened(what, 80)} asks for several runs and train does one; "
        f"use: wganbench sweep {words}"
    )


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
