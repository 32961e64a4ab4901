"""The rule of verdicts: each kind of claim on evidence whose verdict is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from scipy import stats

from wganbench.studies.scoreboard import interval
from wganbench.studies.verdicts import (
    Claim,
    Evidence,
    Verdict,
    corrected,
    judge,
    planned_alpha,
    power,
    seeds_needed,
    underpowered,
    with_primary,
)

BASE = Claim(
    "c", "a claim", "a source", "comparative", "a statistic", "share", smallest=0.1, spread=0.1
)
QUANTITY = replace(BASE, kind="quantitative", stated=1.0, spread=None)
UNIVERSAL = replace(BASE, kind="universal", spread=None)
UNIVERSAL2 = replace(UNIVERSAL, name="u")


def verdict(claim: Claim, *values: float | None) -> Verdict:
    return judge("s", claim, Evidence(values))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((0.5, 0.6, 0.7, 0.5, 0.6), "supported"),
        ((0.05, 0.06, 0.05, 0.06, 0.05), "refuted"),  # above 0, but all of it too small
        ((-0.5, -0.6, -0.7, -0.5, -0.6), "refuted"),
        ((0.5, -0.4, 0.7, -0.3, 0.6), "undecided"),
        ((0.02, 0.3, 0.05, 0.01, 0.03), "undecided"),  # the estimate falls short
        ((0.5,), "undecided"),
        ((), "undecided"),
    ],
)
def test_comparative(values: tuple[float, ...], word: str) -> None:
    assert verdict(BASE, *values).word == word


def test_the_interval_is_students() -> None:
    values = [0.2, 0.4, 0.3, 0.5]
    found = verdict(BASE, *values)
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert found.value == pytest.approx(0.35)
    assert (found.low, found.high) == (pytest.approx(0.35 - half), pytest.approx(0.35 + half))
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((0.99, 1.01, 1.0, 1.02), "supported"),
        ((1.5, 1.51, 1.49, 1.5), "refuted"),
        ((0.5, 0.51, 0.49, 0.5), "refuted"),
        ((1.09, 1.11, 1.08, 1.12), "undecided"),  # the margin's end lies inside the interval
    ],
)
def test_quantitative(values: tuple[float, ...], word: str) -> None:
    assert verdict(QUANTITY, *values).word == word


def test_a_quantity_is_held_against_the_nearer_end() -> None:
    values = (1.5, 1.52, 1.49, 1.5)
    assert verdict(QUANTITY, *values).p_value == pytest.approx(
        stats.ttest_1samp(values, 1.1).pvalue
    )


def test_a_universal_claim_falls_to_three_counterexamples_and_is_never_supported() -> None:
    assert verdict(UNIVERSAL, 0.2, 0.3, 0.0, 0.0).word == "not refuted"
    assert verdict(UNIVERSAL, 0.2, 0.3, 0.11, 0.0).word == "refuted"
    assert verdict(UNIVERSAL, 0.1, 0.1, 0.1, 0.1).word == "not refuted", "the tolerance itself"
    assert verdict(UNIVERSAL, *[0.0] * 50).word == "not refuted"
    exact = replace(UNIVERSAL, exact=True)
    assert verdict(exact, 0.2).word == "refuted" and "by a case beyond 0.1" in exact.rule
    assert verdict(exact, 0.0).word == "not refuted" and "3 seeds" in UNIVERSAL.rule


def test_too_few_seeds_to_refute_do_not_leave_a_claim_unrefuted() -> None:
    assert verdict(UNIVERSAL).word == verdict(UNIVERSAL, None, None).word == "undecided"
    assert verdict(UNIVERSAL, 0.2, 0.3).word == "undecided", "both are beyond, and three refute"
    assert verdict(UNIVERSAL, 0.0, 0.0, 0.0).word == "not refuted"


def test_a_seed_that_diverged_is_never_dropped() -> None:
    found = verdict(BASE, 0.5, 0.6, 0.7, 0.5, None)
    assert found.word == "undecided" and found.notes[0] == "1 of the seeds gave no value"
    assert verdict(UNIVERSAL, 0.2, 0.3, 0.4, None).word == "refuted"


def test_an_exact_result_has_no_doubt() -> None:
    exact = replace(BASE, exact=True, spread=None)
    found = verdict(exact, 0.3)
    assert (found.word, found.low, found.high, found.p_value) == ("supported", 0.3, 0.3, None)
    assert verdict(exact, 0.05).word == "refuted"


def test_an_interval_without_end_shows_no_number_that_stands_for_it() -> None:
    found = verdict(BASE, 0.5, 0.6, 0.7)
    assert interval(replace(found, low=0.25, high=1e300)) == "0.25 to infinite"
    assert interval(replace(found, low=-1e300, high=0.25)) == "-infinite to 0.25"
    assert interval(replace(found, low=None)) == "-"


def test_holm_over_the_scoreboard_takes_back_what_is_not_sure_enough() -> None:
    primary = replace(BASE, primary=True)
    weak = replace(verdict(primary, 0.5, 0.6, 0.7, 0.5, 0.6), p_value=0.03)
    strong = replace(weak, p_value=0.001)
    alone, both = corrected([weak]), corrected([weak, weak, strong])
    assert alone[0].word == "supported"
    assert [found.word for found in both] == ["undecided", "undecided", "supported"]
    assert [found.alone for found in both] == ["supported", "supported", None]
    assert both[0].p_value == pytest.approx(0.06) and "Holm" in both[0].notes[-1]
    assert both[0].family == "Holm over 3 primary claims"
    untested = verdict(UNIVERSAL, 0.2, 0.3, 0.11)
    assert corrected([untested, weak])[0] == untested
    assert corrected([untested, weak])[1].word == "supported", "not counted as a test"


def test_secondary_claims_are_corrected_within_their_study_and_burden_no_other() -> None:
    """Benjamini-Hochberg by hand: p = 1/100, 4/100, 3/100 times 3 over its rank 1, 3, 2."""
    second = verdict(BASE, 0.5, 0.6, 0.7, 0.5, 0.6)
    three = [replace(second, p_value=p) for p in (0.01, 0.04, 0.03)]
    other = replace(second, p_value=0.04, study="other")
    primary = replace(second, claim=replace(BASE, primary=True), p_value=0.04)
    found = corrected([*three, other, primary])
    assert [v.p_value for v in found] == pytest.approx([0.03, 0.04, 0.04, 0.04, 0.04])
    assert {v.word for v in found} == {"supported"}, "Holm over all five would keep one"
    assert found[0].family == "Benjamini-Hochberg over 3 secondary claims of s"
    worse = corrected([replace(second, p_value=p) for p in (0.04, 0.06, 0.6)])
    assert [v.p_value for v in worse] == pytest.approx([0.09, 0.09, 0.6])
    assert worse[0].word == "undecided" and worse[0].alone == "supported"


def test_power_is_planned_at_the_first_step_of_the_claims_family() -> None:
    study = with_primary("c", [BASE, *(replace(BASE, name=str(i)) for i in range(4)), UNIVERSAL2])
    primaries = [study[0], *(replace(BASE, name=str(i)) for i in range(9))]
    assert planned_alpha(study[0], primaries, study) == pytest.approx(0.05 / 10)
    assert planned_alpha(study[1], primaries, study) == pytest.approx(0.05 / 4), "not the universal"
    # n = 5, spread 0.1, effect 0.15: the noncentral t at shift 0.15 / (0.1 / sqrt 5).
    shift = 0.15 / (0.1 / 5**0.5)
    for alpha in (0.05, 0.005):
        t = stats.t.ppf(1 - alpha / 2, 4)
        by_hand = stats.nct.sf(t, 4, shift) + stats.norm.cdf(0.05 / (0.1 / 5**0.5)) - 1
        assert power(BASE, 5, alpha) == pytest.approx(by_hand)
    assert seeds_needed(BASE, 99, 0.005) > seeds_needed(BASE, 99, 0.05)  # type: ignore[operator]
    with pytest.raises(ValueError, match="no claim"):
        with_primary("d", [BASE])


@pytest.mark.parametrize("claim", [BASE, QUANTITY, UNIVERSAL], ids=lambda claim: claim.kind)
def test_a_critic_that_was_not_trained_decides_nothing(claim: Claim) -> None:
    for values in ((0.5, 0.6, 0.7, 0.5), (-0.5, -0.6, -0.7, -0.5), (1.0, 1.01, 0.99, 1.0)):
        gated = Evidence(values, undecided="critic not trained")
        found = judge("s", claim, gated)
        assert found.word == "undecided" and found.why.startswith("critic not trained")
        # It stays in its family: the family is planned, not chosen by the results.
        assert found.p_value == (1.0 if claim.tested else None)


def test_power_is_a_lower_bound_of_what_simulation_finds() -> None:
    rng = np.random.default_rng(0)
    for seeds, spread in ((5, 0.05), (10, 0.1), (5, 0.3)):
        claim = replace(BASE, spread=spread)
        draws = rng.normal(0.15, spread, (2000, seeds))
        half = stats.t.ppf(0.975, seeds - 1) * draws.std(1, ddof=1) / np.sqrt(seeds)
        found = np.mean((draws.mean(1) - half > 0) & (draws.mean(1) >= 0.1))
        expected = power(claim, seeds)
        assert expected is not None
        assert expected - 0.03 < found < expected + 0.35
    # A count is held against the smallest: the effect is twice that.
    count = replace(BASE, spread=0.1, count=True)
    draws = rng.normal(0.2, 0.1, (2000, 10))
    half = stats.t.ppf(0.975, 9) * draws.std(1, ddof=1) / np.sqrt(10)
    found = np.mean(draws.mean(1) - half > 0.1)
    expected = power(count, 10)
    assert expected is not None and expected - 0.03 < found < expected + 0.35
    assert underpowered(replace(BASE, spread=0.3), 5)
    assert not underpowered(replace(BASE, spread=0.05), 5)
    assert underpowered(UNIVERSAL, 2) and not underpowered(UNIVERSAL, 3)


def test_the_seeds_that_a_claim_takes() -> None:
    weak = replace(BASE, spread=0.3)
    needed = seeds_needed(weak, 100)
    assert needed is not None and needed > 5
    assert underpowered(weak, needed - 1) and not underpowered(weak, needed)
    assert seeds_needed(weak, needed - 1) is None
    assert seeds_needed(UNIVERSAL, 100) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "vague"},
        {"text": ""},
        {"stated": 1.0},
        {"smallest": 0.0},
        {"smallest": -1.0},
        {"spread": None},
        {"kind": "quantitative"},
    ],
)
def test_a_claim_without_a_rule_is_no_claim(wrong: dict[str, object]) -> None:
    # The annotation of the kind is checked in tests, so its error comes first.
    with pytest.raises((ValueError, TypeCheckError), match="claim 'c'|'vague'"):
        replace(BASE, **wrong)
