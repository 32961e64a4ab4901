"""Compact letters: derived anew from their definition, by brute force over all sets of groups."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from wganbench.reports.significance import compact_letters

NAMES = ("p", "q", "r", "s", "t", "u")
PAIRS = [frozenset(pair) for pair in itertools.combinations(NAMES, 2)]


def largest_alike(names: tuple[str, ...], differing: set[frozenset[str]]) -> set[frozenset[str]]:
    """All sets in which no pair differs and to which no further name can be added."""
    alike = [
        frozenset(some)
        for size in range(1, len(names) + 1)
        for some in itertools.combinations(names, size)
        if not any(pair <= frozenset(some) for pair in differing)
    ]
    return {some for some in alike if not any(some < other for other in alike)}


@given(st.sets(st.sampled_from(PAIRS)), st.permutations(NAMES))
def test_letters_are_the_largest_sets_without_a_difference(
    differing: set[frozenset[str]], names: list[str]
) -> None:
    found = compact_letters(names, differing)
    assert found is not None
    for one, other in itertools.combinations(names, 2):
        shared = set(found[one]) & set(found[other])
        assert bool(shared) != (frozenset((one, other)) in differing)
    columns = {
        frozenset(name for name in names if letter in found[name])
        for letter in "".join(found.values())
    }
    assert columns == largest_alike(NAMES, differing), "no letter too many"
    assert found[names[0]][0] == "a", "the first name has the first letter"


def test_letters_by_hand() -> None:
    # One group below three that 8 seeds cannot tell apart, as in a sweep of lambda.
    below = [frozenset((name, "s")) for name in "pqr"]
    assert compact_letters("pqrs", below) == {"p": "a", "q": "a", "r": "a", "s": "b"}
    assert compact_letters("pqr", PAIRS[:0]) == dict.fromkeys("pqr", "a")
    every = [frozenset(pair) for pair in itertools.combinations("pqr", 2)]
    assert compact_letters("rqp", every) == {"r": "a", "q": "b", "p": "c"}
    assert compact_letters("", []) == {}


def test_more_sets_than_letters_give_none() -> None:
    # Nine pairs of which every choice of one each is a largest set: 2^9 of them.
    names = [f"{i}{side}" for i in range(9) for side in "ab"]
    assert compact_letters(names, [frozenset((f"{i}a", f"{i}b")) for i in range(9)]) is None
    assert compact_letters(names[:8], [frozenset((f"{i}a", f"{i}b")) for i in range(4)]) is not None
