"""Text on a figure that comes from the user: names and titles, shown as they are written."""

from __future__ import annotations

from functools import cache
from typing import Any

from matplotlib.font_manager import FontProperties, findfont, get_font

from wganbench.errors import printable, shortened

LONGEST, LONGEST_LINE = 60, 80
"""Characters of a name and of a line of a title; what is longer is cut in the middle."""


def literal(text: str, longest: int = LONGEST) -> str:
    """One line as matplotlib shall show it: no formula, no box, not too long, never empty.

    A character that the font lacks is written as in Python.

    >>> print(literal("a$b$"), literal("_a"), literal("\\u732b"), literal("abcdefgh", 7))
    a\\$b\\$  _a \\u732b ab...gh
    """
    known = _characters()
    shown = "".join(c if ord(c) in known else escaped(c) for c in printable(text))
    shown = shortened(shown, longest).replace("$", r"\$") or "runs"
    return f" {shown}" if shown.startswith("_") else shown  # else no legend would show it


def heading(text: str) -> str:
    """A title of a few lines of ours, which hold names of the user's: each line literally."""
    return "\n".join(literal(line, LONGEST_LINE) for line in text.split("\n"))


def escaped(character: str) -> str:
    r"""The character as Python writes it: é, \u732b, \U0001f415."""
    return character.encode("ascii", "backslashreplace").decode()


@cache
def _characters() -> frozenset[int]:
    """What the font of figures can show."""
    font: Any = get_font(findfont(FontProperties()))
    return frozenset(font.get_charmap())
