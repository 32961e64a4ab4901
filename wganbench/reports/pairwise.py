"""Run-by-run comparison of groups: pairs of seeds, families of tests, and their limits."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wganbench.reports.rows import Row
from wganbench.reports.significance import (
    SIGNIFICANT,
    enough_seeds,
    holm,
    improvement_p_value,
    least_p_value,
    shows_difference,
)
from wganbench.reports.statistics import Estimate, improvement_interval
from wganbench.reports.wording import listed, named
from wganbench.tags.lookup import tag_for

NAMED_CONTRASTS = 2
"""The most pairs of groups that a sentence names; more are only counted."""


@dataclass(frozen=True)
class Contrast:
    """The probability that a run of ``first`` is better than one of ``second`` in a metric.

    The contrasts of a metric are a family of ``tests`` tests; ``p`` is ``raw_p`` adjusted for the
    family (Holm). The first metric with a direction is ``primary``, the others are secondary.
    ``met`` of ``seeds`` seeds were compared in pairs. If ``unpaired`` gives a reason against
    pairs, ``met`` is the size of the smaller group. ``least_p`` is the smallest p after Holm that
    this number of seeds allows. If it is not below `SIGNIFICANT`, ``enough`` is the number of seeds
    per group that would suffice.
    """

    metric: str
    first: str
    second: str
    met: int
    seeds: int
    unpaired: str
    estimate: Estimate
    raw_p: float
    p: float = math.nan
    tests: int = 0
    primary: bool = False
    least_p: float = 1.0
    enough: int | None = None
    names: tuple[str, str] = ("", "")
    """The two groups as in a sentence."""

    @property
    def paired(self) -> bool:
        return not self.unpaired

    @property
    def winner(self) -> int:
        """0 if the runs of the first group are rather better, else 1."""
        return 0 if self.estimate.value >= 0.5 else 1

    @property
    def differs(self) -> bool:
        """Whether a difference was shown."""
        return shows_difference(self.p, self.estimate)


def make_contrasts(
    rows: Sequence[Row], metrics: Sequence[str], baseline: str | None = None
) -> list[Contrast]:
    """Return contrasts in every metric with a direction: all pairs, or each with the baseline.

    p-values are adjusted within a metric, so that a further metric does not weaken the first.
    """
    families: list[list[Contrast]] = []
    for metric in metrics:
        direction = tag_for(metric).direction
        if direction in ("up", "down"):
            found = [
                contrast
                for first, second in opponents(rows, baseline)
                if (contrast := make_contrast(first, second, metric, direction == "up")) is not None
            ]
            families += [found] if found else []
    return [contrast for i, found in enumerate(families) for contrast in adjusted(found, i == 0)]


def opponents(rows: Sequence[Row], baseline: str | None) -> Iterator[tuple[Row, Row]]:
    """Yield the pairs of groups; the baseline is the second of a pair."""
    if baseline is None:
        yield from itertools.combinations(rows, 2)
        return
    (base,) = (row for row in rows if row.group.label == baseline)
    yield from ((row, base) for row in rows if row is not base)


def make_contrast(first: Row, second: Row, metric: str, higher: bool) -> Contrast | None:
    """Return the unadjusted contrast of two groups in a metric; None if a group has no value.

    Runs of the same seed are a pair: they saw the same data and began with the same weights. The
    planned runs decide whether the groups are paired, not their outcomes: a run that failed or
    has no value never changes the choice of the test.
    """
    ours, theirs = first.cells[metric], second.cells[metric]
    seeds = [[run.seed for run in row.group.runs] for row in (first, second)]
    names = named(first.group.phrase), named(second.group.phrase)
    unpaired = why_unpaired(names, seeds)
    if unpaired:
        a, b = ours.values, theirs.values
    else:
        mine, other = (dict(zip(c.seeds, c.values, strict=True)) for c in (ours, theirs))
        both = sorted(mine.keys() & other.keys())
        a, b = tuple(mine[seed] for seed in both), tuple(other[seed] for seed in both)
    if not a or not b:
        return None
    paired = not unpaired
    return Contrast(
        metric,
        first.group.label,
        second.group.label,
        min(len(a), len(b)),
        len(set(seeds[0]) | set(seeds[1])),
        unpaired,
        improvement_interval(a, b, higher_is_better=higher, paired=paired),
        improvement_p_value(a, b, higher_is_better=higher, paired=paired),
        least_p=least_p_value(len(a), len(b), paired),
        names=names,
    )


def why_unpaired(labels: Sequence[str], seeds: Sequence[Sequence[int]]) -> str:
    """Return the reason against pairs; empty if the groups share seeds, each at most once."""
    for label, own in zip(labels, seeds, strict=True):
        twice = [seed for seed, count in Counter(own).items() if count > 1]
        if twice:
            return f"seed {min(twice)} occurs more than once in {label}"
    return "" if set(seeds[0]) & set(seeds[1]) else "no seed in common"


def adjusted(family: Sequence[Contrast], primary: bool) -> list[Contrast]:
    """Return a family with p-values after Holm, and with the least possible ones.

    Holm's p increases with every p of the family, so the least p-values of all tests give the
    least adjusted one of each. If that is not below the level, no outcome of the runs could be.
    """
    p, least = holm([d.raw_p for d in family]), holm([d.least_p for d in family])
    return [
        replace(
            contrast,
            p=p[i],
            tests=len(family),
            primary=primary,
            least_p=least[i],
            enough=(
                enough_seeds(len(family), contrast.paired, SIGNIFICANT)
                if least[i] >= SIGNIFICANT
                else None
            ),
        )
        for i, contrast in enumerate(family)
    ]


# In words.
def seeds_text(contrast: Contrast) -> str:
    """Return how many seeds are paired, short enough for a table."""
    if contrast.unpaired:
        return "unpaired"
    return (
        f"{contrast.met} paired"
        if contrast.met == contrast.seeds
        else f"{contrast.met} of {contrast.seeds} paired"
    )


def family_text(contrast: Contrast) -> str:
    """Return the family of a contrast and its number of tests, as text."""
    tests = "1 test" if contrast.tests == 1 else f"{contrast.tests} tests"
    return f"{'primary' if contrast.primary else 'secondary'}, {tests}"


def families_text(contrasts: Sequence[Contrast]) -> str:
    """Return one sentence about all families; empty without tests."""
    heads = list({contrast.metric: contrast for contrast in contrasts}.values())
    parts = [f"{contrast.metric} ({family_text(contrast)})" for contrast in heads]
    return f"p-values are adjusted (Holm) within each metric: {', '.join(parts)}" if parts else ""


def out_of_reach(contrasts: Sequence[Contrast]) -> list[tuple[str, Contrast]]:
    """Return sentences on pairs with too few seeds for any difference, each with its first pair."""
    alike: dict[tuple[object, ...], list[Contrast]] = {}
    for contrast in contrasts:
        if contrast.enough is not None:
            key = (
                contrast.metric,
                contrast.met,
                contrast.paired,
                contrast.enough,
                contrast.least_p,
            )
            alike.setdefault(key, []).append(contrast)
    return [(reach_text(found), found[0]) for found in alike.values()]


def reach_text(contrasts: Sequence[Contrast]) -> str:
    """Return one sentence about pairs of groups whose seeds allow the same smallest p."""
    contrast, kind = contrasts[0], "paired " if contrasts[0].paired else "unpaired "
    names = [" and ".join(d.names) for d in contrasts]
    between = ", or between ".join(names)
    if len(contrasts) == contrast.tests > 1:
        between = "any two groups"
    elif len(contrasts) > NAMED_CONTRASTS:
        between = f"{len(contrasts)} of the {contrast.tests} pairs of groups"
    family = "" if contrast.tests == 1 else f", after Holm over {contrast.tests} tests,"
    return (
        f"A difference in {contrast.metric} between {between} could not be shown with "
        f"{contrast.met} {kind}seed{'s' * (contrast.met > 1)}: "
        f"its p{family} cannot fall below {contrast.least_p:.3f}; {contrast.enough} would do"
    )


def unpaired_text(contrasts: Sequence[Contrast]) -> str:
    """Return the pairs that were not compared seed by seed, with the reasons; else empty."""
    why: dict[str, list[str]] = {}
    for contrast in contrasts:
        if contrast.unpaired:
            pair = " and ".join(contrast.names)
            pairs = why.setdefault(contrast.unpaired, [])
            if pair not in pairs:
                pairs.append(pair)
    parts = [
        f"{reason} ({listed(pairs) if len(pairs) <= NAMED_CONTRASTS else f'{len(pairs)} pairs'})"
        for reason, pairs in why.items()
    ]
    return f"compared without pairs, by ranks: {'; '.join(parts)}" if parts else ""
