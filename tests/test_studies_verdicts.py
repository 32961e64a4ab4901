"""The rule of verdicts: each kind of claim on evidence whose verdict is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from wganbench.studies.verdicts import (
    Claim,
    Evidence,
    Verdict,
    corrected,
    judge,
    power,
    seeds_needed,
    underpowered,
)

BASE = Claim(
    "c", "a claim", "a source", "comparative", "a statistic", "share", smallest=0.1, spread=0.1
)
QUANTITY = replace(BASE, kind="quantitative", stated=1.0, spread=None)
UNIVERSAL = replace(BASE, kind="universal", spread=None)


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
    assert verdict(exact, 0.2).word == "refuted"


def test_a_seed_that_diverged_is_never_dropped() -> None:
    found = verdict(BASE, 0.5, 0.6, 0.7, 0.5, None)
    assert found.word == "undecided" and "diverged" in found.notes[0]
    assert verdict(UNIVERSAL, 0.2, 0.3, 0.4, None).word == "refuted"


def test_an_exact_result_has_no_doubt() -> None:
    exact = replace(BASE, exact=True, spread=None)
    found = verdict(exact, 0.3)
    assert (found.word, found.low, found.high, found.p_value) == ("supported", 0.3, 0.3, None)
    assert verdict(exact, 0.05).word == "refuted"


def test_holm_over_the_scoreboard_takes_back_what_is_not_sure_enough() -> None:
    weak = replace(verdict(BASE, 0.5, 0.6, 0.7, 0.5, 0.6), p_value=0.03)
    strong = replace(weak, p_value=0.001)
    alone, both = corrected([weak]), corrected([weak, weak, strong])
    assert alone[0].word == "supported"
    assert [found.word for found in both] == ["undecided", "undecided", "supported"]
    assert [found.alone for found in both] == ["supported", "supported", ""]
    assert both[0].p_value == pytest.approx(0.06) and "Holm" in both[0].notes[-1]
    untested = verdict(UNIVERSAL, 0.2, 0.3, 0.11)
    assert corrected([untested, weak])[0] == untested
    assert corrected([untested, weak])[1].word == "supported", "not counted as a test"


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
    with pytest.raises(ValueError, match="claim 'c'"):
        replace(BASE, **wrong)
