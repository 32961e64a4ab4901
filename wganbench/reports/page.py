"""Self-contained HTML pages: templates, the data that they show, and the content policy."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wganbench.output import numbered
from wganbench.reports.wording import listed

TEMPLATES = Environment(
    loader=PackageLoader("wganbench.reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def source(name: str) -> str:
    """Return the text of a file in ``templates/``."""
    assert TEMPLATES.loader is not None
    return TEMPLATES.loader.get_source(TEMPLATES, name)[0]


STYLE, SCRIPT = source("report.css"), source("report.js")


def policy() -> str:
    """Return the content policy: only embedded images are loaded, only our own script runs."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


# Only the text of these two files of the package is not escaped.
TEMPLATES.globals |= {"style": Markup(STYLE), "script": Markup(SCRIPT), "policy": policy()}
TEMPLATES.filters |= {"numbered": numbered, "listed": listed}


def render(template: str, **view: object) -> str:
    """Return a whole HTML file. Raises UndefinedError for a variable that ``view`` lacks."""
    return TEMPLATES.get_template(template).render(view)


def embedded(image: Path) -> str:
    """Return a PNG file as a data URL. Raises OSError."""
    return "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode("ascii")


# The data that the templates show.
@dataclass(frozen=True)
class Column:
    """A heading; a column of numbers is aligned right and sorted by size."""

    title: str
    number: bool = False


@dataclass(frozen=True)
class Entry:
    """A cell: its text, its sort key (nan comes last), and the lines below the text."""

    text: str
    key: float | None = None
    iqm: str = ""
    notes: Sequence[str] = ()
    best: bool = False

    @property
    def sort(self) -> str | None:
        """The sort key for the script; None if it sorts by the text."""
        if self.key is None:
            return None
        return repr(self.key) if math.isfinite(self.key) else ""


@dataclass(frozen=True)
class Line:
    """A row: its heading, its cells, and the id for links to it."""

    heading: str
    entries: Sequence[Entry]
    anchor: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column holds the headings of rows; ``left`` lines are not shown."""

    caption: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    sortable: bool = True
    left: int = 0

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line.entries) + 1 != len(self.columns):
                raise ValueError(f"{self.caption}: the row {line.heading} has not all its cells")

    @property
    def total(self) -> int:
        return len(self.lines) + self.left


def count(value: int) -> Entry:
    return Entry(str(value), float(value))
