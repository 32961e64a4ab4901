"""The answer of a comparison: a headline, and at most three more sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from wganbench.output import numbered
from wganbench.reports.groups import FIRST, Group, key_word, text
from wganbench.reports.pairwise import Contrast
from wganbench.reports.rows import COVERED, Row
from wganbench.reports.statistics import FEW_SEEDS, Estimate
from wganbench.reports.wording import BEST_END, estimate_text, listed, named
from wganbench.tags.lookup import label_of, tag_for

if TYPE_CHECKING:
    from wganbench.reports.comparison import Comparison

MANY = 6
"""The most groups that a sentence lists; more are counted."""
MOST_CLAUSES = 3
Pairs = list[tuple[str, str]]
"""Labels of groups: the better one of a pair, and the other."""


def answer(comparison: Comparison) -> list[str]:
    """Return the headline and at most three sentences: tests, other metrics, caveats."""
    metric = comparison.primary
    if metric is None:
        return ["These metrics describe the groups and rank none of them."]
    parts = [headline(comparison, metric), tests_text(comparison, metric)]
    parts += [others_text(comparison, metric), caveats(comparison.rows)]
    first, *others = (f"{sentence}." for sentence in parts if sentence)
    return [first, *(f"{sentence[:1].upper()}{sentence[1:]}" for sentence in others)]


# The headline.
def headline(comparison: Comparison, metric: str) -> str:
    """Return which groups cover all modes; for another metric, which group is best."""
    rows = [row for row in comparison.rows if row.cells[metric].values]
    if metric == COVERED and rows and all(row.group.mode_count for row in rows):
        return modes_headline(comparison, rows)
    if not rows:
        return f"No group has a value of {label_of(metric)}"
    if len(rows) == 1:
        mean = estimate_text(rows[0].cells[metric].mean)
        return f"{named(rows[0].group.phrase)}: {label_of(metric)} {mean}; nothing to compare with"
    return best_headline(rows, metric)


def modes_headline(comparison: Comparison, rows: Sequence[Row]) -> str:
    """Return in how many of their seeds the groups cover all modes, best groups first."""
    ranked = sorted(rows, key=lambda row: -covered_all(row)[0] / covered_all(row)[1])
    clauses: dict[str, list[Row]] = {}
    for row in ranked:
        clauses.setdefault(modes_clause(row), []).append(row)
    if len(clauses) > MOST_CLAUSES:
        clauses = {}
        for row in ranked:
            clauses.setdefault(coarse_clause(row), []).append(row)
    parts = [
        f"{of_groups(comparison, own)} {in_number(clause, len(own))}"
        for clause, own in clauses.items()
    ]
    modes = {row.group.mode_count for row in rows}
    summary = "; ".join(parts)
    if len(modes) == 1:
        return summary.replace("all modes", f"all {modes.pop()} modes", 1)
    return summary


def covered_all(row: Row) -> tuple[int, int]:
    """Return the number of seeds with all modes, and of all seeds; diverged ones have none."""
    values, modes = row.cells[COVERED].values, row.group.mode_count or math.inf
    return sum(value >= modes for value in values), len(values)


def modes_clause(row: Row) -> str:
    """Return what a group's seeds do, with the verb in the plural after ``|``."""
    hits, seeds = covered_all(row)
    values, modes = row.cells[COVERED].values, row.group.mode_count or 0
    every = "on every seed" if seeds > 1 else "on the only seed"
    if row.diverged == seeds:
        return f"diverges|diverge {every}"
    if hits == seeds:
        return f"covers|cover all modes {every}"
    if not any(math.isnan(value) for value in values) and max(values) < modes / 2:
        return f"loses|lose most of the modes {every}"
    which = f"{hits} of {seeds} seeds" if hits else "no seed"
    return f"covers|cover all modes on {which}"


def coarse_clause(row: Row) -> str:
    hits, seeds = covered_all(row)
    which = "every seed" if hits == seeds else "some seeds" if hits else "no seed"
    return f"covers|cover all modes on {which}"


def in_number(clause: str, count: int) -> str:
    """Return a clause with its verb in the singular or in the plural."""
    verbs, _, rest = clause.partition(" ")
    return f"{verbs.split('|')[min(count, 2) - 1]} {rest}"


def best_headline(rows: Sequence[Row], metric: str) -> str:
    """Return the group with the best mean, and whether the intervals make it best."""
    direction, label = tag_for(metric).direction, label_of(metric)
    known = [row for row in rows if row.cells[metric].mean.n]
    if not known:
        return f"No run ended with a value of {label}"

    def goodness(row: Row) -> float:
        return row.cells[metric].mean.value * (1 if direction == "up" else -1)

    leader = max(known, key=goodness)
    equal = [row for row in known if goodness(row) == goodness(leader)]
    if len(equal) > 1:
        names = listed([named(row.group.phrase) for row in equal])
        value = leader.cells[metric].mean.value
        return f"{names} share the {BEST_END[direction]} mean of {label}, {value:.4g}"
    mean: Estimate = leader.cells[metric].mean
    summary = f"{named(leader.group.phrase)} has the {BEST_END[direction]} mean of {label}"
    summary = f"{summary}, {estimate_text(mean)}"
    if metric in leader.best:
        return f"{summary}, and its interval lies beyond all others'"
    second = max((row for row in known if row is not leader), key=goodness, default=None)
    if second is None:
        return summary
    other = f"{named(second.group.phrase)} with {estimate_text(second.cells[metric].mean)}"
    return f"{summary}, but it is not best by the intervals; next is {other}"


# The tests.
def shown_pairs(contrasts: Sequence[Contrast]) -> Pairs:
    """Return the pairs of groups between which a difference was shown, the better one first."""
    pairs = [((c.first, c.second), c.winner) for c in contrasts if c.differs]
    return [(pair[winner], pair[1 - winner]) for pair, winner in pairs]


def tests_text(comparison: Comparison, metric: str) -> str:
    """Return which groups are better than which, and between which no difference was shown."""
    contrasts = comparison.contrasts_of(metric)
    if not contrasts:
        return ""
    label, hidden = label_of(metric), [c for c in contrasts if not c.differs]
    clauses = list(winner_clauses(comparison, shown_pairs(contrasts)))
    others = bool(clauses)
    if len(clauses) > MOST_CLAUSES:
        shown = len(contrasts) - len(hidden)
        clauses = [f"{shown} of {len(contrasts)} pairs of groups differ"]
    doubt = [doubt_text(comparison, hidden, others)] if hidden else []
    return f"in {label}, run by run, {'; '.join([*clauses, *doubt])}"


def winner_clauses(comparison: Comparison, pairs: Pairs) -> Iterator[str]:
    """Yield clauses such as "gp and lp are better than bce": groups that beat the same ones."""
    rows = comparison.by_label
    losers = {label: tuple(b for a, b in pairs if a == label) for label in rows}
    for beaten in dict.fromkeys(found for found in losers.values() if found):
        better = [rows[label] for label, found in losers.items() if found == beaten]
        verb = "is" if len(better) == 1 else "are"
        than = of_groups(comparison, [rows[label] for label in rows if label in beaten])
        yield f"{of_groups(comparison, better)} {verb} better than {than}"


def doubt_text(comparison: Comparison, hidden: Sequence[Contrast], others: bool) -> str:
    """Return between which groups no difference was shown, and how many seeds would suffice.

    ``others`` says that differences between other pairs were shown.
    """
    met = {contrast.met for contrast in hidden}
    seeds = numbered(max(met), "seed") if len(met) == 1 else f"{min(met)} to {max(met)} seeds"
    enough = [contrast.enough for contrast in hidden if contrast.enough is not None]
    pairs = {frozenset((contrast.first, contrast.second)) for contrast in hidden}
    inside = frozenset().union(*pairs)
    rows = [row for row in comparison.rows if row.group.label in inside]
    whole = len(pairs) == len(rows) * (len(rows) - 1) / 2
    if whole and len(rows) == len(comparison.rows) > 2:
        which = "any two groups"
    elif whole:
        which = of_groups(comparison, rows)
    elif common := frozenset.intersection(*pairs):
        ours = [row for row in rows if row.group.label in common]
        rest = [row for row in rows if row.group.label not in common]
        which = f"{of_groups(comparison, ours)} and each of {of_groups(comparison, rest)}"
    else:
        which = f"the groups of {len(pairs)} {'other ' * others}pairs"
    found = f"with {seeds} no difference between {which}"
    if len(enough) == len(hidden):
        return f"{found} can be significant ({max(enough)} would suffice)"
    return f"{found} is significant"


def others_text(comparison: Comparison, metric: str) -> str:
    """Return in which further metrics the tests show the same; else what the first one shows."""
    shown = {m: shown_pairs(comparison.contrasts_of(m)) for m in comparison.metrics if m != metric}
    shown = {m: pairs for m, pairs in shown.items() if pairs}
    first = shown_pairs(comparison.contrasts_of(metric))
    same = [label_of(m) for m, pairs in shown.items() if set(pairs) == set(first)]
    if same:
        return f"the same holds for {listed(same)}"
    return tests_text(comparison, next(iter(shown))) if shown else ""


# Caveats.
def caveats(rows: Sequence[Row]) -> str:
    """Return the runs that diverged or have not finished, and whether seeds are few."""
    finished = sum(len(row.group.finished) for row in rows)
    lost = [row for row in rows if row.diverged]
    unfinished = sum(row.unfinished for row in rows)
    parts = []
    if lost:
        counts = [f"{row.diverged} of {named(row.group.phrase)}" for row in lost[:MANY]]
        diverged = sum(row.diverged for row in lost)
        which = listed(counts) if len(lost) <= MANY else f"in {len(lost)} groups"
        parts.append(f"{diverged} of {numbered(finished, 'finished run')} diverged ({which})")
    if unfinished:
        parts.append(f"{numbered(unfinished, 'run')} not finished, and not in the numbers")
    if rows and min(len(row.group.finished) for row in rows) < FEW_SEEDS:
        parts.append(f"fewer than {FEW_SEEDS} seeds in a group are weak evidence")
    return "; ".join(parts)


# Names of several groups.
def of_groups(comparison: Comparison, rows: Sequence[Row]) -> str:
    """Return the names of groups; a setting that alone varies is named once.

    Such as "lambda = 0.1, 1 and 10".
    """
    if len(rows) > MANY:
        return f"{len(rows)} groups"
    key = only_key([row.group for row in comparison.rows])
    if key is None:
        return listed([named(row.group.phrase) for row in rows])
    values = [text(dict(row.group.values)[key]) for row in rows]
    return listed(values) if key in FIRST else f"{key_word(key)} = {listed(values)}"


def only_key(groups: Sequence[Group]) -> str | None:
    """Return the only key by which the groups are made, if all have a value of it."""
    keys = {key for group in groups for key, value in group.values}
    known = all(value is not None for group in groups for _, value in group.values)
    return keys.pop() if len(keys) == 1 and known else None
