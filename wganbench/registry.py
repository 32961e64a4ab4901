"""Registries: every loss, data set, network and metric is a row in one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from wganbench.errors import ConfigError

Row = TypeVar("Row")


class UnknownName(ValueError):
    """A name that no row carries; the message holds the nearest one that exists."""


_loaded: dict[str, str] = {}
"""Groups of entry points that were loaded in this process, and what is wrong with one of them."""


def load_entry_points(group: str) -> None:
    """Call the functions that installed packages name under ``wganbench.<group>``, once.

    Raises ConfigError, at every call, that names the one that fails.
    """
    if group not in _loaded:
        _loaded[group] = ""  # a function may look rows up while it registers its own
        _loaded[group] = _load(group)
    if _loaded[group]:
        raise ConfigError(_loaded[group])


def _load(group: str) -> str:
    for entry_point in entry_points(group=f"wganbench.{group}"):
        try:
            entry_point.load()()
        except Exception as error:
            package = getattr(entry_point.dist, "name", None) or "an installed package"
            return (
                f"{package} cannot add its {group} (entry point {entry_point.name} = "
                f"{entry_point.value}): {type(error).__name__}: {error}"
            )
    return ""


class Registry(Mapping[str, Row], Generic[Row]):
    """Rows by name, in the order of registration.

    A user's package adds rows through the entry-point group ``wganbench.<kind>``
    (``wganbench.losses``, ``wganbench.data``, ...): each entry point names a
    function of no arguments that registers its rows. Entry points are loaded at
    the first look-up that the built-in rows cannot answer, or when rows are listed.
    ``group`` is the kind whose entry points add these rows too, where it is another.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind, self.group = kind, group or kind
        self._rows: dict[str, Row] = {}

    def register(self, name: str, row: Row) -> Row:
        """Add a row; raises ValueError when the name is taken."""
        if name in self._rows:
            raise ValueError(f"{self.kind} already has a row named {name!r}")
        self._rows[name] = row
        return row

    def __getitem__(self, name: str) -> Row:
        if name not in self._rows:
            load_entry_points(self.group)
        if name not in self._rows:
            raise UnknownName(unknown(self.kind, name, self._rows))
        return self._rows[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._rows:
            load_entry_points(self.group)
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        load_entry_points(self.group)
        return iter(self._rows)

    def __len__(self) -> int:
        load_entry_points(self.group)
        return len(self._rows)


def unknown(kind: str, name: str, valid: Mapping[str, object] | list[str]) -> str:
    """One line for a name that does not exist, with the nearest ones that do."""
    names = list(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}{hint} (there are: {', '.join(sorted(names))})"
