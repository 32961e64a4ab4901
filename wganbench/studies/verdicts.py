"""The rule of verdicts: the same for all studies, and fixed before the data are seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args

import numpy as np
from scipy import stats

from wganbench.reports.significance import benjamini_hochberg, holm
from wganbench.reports.statistics import LEVEL, mean_interval

# The parts of a study's result: a claim from the literature, the evidence, the verdict.
Kind = Literal["universal", "comparative", "quantitative"]
KINDS = get_args(Kind)
Word = Literal["supported", "refuted", "undecided", "not refuted"]
WORDS = get_args(Word)
SUPPORTED: Final = "supported"
REFUTED: Final = "refuted"
UNDECIDED: Final = "undecided"
NOT_REFUTED: Final = "not refuted"


@dataclass(frozen=True)
class Claim:
    """A statement with everything that decides it, written down before there are data.

    ``smallest`` depends on the kind. Universal: the tolerance that a counterexample must exceed.
    Comparative: the smallest effect of interest. Quantitative: the largest distance from
    ``stated`` that still agrees. ``spread`` is the standard deviation between seeds that the plan
    of a comparative claim expects (from seeds 100 and up, which decide nothing). An ``exact``
    claim is computed from a formula, without seeds, so it has no spread and no uncertainty.
    One claim of a study is ``primary``: it answers the study's question. The others are secondary.
    ``seeds`` names the setting that says how many of the study's seeds the claim has, where it
    does not have all. The number of a ``count`` claim, such as lost modes, is never below 0: it is
    held against ``smallest`` instead of 0.

    Raises ValueError for another kind, an empty field, or numbers that do not fit the kind.
    """

    name: str
    text: str
    source: str
    kind: Kind
    statistic: str
    unit: str
    smallest: float
    stated: float | None = None
    spread: float | None = None
    exact: bool = False
    primary: bool = False
    seeds: str = ""
    count: bool = False

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
    def tested(self) -> bool:
        """Whether the claim has a p-value; exact results and counterexamples have none."""
        return self.kind != "universal" and not self.exact

    def seeds_of(self, seeds: Sequence[int], settings: Mapping[str, Any]) -> int:
        """Return the number of seeds that the claim has in a study with these settings."""
        return min(len(seeds), settings[self.seeds]) if self.seeds else len(seeds)

    @property
    def rank(self) -> str:
        """``primary`` or ``secondary``."""
        return "primary" if self.primary else "secondary"

    @property
    def rule(self) -> str:
        """The rule from measurement to verdict, in words."""
        size = f"{self.smallest:g} {self.unit}"
        if self.kind == "universal" and self.exact:
            return f"refuted by a case beyond {size}, else not refuted; no case supports it"
        if self.kind == "universal":
            return (
                f"refuted by at least {COUNTEREXAMPLES} seeds beyond {size}, else not refuted; "
                "sampling never supports it"
            )
        if self.count:
            return (
                f"supported if the 95 % interval lies above {size}, refuted below, else undecided"
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


def with_primary(name: str, claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Return the claims with the named one marked as primary. Raises ValueError without it."""
    if name not in [claim.name for claim in claims]:
        raise ValueError(f"no claim is named {name!r}")
    return tuple(replace(claim, primary=claim.name == name) for claim in claims)


COUNTEREXAMPLES = 3
"""The number of seeds above the tolerance that refutes a universal claim."""


@dataclass(frozen=True)
class Evidence:
    """The measurements for one claim.

    ``values`` holds one number per seed, in the claim's unit. Universal: the size of the
    violation. Comparative: the effect (above 0 supports the claim). Quantitative: the quantity.
    A seed without a number, because a run diverged, is None and is never dropped. For an exact
    claim, ``values`` holds the computed cases. ``value``, ``interval`` and ``p_value`` replace
    Student's t if another statistic is right; the p-value is that of the hypothesis that the
    verdict denies. ``note`` is a remark that a reader needs. ``undecided`` is the reason why the
    measurement cannot decide the claim at all, such as a critic that was not trained; it is empty
    if it can.
    """

    values: Sequence[float | None]
    value: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    method: str = "Student's t over seeds"
    note: str = ""
    undecided: str = ""


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict with its numbers; a missing number is None, never nan."""

    claim: Claim
    study: str
    word: Word
    value: float | None
    low: float | None
    high: float | None
    n: int
    p_value: float | None
    method: str
    why: str
    notes: tuple[str, ...] = field(default=())
    alone: Word | None = None
    """The word before a scoreboard's correction, if that changed it."""
    family: str = ""
    """The correction of the p-value in words; empty without one."""


POWER = 0.8
"""The least probability of support that a plan must have, see `power`."""

MOST_COUNTED = 1e300
"""Larger violations are reported as this number, because JSON has no infinity."""


def judge(study: str, claim: Claim, evidence: Evidence) -> Verdict:
    """Return the verdict on a claim; with missing values only counterexamples can decide it."""
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
    if evidence.undecided:
        verdict = withheld(verdict, evidence.undecided)
    if claim.tested and verdict.p_value is None:
        # A planned test counts in its family even if it could not be made.
        verdict = replace(verdict, p_value=1.0)
    return replace(verdict, study=study, notes=notes)


def withheld(verdict: Verdict, reason: str) -> Verdict:
    """Return the verdict as "undecided" for a reason that its numbers do not show."""
    p_value = None if verdict.p_value is None else 1.0
    return replace(verdict, word=UNDECIDED, why=f"{reason} ({verdict.why})", p_value=p_value)


def missing_note(missing: int) -> str:
    return f"{missing} of the seeds gave no value" if missing else ""


def judge_universal(claim: Claim, values: Sequence[float]) -> Verdict:
    """Return "refuted" after enough counterexamples (one exact one), else "not refuted".

    With fewer values than that the claim is undecided: they could not have refuted it.
    """
    beyond = sum(value > claim.smallest for value in values)
    worst = max(values, default=math.nan)
    needed = 1 if claim.exact else COUNTEREXAMPLES
    word: Word = REFUTED if beyond >= needed else NOT_REFUTED
    if len(values) < needed:
        word = UNDECIDED
    seeds = "exact cases" if claim.exact else "seeds"
    why = (
        f"{beyond} of {len(values)} {seeds} exceed {claim.smallest:g} {claim.unit}; "
        f"{needed} refute it"
    )
    method = "counterexamples"
    return Verdict(claim, "", word, reported(worst), None, None, len(values), None, method, why)


def judge_effect(claim: Claim, evidence: Evidence, values: Sequence[float]) -> Verdict:
    """Return the verdict on a comparative or quantitative claim, by its interval."""
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
        claim, "", word, reported(value), reported(low), reported(high), n, p_value, method, why
    )


def interval_of(
    claim: Claim, evidence: Evidence, values: Sequence[float]
) -> tuple[float, float, float]:
    """Return (estimate, low, high): given, exact, or from Student's t."""
    if evidence.interval is not None:
        centre = evidence.value
        return (float(np.mean(values)) if centre is None else centre, *evidence.interval)
    if claim.exact:
        return (values[0], min(values), max(values)) if values else (math.nan,) * 3
    estimate = mean_interval(values, LEVEL)
    return estimate.value, estimate.low, estimate.high


def decide_comparative(claim: Claim, value: float, low: float, high: float) -> Word:
    """Return "supported" if low > 0 and value >= smallest, "refuted" if high < smallest.

    A count is "supported" if low > smallest.
    """
    if low > (claim.smallest if claim.count else 0) and value >= claim.smallest:
        return SUPPORTED
    return REFUTED if high < claim.smallest else UNDECIDED


def decide_quantitative(claim: Claim, value: float, low: float, high: float) -> Word:
    """Return "supported" for an interval inside stated +- smallest, "refuted" for one outside."""
    stated = claim.stated or 0.0
    bottom, top = stated - claim.smallest, stated + claim.smallest
    if bottom <= low and high <= top:
        return SUPPORTED
    return REFUTED if high < bottom or low > top else UNDECIDED


def p_of(claim: Claim, evidence: Evidence, values: Sequence[float], word: Word) -> float | None:
    """Return the two-sided p of the hypothesis that the verdict denies, from Student's t.

    A p-value in the evidence comes first. For a quantitative claim it is the p-value at the nearer
    end of stated +- smallest; this doubles the two one-sided tests of Schuirmann (1987).
    """
    if evidence.p_value is not None or evidence.interval is not None:
        return evidence.p_value
    if claim.kind == "comparative":
        return t_test(values, claim.smallest if word == REFUTED else 0.0)
    bottom, top = (claim.stated or 0.0) - claim.smallest, (claim.stated or 0.0) + claim.smallest
    return max(t_test(values, bottom), t_test(values, top))


def t_test(values: Sequence[float], against: float) -> float:
    """Return the two-sided p of "the mean is ``against``"; 1 if it cannot be computed."""
    array = np.asarray(values, dtype=np.float64) - against
    if len(array) < 2 or not array.std() > 0:
        return 1.0
    return float(stats.ttest_1samp(array, 0.0).pvalue)


def corrected(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts of a whole scoreboard with corrected p-values.

    Holm's correction runs over the primary claims of all studies, Benjamini and Hochberg's over
    the secondary claims of each study. A verdict whose p-value is no longer below 5 % becomes
    undecided. Exact results and counterexamples have no p-value and stay unchanged.
    """
    families: dict[str, list[int]] = {}
    for i, verdict in enumerate(verdicts):
        if verdict.p_value is not None:
            key = PRIMARY if verdict.claim.primary else verdict.study
            families.setdefault(key, []).append(i)
    result = list(verdicts)
    for key, members in families.items():
        correct = holm if key == PRIMARY else benjamini_hochberg
        words = family_words(key, len(members))
        p_values = correct([verdicts[i].p_value or 0.0 for i in members])
        for i, p_value in zip(members, p_values, strict=True):
            result[i] = with_p_value(verdicts[i], p_value, words)
    return result


PRIMARY = "primary claims"
"""The key of the family that runs across the studies; the other keys are studies."""


def family_words(key: str, tests: int) -> str:
    """Return a correction in words."""
    if key == PRIMARY:
        return f"Holm over {tests} primary claims"
    return f"Benjamini-Hochberg over {tests} secondary claims of {key}"


def with_p_value(verdict: Verdict, p_value: float, family: str) -> Verdict:
    """Return the verdict with its corrected p-value; undecided where that is not below 5 %."""
    found = replace(verdict, p_value=p_value, family=family)
    if verdict.word in (SUPPORTED, REFUTED) and p_value >= 1 - LEVEL:
        note = f"{verdict.word} alone, but not after {family}"
        notes = (*verdict.notes, note)
        found = replace(found, word=UNDECIDED, notes=notes, alone=verdict.word)
    return found


def planned_alpha(claim: Claim, primaries: Sequence[Claim], study: Sequence[Claim]) -> float:
    """Return the level of the test that a claim's plan must pass: the first step of its family.

    It is 5 % over the number of tested claims: of the ``primaries`` of all studies for a primary
    claim (Holm's first step), of the secondary claims of its ``study`` for another.
    """
    family = primaries if claim.primary else [other for other in study if not other.primary]
    return (1 - LEVEL) / max(1, sum(other.tested for other in family))


def power(claim: Claim, seeds: int, alpha: float = 1 - LEVEL) -> float | None:
    """Return the probability that the plan supports a comparative claim; None for other claims.

    The assumed effect is 1.5 times the smallest of interest, and twice that of a count. Both
    conditions must hold: the t-test against 0 (of a count: against the smallest) at the two-sided
    level ``alpha``, and an estimate of at least the smallest effect. They are computed from the
    noncentral t and the normal distribution (Cohen 1988): P(A) + P(B) - 1, a lower bound.
    """
    if claim.kind != "comparative" or claim.spread is None:
        return None
    if seeds < 2:
        return 0.0
    unit = claim.smallest / (claim.spread / math.sqrt(seeds))
    shift, beyond = (unit, unit) if claim.count else (1.5 * unit, 0.5 * unit)
    critical = stats.t.ppf(1 - alpha / 2, seeds - 1)
    significant = float(stats.nct.sf(critical, seeds - 1, shift))
    reaches = float(stats.norm.cdf(beyond))
    return max(0.0, significant + reaches - 1)


def underpowered(claim: Claim, seeds: int, alpha: float = 1 - LEVEL) -> bool:
    """Return whether the seeds are too few to find the effect, or enough counterexamples."""
    if claim.kind == "universal":
        return not claim.exact and seeds < COUNTEREXAMPLES
    chance = power(claim, seeds, alpha)
    return chance is not None and chance < POWER


def seeds_needed(claim: Claim, most: int, alpha: float = 1 - LEVEL) -> int | None:
    """Return the fewest seeds that are not underpowered; None if ``most`` are too few."""
    return next((n for n in range(1, most + 1) if not underpowered(claim, n, alpha)), None)


def reported(value: float) -> float | None:
    """Return a number that JSON can hold: None for nan, at most `MOST_COUNTED` for an infinity."""
    if math.isnan(value):
        return None
    return max(-MOST_COUNTED, min(MOST_COUNTED, float(value)))
