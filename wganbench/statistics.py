"""The statistics of `wganbench compare`, for scores of any origin.

>>> from wganbench.statistics import compare_scores
>>> found = compare_scores({"ours": [0.9, 0.8, 0.95, 0.85, 0.9, 0.92],
...                         "theirs": [0.5, 0.6, 0.4, 0.55, 0.45, 0.5]})
>>> [(row.name, round(row.mean.value, 2), row.letters) for row in found.rows]
[('ours', 0.89, 'a'), ('theirs', 0.5, 'b')]
>>> found.pairs[0].better, round(found.pairs[0].p_value, 4)
('ours', 0.0022)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from wganbench.errors import printable
from wganbench.reports.page import render
from wganbench.reports.significance import (
    compact_letters,
    holm,
    improvement_p_value,
    shows_difference,
)
from wganbench.reports.statistics import (
    Estimate,
    improvement_interval,
    iqm_interval,
    mean_interval,
    probability_of_improvement,
    share_interval,
    spearman,
)
from wganbench.reports.wording import estimate_text, p_text


# Groups of scores from anywhere: intervals, pairwise comparisons, letters.
@dataclass(frozen=True)
class Row:
    """A group: its mean with Student's interval, its interquartile mean with a bootstrap's.

    No difference was shown between groups that share a letter; None if there are too many.
    """

    name: str
    mean: Estimate
    iqm: Estimate
    letters: str | None


@dataclass(frozen=True)
class Pair:
    """Two groups: the probability that a run of ``better`` beats one of ``other``.

    ``p_value`` is after Holm's correction over all pairs.
    """

    better: str
    other: str
    probability: Estimate
    p_value: float


@dataclass(frozen=True)
class ScoreComparison:
    """Groups from the best mean to the worst, and all their pairs."""

    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]

    def _repr_html_(self) -> str:
        return render(
            "scores.html.j2",
            rows=[
                (printable(row.name), estimate_text(row.mean), estimate_text(row.iqm), row.letters)
                for row in self.rows
            ],
            pairs=[
                (
                    printable(f"{pair.better} | {pair.other}"),
                    estimate_text(pair.probability),
                    p_text(pair.p_value),
                )
                for pair in self.pairs
            ],
        )


def compare_scores(
    scores: Mapping[str, Sequence[float]], *, higher_is_better: bool = True, paired: bool = False
) -> ScoreComparison:
    """Return intervals and pairwise comparisons of groups of scores, one score for each seed.

    A run that diverged is nan or inf: it is left out of the means, and worse than all others in
    the comparisons. ``paired`` means that the k-th score of every group has the same seed. Raises
    ValueError for an empty group, and for paired groups of different sizes.
    """
    empty = [name for name, own in scores.items() if not len(own)]
    if empty or not scores:
        raise ValueError(f"{empty[0] if empty else 'scores'} is empty: give at least one score")
    sign = -1 if higher_is_better else 1
    means = {name: mean_interval(own) for name, own in scores.items()}
    ranked = sorted(scores, key=lambda name: means[name].place(sign))
    pairs = list(combinations(ranked, 2))
    p_values = holm(
        [
            improvement_p_value(
                scores[a], scores[b], higher_is_better=higher_is_better, paired=paired
            )
            for a, b in pairs
        ]
    )
    found = []
    for (a, b), p in zip(pairs, p_values, strict=True):
        probability = _interval(scores, higher_is_better, paired, a, b)
        if probability.value < 0.5:
            a, b, probability = b, a, _interval(scores, higher_is_better, paired, b, a)
        found.append(Pair(a, b, probability, p))
    differing = [
        frozenset((pair.better, pair.other))
        for pair in found
        if shows_difference(pair.p_value, pair.probability)
    ]
    letters = compact_letters(ranked, differing)
    rows = tuple(
        Row(name, means[name], iqm_interval(scores[name]), letters[name] if letters else None)
        for name in ranked
    )
    return ScoreComparison(rows, tuple(found))


def _interval(
    scores: Mapping[str, Sequence[float]], higher_is_better: bool, paired: bool, a: str, b: str
) -> Estimate:
    return improvement_interval(
        scores[a], scores[b], higher_is_better=higher_is_better, paired=paired
    )


__all__ = [
    "Estimate",
    "Pair",
    "Row",
    "ScoreComparison",
    "compare_scores",
    "holm",
    "improvement_interval",
    "improvement_p_value",
    "iqm_interval",
    "mean_interval",
    "probability_of_improvement",
    "share_interval",
    "spearman",
]
