"""The report's page around its contents: style, script, and what the browser may do with it."""

from __future__ import annotations

import base64
import hashlib
import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# HTML made of elements. All text is escaped, once, unless it is markup already.
VOID = {"br", "img", "meta"}


class Markup(str):
    """Text that is HTML."""


def escaped(text: str) -> Markup:
    return text if isinstance(text, Markup) else Markup(html.escape(text))


def fragment(parts: Iterable[str]) -> Markup:
    """Pieces one after the other."""
    return Markup("".join(map(escaped, parts)))


def element(name: str, *content: str, **attributes: str) -> Markup:
    """An element. ``class_`` is class, ``data_sort`` is data-sort.

    >>> element("p", "1 < 2, ", element("b", "true"), class_="claim")
    '<p class="claim">1 &lt; 2, <b>true</b></p>'
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
    )
    start = f"<{name}{words}>"
    return Markup(start if name in VOID else f"{start}{fragment(content)}</{name}>")


def items(lines: Iterable[str], kind: str = "ul") -> Markup:
    """A list."""
    return element(kind, *(element("li", line) for line in lines))


def block(*content: str) -> Markup:
    """A command to copy."""
    return element("pre", element("code", *content))


def folded(summary: str, *content: str) -> Markup:
    """What is shown when asked for."""
    return element("details", element("summary", summary), *content)


STYLE = """
:root { color-scheme: light dark; --ink: #1c1f23; --soft: #555b63; --paper: #fff;
  --line: #d5d9de; --shade: #f4f6f8; --link: #0b57a4; --mark: #fff3c4;
  --edge: #0004; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #a9b0b9; --paper: #15181c;
  --line: #3a4048; --shade: #1f242a; --link: #8cc2ff; --mark: #4a3f10;
  --edge: #fff6; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 74rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; font-weight: 650; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; font-weight: 650; margin: 2.75rem 0 .75rem; padding-top: .6rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; font-weight: 650; margin: 1.25rem 0 .25rem; }
p, li, dd { max-width: 46rem; }
p { margin: .5rem 0; }
ul { padding-left: 1.2rem; margin: .5rem 0; }
li { margin: .35rem 0; }
dt { margin-top: .75rem; }
dd { margin: .1rem 0 0 1.2rem; }
a { color: var(--link); }
.about, figcaption, small, caption, .claim a { color: var(--soft); }
.claim a { font-size: .85rem; white-space: nowrap; color: var(--link); }
nav { margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .9rem; }
code { font: .88em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--shade); border: 1px solid var(--line); border-radius: 4px;
  padding: .6rem .8rem; margin: .5rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .75rem 0; border: 1px solid var(--line); border-radius: 4px;
  /* A shadow at the side where more of the table is: its own paper covers it at the end. */
  background: linear-gradient(to left, var(--paper) 30%, transparent) right / 3rem 100%,
    linear-gradient(to left, var(--edge), transparent) right / 1rem 100%;
  background-repeat: no-repeat; background-attachment: local, scroll; }
.scroll:focus-visible, a:focus-visible, button:focus-visible, summary:focus-visible {
  outline: 2px solid var(--link); outline-offset: 1px; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; line-height: 1.4; }
caption { text-align: left; padding: .5rem .5rem; caption-side: top; }
caption span { position: sticky; left: .5rem; }
thead th:first-child { position: sticky; left: 0; z-index: 1; }
th, td { padding: .4rem .5rem; text-align: left; vertical-align: top; border-top: 1px solid
  var(--line); font-weight: 400; white-space: nowrap; }
thead th { vertical-align: bottom; background: var(--shade); color: var(--soft);
  white-space: normal; overflow-wrap: normal; }
tbody th { font-weight: 600; position: sticky; left: 0; background: var(--paper);
  white-space: normal; }
tbody th span { display: block; width: max-content; max-width: min(20rem, 44vw); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
tr:target > *, figure:target figcaption { background: var(--mark); }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; margin: 0;
  text-align: inherit; cursor: pointer; text-decoration: underline dotted;
  text-underline-offset: .2em; }
[aria-sort=ascending] button::after { content: " \\25B2"; }
[aria-sort=descending] button::after { content: " \\25BC"; }
.best { font-weight: 650; color: var(--ink); }
figure { margin: 1.5rem 0 2rem; }
figure img { display: block; max-width: 100%; height: auto; background: #fff;
  border: 1px solid var(--line); border-radius: 4px; }
figcaption { margin-top: .5rem; max-width: 46rem; font-size: .92rem; padding: .15rem .25rem; }
figcaption b { color: var(--ink); }
details { margin: .75rem 0; }
summary { cursor: pointer; }
@media (max-width: 40rem) { body { padding: 1.25rem .9rem 3rem; } h1 { font-size: 1.4rem; }
  th, td { padding: .35rem .55rem; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #333; --paper: #fff; --line: #bbb;
  --shade: #f4f4f4; --link: #000; --mark: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav, .claim a { display: none; } .scroll { overflow: visible; border: 0; }
  table { font-size: 7.5pt; } th, td { white-space: normal; padding: .2rem .35rem; }
  tbody th, thead th:first-child { position: static; } th button { text-decoration: none; }
  th button::after { content: none !important; }
  figure, tr, pre { break-inside: avoid; } h2, h3, caption { break-after: avoid; } }
"""

SCRIPT = """
"use strict";
const key = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.sort ?? cell.textContent.trim();
  return text === "" || text === "-" ? null : text;
};
const order = (a, b, numbers) =>
  numbers ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th");
    const column = header.cellIndex;
    const body = header.closest("table").tBodies[0];
    const down = header.getAttribute("aria-sort") === "ascending";
    const numbers = header.classList.contains("number");
    const rows = [...body.rows].sort((first, second) => {
      const a = key(first, column), b = key(second, column);
      if (a === null || b === null) return (a === null) - (b === null);
      return (down ? -1 : 1) * order(a, b, numbers);
    });
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  });
}
"""


def policy() -> str:
    """Nothing is loaded but pictures inside the page, and no script runs but the page's own."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def page(title: str, *body: str) -> str:
    """A whole HTML file that stands alone."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy()),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    script = element("script", Markup(SCRIPT))
    whole = element("html", head, element("body", *body, script), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


# Tables for the report: sortable, and in a box of their own that scrolls.
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
