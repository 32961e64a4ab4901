"""Registries: every loss, data set, network and metric is a row of a registry."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from wganbench.errors import LONGEST_VALUE, ConfigError, short_repr, shortened
from wganbench.plugin_files import load_plugin_files

Row = TypeVar("Row")


class UnknownName(ValueError):
    """A name without a row; the message suggests the nearest existing name."""


_waiting: dict[str, list[EntryPoint]] = {}
"""Entry points that have not added their rows yet, by requested group."""


def load_entry_points(group: str) -> None:
    """Load the user's plugin files, and call each entry point of ``wganbench.<group>`` once.

    Raises ConfigError for a file or an entry point that fails, at every look-up that needs it.
    """
    load_plugin_files()
    if group not in _waiting:
        _waiting[group] = list(entry_points(group=f"wganbench.{group}"))
    waiting = _waiting[group]
    while waiting:
        entry_point = waiting.pop(0)  # first, as it may look up rows while it adds some
        try:
            load(entry_point, group)
        except ConfigError:
            waiting.insert(0, entry_point)
            raise


def load(entry_point: EntryPoint, kind: str) -> None:
    """Call the entry point of a user's package. Raises ConfigError, which names it, on failure."""
    try:
        entry_point.load()()
    except (Exception, SystemExit) as error:
        package = entry_point.dist.name if entry_point.dist else "of an unknown package"
        raise ConfigError(
            f"the package {package} cannot add to wganbench.{kind}: its entry point "
            f"{entry_point.name} = {entry_point.value} fails: {type(error).__name__}: {error}"
        ) from error


SINGULAR = {
    "losses": "loss", "networks": "network", "metrics": "metric", "studies": "study",
    "loggers": "logger", "tags": "tag",
}  # fmt: skip
"""The word for one row of a kind."""


class Registry(Mapping[str, Row], Generic[Row]):
    """Rows by name, in the order of registration.

    A user's package adds rows through the entry-point group ``wganbench.<kind>``
    (``wganbench.losses``, ``wganbench.data``, ...). Each entry point names a function without
    arguments that registers the rows. A plugin file adds rows while it is run, see
    `plugin_files`. Both are loaded when rows are listed, or at the
    first look-up of a name that is not built in. ``group`` is the kind whose entry points also
    add these rows, if it is another one.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind, self.group = kind, group or kind
        self._rows: dict[str, Row] = {}

    def register(self, name: str, row: Row) -> Row:
        """Add a row; raises ValueError if the name is taken."""
        if name in self._rows:
            raise ValueError(f"{self.kind} already has a row named {name!r}")
        self._rows[name] = row
        return row

    def __getitem__(self, name: str) -> Row:
        if name not in self._rows:
            load_entry_points(self.group)
        if name not in self._rows:
            raise UnknownName(unknown(SINGULAR.get(self.kind, self.kind), name, self._rows))
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


def unknown(kind: str, name: str, valid: Mapping[str, object] | list[str], shown: str = "") -> str:
    """Return the message for an unknown name, with the nearest existing one.

    ``shown`` takes the place of the list of all names.
    """
    names = list(valid)
    near = difflib.get_close_matches(shortened(name, LONGEST_VALUE), names, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    all_names = f"there are: {', '.join(sorted(names))}"
    return f"unknown {kind} {short_repr(name)}{hint} ({shown or all_names})"
