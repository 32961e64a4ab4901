"""Writes the scoreboards of the quick and the full budget into wganbench/studies/README.md.

    wganbench study all
    wganbench study all budget=full
    python scripts/scoreboard.py [outputs]

Both budgets stand side by side: the primary claims, what differs between the budgets, all claims.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from readmes import filled

from wganbench.output import markdown_table, numbered
from wganbench.studies.scoreboard import family, read_scoreboard, summary, value_text, word_text
from wganbench.studies.verdicts import Verdict

README = Path(__file__).resolve().parent.parent / "wganbench" / "studies" / "README.md"
QUICK, FULL = "quick", "full"
HEAD = ("value [95 %], quick", "verdict, quick", "value [95 %], full", "verdict, full")
DECIDED = {"supported": "supported", "not refuted": "supported", "refuted": "refuted"}
"""The side that a verdict takes; a verdict that is not here takes none."""

Pair = tuple[Verdict, Verdict]
"""The verdicts on one claim: of the quick and of the full budget."""


def pairs(output_dir: Path) -> list[Pair]:
    """The verdicts on every claim. Raises ConfigError where a study of a budget is missing."""
    quick, full = (read_scoreboard(output_dir, budget) for budget in (QUICK, FULL))
    return list(zip(quick, full, strict=True))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(markdown_table(head, rows))


def cells(found: Pair) -> list[str]:
    return [text(verdict) for verdict in found for text in (value_text, word_text)]


def statement(verdict: Verdict) -> str:
    return f"{verdict.claim.text}: {verdict.claim.statistic}"


def summaries(found: Sequence[Pair]) -> str:
    """The counts of both budgets, and how often the two decide alike."""
    quick, full = zip(*found, strict=True)
    kinds = Counter(change(pair) for pair in found)
    return (
        f"Quick: {summary(quick)} Full: {summary(full)} Both decide, and alike: {kinds['alike']}; "
        f"against each other: {kinds['against']}; only the full budget decides: {kinds['full']}; "
        f"only the quick one: {kinds['quick']}; neither: {kinds['neither']}."
    )


def change(found: Pair) -> str:
    """How the budgets differ on a claim: ``alike``, ``against``, ``full``, ``quick``, ``neither``.

    The last three name who decides.
    """
    quick, full = (DECIDED.get(verdict.word, "") for verdict in found)
    if quick and full:
        return "alike" if quick == full else "against"
    return QUICK if quick else FULL if full else "neither"


def primaries(found: Sequence[Pair]) -> str:
    rows = [[f"`{quick.study}`", statement(quick), *cells((quick, full))]
            for quick, full in found if quick.claim.primary]  # fmt: skip
    return table(("study", "primary claim, and what it was measured by", *HEAD), rows)


def opposed(found: Sequence[Pair]) -> str:
    """The claims on which the budgets decide against each other, with both values."""
    rows = [[f"`{pair[0].study}`", statement(pair[0]), *cells(pair)]
            for pair in found if change(pair) == "against"]  # fmt: skip
    if not rows:
        return f"{numbered(0, 'claim')}: the budgets nowhere decide against each other."
    return table(("study", "claim, and what it was measured by", *HEAD), rows)


def every(found: Sequence[Pair]) -> str:
    rows = []
    for quick, full in found:
        text = f"**{quick.claim.text}**" if quick.claim.primary else quick.claim.text
        rows.append([quick.study, f"{text}: {quick.claim.statistic}", *cells((quick, full))])
    return table(("study", "claim, and what it was measured by", *HEAD), rows)


def families(found: Sequence[Pair]) -> str:
    return family([quick for quick, _ in found])


def main() -> None:
    found = pairs(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs"))
    parts = {
        "counts": summaries, "primary claims": primaries, "opposed": opposed,
        "family": families, "all claims": every,
    }  # fmt: skip
    text = README.read_text(encoding="utf-8")
    README.write_text(
        filled(text, {name: partial(make, found) for name, make in parts.items()}), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
