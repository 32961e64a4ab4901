"""Registries: every loss, data set, network and metric is a row in one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

Row = TypeVar("Row")


class UnknownName(ValueError):
    """A name that no row carries; the message holds the nearest one that exists."""


class Registry(Mapping[str, Row], Generic[Row]):
    """Rows by name, in the order of registration.

    A user's package adds rows through the entry-point group ``wganbench.<kind>``
    (``wganbench.losses``, ``wganbench.data``, ...): each entry point names a
    function of no arguments that registers its rows. Entry points are loaded at
    the first look-up that the built-in rows cannot answer, or when rows are listed.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._rows: dict[str, Row] = {}
        self._entry_points_loaded = False

    def register(self, name: str, row: Row) -> Row:
        """Add a row; raises ValueError when the name is taken."""
        if name in self._rows:
            raise ValueError(f"{self.kind} already has a row named {name!r}")
        self._rows[name] = row
        return row

    def _load_entry_points(self) -> None:
        if not self._entry_points_loaded:
            self._entry_points_loaded = True
            for entry_point in entry_points(group=f"wganbench.{self.kind}"):
                entry_point.load()()

    def __getitem__(self, name: str) -> Row:
        if name not in self._rows:
            self._load_entry_points()
        if name not in self._rows:
            raise UnknownName(unknown(self.kind, name, self._rows))
        return self._rows[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._rows:
            self._load_entry_points()
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        self._load_entry_points()
        return iter(self._rows)

    def __len__(self) -> int:
        self._load_entry_points()
        return len(self._rows)


def unknown(kind: str, name: str, valid: Mapping[str, object] | list[str]) -> str:
    """One line for a name that does not exist, with the nearest ones that do."""
    names = list(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}{hint} (there are: {', '.join(sorted(names))})"
