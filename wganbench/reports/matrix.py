"""The pairwise comparisons of a metric as a matrix, with letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wganbench.reports.comparison import Comparison
from wganbench.reports.pairwise import Contrast, family_text
from wganbench.reports.significance import compact_letters
from wganbench.reports.wording import estimate_text, named, p_text
from wganbench.tags.lookup import label_of, tag_for

MOST = 16
"""The most groups in a matrix; the pairs of more stand in a list only."""


@dataclass(frozen=True)
class Square:
    """A pair of groups, seen from that of the row.

    ``kind`` is "better", "worse", "alike" (no difference was shown), "unable" (none could be shown
    with these seeds) or "none" (not compared). ``about`` is a sentence.
    """

    kind: str
    text: str = ""
    p: str = ""
    about: str = ""


@dataclass(frozen=True)
class Matrix:
    """A metric's comparisons: ``rows`` are the group, its letters, and a square a group."""

    heading: str
    family: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Square]]]
    lettered: bool
    primary: bool


def matrices(comparison: Comparison) -> list[Matrix]:
    """Return the matrix of each metric that is compared; none of too many groups."""
    metrics = dict.fromkeys(contrast.metric for contrast in comparison.contrasts)
    return [matrix(comparison, metric) for metric in metrics if len(comparison.rows) <= MOST]


def matrix(comparison: Comparison, metric: str) -> Matrix:
    contrasts = comparison.contrasts_of(metric)
    squares = {(c.first, c.second): square(c, 0) for c in contrasts}
    squares |= {(c.second, c.first): square(c, 1) for c in contrasts}
    labels = list(comparison.by_label)
    columns = [comparison.baseline] if comparison.baseline is not None else labels
    shown = [label for label in labels if label != comparison.baseline]
    letters = letters_of(comparison, metric)
    titles = {label: named(row.group.title) for label, row in comparison.by_label.items()}
    return Matrix(
        label_of(metric),
        family_text(contrasts[0]),
        [titles[label] for label in columns],
        [
            (
                titles[label],
                letters.get(label, ""),
                [squares.get((label, other), Square("none")) for other in columns],
            )
            for label in shown
        ],
        bool(letters),
        contrasts[0].primary,
    )


def square(contrast: Contrast, side: int) -> Square:
    """Return the square in the row of the first group (side 0) or of the second (side 1)."""
    chance = contrast.estimate.value
    ours, theirs = contrast.names[side], contrast.names[1 - side]
    kind = "alike" if contrast.enough is None else "unable"
    if contrast.differs:
        kind = "better" if contrast.winner == side else "worse"
    # The interval is that of the pair as it was tested, so the sentence names that pair.
    tested = f"{contrast.names[0]} against {contrast.names[1]}: {estimate_text(contrast.estimate)}"
    about = {
        "better": f"{ours} is better than {theirs}",
        "worse": f"{ours} is worse than {theirs}",
        "alike": "no difference was shown",
        "unable": f"no difference could be shown; {contrast.enough} seeds would do",
    }[kind]
    return Square(
        kind,
        f"{1 - chance if side else chance:.2f}",
        f"p {p_text(contrast.p)}",
        f"{about} ({tested}, Holm's p {p_text(contrast.p)})",
    )


def letters_of(comparison: Comparison, metric: str) -> dict[str, str]:
    """Return the letters of groups by label; no difference was shown between those that share one.

    The first letter belongs to the best mean. Returns none where only some pairs were compared
    (with a baseline), and where no difference could have been shown, as equal letters would
    look like a result.
    """
    contrasts = comparison.contrasts_of(metric)
    inside = {label for contrast in contrasts for label in (contrast.first, contrast.second)}
    silent = all(contrast.enough is not None for contrast in contrasts)
    every = len(contrasts) == len(inside) * (len(inside) - 1) // 2
    if silent or comparison.baseline is not None or not every:
        return {}
    sign = -1 if tag_for(metric).direction == "up" else 1
    ranked = sorted(
        (label for label in comparison.by_label if label in inside),
        key=lambda label: comparison.by_label[label].cells[metric].mean.place(sign),
    )
    differing = [frozenset((c.first, c.second)) for c in contrasts if c.differs]
    return compact_letters(ranked, differing) or {}
