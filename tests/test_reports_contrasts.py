"""Groups against each other: pairs that keep together, families, what could be shown at all."""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reported_runs import leave_lambda, leave_run

from wganbench.config import ConfigError
from wganbench.reports.comparison import Comparison, compare
from wganbench.reports.export import as_csv, as_dict
from wganbench.reports.pairwise import Contrast
from wganbench.reports.significance import (
    enough_seeds,
    holm,
    improvement_p_value,
    least_p_value,
)
from wganbench.reports.statistics import probability_of_improvement
from wganbench.reports.summary import summarise
from wganbench.runs.record import RunRecord, find_runs

LAMBDAS = (0.1, 1.0, 10.0, 100.0)
METRICS = ["modes/covered", "modes/high_quality", "wasserstein/exact", "modes/kl"]


def leave(folder: Path, size: float, seed: int, covered: float) -> None:
    """A run of a lambda sweep whose quality follows how many modes it covers."""
    metrics = {
        "modes/covered": covered,
        "modes/high_quality": covered / 8.5,
        "wasserstein/exact": 1.3 - covered / 8,
        "modes/kl": 0.3 * (8.01 - covered),
    }
    if covered == 0:
        del metrics["modes/kl"]  # without a sample of high quality it is undefined
    leave_lambda(folder, size, seed, metrics)


@pytest.fixture(scope="module")
def lambda_sweep(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """Four groups of eight seeds: 8 modes on every seed against 1.2 on average."""
    folder, worst = tmp_path_factory.mktemp("sweep"), (1, 2, 1, 0, 2, 1, 1, 2)
    for seed in range(8):
        for size, covered in zip(
            LAMBDAS, (8, 8 - seed % 2, 6 + seed % 3, worst[seed]), strict=True
        ):
            leave(folder, size, seed, float(covered))
    return find_runs([folder])


@pytest.fixture(scope="module")
def swept(lambda_sweep: list[RunRecord]) -> Comparison:
    return compare(lambda_sweep, metrics=METRICS)


def test_averaged_weights_are_compared_like_the_others(tmp_path: Path) -> None:
    for seed in range(3):
        leave_run(tmp_path, "gp", seed, {"modes/covered": 3.0, "averaged/modes/covered": 7.0})
        leave_run(tmp_path, "bce", seed, {"modes/covered": 3.0, "averaged/modes/covered": 6.0})
    found = compare(find_runs([tmp_path]), metrics=["averaged/modes/covered"])
    (contrast,) = found.contrasts
    winner = (contrast.first, contrast.second)[contrast.winner]
    assert contrast.metric == "averaged/modes/covered" and winner == "gp"
    with pytest.raises(ConfigError, match="unknown tag 'averaged/critic/lipschitz'"):
        compare(find_runs([tmp_path]), metrics=["averaged/critic/lipschitz"])


def between(comparison: Comparison, metric: str, *labels: str) -> Contrast:
    (found,) = (
        d for d in comparison.contrasts if d.metric == metric and {d.first, d.second} == set(labels)
    )
    return found


def two_groups(
    folder: Path, ours: dict[int, float], theirs: dict[int, float], **status: str
) -> Comparison:
    """bce against gp in modes/covered, by seed; nan is a run that left no value."""
    for loss, values in (("bce", ours), ("gp", theirs)):
        for seed, value in values.items():
            found = {} if math.isnan(value) else {"modes/covered": value}
            leave_run(folder, loss, seed, found, status.get(f"{loss}{seed}", "completed"))
    return compare(find_runs([folder]), metrics=["modes/covered"])


# The real case: what eight seeds of eight can show.
def test_eight_modes_against_one_on_every_seed_are_shown(swept: Comparison) -> None:
    comparison = swept
    labels = "gp_lambda=0.1", "gp_lambda=100"
    for metric in METRICS:
        contrast = between(comparison, metric, *labels)
        # The sign test's floor 2 / 2^8, times the six pairs of four groups: 0.047.
        assert contrast.raw_p == 2 / 2**8 and contrast.tests == 6
        assert contrast.p == pytest.approx(6 * 2 / 2**8) and contrast.p < 0.05
        assert contrast.differs and contrast.met == contrast.seeds == 8 and contrast.paired
        assert contrast.estimate.value == (1.0 if contrast.first == labels[0] else 0.0)
    told = " ".join(sentence.text for sentence in summarise(comparison))
    assert "in modes/covered was shown between 3 of 6 pairs of groups (Holm's p below 0.05)" in told


def test_a_run_without_a_value_keeps_its_pair_and_ranks_last(swept: Comparison) -> None:
    comparison = swept
    contrast = between(comparison, "modes/kl", "gp_lambda=0.1", "gp_lambda=100")
    assert contrast.paired and contrast.met == 8, "seed 3 of lambda 100 has no KL"
    cell = comparison.by_label["gp_lambda=100"].cells["modes/kl"]
    assert (cell.mean.n, len(cell.values), cell.undefined) == (7, 8, 1)
    assert "1 of 8 diverged or without a value: left out" in cell.mean.note
    note = (
        "modes/kl is undefined in 1 of 8 runs of lambda = 100: not in the means, and ranked last "
        "where runs are compared"
    )
    assert note in comparison.notes


def test_a_group_none_of_whose_runs_has_a_kl_loses_every_pair(tmp_path: Path) -> None:
    for seed in range(8):
        leave(tmp_path, 0.1, seed, 8.0 - seed / 100)
        leave(tmp_path, 100.0, seed, 0.0)
    comparison = compare(find_runs([tmp_path]), metrics=["modes/kl"])
    (contrast,) = comparison.contrasts
    assert contrast.differs and contrast.estimate.value == 1.0 and contrast.first == "gp_lambda=0.1"
    assert comparison.by_label["gp_lambda=100"].cells["modes/kl"].undefined == 8


def test_a_metric_that_a_loss_does_not_have_is_no_loss_of_data(tmp_path: Path) -> None:
    for seed in range(6):
        leave_run(tmp_path, "bce", seed, {"modes/covered": 8.0})
        leave_run(tmp_path, "gp", seed, {"wasserstein/estimate_normalized": 0.1})
    comparison = compare(find_runs([tmp_path]), metrics=["wasserstein/estimate_normalized"])
    assert not comparison.contrasts
    assert comparison.by_label["bce"].cells["wasserstein/estimate_normalized"].values == ()


# Families.
def test_each_metric_is_a_family_and_the_first_is_primary(
    lambda_sweep: list[RunRecord], swept: Comparison
) -> None:
    comparison, alone = swept, compare(lambda_sweep, metrics=METRICS[:1])
    primary = [contrast for contrast in comparison.contrasts if contrast.primary]
    assert primary == list(alone.contrasts), "further metrics take nothing from the first"
    for metric in METRICS:
        family = [contrast for contrast in comparison.contrasts if contrast.metric == metric]
        assert {contrast.tests for contrast in family} == {6} and len(family) == 6
        assert [contrast.p for contrast in family] == pytest.approx(holm([d.raw_p for d in family]))
        assert {contrast.primary for contrast in family} == {metric == METRICS[0]}
    note = (
        "p-values are adjusted (Holm) within each metric: modes/covered (primary, 6 tests), "
        "modes/high_quality (secondary, 6 tests), wasserstein/exact (secondary, 6 tests), "
        "modes/kl (secondary, 6 tests)"
    )
    assert note in comparison.notes
    topics = [sentence.topic for sentence in summarise(comparison)]
    assert "modes/covered (primary)" in topics and "modes/kl (secondary)" in topics


def test_a_metric_that_does_not_rank_is_not_the_primary_one(lambda_sweep: list[RunRecord]) -> None:
    comparison = compare(lambda_sweep, metrics=["critic/slope_mean", "modes/kl"])
    assert {contrast.metric for contrast in comparison.contrasts if contrast.primary} == {
        "modes/kl"
    }


def test_files_say_the_family_the_seeds_and_the_reach(swept: Comparison) -> None:
    comparison = swept
    rows = [row for row in csv.DictReader(as_csv(comparison).splitlines()) if row["against"]]
    assert len(rows) == len(comparison.contrasts) == 24
    for row, contrast in zip(rows, comparison.contrasts, strict=True):
        assert (row["group"], row["against"], row["metric"]) == (
            contrast.first, contrast.second, contrast.metric,
        )  # fmt: skip
        assert float(row["p_holm"]) == contrast.p and float(row["p"]) == contrast.raw_p
        assert row["family"] == ("primary" if contrast.primary else "secondary")
        assert row["tests"] == "6" and row["seeds"] == "8 paired"
        assert float(row["value"]) == contrast.estimate.value
    stored = as_dict(comparison)["contrasts"]
    assert [contrast["tests"] for contrast in stored] == [6] * 24
    assert stored[0]["primary"] and not stored[-1]["primary"]


# Pairs.
def test_common_seeds_are_paired_and_the_rest_is_said(tmp_path: Path) -> None:
    comparison = two_groups(tmp_path, dict.fromkeys(range(8), 8.0), dict.fromkeys(range(2, 9), 3.0))
    (contrast,) = comparison.contrasts
    assert (contrast.met, contrast.seeds, contrast.paired) == (6, 9, True)
    assert contrast.raw_p == 2 / 2**6 and contrast.estimate.n == 6


def test_without_a_common_seed_ranks_are_compared_and_that_is_said(tmp_path: Path) -> None:
    comparison = two_groups(tmp_path, dict.fromkeys(range(4), 8.0), dict.fromkeys(range(4, 9), 3.0))
    (contrast,) = comparison.contrasts
    assert contrast.unpaired == "no seed in common" and contrast.met == 4
    assert contrast.raw_p == pytest.approx(2 / math.comb(9, 4))
    assert "compared without pairs, by ranks: no seed in common (bce and gp)" in comparison.notes


def test_a_seed_that_occurs_twice_makes_no_pairs_and_that_is_said(tmp_path: Path) -> None:
    for size in (1.0, 10.0):
        leave_run(tmp_path, "gp", 0, {"modes/covered": 8.0}, **{"loss.gp_lambda": size})
    leave_run(tmp_path, "bce", 0, {"modes/covered": 8.0})
    comparison = compare(find_runs([tmp_path]), by=["loss.name"])
    (contrast,) = comparison.contrasts
    assert contrast.unpaired == "seed 0 occurs more than once in gp"
    assert any(contrast.unpaired in note for note in comparison.notes)


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_a_run_that_did_not_finish_does_not_change_the_test(tmp_path: Path, status: str) -> None:
    """Five complete pairs give p = 1/16; ranks of six against five would give 0.004."""
    six = dict.fromkeys(range(6), 8.0)
    comparison = two_groups(tmp_path, six, dict.fromkeys(range(6), 3.0), gp5=status)
    (contrast,) = comparison.contrasts
    assert (contrast.paired, contrast.met, contrast.seeds, contrast.raw_p) == (True, 5, 6, 2 / 2**5)
    assert contrast.enough == 6


values = st.one_of(st.integers(0, 3).map(float), st.just(math.nan))
pairs = st.lists(st.tuples(values, values), min_size=1, max_size=9)


def one_sided(a: list[float], b: list[float]) -> float:
    """The sign test's p of "a is not better than b", by counting."""
    goodness = [[-math.inf if math.isnan(v) else v for v in side] for side in (a, b)]
    wins = sum(x > y for x, y in zip(*goodness, strict=True))
    n = sum(x != y for x, y in zip(*goodness, strict=True))
    return sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n


@given(pairs, st.data())
def test_losing_a_value_never_helps_the_group_that_lost_it(
    found: list[tuple[float, float]], data: st.DataObject
) -> None:
    """Whatever value of a group becomes undefined: it gets no better, nor its case stronger."""
    a, b = (list(side) for side in zip(*found, strict=True))
    place = data.draw(st.integers(0, len(a) - 1))
    worse = [*a[:place], math.nan, *a[place + 1 :]]
    assert one_sided(worse, b) >= one_sided(a, b) - 1e-12
    for paired in (True, False):
        kind = {"higher_is_better": True, "paired": paired}
        before, after = (improvement_p_value(side, b, **kind) for side in (a, worse))
        if paired and one_sided(worse, b) < 0.5:
            assert after >= before - 1e-12, "still ahead, with less to show for it"
        # A pair that was lost already: nothing changes at all.
        if paired and not math.isnan(b[place]) and not a[place] >= b[place]:
            assert after == before
    assert probability_of_improvement(worse, b) <= probability_of_improvement(a, b) + 1e-12


@given(pairs)
def test_an_undefined_value_is_as_good_as_a_diverged_run(found: list[tuple[float, float]]) -> None:
    a, b = (list(side) for side in zip(*found, strict=True))
    lost = [[math.inf if math.isnan(v) else v for v in side] for side in (a, b)]
    for paired in (True, False):
        kind = {"higher_is_better": False, "paired": paired}
        assert improvement_p_value(a, b, **kind) == improvement_p_value(*lost, **kind)


# What could be shown at all.
def test_what_could_not_be_shown_is_said_for_each_pair_with_how_many_seeds_would_do(
    tmp_path: Path,
) -> None:
    for seed in range(12):
        for size in LAMBDAS:
            if seed < 5 or size < 5:  # lambda 0.1 and 1 have twelve seeds, the others five
                leave(tmp_path, size, seed, 8.0 - size / 20)
    comparison = compare(find_runs([tmp_path]), metrics=METRICS[:1])
    reach = {(d.first, d.second): d.enough for d in comparison.contrasts}
    assert reach.pop(("gp_lambda=0.1", "gp_lambda=1")) is None
    assert set(reach.values()) == {8}, "6 tests x 2 / 2^8 = 0.047"
    told = [sentence.text for sentence in summarise(comparison)]
    (line,) = [text for text in told if "could not be shown" in text]
    assert (
        "with 5 paired seeds: its p, after Holm over 6 tests, cannot fall below 0.312; 8 " in line
    )
    counted = "in modes/covered was shown between 1 of 6 pairs of groups"
    assert any(counted in text for text in told)


@pytest.mark.parametrize("tests", [1, 2, 3, 6, 24, 190])
def test_enough_seeds_are_the_fewest_that_pass(tests: int) -> None:
    n = enough_seeds(tests, paired=True)
    assert tests * 2 / 2**n < 0.05 <= tests * 2 / 2 ** (n - 1)
    k = enough_seeds(tests, paired=False)
    assert tests * least_p_value(k, k, False) < 0.05 <= tests * least_p_value(k - 1, k - 1, False)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 3), (4, 7), (8, 2)])
def test_no_p_is_below_the_least_one(n: int, m: int) -> None:
    assert least_p_value(n, m, False) == pytest.approx(min(1.0, 2 / math.comb(n + m, n)))
    for split in itertools.combinations(range(n + m), n):
        ours = [float(i) for i in split]
        theirs = [float(i) for i in range(n + m) if i not in split]
        p = improvement_p_value(ours, theirs, higher_is_better=True, paired=False)
        assert p >= least_p_value(n, m, False) - 1e-12


# Against one group.
def test_a_baseline_is_compared_with_all_others_and_they_with_nobody(
    lambda_sweep: list[RunRecord],
) -> None:
    comparison = compare(lambda_sweep, metrics=METRICS[:1], baseline="=100")
    assert comparison.baseline == "gp_lambda=100"
    assert [(d.first, d.second) for d in comparison.contrasts] == [
        (f"gp_lambda={size}", "gp_lambda=100") for size in ("0.1", "1", "10")
    ]
    assert {contrast.tests for contrast in comparison.contrasts} == {3}
    assert between(comparison, METRICS[0], "gp_lambda=0.1", "gp_lambda=100").p == 3 * 2 / 2**8


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("=7", "no group is called so; give one of: gp_lambda=0.1, gp_lambda=1, gp_lambda=10, "),
        ("LAMBDA=1", "fits 3 groups"),
        ("", "no group is called so"),
    ],
)
def test_a_baseline_that_names_no_group_is_refused(
    lambda_sweep: list[RunRecord], text: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        compare(lambda_sweep, metrics=METRICS[:1], baseline=text)
    exact = compare(lambda_sweep, metrics=METRICS[:1], baseline="gp_lambda=1")
    assert exact.baseline == "gp_lambda=1", "its own name wins over parts of others"
