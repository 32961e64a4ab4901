"""Places in the report that a sentence can point at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wganbench.reports.picture import Picture

TABLE, DUELS = "groups", "duels"
SHOWN_DUELS = 200
"""More pairs than these are left to comparison.json."""


@dataclass(frozen=True)
class Anchor:
    """A link's word, and the id of what it leads to."""

    word: str
    target: str


def group_id(position: int) -> str:
    return f"group-{position}"


def duel_id(position: int) -> str:
    """The line of a duel, or the table where the line is left out."""
    return f"duel-{position}" if position < SHOWN_DUELS else DUELS


def figure_id(picture: Picture) -> str:
    return "figure-" + re.sub(r"[^A-Za-z0-9_.-]", "-", picture.name)


def to_groups(*positions: int) -> tuple[Anchor, ...]:
    """A link to a group's line; to the whole table for none or several."""
    target = group_id(positions[0]) if len(positions) == 1 else TABLE
    return (Anchor("table", target),)


def to_figure(pictures: Sequence[Picture], *topics: str) -> tuple[Anchor, ...]:
    """A link to the figure about the first topic that one has.

    A figure is about a topic that its name holds, or else its title or its caption.
    """
    for topic in topics:
        wanted = plain(topic)
        named = [picture for picture in pictures if wanted in plain(picture.name)]
        told = [p for p in pictures if wanted in plain(p.title) or wanted in plain(p.caption)]
        for picture in (*named, *told):
            return (Anchor("figure", figure_id(picture)),)
    return ()


def plain(text: str) -> str:
    """Letters and digits, with single spaces: ``modes/covered`` is ``modes-covered``.

    >>> plain("Modes/covered")
    ' modes covered '
    """
    return " " + " ".join(re.findall(r"[a-z0-9]+", text.lower())) + " "
