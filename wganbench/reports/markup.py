"""HTML made of elements. All text is escaped, once, unless it is markup already."""

from __future__ import annotations

import html
from collections.abc import Iterable

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
