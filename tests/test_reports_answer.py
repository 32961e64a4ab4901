"""The answer: a headline that the seeds bear out, and what the tests can and cannot tell."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from reported_runs import leave_lambda, leave_run

from wganbench.reports.answer import answer
from wganbench.reports.comparison import Comparison, compare
from wganbench.reports.figures import draw_answer
from wganbench.reports.matrix import letters_of, matrices
from wganbench.runs.record import find_runs

Seeds = Mapping[float, Sequence[float]]
COVERED, EXACT = "modes/covered", "wasserstein/exact"
SETTINGS = ((0.1, 300), (10, 300), (10, 900))
"""Lambda and steps."""
SWEEP: Seeds = {0.1: [8] * 8, 1: [8] * 8, 10: [8] * 8, 100: [1, 2, 1, 0, 2, 1, 1, 2]}


def lambdas(folder: Path, groups: Seeds, metrics: Sequence[str] = (COVERED, EXACT)) -> Comparison:
    """A sweep of lambda by modes covered on each seed; nan is a run that diverged."""
    for size, values in groups.items():
        for seed, covered in enumerate(values):
            lost = math.isnan(covered)
            found = {} if lost else {COVERED: covered, EXACT: 1.3 - covered / 8 + seed / 1000}
            status = "diverged" if lost else "completed"
            leave_lambda(folder, size, seed, found, status)
    return compare(find_runs([folder]), metrics=metrics)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return lambdas(tmp_path_factory.mktemp("sweep"), SWEEP)


def test_the_sweep_of_the_review_is_answered_in_three_sentences(swept: Comparison) -> None:
    assert answer(swept) == [
        "lambda = 0.1, 1 and 10 cover all 8 modes on every seed; lambda = 100 loses most of the "
        "modes on every seed.",
        "In modes covered, run by run, lambda = 0.1, 1 and 10 are better than lambda = 100; "
        "with 8 seeds no difference between lambda = 0.1, 1 and 10 is significant.",
        "The same holds for exact W1.",
    ]


def test_its_matrix_has_letters_and_each_pair_from_both_sides(swept: Comparison) -> None:
    assert letters_of(swept, COVERED) == {
        "gp_lambda=0.1": "a", "gp_lambda=1": "a", "gp_lambda=10": "a", "gp_lambda=100": "b"
    }  # fmt: skip
    first, second = matrices(swept)
    assert (first.heading, first.primary, second.primary) == ("modes covered", True, False)
    assert first.columns == [heading for heading, _, _ in first.rows]
    kinds = [[square.kind for square in squares] for _, _, squares in first.rows]
    alike, better = "alike", "better"
    assert kinds == [
        ["none", alike, alike, better],
        [alike, "none", alike, better],
        [alike, alike, "none", better],
        ["worse", "worse", "worse", "none"],
    ]
    assert (first.rows[0][2][3].text, first.rows[3][2][0].text) == ("1.00", "0.00")
    assert first.rows[3][2][0].about == (
        "lambda = 100 is worse than lambda = 0.1 (lambda = 0.1 against lambda = 100: "
        "1.00 [0.63, 1.00], Holm's p 0.047)"
    )


def test_against_a_baseline_there_are_no_letters_and_one_column(tmp_path: Path) -> None:
    lambdas(tmp_path, SWEEP)
    comparison = compare(find_runs([tmp_path]), metrics=[COVERED], baseline="lambda = 1")
    (found,) = matrices(comparison)
    assert found.columns == ["lambda = 1"] and not found.lettered
    assert [heading for heading, _, _ in found.rows] == [
        "lambda = 0.1", "lambda = 10", "lambda = 100"
    ]  # fmt: skip
    assert [squares[0].kind for _, _, squares in found.rows] == ["alike", "alike", "worse"]


def test_too_few_seeds_are_not_called_no_difference(tmp_path: Path) -> None:
    comparison = lambdas(tmp_path, {0.1: [8, 8, 8], 100: [1, 2, 1]}, [COVERED])
    assert answer(comparison) == [
        "lambda = 0.1 covers all 8 modes on every seed; lambda = 100 loses most of the modes on "
        "every seed.",
        "In modes covered, run by run, with 3 seeds no difference between lambda = 0.1 and 100 can "
        "be significant (6 would suffice).",
        "Fewer than 5 seeds in a group are weak evidence.",
    ]
    (found,) = matrices(comparison)
    assert [square.kind for square in found.rows[0][2]] == ["none", "unable"]
    assert not found.lettered, "equal letters would look like a result"


def test_diverged_runs_cover_nothing_and_are_said(tmp_path: Path) -> None:
    groups = {0.1: [8] * 6, 1: [8] * 5 + [math.nan], 10: [math.nan] * 6, 100: [7] * 6}
    lines = answer(lambdas(tmp_path, groups, [COVERED]))
    assert lines[0] == (
        "lambda = 0.1 covers all 8 modes on every seed; lambda = 1 covers all modes on some seeds; "
        "lambda = 10 and 100 cover all modes on no seed."
    )
    assert lines[-1] == ("7 of 24 finished runs diverged (1 of lambda = 1 and 6 of lambda = 10).")
    assert len(lines) <= 4


def test_another_metric_names_the_best_mean_and_the_next(tmp_path: Path) -> None:
    for seed in range(6):
        leave_run(tmp_path, "gp", seed, {EXACT: 0.05 + seed / 1000})
        leave_run(tmp_path, "clip", seed, {EXACT: 0.3 + seed / 1000})
        leave_run(tmp_path, "bce", seed, {EXACT: 0.053 + seed / 1000})
    first, second = answer(compare(find_runs([tmp_path]), metrics=[EXACT]))[:2]
    assert first.startswith("gp has the lowest mean of exact W1, 0.0525 [")
    assert "but it is not best by the intervals; next is bce with 0.0555 [" in first
    assert second == (
        "In exact W1, run by run, with 6 seeds no difference between any two groups can be "
        "significant (7 would suffice)."
    ), "3 tests x 2 / 2^7 = 0.047"


def test_equal_means_are_shared_and_name_no_best(tmp_path: Path) -> None:
    for seed in range(6):
        for loss, value in (("gp", 0.05), ("clip", 0.3), ("lp", 0.05)):
            leave_run(tmp_path, loss, seed, {EXACT: value})
    first = answer(compare(find_runs([tmp_path]), metrics=[EXACT]))[0]
    assert first == "gp and lp share the lowest mean of exact W1, 0.05."


def test_what_a_baseline_does_not_differ_from_is_named(tmp_path: Path) -> None:
    for seed in range(8):
        for loss in ("bce", "gp", "lp", "clip"):
            value = 0.05 + ((seed + len(loss)) % 4) / 100 + seed / 1000
            leave_run(tmp_path, loss, seed, {EXACT: value})
    comparison = compare(find_runs([tmp_path]), metrics=[EXACT], baseline="bce")
    told = answer(comparison)[1]
    assert told.endswith("with 8 seeds no difference between bce and each of clip, gp and lp is "
                         "significant.")  # fmt: skip
    assert "other" not in told, "no pair was shown before"


def test_pairs_that_were_not_shown_are_other_pairs_than_those_that_were(tmp_path: Path) -> None:
    groups = {
        0.1: [8, 8, 7, 8] * 3,
        1: [8, 7, 8, 8] * 3,
        10: [2, 2, 1, 2] * 3,
        100: [1, 2, 2, 2] * 3,
    }
    told = answer(lambdas(tmp_path, groups, [COVERED]))[1]
    assert "lambda = 0.1 and 1 are better than lambda = 10 and 100" in told
    assert told.endswith("no difference between the groups of 2 other pairs is significant.")


def test_a_run_that_failed_early_does_not_take_the_number_of_modes_away(tmp_path: Path) -> None:
    for seed in range(5):
        run = leave_run(tmp_path, "gp", seed, {COVERED: 8})
        if seed == 0:
            record = json.loads((run / "run.json").read_text()) | {"status": "failed"}
            del record["data_modes"]
            (run / "run.json").write_text(json.dumps(record))
    comparison = compare(find_runs([tmp_path]), metrics=[COVERED])
    assert comparison.rows[0].group.mode_count == 8
    assert answer(comparison)[0].startswith("gp covers all 8 modes on every seed")


def test_unpaired_groups_that_are_apart_differ_with_four_seeds_each(tmp_path: Path) -> None:
    for seed in range(4):
        leave_run(tmp_path, "gp", seed, {COVERED: 8})
        leave_run(tmp_path, "bce", seed + 4, {COVERED: 2})
    comparison = compare(find_runs([tmp_path]), metrics=[COVERED])
    (contrast,) = comparison.contrasts
    assert contrast.p == pytest.approx(2 / 70) and contrast.differs, "2 of the 70 splits"
    assert "gp is better than bce" in answer(comparison)[1]


def test_one_group_and_metrics_that_do_not_rank(tmp_path: Path) -> None:
    for seed in range(5):
        leave_run(tmp_path, "gp", seed, {EXACT: 0.05 + seed / 1000, "critic/slope_mean": 1.0})
    (only,) = answer(compare(find_runs([tmp_path]), metrics=[EXACT]))
    assert only.startswith("gp: exact W1 0.05") and only.endswith("; nothing to compare with.")
    slopes = compare(find_runs([tmp_path]), metrics=["critic/slope_mean"])
    assert answer(slopes) == ["These metrics describe the groups and rank none of them."]
    assert draw_answer(slopes) is None and matrices(slopes) == []


def test_groups_of_several_settings_are_listed_without_ambiguity(tmp_path: Path) -> None:
    for size, steps in SETTINGS:
        settings = {"loss.gp_lambda": float(size), "train.steps": steps}
        leave_run(tmp_path, "gp", 0, {COVERED: 8.0}, **settings)
    headline = answer(compare(find_runs([tmp_path]), metrics=[COVERED]))[0]
    names = [f"lambda = {size} (steps = {steps})" for size, steps in SETTINGS]
    assert headline.startswith(f"{names[0]}, {names[1]} and {names[2]} cover all"), headline
