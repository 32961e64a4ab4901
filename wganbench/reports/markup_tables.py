"""Tables for the report: sortable, and in a box of their own that scrolls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wganbench.reports.markup import Markup, element, fragment


@dataclass(frozen=True)
class Column:
    """A heading; numbers stand at the right, and sort by size."""

    title: str
    number: bool = False


@dataclass(frozen=True)
class Entry:
    """What a cell shows, and by what it is sorted; nan comes last."""

    shown: str
    key: float | None = None


@dataclass(frozen=True)
class Line:
    """A row: its heading, its cells, the id that links lead to."""

    heading: str
    entries: Sequence[Entry]
    anchor: str = ""


def table(
    caption: str, columns: Sequence[Column], lines: Sequence[Line], sortable: bool = True
) -> Markup:
    """The first column is the row's heading."""
    head = element("thead", element("tr", *(header(column, sortable) for column in columns)))
    body = element("tbody", *(row(line, columns[1:]) for line in lines))
    kind = {"class_": "sortable"} if sortable else {}
    inside = element("table", element("caption", element("span", caption)), head, body, **kind)
    return element("div", inside, class_="scroll", role="region", tabindex="0", aria_label=caption)


def header(column: Column, sortable: bool) -> Markup:
    title = element("button", column.title, type="button") if sortable else column.title
    return element("th", title, scope="col", **numeric(column))


def row(line: Line, columns: Sequence[Column]) -> Markup:
    anchor = {"id": line.anchor} if line.anchor else {}
    cells = [cell(entry, column) for entry, column in zip(line.entries, columns, strict=True)]
    return element(
        "tr", element("th", element("span", line.heading), scope="row"), *cells, **anchor
    )


def cell(entry: Entry, column: Column) -> Markup:
    key = {} if entry.key is None else {"data_sort": sort_key(entry.key)}
    return element("td", entry.shown, **key, **numeric(column))


def numeric(column: Column) -> dict[str, str]:
    return {"class_": "number"} if column.number else {}


def sort_key(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""


def count(value: int) -> Entry:
    return Entry(str(value), float(value))


def stacked(*parts: str) -> Markup:
    """One below the other in a cell."""
    return fragment([word for part in parts for word in (element("br"), part)][1:])
