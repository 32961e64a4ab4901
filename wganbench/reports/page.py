"""The report's page around its contents: style, script, and what the browser may do with it."""

from __future__ import annotations

import base64
import hashlib

from wganbench.reports.markup import Markup, element

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
