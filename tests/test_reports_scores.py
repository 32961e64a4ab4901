"""Statistics for scores of any origin."""

from __future__ import annotations

import math

import pytest

from wganbench.statistics import compare_scores, mean_interval


def test_the_rows_are_ranked_and_hold_the_intervals_of_their_scores() -> None:
    scores = {"low": [1.0, 2.0, 3.0], "high": [4.0, 5.0, 6.0]}
    found = compare_scores(scores)
    assert [row.name for row in found.rows] == ["high", "low"]
    assert found.rows[1].mean == mean_interval([1.0, 2.0, 3.0])
    assert [row.name for row in compare_scores(scores, higher_is_better=False).rows] == [
        "low",
        "high",
    ]


def test_a_pair_differs_by_the_exact_test_after_holm() -> None:
    """Eight against eight, all apart: 2 / C(16, 8), times the three pairs at most."""
    scores = {name: [10.0 * k + i for i in range(8)] for k, name in enumerate("abc")}
    found = compare_scores(scores)
    assert [pair.p_value for pair in found.pairs] == pytest.approx([3 * 2 / math.comb(16, 8)] * 3)
    assert [row.letters for row in found.rows] == ["a", "b", "c"]
    assert {(pair.better, pair.other) for pair in found.pairs} == {
        ("c", "b"),
        ("c", "a"),
        ("b", "a"),
    }
    same = compare_scores({"a": [1.0, 2.0, 3.0], "b": [1.5, 2.5, 3.5]})
    assert [row.letters for row in same.rows] == ["a", "a"] and same.pairs[0].p_value > 0.5


def test_a_diverged_run_is_worst_and_in_no_mean() -> None:
    found = compare_scores({"a": [1.0, math.nan], "b": [0.0, 0.5]})
    assert found.rows[0].mean.value == 1.0
    (pair,) = found.pairs
    assert pair.probability.value == 0.5  # a's two runs: one beats both, one loses to both


def test_pairs_of_seeds_and_empty_groups() -> None:
    scores = {"a": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "b": [1.1, 2.1, 3.1, 4.1, 5.1, 6.1]}
    (pair,) = compare_scores(scores, paired=True).pairs
    assert pair.better == "b" and pair.p_value == pytest.approx(2 / 2**6)
    assert compare_scores(scores).pairs[0].p_value > 0.5
    with pytest.raises(ValueError, match="b is empty"):
        compare_scores({"a": [1.0], "b": []})
    with pytest.raises(ValueError, match="scores is empty"):
        compare_scores({})


def test_a_notebook_shows_rows_and_pairs_and_escapes_names() -> None:
    html = compare_scores({"<b>": [1.0, 2.0, 3.0], "high": [4.0, 5.0, 6.0]})._repr_html_()
    assert "<td>&lt;b&gt;</td><td>2.0 [-0.5, 4.5]</td>" in html, "2 -+ 4.303 / sqrt(3)"
    assert "<td>high | &lt;b&gt;</td><td>1.00 [" in html and "<b>" not in html


def test_a_group_that_diverged_on_every_seed_comes_last() -> None:
    scores = {"a": [1.0, 2.0], "lost": [math.nan, math.nan], "b": [3.0, 4.0]}
    for up, names in ((True, ["b", "a", "lost"]), (False, ["a", "b", "lost"])):
        found = compare_scores(scores, higher_is_better=up)
        assert [row.name for row in found.rows] == names
