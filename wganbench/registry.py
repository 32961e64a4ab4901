"""Registries: every loss, data set, network and metric is a row in one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from wganbench.errors import LONGEST_VALUE, ConfigError, shortened, told

Row = TypeVar("Row")


class UnknownName(ValueError):
    """A name that no row carries; the message holds the nearest one that exists."""


_waiting: dict[str, list[EntryPoint]] = {}
"""Entry points by group that have not added their rows yet, of groups that were asked for."""


def load_entry_points(group: str) -> None:
    """Let installed packages add their rows, each entry point of ``wganbench.<group>`` once.

    Raises ConfigError for one that fails, at every look-up that needs it.
    """
    if group not in _waiting:
        _waiting[group] = list(entry_points(group=f"wganbench.{group}"))
    waiting = _waiting[group]
    while waiting:
        entry_point = waiting.pop(0)  # first, for it may look rows up while it adds its own
        try:
            load(entry_point, group)
        except ConfigError:
            waiting.insert(0, entry_point)
            raise


def load(entry_point: EntryPoint, kind: str) -> None:
    """Let a user's package add its rows. Raises ConfigError, which names it, when it fails."""
    try:
        entry_point.load()()
    except (Exception, SystemExit) as error:
        package = entry_point.dist.name if entry_point.dist else "of an unknown package"
        raise ConfigError(
            f"the package {package} cannot add to wganbench.{kind}: its entry point "
            f"{entry_point.name} = {entry_point.value} fails: {type(error).__name__}: {error}"
        ) from error


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
    near = difflib.get_close_matches(shortened(name, LONGEST_VALUE), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {told(name)}{hint} (there are: {', '.join(sorted(names))})"
