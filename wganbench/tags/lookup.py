"""Queries of the table of tags: rows, columns in order, views; a run's headline distance."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from wganbench.errors import short_repr
from wganbench.output import markdown_table
from wganbench.registry import Registry, UnknownName
from wganbench.tags.table import ROWS
from wganbench.tags.tag import AVERAGED, Tag, View

SECTIONS = (
    "Coverage", "Estimate against exact W1", "Images", "Gradient norms", "Critic", "Losses",
)  # fmt: skip
"""The order of the Custom Scalars page; sections of a user's own tags follow."""

LAYER = "<i>"
BETTER = {"up": "higher", "down": "lower", "target": "at its target", "none": "neither"}
WHEN = {"log": "every logged step", "evaluate": "every evaluation", "final": "at the end"}

TAGS: Registry[Tag] = Registry("tags", group="metrics")
"""A user's metrics register their own tags; see `metrics.register_metric`."""

for _tag in ROWS:
    TAGS.register(_tag.name, _tag)


def is_pattern(name: str) -> bool:
    """Whether a row stands for one tag per layer."""
    return LAYER in name


def tag_regex(name: str) -> str:
    """Anchored regular expression that matches the tags of a row and nothing else.

    >>> tag_regex("modes/kl"), tag_regex("grad_norm/critic_layer_<i>")
    ('^modes/kl$', '^grad_norm/critic_layer_[0-9]+$')
    """
    return "^" + "[0-9]+".join(re.escape(part) for part in name.split(LAYER)) + "$"


def tag_for(name: str) -> Tag:
    """The row of a tag; ``grad_norm/critic_layer_3`` finds its pattern's row.

    ``averaged/<tag>`` is the row of a tag of the generator, of which it has the averaged weights.
    Raises UnknownName (a ValueError) with the nearest name that exists.
    """
    if name in TAGS:
        return TAGS[name]
    base = name.removeprefix(AVERAGED)
    if base != name and base in TAGS and TAGS[base].of_generator:
        return averaged(TAGS[base])
    for row in filter(is_pattern, TAGS):
        if re.fullmatch(tag_regex(row), name):
            return TAGS[row]
    near = nearest_tag(name)
    hint = f"; did you mean {near!r}?" if near else ""
    raise UnknownName(f"unknown tag {short_repr(name)}{hint} (`wganbench list metrics` shows all)")


@cache
def is_evaluated(name: str) -> bool:
    """Return whether a tag is measured at evaluations only, not at every logged step."""
    return tag_for(name).cadence != "log"


def which_is_better(metric: str, form: str = ", {}") -> str:
    """Return which values of a metric are better, in a form; empty when it ranks nothing.

    >>> which_is_better("modes/covered"), which_is_better("critic/slope_mean")
    (', higher is better', '')
    """
    direction = tag_for(metric).direction
    return form.format(f"{BETTER[direction]} is better") if direction in ("up", "down") else ""


def nearest_tag(name: str) -> str | None:
    """Return the tag that an unknown name most likely means, or None.

    The order is: a tag's group or last word, a part of its name or label, the most similar one.
    Of several, exact W1 and then tags of which more or less is better come first.

    >>> nearest_tag("wasserstein"), nearest_tag("fid"), nearest_tag("W1"), nearest_tag("foo")
    ('wasserstein/exact', 'fidelity/fid', 'wasserstein/exact', None)
    """
    word = name.lower().removeprefix(AVERAGED).strip("/")
    ranked = sorted(
        TAGS.values(), key=lambda tag: (tag.name != EXACT, tag.direction not in ("up", "down"))
    )
    words: dict[str, str] = {}
    for tag in ranked:
        for part in (tag.name, *tag.name.split("/")):
            words.setdefault(part, tag.name)
    if word in words:
        return words[word]
    named = [tag.name for tag in ranked if word in tag.name]
    inside = [*named, *(tag.name for tag in ranked if word in tag.title.lower())]
    if len(word) > 1 and inside:
        return inside[0]
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.8)
    return words[near[0]] if near else None


def averaged(row: Tag) -> Tag:
    """The row of a tag, measured on a generator with averaged weights; no view shows it."""
    beside = row.beside and (averaged_name(row.beside) or row.beside)
    label, name = f"{row.title}, averaged weights", f"{AVERAGED}{row.name}"
    return replace(row, name=name, label=label, beside=beside, chart="", rank=0, views=())


def averaged_name(tag: str) -> str | None:
    """The column of a tag for averaged weights; None for a tag that is not of the generator.

    >>> averaged_name("modes/covered"), averaged_name("critic/lipschitz")
    ('averaged/modes/covered', None)
    """
    return f"{AVERAGED}{tag}" if tag_for(tag).of_generator else None


def column_order(tags: Iterable[str]) -> list[str]:
    """Tags without repeats in the table's order, layers by number; raises for unknown ones.

    >>> column_order(["modes/kl", "grad_norm/critic_layer_10", "grad_norm/critic_layer_9"])
    ['grad_norm/critic_layer_9', 'grad_norm/critic_layer_10', 'modes/kl']
    """
    rank = {name: position for position, name in enumerate(TAGS)}

    def key(tag: str) -> tuple[int, int, str]:
        row = tag_for(tag).name
        layer = re.search(r"[0-9]+$", tag) if is_pattern(row) else None
        return rank[row], int(layer.group()) if layer else -1, tag

    return sorted(set(tags), key=key)


def glossary_markdown() -> str:
    """The table of tags as Markdown: a section per group, a table, then the caveats."""
    groups: dict[str, list[Tag]] = {}
    for tag in TAGS.values():
        groups.setdefault(tag.name.split("/")[0], []).append(tag)
    names = ", ".join(f"`{tag.name}`" for tag in TAGS.values() if tag.of_generator)
    note = (
        f"`{AVERAGED}TAG` is the same quantity of the generator with averaged weights, where "
        f"`train.average_decay` is above 0. These tags have it: {names}.\n"
    )
    return "\n".join([*(_section(group, tags) for group, tags in groups.items()), note])


def page_of(tag: Tag) -> list[tuple[str, ...]]:
    """Return the rows (label, text) that say all of a tag; those without a text are left out."""
    rows: list[tuple[str, ...]] = [
        ("meaning", tag.meaning),
        ("formula", tag.formula),
        ("unit", tag.unit),
        ("better", BETTER[tag.direction]),
        ("measured", WHEN[tag.cadence]),
        ("beside it", tag.floor or ""),
        ("caveat", tag.caveat),
        ("source", tag.source),
    ]
    return [row for row in rows if row[1]]


def _section(group: str, tags: list[Tag]) -> str:
    head = ["tag", "meaning", "formula", "unit", "better", "measured", "source"]
    rows = [
        [f"`{tag.name}`", tag.meaning, f"`{tag.formula}`", tag.unit]
        + [BETTER[tag.direction], WHEN[tag.cadence], tag.source]
        for tag in tags
    ]
    lines = [f"### {group}", "", *markdown_table(head, rows)]
    caveats = [f"- `{tag.name}`: {tag.caveat}" for tag in tags if tag.caveat]
    if caveats:
        lines += ["", "How not to misread them:", "", *caveats]
    return "\n".join([*lines, ""])


# What is shown where.
def shown_in(view: View) -> list[Tag]:
    """The rows of a view in the order in which it shows them.

    >>> [tag.name for tag in shown_in("headline")][:2]
    ['modes/covered', 'modes/high_quality']
    """
    rows = [tag for tag in TAGS.values() if view in tag.views]
    return sorted(rows, key=lambda tag: tag.rank or math.inf)


def label_of(name: str) -> str:
    """What a tag is called in tables and figures, see `Tag.title`."""
    return tag_for(name).title


def live_values(values: Mapping[str, float]) -> dict[str, float]:
    """Of a run's values those that a view shows while it trains."""
    return {tag.name: values[tag.name] for tag in shown_in("live") if tag.name in values}


def charts() -> dict[str, dict[str, list[str]]]:
    """TensorBoard's Custom Scalars page: by section and chart the tags of each."""
    found: dict[str, dict[str, list[str]]] = {section: {} for section in SECTIONS}
    for tag in sorted(TAGS.values(), key=lambda tag: tag.rank or math.inf):
        if tag.chart:
            section, _, chart = tag.chart.partition(": ")
            found.setdefault(section, {}).setdefault(chart, []).append(tag.name)
    return {section: inside for section, inside in found.items() if inside}


# The headline distance of a run: the one that is right for the dimension of its data.
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


def bias_text(name: str, shape: Shape) -> str:
    """Return why a tag decides nothing on data of a shape; empty if it may.

    >>> bias_text("wasserstein/exact", (2,)), bias_text("energy/distance", (64,))
    ('', '')
    """
    biased = name.removeprefix(AVERAGED) in (EXACT, *BESIDE[EXACT])
    if shape is None or not biased or right_distance(shape) != ENERGY:
        return ""
    return f"{name} is mostly bias from {BIASED_FROM} dimensions on, and these data have {shape[0]}"


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
