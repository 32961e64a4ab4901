"""Shell completion of overrides: ``loss=<TAB>``."""

from __future__ import annotations

import dataclasses
import os
import re
import typing
from collections.abc import Mapping
from typing import Any

from wganbench.config.schema import RunConfig
from wganbench.presets import (
    GROUPS,
    choices,
    chosen_keys,
    chosen_values,
    directories,
)
from wganbench.typed import as_override, choices_of


def complete_override(incomplete: str) -> list[str]:
    """Return the completions of one override, a key or a key's value, for any shell."""
    key, separator, value = split_word(incomplete, os.environ)
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    chosen = choices_in(line)
    if separator:
        found = [one for one in values_of(key, chosen) if one.startswith(value)]
        return found if separator == " = " else [f"{key}={one}" for one in found]
    return matching_keys(key, chosen)


def split_word(incomplete: str, environment: Mapping[str, str]) -> tuple[str, str, str]:
    """Return ``(key, separator, value)`` of the word at the cursor.

    Bash splits words at ``=`` and needs only the value; the separator is then ``" = "``.

    >>> split_word("loss=g", {})
    ('loss', '=', 'g')
    >>> split_word("g", {"COMP_WORDS": "wganbench train loss = g", "COMP_CWORD": "4"})
    ('loss', ' = ', 'g')
    """
    words = environment.get("COMP_WORDS", "").split()
    if words and environment.get("COMP_CWORD", "").isdecimal():
        at = int(environment["COMP_CWORD"])
        before = [*words, *[""] * (at + 1 - len(words))]
        if at >= 1 and before[at] == "=":
            return before[at - 1], " = ", ""
        if at >= 2 and before[at - 1] == "=":
            return before[at - 2], " = ", before[at]
    return incomplete.partition("=")


def choices_in(line: str) -> dict[str, str]:
    """Return the group choices in the words typed so far."""
    found = re.findall(rf"(?<![\w.])({'|'.join(GROUPS)})\s*=\s*(\w+)", line)
    return dict(found)


def matching_keys(start: str, chosen: dict[str, str]) -> list[str]:
    """Return ``key=`` for the keys with this beginning; a single key comes with its values.

    (After a single completion a shell would add a space behind the ``=``.)
    """
    keys = [key for key in chosen_keys(chosen, directories()) if key.startswith(start)]
    keys = [key for key in keys if not re.fullmatch(r"\w+\.(name|kind)", key)]
    if len(keys) == 1:
        return [f"{keys[0]}=", *(f"{keys[0]}={value}" for value in values_of(keys[0], chosen))]
    return [f"{key}=" for key in keys]


def values_of(key: str, chosen: dict[str, str]) -> list[str]:
    """Return the choices of a group or of a key, else the key's value in YAML."""
    where = directories()
    if key in GROUPS:
        return choices(key, where)
    known = field_choices(key)
    if known:
        return known
    value = chosen_values(chosen, where).get(key)
    return [] if value is None else [as_override(value)]


def field_choices(key: str) -> list[str]:
    """Return the choices of a key in the schema; true and false for a boolean."""
    cls: Any = RunConfig
    *sections, name = key.split(".")
    for section in sections:
        cls = typing.get_type_hints(cls).get(section)
        if not dataclasses.is_dataclass(cls):
            return []
    field = next((field for field in dataclasses.fields(cls) if field.name == name), None)
    if field is None:
        return []
    hint = typing.get_type_hints(cls)[name]
    return ["true", "false"] if hint is bool else list(choices_of(hint, field.metadata))
