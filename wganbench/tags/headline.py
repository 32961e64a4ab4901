"""The headline distance of a run: the one that is right for the dimension of its data.

Exact W1 between two samples is biased upwards. In many dimensions the bias dominates, and in
floors a generator with too little spread looks better than a perfect one. There the energy
distance decides, which has no bias. Images have FID.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from wganbench.tags.lookup import TAGS, shown_in
from wganbench.tags.tag import Tag, View

BIASED_FROM = 4
"""From this dimension of the data on exact W1 decides nothing.

With 1 000 points of N(0, I) a generator that draws 0.95 times as widely scores lower than a
perfect one in dimension 4 (by 0.0076 +- 0.0016), equal in 3, and higher in 2.
"""

FAR_FROM_FLOOR = 2.0
"""Samples are still bad when exact W1 exceeds this many floors; below it the direction to the
partners is mostly chance."""

SPREADS_FROM_FLOOR = 2.0
"""Samples can be told from the data when the energy distance exceeds its floor, which is about 0,
by so many of its spreads; a perfect generator lies below."""

EXACT, ENERGY, FID = "wasserstein/exact", "energy/distance", "fidelity/fid"

BESIDE = {
    EXACT: ("wasserstein/floor", "wasserstein/excess"),
    ENERGY: ("energy/floor", "energy/spread", "wasserstein/symmetric",
             "wasserstein/symmetric_floor", "wasserstein/symmetric_spread"),
    FID: ("fidelity/fid_floor",),
}  # fmt: skip
"""The distances of which a run has one as its headline, and the tags that are shown with each."""

Shape = Sequence[int] | None
"""The shape of one point of the data; None when it is not known, as of an old run."""


def right_distance(shape: Shape) -> str:
    """Return the tag of the distance that decides on data of a shape.

    >>> right_distance((2,)), right_distance((64,)), right_distance((1, 28, 28))
    ('wasserstein/exact', 'energy/distance', 'fidelity/fid')
    """
    if shape is not None and len(shape) > 1:
        return FID
    return ENERGY if shape is not None and shape[0] >= BIASED_FROM else EXACT


def headline_distance(shape: Shape, measured: Collection[str]) -> Tag | None:
    """Return the distance that decides: the right one, else the first other one measured.

    None when no distance with a floor is measured. `fallback_text` says when it is another one.
    """
    right = right_distance(shape)
    others = [tag.name for tag in shown_in("headline") if tag.floor and tag.name != right]
    return next((TAGS[name] for name in (right, *others) if name in measured), None)


def fallback_text(shape: Shape, measured: Collection[str]) -> str:
    """Return a line when another distance than the right one decides; else an empty text."""
    found, right = headline_distance(shape, measured), right_distance(shape)
    if found is None or found.name not in BESIDE or found.name == right or shape is None:
        return ""
    worse = ", which is mostly bias in this dimension" if right == ENERGY else ""
    return (
        f"{right} was not measured (by an older version, for example): {found.name} is shown in "
        f"its place{worse}"
    )


def other_distances(shape: Shape, measured: Collection[str]) -> frozenset[str]:
    """Return the tags of the distances that do not decide, which views leave out."""
    found = headline_distance(shape, measured)
    others = [name for name in BESIDE if found is not None and name != found.name]
    return frozenset(tag for name in others for tag in (name, *BESIDE[name]))


def shown_of(view: View, shape: Shape, measured: Collection[str]) -> list[Tag]:
    """Return the rows of a view that a run with these tags shows, in order."""
    others = other_distances(shape, measured)
    return [tag for tag in shown_in(view) if tag.name in measured and tag.name not in others]


def without_others(values: Mapping[str, float], shape: Shape) -> Mapping[str, float]:
    """Return a run's values without the distances that do not decide."""
    others = other_distances(shape, values)
    return {tag: value for tag, value in values.items() if tag not in others}


def first_of(runs: Iterable[tuple[Shape, Collection[str]]], view: View) -> list[Tag]:
    """Return the rows of a view that any of several runs shows, each once and in order."""
    found = {tag.name for shape, measured in runs for tag in shown_of(view, shape, measured)}
    return [tag for tag in shown_in(view) if tag.name in found]
