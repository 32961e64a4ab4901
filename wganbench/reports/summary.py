"""A comparison in words; no sentence claims more than the intervals support."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wganbench.output import numbered
from wganbench.reports.comparison import Comparison
from wganbench.reports.figures import FigureFile
from wganbench.reports.pairwise import Contrast, out_of_reach, seeds_text
from wganbench.reports.rows import Row, loses_more
from wganbench.reports.significance import SIGNIFICANT
from wganbench.reports.statistics import FEW_SEEDS, Estimate, share_interval
from wganbench.reports.wording import (
    BEST_END,
    bounds_text,
    estimate_text,
    has_interval,
    listed,
    named,
    p_text,
)
from wganbench.tags.lookup import BETTER, tag_for

# The places in the report to which a sentence can link.
TABLE, CONTRASTS = "groups", "contrasts"
SHOWN_CONTRASTS = 200
"""The most pairs in the report; further ones are only in comparison.json."""


@dataclass(frozen=True)
class Anchor:
    """The word of a link, and the id of its target."""

    word: str
    target: str


def group_id(position: int) -> str:
    return f"group-{position}"


def contrast_id(position: int) -> str:
    """Return the id of a contrast's line, or of the table if that line is left out."""
    return f"contrast-{position}" if position < SHOWN_CONTRASTS else CONTRASTS


def figure_id(file: FigureFile) -> str:
    return "figure-" + re.sub(r"[^A-Za-z0-9_.-]", "-", file.name)


def to_groups(*positions: int) -> tuple[Anchor, ...]:
    """Return a link to a group's line, or to the whole table for none or several groups."""
    target = group_id(positions[0]) if len(positions) == 1 else TABLE
    return (Anchor("table", target),)


def to_figure(drawn: Sequence[FigureFile], *topics: str) -> tuple[Anchor, ...]:
    """Return a link to a figure about the first topic that has one; empty without a figure.

    A figure is about a topic if its name contains it, or else its title or caption.
    """
    for topic in topics:
        wanted = plain(topic)
        named = [file for file in drawn if wanted in plain(file.name)]
        mentioned = [p for p in drawn if wanted in plain(p.title) or wanted in plain(p.caption)]
        for file in (*named, *mentioned):
            return (Anchor("figure", figure_id(file)),)
    return ()


def plain(text: str) -> str:
    """Return the lower-case words of a text, each between single spaces.

    >>> plain("Modes/covered")
    ' modes covered '
    """
    return " " + " ".join(re.findall(r"[a-z0-9]+", text.lower())) + " "


MANY = 12
"""The most groups that are listed one by one; more are only counted."""
MOST_PAIRS = 3
"""The most pairs of groups in sentences; the matrix of the report shows more."""


@dataclass(frozen=True)
class Sentence:
    """A statement, links to its evidence in the report, and its topic."""

    text: str
    anchors: tuple[Anchor, ...] = ()
    topic: str = ""


def summarise(comparison: Comparison, drawn: Sequence[FigureFile] = ()) -> list[Sentence]:
    """Return the sentences: results by metric, then runs, then the notes for the reader."""
    rows = comparison.rows
    collected: list[Sentence] = []
    if len(rows) == 1:
        text = f"There is one group, {name(rows[0])}: nothing to compare it with."
        collected.append(Sentence(text, to_groups(0)))
    for metric in comparison.metrics:
        sentences = metric_sentences(comparison, metric, drawn)
        collected += [
            replace(sentence, topic=topic_of(comparison, metric)) for sentence in sentences
        ]
    runs = list(every_mode(rows, drawn))
    runs += divergence(rows, drawn)
    notes = [Sentence(f"{note[:1].upper()}{note[1:]}.", to_groups()) for note in comparison.notes]
    collected += [replace(sentence, topic="runs") for sentence in runs]
    return [*collected, *(replace(sentence, topic="caveats") for sentence in notes)]


def topic_of(comparison: Comparison, metric: str) -> str:
    """Return the metric; if several are tested, with "primary" or "secondary"."""
    tested = list(dict.fromkeys(contrast.metric for contrast in comparison.contrasts))
    if len(tested) < 2 or metric not in tested:
        return metric
    return f"{metric} ({'primary' if metric == tested[0] else 'secondary'})"


def name(row: Row) -> str:
    return named(row.group.phrase)


# Metrics.
def metric_sentences(
    comparison: Comparison, metric: str, drawn: Sequence[FigureFile]
) -> Iterator[Sentence]:
    """Yield which group is best, if any, and which pairs of groups differ."""
    rows, figure = comparison.rows, to_figure(drawn, metric)
    if len(rows) == 1:
        mean = rows[0].cells[metric].mean
        if mean.n:
            text = f"The mean of {metric} over {runs_text(mean.n)} is {estimate_text(mean)}."
            yield Sentence(text, (*to_groups(0), *figure))
    elif tag_for(metric).direction not in ("up", "down"):
        text = f"{metric} describes the groups and ranks none of them."
        yield Sentence(text, (*to_groups(), *figure))
    else:
        positions, text = best_text(rows, metric)
        yield Sentence(text, (*to_groups(*positions), *figure))
        yield from contrast_sentences(comparison, metric, drawn)


def best_text(rows: Sequence[Row], metric: str) -> tuple[list[int], str]:
    """Return the positions of the groups in the sentence, and the sentence."""
    best = [position for position, row in enumerate(rows) if metric in row.best]
    direction = tag_for(metric).direction
    if best:
        mean = rows[best[0]].cells[metric].mean
        few = min(row.cells[metric].mean.n for row in rows) < FEW_SEEDS
        weak = f" (weak: fewer than {FEW_SEEDS} values in a group)" if few else ""
        return best, (
            f"{name(rows[best[0]])} has the best mean of {metric} ({BETTER[direction]} is better): "
            f"its interval, {estimate_text(mean)}, lies beyond all others'{weak}."
        )
    nobody = f"No group is best by the intervals in {metric}"
    known = [p for p, row in enumerate(rows) if row.cells[metric].mean.n]
    if not known:
        return [], f"{nobody}: none has a value of it."
    sign = 1 if direction == "up" else -1
    top = max(sign * rows[p].cells[metric].mean.value for p in known)
    first = [p for p in known if sign * rows[p].cells[metric].mean.value == top]
    end = BEST_END[direction]
    if len(first) > 1:
        names = listed([name(rows[p]) for p in first])
        return first, f"{nobody}: {names} share the {end} mean, {sign * top:.4g}."
    leader = rows[first[0]]
    others = [row for row in rows if row is not leader]
    mean_text = estimate_text(leader.cells[metric].mean)
    doubt = why_not_best(leader, others, metric, sign)
    return first, f"{nobody}: the {end} mean, {mean_text}, is that of {name(leader)}{doubt}."


def why_not_best(leader: Row, others: Sequence[Row], metric: str, sign: int) -> str:
    """Return why the group with the best mean is not called best; empty if it has no interval."""
    ours = leader.cells[metric].mean
    without = [row for row in others if row.cells[metric].mean.n == 0]
    if without:
        return f", and there is no value in {names_of(without)}"
    if not has_interval(ours):
        return ""
    silent = [row for row in others if not has_interval(row.cells[metric].mean)]
    if silent:
        return f", but there is no interval for {names_of(silent)}"
    near = ours.low if sign > 0 else -ours.high
    reached = [row for row in others if near <= far_end(row.cells[metric].mean, sign)]
    if reached:
        theirs = "that" if len(reached) == 1 else "those"
        return f", whose interval overlaps {theirs} of {names_of(reached)}"
    safer = [row for row in others if loses_more(leader, row, metric)]
    lost = "diverged or ended without it" if leader.cells[metric].undefined else "diverged"
    return f", but a larger share of its runs {lost} than of {names_of(safer)}"


def far_end(mean: Estimate, sign: int) -> float:
    return mean.high if sign > 0 else -mean.low


def names_of(rows: Sequence[Row]) -> str:
    return listed([name(row) for row in rows]) if len(rows) <= MANY else f"{len(rows)} others"


# Pairs of groups.
def contrast_sentences(
    comparison: Comparison, metric: str, drawn: Sequence[FigureFile]
) -> Iterator[Sentence]:
    """Yield the pairs that differ in a metric, those that do not, and those with too few seeds."""
    contrasts = [
        (i, contrast)
        for i, contrast in enumerate(comparison.contrasts)
        if contrast.metric == metric
    ]
    figure = to_figure(drawn, metric)
    if not contrasts:
        return
    shown = [(i, contrast) for i, contrast in contrasts if contrast.differs]
    hidden = [
        (i, contrast)
        for i, contrast in contrasts
        if not contrast.differs and contrast.enough is None
    ]
    lines = {contrast: i for i, contrast in contrasts}
    if len(contrasts) > MOST_PAIRS:
        counted = f"{len(shown)} of {len(contrasts)} pairs of groups"
        text = f"Run by run, a difference in {metric} was shown between {counted}"
        here = (Anchor("table", contrast_id(contrasts[0][0])), *figure)
        yield Sentence(f"{text} (Holm's p below {SIGNIFICANT:g}).", here)
    else:
        for winner in dict.fromkeys(winner_of(contrast) for _, contrast in shown):
            won = [(i, contrast) for i, contrast in shown if winner_of(contrast) == winner]
            than = listed([won_text(contrast) for _, contrast in won])
            text = f"Run by run, {winner} is better in {metric} {than}."
            yield Sentence(text, (Anchor("table", contrast_id(won[0][0])), *figure))
        if hidden:
            here = (Anchor("table", contrast_id(hidden[0][0])), *figure)
            yield Sentence(hidden_text([contrast for _, contrast in hidden]), here)
    for text, contrast in out_of_reach([contrast for _, contrast in contrasts]):
        yield Sentence(f"{text}.", (Anchor("table", contrast_id(lines[contrast])),))


def hidden_text(contrasts: Sequence[Contrast]) -> str:
    """Return the sentence on pairs with enough seeds between which no difference was shown."""
    pairs = [" and ".join(contrast.names) for contrast in contrasts]
    least = min(contrast.p for contrast in contrasts)
    p = f" (Holm's {'p' if len(contrasts) == 1 else 'smallest p'} {p_phrase(least)})"
    text = f"Run by run, no difference in {contrasts[0].metric} was shown between "
    return text + ", or between ".join(pairs) + (p if least >= SIGNIFICANT else "") + "."


def winner_of(contrast: Contrast) -> str:
    return contrast.names[contrast.winner]


def won_text(contrast: Contrast) -> str:
    """Return the part of a sentence with the losing group, the probability and the p-value."""
    loser, chance = contrast.names[1 - contrast.winner], contrast.estimate
    if contrast.winner:
        low, high = 1 - chance.high, 1 - chance.low
        chance = Estimate(1 - chance.value, low, high, chance.n, chance.method)
    tests = "the only test" if contrast.tests == 1 else f"{contrast.tests} tests"
    return (
        f"than {loser} with probability {estimate_text(chance)} "
        f"(Holm's p {p_phrase(contrast.p)}, {tests}, seeds: {seeds_text(contrast)})"
    )


def p_phrase(p: float) -> str:
    return p_text(p) if p < 0.001 else f"= {p_text(p)}"


# Runs.
def every_mode(rows: Sequence[Row], drawn: Sequence[FigureFile]) -> Iterator[Sentence]:
    """Yield the number of finished runs, by group, that cover every mode of the data."""
    figure = to_figure(drawn, "every mode", "all modes", "modes/covered")
    shares = [(i, row, row.all_modes) for i, row in enumerate(rows) if row.all_modes is not None]
    if len(shares) > MANY:
        whole = sum(share.value == 1 for _, _, share in shares)
        text = f"{whole} of {len(shares)} groups cover every mode in all finished runs."
        yield Sentence(text, (*to_groups(), *figure))
        return
    for position, row, share in shares:
        hits = round(share.value * share.n)
        text = f"{name(row)} covers every mode in {hits} of {numbered(share.n, 'finished run')}"
        yield Sentence(f"{text} ({bounds_text(share)}).", (*to_groups(position), *figure))


def divergence(rows: Sequence[Row], drawn: Sequence[FigureFile]) -> Iterator[Sentence]:
    """Yield the groups with diverged runs, and which runs their means contain."""
    figure = to_figure(drawn, "diverged", "divergence")
    finished = sum(len(row.group.finished) for row in rows)
    lossy = [(position, row) for position, row in enumerate(rows) if row.diverged]
    if not lossy:
        text = f"No run diverged, of {finished} that finished."
        yield Sentence(text, (*to_groups(), *figure))
    elif len(lossy) > MANY:
        lost = sum(row.diverged for _, row in lossy)
        text = f"{lost} of {finished} finished runs diverged, in {len(lossy)} of {len(rows)} groups"
        yield Sentence(f"{text}; the means are those of the others.", (*to_groups(), *figure))
    else:
        for position, row in lossy:
            yield Sentence(lost_text(row), (*to_groups(position), *figure))


def lost_text(row: Row) -> str:
    finished = len(row.group.finished)
    share = bounds_text(share_interval(row.diverged, finished))
    if row.diverged == finished:
        whole = "The one finished run" if finished == 1 else f"All {finished} finished runs"
        return f"{whole} of {name(row)} diverged ({share}): it has no means."
    return (
        f"{row.diverged} of {finished} finished runs of {name(row)} diverged ({share}); its "
        "means are those of the others."
    )


def runs_text(count: int) -> str:
    return "one run" if count == 1 else f"{count} runs"
