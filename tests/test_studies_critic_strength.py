"""`critic_strength`: its slope on planted effects, and its runs in small."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from wganbench.config import compose
from wganbench.studies import STUDIES
from wganbench.studies.critic_strength import (
    ACCURACY,
    CEILING,
    DIRECTION,
    DISTANCE,
    FEEDBACK,
    FLOOR,
    LEARNT,
    LOSSES,
    SAMPLE,
    TAGS,
    Values,
    all_slopes,
    evidence,
    is_far,
    overrides,
    slope_per_doubling,
)
from wganbench.studies.record import judge_all
from wganbench.studies.settings import read_settings
from wganbench.studies.study import Context
from wganbench.studies.verdicts import judge
from wganbench.sweeps.backend import Silent

N_CRITICS = (1, 2, 5, 10, 25)
STUDY = STUDIES["critic_strength"]


def planted(**slopes: float) -> Values:
    """Values that change with each doubling as told, with a little of each seed's own."""
    by_tag = {tag: slopes.get(tag.split("/")[1], 0.0) for tag in TAGS}
    return {
        (loss, n): [
            {tag: 0.5 + (slope + 0.001 * seed) * math.log2(n) for tag, slope in by_tag.items()}
            | {
                ACCURACY: 0.9 + 0.001 * seed,
                LEARNT: 0.05 + 0.4 * (n == 1) + 0.001 * seed,
                FLOOR: 0.05,
                CEILING: 1.0,
            }
            for seed in range(5)
        ]
        for loss in LOSSES
        for n in N_CRITICS
    }


def words(values: Values) -> dict[str, str]:
    found = evidence(all_slopes(values, 5), values)
    return {claim.name: judge("s", claim, found[claim.name]).word for claim in STUDY.claims}


def test_slopes_are_those_planted() -> None:
    slopes = all_slopes(planted(feedback=-0.3, direction=0.05), 5)
    assert slopes["bce", FEEDBACK] == pytest.approx([-0.3 + 0.001 * s for s in range(5)])
    assert slopes["gp", DIRECTION] == pytest.approx([0.05 + 0.001 * s for s in range(5)])
    assert slopes["gp", DISTANCE] == pytest.approx([0.001 * s for s in range(5)])
    assert slope_per_doubling([1, 2], [1.0, None]) is None
    assert slope_per_doubling([1, 2], [1.0, math.nan]) is None
    assert slope_per_doubling([4], [1.0]) is None


def test_signs_speak_for_the_claims() -> None:
    falling = words(planted(feedback=-0.4, sample=-0.4, direction=-0.1, exact=-0.1))
    rising = words(planted(feedback=0.4, sample=0.4, direction=0.1, exact=0.1))
    for loss in ("bce", "bce_saturating"):
        for part, with_claim, against in (
            ("feedback", falling, rising),
            ("direction", falling, rising),
            ("distance", rising, falling),
        ):
            assert with_claim[f"{part}_{loss}"] == "supported"
            assert against[f"{part}_{loss}"] == "refuted"
    for loss in ("clip", "gp"):
        assert falling[f"gradient_{loss}"] == "refuted"
        assert rising[f"gradient_{loss}"] == "not refuted"
        assert falling[f"direction_{loss}"] == rising[f"distance_{loss}"] == "refuted"
        assert rising[f"direction_{loss}"] == falling[f"distance_{loss}"] == "supported"


def test_a_diverged_run_leaves_its_seed_open() -> None:
    values = planted(feedback=-0.4)
    values["bce", 5][2] = dict.fromkeys((*TAGS, ACCURACY, FLOOR, LEARNT, CEILING))
    found = evidence(all_slopes(values, 5), values)
    assert list(found["feedback_bce"].values)[2] is None
    assert words(values)["feedback_bce"] == "undecided"
    assert words(values)["feedback_bce_saturating"] == "supported"


def test_a_strong_discriminator_and_a_generator_that_learns_nothing() -> None:
    values = planted()
    found = words(values)
    assert found["outperforms_bce"] == found["outperforms_bce_saturating"] == "supported"
    assert {found[f"stops_{loss}"] for loss in LOSSES} == {"supported"}
    for entry in values["clip", 1]:
        entry[LEARNT] -= 0.35  # type: ignore[operator]
    assert words(values)["stops_clip"] == "undecided", "it learns with no critic at all"
    for entry in values["gp", 25]:
        entry[LEARNT] += 0.7  # type: ignore[operator]
    for entry in values["bce", 1]:
        entry[ACCURACY] -= 0.3  # type: ignore[operator]
    found = words(values)
    assert found["stops_gp"] == found["outperforms_bce"] == "refuted"
    assert found["outperforms_bce_saturating"] == "supported"


def test_without_equal_steps_nothing_is_said_of_them() -> None:
    values = {key: own for key, own in planted().items() if key[1] != 1}
    assert words(values)["outperforms_bce"] == "undecided"
    found = evidence(all_slopes(values, 5), values)["outperforms_bce"]
    assert found.note == "n_critics lack 1: no equal steps"


def test_a_generator_that_ends_farther_away_has_stopped_learning() -> None:
    values = planted()
    for place, entry in enumerate(values["bce", 25]):
        entry[LEARNT] = -0.25 - 0.01 * place
    found = evidence(all_slopes(values, 5), values)["stops_bce"]
    assert found.value == 0 and found.interval == (0, 0)
    assert found.p_value is not None and found.p_value < 1e-4, "of a mean of 0.1"
    assert words(values)["stops_bce"] == "supported"
    values["bce", 25][0][LEARNT] = None
    assert words(values)["stops_bce"] == "undecided"


@pytest.mark.parametrize(("best", "word"), [(0.35, "undecided"), (0.05, "supported")])
def test_a_fall_below_the_floor_is_out_of_reach(best: float, word: str) -> None:
    """From 0.5 by 0.04 with each of 4.6 doublings is 0.19, and 0.35 is the floor."""
    values = planted(exact=-0.05)
    for entry in values["gp", 1]:
        entry[FLOOR] = best
    assert words(values)["distance_gp"] == word
    assert words(values)["distance_clip"] == "supported"


@pytest.mark.parametrize(
    ("best", "word"), [(0.7, "undecided"), (1.0, "supported"), (0.2, "undecided")]
)
def test_a_cosine_above_the_ceiling_is_out_of_reach(best: float, word: str) -> None:
    values = planted(direction=0.06)
    for entry in values["clip", 1]:
        entry[CEILING] = best
    assert words(values)["direction_clip"] == word
    assert words(values)["direction_gp"] == "supported"


def test_the_direction_of_samples_that_have_arrived_says_nothing() -> None:
    values = planted(direction=0.1)
    values["gp", 25][3][DIRECTION] = None
    found = evidence(all_slopes(values, 5), values)
    assert found["direction_gp"].undecided == "in 1 of 25 runs the samples lie within two floors"
    assert words(values)["direction_gp"] == "undecided"
    assert words(values)["direction_clip"] == "supported"


def test_the_direction_is_read_above_two_floors_only() -> None:
    table = {DISTANCE: [0.5, 0.21, 0.19, None], "wasserstein/floor": [0.1, 0.1, 0.1, 0.1]}
    assert [is_far(table, i) for i in range(4)] == [True, True, False, False]


def test_arms_of_a_loss_differ_in_n_critic_alone(tmp_path: Path) -> None:
    given = read_settings(STUDY.name, STUDY.protects, [])
    context = Context(STUDY.name, 1, tmp_path, given, Silent())
    for loss in LOSSES:
        few, many = (compose(overrides(context, loss, n)) for n in (1, 25))
        assert (few.loss.n_critic, many.loss.n_critic) == (1, 25)
        many.loss.n_critic = 1
        assert few == many and few.loss.name == loss
        assert few.train.critic_lr == given.values["critic_lr"]


@pytest.mark.slow
@pytest.mark.study
def test_the_study_runs_in_small(tmp_path: Path) -> None:
    small = ["seeds=3", "steps=30", "n_critics=[1,10]", "device=cpu"]
    given = read_settings(STUDY.name, STUDY.protects, small)
    findings = STUDY.measure(Context(STUDY.name, 1, tmp_path, given, Silent()))
    found = {v.claim.name: v.word for v in judge_all(STUDY, findings)}
    assert found["feedback_bce_saturating"] in ("supported", "undecided")
    assert len(findings.rows) == 4 * 2 * 3 and SAMPLE in " ".join(findings.rows[0])
