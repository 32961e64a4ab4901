"""The rule of verdicts: one for all studies, fixed before the data are seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from wganbench.reports.significance import holm
from wganbench.reports.statistics import mean_interval

# What a study says: a claim from the literature, what was measured, and the verdict.
KINDS = ("universal", "comparative", "quantitative")
SUPPORTED, REFUTED, UNDECIDED, NOT_REFUTED = "supported", "refuted", "undecided", "not refuted"


@dataclass(frozen=True)
class Claim:
    """A statement and all that decides it, written down before there are data.

    ``smallest`` is, of a universal claim, the tolerance that a counterexample must exceed;
    of a comparative one the smallest effect of interest; of a quantitative one how far from
    ``stated`` still agrees. ``spread`` is the standard deviation between seeds that the plan
    expects of a comparative claim (from seeds 100 and up, which decide nothing). ``exact``:
    computed from a formula, without seeds; then there is no spread and no interval's doubt.

    Raises ValueError for another kind, an empty field, or numbers that do not fit the kind.
    """

    name: str
    text: str
    source: str
    kind: str
    statistic: str
    unit: str
    smallest: float
    stated: float | None = None
    spread: float | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"claim {self.name!r}: kind is one of {', '.join(KINDS)}")
        if not all((self.name, self.text, self.source, self.statistic, self.unit)):
            raise ValueError(f"claim {self.name!r} has an empty field")
        if (self.stated is None) == (self.kind == "quantitative"):
            raise ValueError(f"claim {self.name!r}: a quantitative claim, and no other, states")
        if self.smallest < 0 or (self.smallest == 0 and self.kind != "universal"):
            raise ValueError(f"claim {self.name!r}: smallest must be above 0")
        if self.kind == "comparative" and not self.exact and self.spread is None:
            raise ValueError(f"claim {self.name!r}: a plan needs the expected spread")

    @property
    def rule(self) -> str:
        """How the verdict follows from the measurement, in words."""
        size = f"{self.smallest:g} {self.unit}"
        if self.kind == "universal":
            return (
                f"refuted by at least {COUNTEREXAMPLES} seeds beyond {size}, else not refuted; "
                "sampling never supports it"
            )
        if self.kind == "comparative":
            return (
                f"supported if the 95 % interval lies above 0 and the estimate reaches {size}; "
                f"refuted if the whole interval lies below {size}; else undecided"
            )
        return (
            f"supported if the 95 % interval lies within {size} of {self.stated:g}; refuted if "
            "it lies wholly outside; else undecided"
        )


COUNTEREXAMPLES = 3
"""Seeds that must exceed the tolerance before a universal claim is refuted."""


@dataclass(frozen=True)
class Evidence:
    """What was measured for one claim.

    ``values``: one number a seed, in the claim's unit: of a universal claim by how much it
    is violated, of a comparative one the effect (above 0 speaks for the claim), of a
    quantitative one the quantity. None where a seed gave no number, because a run diverged:
    it is never dropped. Of an exact claim: the cases computed. ``value``, ``interval`` and
    ``p_value`` replace Student's t where another statistic is the right one; the p-value is
    that of what the verdict denies. ``note``: what a reader must know.
    """

    values: Sequence[float | None]
    value: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    method: str = "Student's t over seeds"
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict with the figures behind it; nan-free: what does not exist is None."""

    claim: Claim
    study: str
    word: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    p_value: float | None
    method: str
    why: str
    notes: tuple[str, ...] = field(default=())
    alone: str = ""
    """What the word was before a scoreboard's correction, where that changed it."""


LEVEL = 0.95
POWER = 0.8
"""The chance of support that a plan shall have when the effect is the smallest of interest."""

MOST_COUNTED = 1e300
"""Larger violations are reported as this: JSON has no infinity."""


def judge(study: str, claim: Claim, evidence: Evidence) -> Verdict:
    """The verdict on one claim. A seed without a value leaves all but counterexamples open."""
    values = [value for value in evidence.values if value is not None]
    missing = len(evidence.values) - len(values)
    notes = tuple(note for note in (evidence.note, missing_note(missing)) if note)
    if claim.kind == "universal":
        verdict = judge_universal(claim, values)
    else:
        verdict = judge_effect(claim, evidence, values)
        if missing and verdict.word != UNDECIDED:
            verdict = replace(
                verdict, word=UNDECIDED, why=f"{missing} seeds have no value: nothing is decided"
            )
    return replace(verdict, study=study, notes=notes)


def missing_note(missing: int) -> str:
    return f"{missing} of the seeds gave no value (diverged)" if missing else ""


def judge_universal(claim: Claim, values: Sequence[float]) -> Verdict:
    """Refuted by counterexamples, else not refuted. One exact counterexample is enough."""
    beyond = sum(value > claim.smallest for value in values)
    worst = max(values, default=math.nan)
    needed = 1 if claim.exact else COUNTEREXAMPLES
    word = REFUTED if beyond >= needed else NOT_REFUTED
    seeds = "exact cases" if claim.exact else "seeds"
    why = (
        f"{beyond} of {len(values)} {seeds} exceed {claim.smallest:g} {claim.unit}; "
        f"{needed} refute it"
    )
    method = "counterexamples"
    return Verdict(claim, "", word, finite(worst), None, None, len(values), None, method, why)


def judge_effect(claim: Claim, evidence: Evidence, values: Sequence[float]) -> Verdict:
    """A comparative or a quantitative claim, by its interval."""
    value, low, high = interval_of(claim, evidence, values)
    n = len(values)
    known = all(math.isfinite(end) for end in (value, low, high))
    decide = decide_comparative if claim.kind == "comparative" else decide_quantitative
    word = decide(claim, value, low, high) if known else UNDECIDED
    if known and claim.exact:
        among = "" if low == high else f", {low:.3g} to {high:.3g} over {n} cases"
        why, p_value = f"{value:.3g} {claim.unit}, exact{among}", None
    elif known:
        why = f"{value:.3g} [{low:.3g}, {high:.3g}] {claim.unit}"
        p_value = p_of(claim, evidence, values, word)
    else:
        why, p_value = f"no interval from {n} seeds", None
    method = "exact" if claim.exact else evidence.method
    return Verdict(
        claim, "", word, finite(value), finite(low), finite(high), n, p_value, method, why
    )


def interval_of(
    claim: Claim, evidence: Evidence, values: Sequence[float]
) -> tuple[float, float, float]:
    """The estimate and its interval: given, exact, or Student's t."""
    if evidence.interval is not None:
        centre = evidence.value
        return (float(np.mean(values)) if centre is None else centre, *evidence.interval)
    if claim.exact:
        return (values[0], min(values), max(values)) if values else (math.nan,) * 3
    estimate = mean_interval(values, LEVEL)
    return estimate.value, estimate.low, estimate.high


def decide_comparative(claim: Claim, value: float, low: float, high: float) -> str:
    """Supported above 0 and of the size of interest; refuted if all of it is smaller."""
    if low > 0 and value >= claim.smallest:
        return SUPPORTED
    return REFUTED if high < claim.smallest else UNDECIDED


def decide_quantitative(claim: Claim, value: float, low: float, high: float) -> str:
    """Supported within the margin around what is stated; refuted wholly outside of it."""
    stated = claim.stated or 0.0
    bottom, top = stated - claim.smallest, stated + claim.smallest
    if bottom <= low and high <= top:
        return SUPPORTED
    return REFUTED if high < bottom or low > top else UNDECIDED


def p_of(claim: Claim, evidence: Evidence, values: Sequence[float], word: str) -> float | None:
    """The p-value of what the verdict denies: two-sided, by Student's t unless one is given.

    Of a quantitative claim it is that of the nearer end of what is stated: outside of both
    ends two one-sided tests (Schuirmann 1987), doubled.
    """
    if evidence.p_value is not None or evidence.interval is not None:
        return evidence.p_value
    if claim.kind == "comparative":
        return t_test(values, claim.smallest if word == REFUTED else 0.0)
    bottom, top = (claim.stated or 0.0) - claim.smallest, (claim.stated or 0.0) + claim.smallest
    return max(t_test(values, bottom), t_test(values, top))


def t_test(values: Sequence[float], against: float) -> float:
    """Two-sided p-value of "the mean is ``against``"; 1 where it cannot be computed."""
    array = np.asarray(values, dtype=np.float64) - against
    if len(array) < 2 or not array.std() > 0:
        return 1.0
    return float(stats.ttest_1samp(array, 0.0).pvalue)


def corrected(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of a whole scoreboard, p-values after Holm's correction over all of them.

    What is no longer below 5 % is undecided. Exact results and counterexamples have no
    p-value and stay.
    """
    tested = [i for i, verdict in enumerate(verdicts) if verdict.p_value is not None]
    p_values = holm([verdicts[i].p_value or 0.0 for i in tested])
    result = list(verdicts)
    for i, p_value in zip(tested, p_values, strict=True):
        verdict = replace(verdicts[i], p_value=p_value)
        if verdict.word in (SUPPORTED, REFUTED) and p_value >= 1 - LEVEL:
            note = f"{verdict.word} alone, but not after Holm's correction over {len(tested)} tests"
            notes = (*verdict.notes, note)
            verdict = replace(verdict, word=UNDECIDED, notes=notes, alone=verdict.word)
        result[i] = verdict
    return result


def power(claim: Claim, seeds: int) -> float | None:
    """The chance that the plan supports a comparative claim whose effect is a half more than
    the smallest of interest; None where there is nothing to plan.

    Both conditions count: the t-test against 0, and the estimate reaching the smallest effect.
    Noncentral t and normal means (Cohen 1988), taken as independent: a lower bound.
    """
    if claim.kind != "comparative" or claim.spread is None:
        return None
    if seeds < 2:
        return 0.0
    effect = 1.5 * claim.smallest
    shift = effect / (claim.spread / math.sqrt(seeds))
    critical = stats.t.ppf((1 + LEVEL) / 2, seeds - 1)
    significant = float(stats.nct.sf(critical, seeds - 1, shift))
    reaches = float(stats.norm.cdf(shift / 3))
    return max(0.0, significant + reaches - 1)


def underpowered(claim: Claim, seeds: int) -> bool:
    """Whether the plan cannot be trusted to find the effect, or enough counterexamples."""
    if claim.kind == "universal":
        return not claim.exact and seeds < COUNTEREXAMPLES
    chance = power(claim, seeds)
    return chance is not None and chance < POWER


def seeds_needed(claim: Claim, most: int) -> int | None:
    """The fewest seeds with which it is not underpowered; None where even ``most`` are too few."""
    return next((n for n in range(1, most + 1) if not underpowered(claim, n)), None)


def finite(value: float) -> float | None:
    """A number that JSON can hold; None for nan."""
    if math.isnan(value):
        return None
    return max(-MOST_COUNTED, min(MOST_COUNTED, float(value)))
