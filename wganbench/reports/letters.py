"""Compact letters: no difference was shown between groups that share one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from string import ascii_lowercase


def compact_letters(
    names: Sequence[str], differing: Collection[frozenset[str]]
) -> dict[str, str] | None:
    """Return the letters of each name; two names share one exactly if their pair does not differ.

    ``names`` stand from best to worst, so that "a" goes to the first. ``differing`` holds the
    pairs that differ. Insert and absorb: begin with one set of all names; for each differing pair
    replace a set that holds both by two sets without one of them, then remove sets inside others
    (H.-P. Piepho 2004, doi:10.1198/1061860043515). Returns None if the alphabet is too short.

    >>> compact_letters(["x", "y", "z"], [frozenset("xz")])
    {'x': 'a', 'y': 'ab', 'z': 'b'}
    """
    place = {name: i for i, name in enumerate(names)}
    sets = {frozenset(names)} if names else set()
    for pair in differing:
        split = {part - {name} for part in sets if pair <= part for name in pair}
        sets = absorbed({part for part in sets if not pair <= part} | split)
        if len(sets) > len(ascii_lowercase) ** 2:  # it can grow as 3^(n / 3)
            return None
    ordered = sorted(sets, key=lambda part: sorted(place[name] for name in part))
    if len(ordered) > len(ascii_lowercase):
        return None
    return {
        name: "".join(
            letter for letter, part in zip(ascii_lowercase, ordered, strict=False) if name in part
        )
        for name in names
    }


def absorbed(sets: Collection[frozenset[str]]) -> set[frozenset[str]]:
    """Return the sets that are not inside another one."""
    return {part for part in sets if not any(part < other for other in sets)}
