"""Statistics over seeds: hand values, brute force, coverage by simulation, and no certainty."""

from __future__ import annotations

import itertools
import math
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from wganbench.reports.significance import holm, improvement_p_value, shows_difference
from wganbench.reports.statistics import (
    Estimate,
    improvement_interval,
    iqm_interval,
    mean_interval,
    probability_of_improvement,
    rank_interval,
    share_interval,
    spearman,
)

NAN, INF = math.nan, math.inf
LOGNORMAL_MEAN = math.exp(0.5)
# E[X | q25 < X < q75] = 2 exp(1/2) (Phi(q - 1) - Phi(-q - 1)) with q = Phi^-1(0.75).
QUARTILE = stats.norm.ppf(0.75)
LOGNORMAL_IQM = 2 * math.exp(0.5) * (stats.norm.cdf(QUARTILE - 1) - stats.norm.cdf(-QUARTILE - 1))

finite = st.floats(-1e6, 1e6)
runs = st.lists(st.one_of(st.integers(-3, 3).map(float), st.sampled_from([NAN, INF, -INF])))


def normal(rng, *shape):
    return rng.normal(size=shape)


def lognormal(rng, *shape):
    return np.exp(rng.normal(size=shape))


def has_no_interval(estimate: Estimate) -> bool:
    return math.isnan(estimate.low) and math.isnan(estimate.high) and estimate.note != ""


# The mean.
def test_students_t_by_hand():
    # Mean 2, s = 1, t(2; 0.975) = 4.302653: half a width of 4.302653 / sqrt(3).
    answer = mean_interval([1.0, 2.0, 3.0])
    assert (answer.value, answer.n) == (2, 3)
    assert answer.high - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert 2 - answer.low == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert "t" in answer.method and answer.note.startswith("weak")


@given(st.lists(finite, min_size=2, max_size=30), st.sampled_from([0.5, 0.9, 0.99]))
def test_students_t_is_scipys(values, level):
    assume(np.std(values) > 1e-3)
    answer = mean_interval(values, level)
    expected = stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))
    assert (answer.low, answer.high) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("n", [10, 30])
def test_the_mean_of_normal_data_is_covered_as_promised(n):
    data = normal(np.random.default_rng(n), 2000, n)
    answers = [mean_interval(row) for row in data]
    assert 0.93 <= np.mean([one.low <= 0 <= one.high for one in answers]) <= 0.97


SKEWED = {
    "exponential": (lambda rng, *shape: rng.exponential(size=shape), 1.0, 90),
    "sigma 0.5": (lambda rng, *shape: lognormal(rng, *shape) ** 0.5, math.exp(0.125), 92),
    "sigma 1": (lognormal, LOGNORMAL_MEAN, 84),
}


@pytest.mark.parametrize("name", SKEWED)
def test_the_mean_of_skewed_data_is_covered_as_the_docstring_says(name):
    draw, mean, percent = SKEWED[name]
    answers = [mean_interval(row) for row in draw(np.random.default_rng(0), 2000, 10)]
    covered = np.mean([one.low <= mean <= one.high for one in answers])
    assert re.search(rf"{name} \([^)]*\) {percent} %", mean_interval.__doc__ or "")
    assert covered == pytest.approx(percent / 100, abs=0.02)


# The interquartile mean.
def iqm(values):
    return iqm_interval(values, resamples=10).value


def iqm_by_hand(values):
    ordered = sorted(values)
    cut = len(ordered) // 4
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


@given(st.lists(finite, min_size=1, max_size=40))
def test_iqm_is_the_mean_without_a_quarter_at_each_end(values):
    assert iqm(values) == pytest.approx(iqm_by_hand(values), rel=1e-9, abs=1e-6)


def test_iqm_of_few_values_is_the_mean_and_outliers_do_not_move_it():
    assert iqm([1, 2, 9]) == 4
    assert iqm([1, 2, 3, 100]) == 2.5
    assert iqm([-1e9, 1, 2, 3, 4, 5, 6, 1e9]) == 3.5


@pytest.mark.parametrize("n", [5, 10, 31])
def test_iqm_interval_is_the_percentile_bootstrap(n):
    rng = np.random.default_rng(n)
    values = lognormal(rng, n)
    means = [iqm_by_hand([values[rng.integers(n)] for _ in range(n)]) for _ in range(4000)]
    answer = iqm_interval(values, level=0.9, resamples=20_000)
    assert answer.value == pytest.approx(iqm_by_hand(values))
    for edge, share in [(answer.low, 0.05), (answer.high, 0.95)]:
        # Few values have few means: the edge is one of them, and the share lies on its step.
        below, up_to = (np.mean(np.array(means) < edge + shift) for shift in (-1e-9, 1e-9))
        assert below - 0.012 <= share <= up_to + 0.012


def test_the_same_seed_gives_the_same_interval(global_randomness_untouched):
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]
    assert iqm_interval(values) == iqm_interval(values)
    assert iqm_interval(values, resamples=50) != iqm_interval(values, resamples=50, seed=1)


def share_of_iqms_covered(draw, truth, n, draws):
    """The same bootstrap in bulk: the mean of a resample is a weighted mean of sorted values."""
    rng, cut, covered = np.random.default_rng(n), n // 4, 0
    for _ in range(draws // 1000):
        chosen = np.sort(rng.integers(n, size=(2000, n)), axis=1)[:, cut : n - cut]
        weights = (chosen[:, :, None] == np.arange(n)).mean(axis=1)
        means = np.sort(draw(rng, 1000, n), axis=1) @ weights.T
        low, high = np.quantile(means, [0.025, 0.975], axis=1)
        covered += int(((low <= truth) & (truth <= high)).sum())
    return covered / draws


@pytest.mark.parametrize(("n", "draws"), [(10, 12_000), (30, 4000)])
def test_the_iqm_of_normal_data_is_covered_as_promised(n, draws):
    assert 0.93 <= share_of_iqms_covered(normal, 0, n, draws) <= 0.97


@pytest.mark.parametrize(
    ("draw", "truth", "n", "stated"),
    [
        (normal, 0.0, 3, 0.76),
        (normal, 0.0, 5, 0.90),
        (normal, 0.0, 10, 0.93),
        (lognormal, LOGNORMAL_MEAN, 3, 0.65),  # the mean: of three values nothing is cut
        (lognormal, LOGNORMAL_IQM, 5, 0.90),
        (lognormal, LOGNORMAL_IQM, 10, 0.93),
        (lognormal, LOGNORMAL_IQM, 30, 0.94),
    ],
)
def test_the_iqm_is_covered_as_the_docstring_says(draw, truth, n, stated):
    assert f"{100 * stated:.0f} %" in (iqm_interval.__doc__ or "")
    assert share_of_iqms_covered(draw, truth, n, 3000) == pytest.approx(stated, abs=0.02)


def test_iqm_interval_itself_covers_what_the_bootstrap_in_bulk_does():
    data = normal(np.random.default_rng(1), 700, 10)
    answers = [iqm_interval(row, resamples=500, seed=seed) for seed, row in enumerate(data)]
    covered = np.mean([one.low <= 0 <= one.high for one in answers])
    assert covered == pytest.approx(0.93, abs=0.02)


# Shares.
def test_ten_of_ten_is_no_certainty():
    answer = share_interval(10, 10)
    assert (answer.value, answer.high, answer.n, answer.note) == (1, 1, 10, "")
    assert answer.low == pytest.approx(0.025 ** (1 / 10))  # 0.975 = 1 - P(10 of 10 | low)
    assert round(answer.low, 2) == 0.69


@given(st.integers(1, 60), st.data(), st.sampled_from([0.8, 0.95]))
def test_clopper_pearson_is_two_beta_quantiles(n, data, level):
    k = data.draw(st.integers(0, n))
    answer, tail = share_interval(k, n, level), (1 - level) / 2
    low = stats.beta.ppf(tail, k, n - k + 1) if k else 0.0
    high = stats.beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0
    assert (answer.low, answer.high) == pytest.approx((low, high), abs=1e-6)
    assert answer.low <= answer.value <= answer.high and answer.low < answer.high


def test_shares_of_few_and_of_no_runs():
    assert has_no_interval(share_interval(0, 0)) and math.isnan(share_interval(0, 0).value)
    assert share_interval(1, 1).low == pytest.approx(0.025)
    assert share_interval(4, 4).note != "" and share_interval(5, 5).note == ""
    for successes, n in [(-1, 3), (4, 3)]:
        with pytest.raises(ValueError, match="successes"):
            share_interval(successes, n)


# The probability of improvement.
def score(x, y, higher_is_better):
    """1, 1/2 or 0, case by case."""
    if not math.isfinite(x) or not math.isfinite(y):
        return (1 + math.isfinite(x) - math.isfinite(y)) / 2
    return 0.5 if x == y else float((x > y) == higher_is_better)


def improvement_by_hand(a, b, higher_is_better):
    return sum(score(x, y, higher_is_better) for x in a for y in b) / (len(a) * len(b))


@given(runs, runs, st.booleans())
def test_probability_of_improvement_is_that_of_all_pairs(a, b, higher_is_better):
    value = probability_of_improvement(a, b, higher_is_better)
    if not a or not b:
        assert math.isnan(value)
        return
    assert value == pytest.approx(improvement_by_hand(a, b, higher_is_better))
    assert value + probability_of_improvement(b, a, higher_is_better) == pytest.approx(1)


def test_probability_of_improvement_by_hand():
    assert probability_of_improvement([3, 4], [1, 2]) == 1
    assert probability_of_improvement([3, 4], [1, 2], higher_is_better=False) == 0
    assert probability_of_improvement([1, 2], [1, 2]) == 0.5
    assert probability_of_improvement([1, 2], [1, 0]) == 0.875


@pytest.mark.parametrize("lost", [NAN, INF, -INF])
@pytest.mark.parametrize("higher", [True, False])
def test_a_diverged_run_is_worse_than_every_finished_one(lost, higher):
    assert probability_of_improvement([lost], [-1e9, 1e9], higher) == 0
    assert probability_of_improvement([0.0], [lost], higher) == 1
    assert probability_of_improvement([lost], [NAN, INF, -INF], higher) == 0.5


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("higher", [True, False])
def test_improvement_interval_is_the_percentile_bootstrap(paired, higher):
    a, b = [0.0, 1, 2, 3, 4, NAN, 6], [1.0, 1, 1, 3, 3, 2, INF]
    rng, n, shares = np.random.default_rng(5), len(a), []
    for _ in range(2000):
        i, j = rng.integers(n, size=n), rng.integers(n, size=n)
        if paired:
            shares.append(sum(score(a[k], b[k], higher) for k in i) / n)
        else:
            shares.append(improvement_by_hand([a[k] for k in i], [b[k] for k in j], higher))
    answer = improvement_interval(a, b, higher_is_better=higher, paired=paired, level=0.9)
    pairs = zip(a, b, strict=True)
    by_pairs = sum(score(x, y, higher) for x, y in pairs) / n
    expected = by_pairs if paired else improvement_by_hand(a, b, higher)
    assert answer.value == pytest.approx(expected)
    assert (answer.low, answer.high) == pytest.approx(
        tuple(np.quantile(shares, [0.05, 0.95])), abs=0.072 if paired else 0.03
    )
    assert answer.n == n and "bootstrap" in answer.method and "2 diverged" in answer.note


def test_pairs_know_more_than_groups():
    """Seeds differ by far more than the methods: only the pairs show who is better."""
    b = np.arange(20.0) * 10
    a = b + np.where(np.arange(20) < 18, 1.0, -1.0)
    paired = improvement_interval(a, b, higher_is_better=True, paired=True)
    groups = improvement_interval(a, b, higher_is_better=True, paired=False)
    assert paired.value == 0.9 and paired.low > 0.7
    assert groups.low < 0.5 < groups.high
    assert improvement_p_value(a, b, higher_is_better=True, paired=True) < 0.001
    assert improvement_p_value(a, b, higher_is_better=True, paired=False) > 0.5


@pytest.mark.parametrize(("a", "value", "wins"), [(2.0, 1.0, 8), (-2.0, 0.0, 0), (0.0, 0.5, 4)])
def test_eight_wins_of_eight_are_no_certainty(a, value, wins):
    answer = improvement_interval([a] * 8, [0.0] * 8, higher_is_better=True, paired=True)
    exact = share_interval(wins, 8)
    assert (answer.value, answer.low, answer.high) == (value, exact.low, exact.high)
    assert "Clopper-Pearson on 8" in answer.method


def test_half_a_win_is_rounded_both_ways():
    answer = improvement_interval([1.0] * 5, [1.0] * 5, higher_is_better=True, paired=True)
    assert (answer.value, answer.n) == (0.5, 5)
    assert (answer.low, answer.high) == (share_interval(2, 5).low, share_interval(3, 5).high)
    assert answer.low + answer.high == pytest.approx(1)


def test_newcombes_ends_solve_his_equation():
    for share, n, m in ((1.0, 3, 5), (0.0, 4, 4), (0.5, 6, 6), (0.75, 8, 5)):
        for theta in rank_interval(share, n, m):
            mean_n = (n + m) / 2
            spread = 1 + (mean_n - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
            error = 1.959963985 * math.sqrt(theta * (1 - theta) * spread / (n * m))
            assert abs(share - theta) == pytest.approx(error, abs=1e-6)


def test_without_pairs_both_groups_count_where_the_bootstrap_is_silent():
    answer = improvement_interval([5, 6, 7], range(5), higher_is_better=True, paired=False)
    assert (answer.value, answer.n) == (1, 3)
    assert (answer.low, answer.high) == rank_interval(1.0, 3, 5)
    assert answer.note.startswith("weak") and "Newcombe" in answer.method


def test_a_complete_separation_is_shown_whenever_the_exact_test_shows_it():
    for n in (*range(2, 10), 12, 25, 40):
        for m in (m for m in (*range(2, 10), 12, 25, 40) if m >= n):
            a, b = [2.0 + i for i in range(n)], [-1.0 - i for i in range(m)]
            for one, other in ((a, b), (b, a)):
                p = improvement_p_value(one, other, higher_is_better=True, paired=False)
                found = improvement_interval(one, other, higher_is_better=True, paired=False)
                assert shows_difference(p, found) == (p < 0.05), (n, m)


@pytest.mark.parametrize("paired", [True, False])
def test_the_probability_of_improvement_is_covered_as_the_docstring_says(paired):
    rng, truth = np.random.default_rng(3), 0.75
    data = normal(rng, 400, 2, 10)
    data[:, 0] += math.sqrt(2) * stats.norm.ppf(truth)
    answers = [
        improvement_interval(a, b, higher_is_better=True, paired=paired, resamples=300, seed=seed)
        for seed, (a, b) in enumerate(data)
    ]
    assert 0.90 <= np.mean([one.low <= truth <= one.high for one in answers]) <= 0.999


# p-values.
def test_sign_test_by_hand():
    def p(a, b):
        return improvement_p_value(a, b, higher_is_better=True, paired=True)

    assert p([1] * 8, [0] * 8) == pytest.approx(2 / 2**8)
    # 7 wins, 1 loss, and 2 ties that say nothing: 2 (8 + 1) / 2^8.
    assert p([1] * 7 + [-1, 0, 0], [0] * 10) == pytest.approx(18 / 256)
    assert p([1] * 5, [0] * 5) > 0.05 > p([1] * 6, [0] * 6)
    assert p([NAN, INF, 1], [INF, NAN, 1]) == 1


def test_mann_whitney_by_hand():
    # Of the C(6, 3) = 20 equally likely orders two are as extreme as a full separation.
    p = improvement_p_value([4, 5, 6], [1, 2, 3], higher_is_better=True, paired=False)
    assert p == pytest.approx(2 / 20)
    lost = improvement_p_value([NAN, 5, 6], [7, 8, 9], higher_is_better=True, paired=False)
    # As the smallest value (or, of a loss, the largest), the separation is full again.
    assert lost == pytest.approx(2 / 20)
    lost = improvement_p_value([INF, 8, 9], [1, 2, 3], higher_is_better=False, paired=False)
    assert lost == pytest.approx(2 / 20)
    # A finished run in its place would be in the middle: 4 < 5, 6 and INF is worst of all.
    mixed = improvement_p_value([INF, 8, 9], [1, 2, 3], higher_is_better=True, paired=False)
    assert mixed == pytest.approx(14 / 20)


@given(runs, runs, st.booleans(), st.booleans())
def test_p_values_are_probabilities_and_know_no_sides(a, b, higher_is_better, paired):
    if paired:
        a, b = a[: len(b)], b[: len(a)]
    one = improvement_p_value(a, b, higher_is_better=higher_is_better, paired=paired)
    other = improvement_p_value(b, a, higher_is_better=higher_is_better, paired=paired)
    assert 0 <= one <= 1
    assert one == pytest.approx(other)


@pytest.mark.parametrize("paired", [True, False])
def test_p_values_err_as_often_as_they_say(paired):
    data = normal(np.random.default_rng(4), 600, 2, 10)
    p = [improvement_p_value(a, b, higher_is_better=True, paired=paired) for a, b in data]
    # The sign test has steps: with 10 pairs it rejects at 5 % in 22 of 1024 cases.
    size = 22 / 1024 if paired else 0.045
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(size, abs=0.02)


def test_pairs_of_unequal_number_are_refused():
    with pytest.raises(ValueError, match="3 and 2"):
        improvement_p_value([1, 2, 3], [1, 2], higher_is_better=True, paired=True)
    with pytest.raises(ValueError, match="3 and 2"):
        improvement_interval([1, 2, 3], [1, 2], higher_is_better=True, paired=True)


# Many comparisons.
def test_holm_by_hand():
    # Sorted 0.005 0.01 0.03 0.04, times 4 3 2 1: 0.02 0.03 0.06 0.04, and the last may not fall.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
    for wrong in ([0.1, NAN], [-0.1], [1.1]):
        with pytest.raises(ValueError, match="p-values"):
            holm(wrong)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holms_properties(p_values, level):
    adjusted, m = holm(p_values), len(p_values)
    assert all(raw <= new <= 1 for raw, new in zip(p_values, adjusted, strict=True))
    assert all(new <= min(1, m * raw) for raw, new in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert min(adjusted) == pytest.approx(min(1, m * min(p_values)))
    # Step down: reject while the smallest one left is at most level / number left.
    rejected = 0
    while rejected < m and p_values[order[rejected]] * (m - rejected) <= level:
        rejected += 1
    assert sum(value <= level for value in adjusted) == rejected


# Rank correlation.
def test_spearman_by_hand():
    assert spearman([1, 2, 3], [10, 20, 1000]) == pytest.approx(1)
    assert spearman([1, 2, 3], [-1, -2, -1000]) == pytest.approx(-1)
    # Differences of ranks 0, 1, 1, 0, 0: 1 - 6 * 2 / (5 * 24).
    assert spearman([1, 2, 3, 4, 5], [1, 9, 4, 16, 25]) == pytest.approx(0.9)


@given(st.lists(st.tuples(finite, st.integers(0, 4)), min_size=3, max_size=20))
def test_spearman_is_scipys(pairs):
    x, y = map(list, zip(*pairs, strict=True))
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)


def test_spearman_without_an_answer_is_nan():
    assert math.isnan(spearman([], []))
    assert math.isnan(spearman([1, 2], [1, 2]))
    assert math.isnan(spearman([1, 2, 3, NAN], [1, 2, INF, 3]))
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert spearman([1, 2, 3, NAN], [1, 2, 3, -9]) == pytest.approx(1)
    with pytest.raises(ValueError):
        spearman([1, 2, 3], [1, 2])


# Where seeds say nothing, no interval pretends.
@pytest.mark.parametrize("interval", [mean_interval, iqm_interval])
@pytest.mark.parametrize(
    ("values", "value", "note"),
    [
        ([], NAN, "no values"),
        ([NAN, INF, -INF], NAN, "3 of 3 diverged or without a value: left out; no values"),
        ([7.0], 7.0, "one run: no interval"),
        ([7.0, NAN], 7.0, "1 of 2 diverged or without a value: left out; one run: no interval"),
        ([0.1] * 6, 0.1, "all 6 values are equal: no spread to estimate from"),
        ([0.0] * 6, 0.0, "all 6 values are equal: no spread to estimate from"),
        ([0.3, 0.1 + 0.2] * 3, 0.3, "all 6 values are equal: no spread to estimate from"),
    ],
)
def test_values_without_an_interval(interval, values, value, note):
    answer = interval(values)
    assert has_no_interval(answer) and answer.note == note
    assert answer.value == pytest.approx(value, nan_ok=True)
    assert answer.n == np.isfinite(values).sum()


@pytest.mark.parametrize("interval", [mean_interval, iqm_interval])
def test_diverged_runs_are_left_out_and_said(interval):
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    with_losses, without = interval([NAN, *values, INF]), interval(values)
    assert (with_losses.value, with_losses.low) == (without.value, without.low)
    assert (with_losses.n, without.note) == (5, "")
    assert with_losses.note == "2 of 7 diverged or without a value: left out"
    assert interval(values[:4]).note == "weak: fewer than 5 seeds"


def test_an_outlier_alone_gives_no_spread_in_the_middle():
    answer = iqm_interval([1.0] * 39 + [5.0])
    assert has_no_interval(answer) and answer.value == 1


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("values", [[], [2.0], [NAN]])
def test_improvement_without_an_interval(paired, values):
    answer = improvement_interval(values, values, higher_is_better=True, paired=paired)
    assert has_no_interval(answer) and answer.n == len(values)
    assert improvement_p_value(values, values, higher_is_better=True, paired=paired) == 1


@pytest.mark.parametrize("paired", [True, False])
def test_all_diverged_is_undecided(paired):
    answer = improvement_interval([NAN] * 6, [INF] * 6, higher_is_better=False, paired=paired)
    assert answer.value == 0.5 and answer.low < 0.25 and answer.high > 0.75
    assert "12 diverged" in answer.note
    assert improvement_p_value([NAN] * 6, [INF] * 6, higher_is_better=False, paired=paired) == 1


@settings(max_examples=40)
@given(runs, st.data())
def test_no_interval_has_a_width_of_zero(a, data):
    b = data.draw(st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=len(a), max_size=len(a)))
    answers = [mean_interval(a), iqm_interval(a, resamples=50)]
    for paired in (True, False):
        for higher in (True, False):
            answers.append(
                improvement_interval(
                    a, b, higher_is_better=higher, paired=paired, resamples=50, seed=1
                )
            )
    for answer in answers:
        assert answer.low < answer.high or has_no_interval(answer)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, NAN])
def test_a_level_is_a_probability(level):
    for call in (mean_interval, iqm_interval):
        with pytest.raises(ValueError, match="level"):
            call([1.0, 2.0], level)
    with pytest.raises(ValueError, match="level"):
        share_interval(1, 2, level)
    with pytest.raises(ValueError, match="level"):
        improvement_interval([1, 2], [1, 3], higher_is_better=True, paired=True, level=level)


# Ranks in place of all pairs, some resamples at a time.
def all_pairs(ours, theirs, axis=-1):
    """The share of pairs won, as the textbook has it: memory for every pair of every resample."""
    left, right = ours[..., :, None], theirs[..., None, :]
    return ((left > right) + 0.5 * (left == right)).mean(axis=(-2, -1))


@pytest.mark.parametrize(("n", "m"), [(4, 3), (5, 8), (8, 8), (30, 21)])
@pytest.mark.parametrize("ties", [True, False])
def test_intervals_by_ranks_are_those_of_all_pairs(n, m, ties):
    rng = np.random.default_rng(n * m)
    a, b = (
        rng.integers(0, 4, size).astype(float) if ties else normal(rng, size) for size in (n, m)
    )
    a[0] = NAN
    goodness = [np.where(np.isfinite(side), side, -INF) for side in (a, b)]
    interval = stats.bootstrap(
        goodness, all_pairs, n_resamples=2000, method="percentile", vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    answer = improvement_interval(a, b, higher_is_better=True, paired=False)
    assert answer.value == pytest.approx(float(all_pairs(*goodness)))
    assert (answer.low, answer.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_resamples_in_parts_are_resamples(monkeypatch):
    a, b = normal(np.random.default_rng(1), 2, 25)
    whole = improvement_interval(a, b + 0.3, higher_is_better=True, paired=False)
    whole_iqm = iqm_interval(a)
    monkeypatch.setattr("wganbench.reports.statistics.RESAMPLED_VALUES", 25 * 7)
    parts = improvement_interval(a, b + 0.3, higher_is_better=True, paired=False)
    assert parts.value == whole.value
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.03)
    parts_iqm = iqm_interval(a)
    assert (parts_iqm.low, parts_iqm.high) == pytest.approx(
        (whole_iqm.low, whole_iqm.high), abs=0.06
    )


@settings(max_examples=50)
@given(
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=5),
    st.lists(st.one_of(st.integers(-3, 3).map(float), st.just(NAN)), min_size=1, max_size=5),
)
def test_small_groups_are_tested_exactly_with_their_ties(a, b):
    """Twice the smaller tail over all ways to say which runs are ours."""
    ranks = stats.rankdata([-INF if math.isnan(v) else v for v in [*a, *b]])
    sums = [sum(chosen) for chosen in itertools.combinations(ranks, len(a))]
    ours = sum(ranks[: len(a)])
    tails = [np.mean([s <= ours for s in sums]), np.mean([s >= ours for s in sums])]
    p = improvement_p_value(a, b, higher_is_better=True, paired=False)
    assert p == pytest.approx(min(1, 2 * min(tails)))


@pytest.mark.parametrize(("n", "m"), [(3, 4), (8, 8), (8, 40), (9, 9), (30, 50)])
def test_without_ties_p_is_scipys(n, m):
    rng = np.random.default_rng(n + m)
    a, b = normal(rng, n), normal(rng, m) + 0.4
    expected = stats.mannwhitneyu(a, b, method="auto").pvalue
    p = improvement_p_value(a, b, higher_is_better=True, paired=False)
    assert p == pytest.approx(expected, rel=1e-9)


def test_three_runs_show_nothing_by_their_ties():
    """The normal limit would give 0.047 for 3 equal values against 3 equal ones."""
    p = improvement_p_value([8.0] * 3, [1.0] * 3, higher_is_better=True, paired=False)
    assert p == pytest.approx(2 / math.comb(6, 3))


def test_ten_thousand_runs_need_no_memory_for_all_pairs():
    tracemalloc.start()
    a, b = normal(np.random.default_rng(0), 2, 5000)
    answer = improvement_interval(a, b + 0.1, higher_is_better=True, paired=False, resamples=30)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    truth = stats.norm.cdf(-0.1 / math.sqrt(2))
    assert answer.low < truth < answer.high and answer.high - answer.low < 0.03
    assert peak < 2.5e8, "a mask of all pairs of 30 resamples has 7.5e8 bytes"


# The possible range.
@given(
    st.lists(st.integers(0, 8).map(float), min_size=2, max_size=12), st.sampled_from([0.8, 0.99])
)
def test_an_interval_stays_in_the_possible_range(values, level):
    free, cut = mean_interval(values, level), mean_interval(values, level, (0, 8))
    assert (cut.value, cut.method, cut.note) == (free.value, free.method, free.note)
    if math.isnan(free.low):
        assert math.isnan(cut.low) and math.isnan(cut.high)
        return
    assert (cut.low, cut.high) == (max(free.low, 0), min(free.high, 8))
    assert cut.low < cut.value < cut.high


def test_a_value_outside_the_range_stays_in_its_interval():
    answer = mean_interval([9.0, 10.0, 11.0], bounds=(0, 8))
    assert answer.low < answer.value == answer.high == 10
