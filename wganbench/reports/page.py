"""Pages that stand alone: their templates, what these show, what the browser may do with them."""

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
    """A file of ``templates/`` as it is."""
    assert TEMPLATES.loader is not None
    return TEMPLATES.loader.get_source(TEMPLATES, name)[0]


STYLE, SCRIPT = source("report.css"), source("report.js")


def policy() -> str:
    """Nothing is loaded but images inside the page, and no script runs but the page's own."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


# Two files of this package are the only text that is not escaped.
TEMPLATES.globals |= {"style": Markup(STYLE), "script": Markup(SCRIPT), "policy": policy()}
TEMPLATES.filters |= {"numbered": numbered, "listed": listed}


def render(template: str, **view: object) -> str:
    """A whole HTML file. Raises UndefinedError where the template shows what is not in the view."""
    return TEMPLATES.get_template(template).render(view)


def embedded(picture: Path) -> str:
    """A PNG as an address that holds it. Raises OSError."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")


# What the templates' parts show.
@dataclass(frozen=True)
class Column:
    """A heading; numbers stand at the right, and sort by size."""

    title: str
    number: bool = False


@dataclass(frozen=True)
class Entry:
    """A cell: its text, by what it is sorted (nan comes last), and what stands below the text."""

    text: str
    key: float | None = None
    iqm: str = ""
    notes: Sequence[str] = ()
    best: bool = False

    @property
    def sort(self) -> str | None:
        """What the script sorts by; None where that is the text."""
        if self.key is None:
            return None
        return repr(self.key) if math.isfinite(self.key) else ""


@dataclass(frozen=True)
class Line:
    """A row: its heading, its cells, the id that links lead to."""

    heading: str
    entries: Sequence[Entry]
    anchor: str = ""


@dataclass(frozen=True)
class Table:
    """The first column is the rows' heading; ``left`` lines more are not shown."""

    caption: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    sortable: bool = True
    left: int = 0

    @property
    def total(self) -> int:
        return len(self.lines) + self.left


def count(value: int) -> Entry:
    return Entry(str(value), float(value))
