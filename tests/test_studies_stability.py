"""Success in random settings: counts, McNemar and Newcombe against known tables."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wganbench.cli.app import main
from wganbench.config import compose
from wganbench.studies import judge
from wganbench.studies.evidence import (
    Outcome,
    Pairs,
    mcnemar,
    newcombe,
    p_against,
    paired_evidence,
    pairs,
    wilson,
)
from wganbench.studies.settings import read_settings
from wganbench.studies.stability.figure import shares_at_least
from wganbench.studies.stability.settings import draw
from wganbench.studies.stability.study import CLAIMS, LOSSES, arms, findings
from wganbench.studies.study import Context
from wganbench.sweeps.backend import Silent

COUNTS = st.integers(0, 30)


def context(tmp_path: Path, *overrides: str) -> Context:
    settings = read_settings("stability", {}, [f"output_dir={tmp_path}", *overrides])
    return Context("stability", 1, tmp_path, settings, Silent())


# The statistic.
def test_pairs_are_counted_setting_by_setting() -> None:
    first = [True, True, True, False, False, False]
    second = [True, False, False, True, False, False]
    assert pairs(first, second) == Pairs(both=1, first=2, second=1, neither=2)
    assert pairs(first, second).difference == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="same settings"):
        pairs(first, second[1:])


def test_newcombes_own_examples() -> None:
    """Method 10 in Newcombe (1998), Table III: the first and a table without a correlation."""
    assert newcombe(Pairs(36, 12, 2, 0)) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    # Without discordant pairs the interval still has a width; it is symmetric.
    low, high = newcombe(Pairs(10, 0, 0, 10))
    assert low == pytest.approx(-high) and 0 < high < 0.25


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_the_interval_holds_the_estimate_and_turns_with_the_methods(
    both: int, first: int, second: int, neither: int
) -> None:
    counted = Pairs(both, first, second, neither)
    if not counted.n:
        return
    low, high = newcombe(counted)
    assert -1 - 1e-9 <= low <= counted.difference + 1e-9
    assert counted.difference - 1e-9 <= high <= 1 + 1e-9
    assert newcombe(Pairs(both, second, first, neither)) == pytest.approx((-high, -low))
    wider = newcombe(counted, 0.99)
    assert wider[0] <= low + 1e-9 and high - 1e-9 <= wider[1]


def test_wilson_solves_its_equation() -> None:
    low, high = wilson(7, 20, 0.95)
    for end in (low, high):
        z = (7 / 20 - end) / math.sqrt(end * (1 - end) / 20)
        assert abs(z) == pytest.approx(1.959964, abs=1e-5)


@given(st.integers(0, 9), st.integers(0, 9))
def test_mcnemar_is_the_chance_of_a_split_as_uneven(first: int, second: int) -> None:
    n = first + second
    splits = [sum(flips) for flips in itertools.product((0, 1), repeat=n)] if n <= 10 else []
    if splits:
        distance = abs(first - n / 2)
        as_uneven = sum(abs(k - n / 2) >= distance - 1e-9 for k in splits) / len(splits)
        assert mcnemar(Pairs(3, first, second, 4)) == pytest.approx(as_uneven)
    assert mcnemar(Pairs(0, first, second, 0)) == mcnemar(Pairs(20, first, second, 9))


def test_the_p_value_of_a_large_difference_is_where_the_interval_ends_at_it() -> None:
    counted = Pairs(20, 2, 6, 12)
    p = p_against(counted, 0.15)
    assert 1e-9 < p < 0.05 and newcombe(counted, 1 - p)[1] == pytest.approx(0.15, abs=1e-6)
    assert p_against(counted, -0.2) == 1.0, "the estimate itself is larger"


def test_table_2_of_the_paper_gets_its_verdict() -> None:
    gan = [True] * 42 + [False] * 158
    wgan_gp = [True] * 189 + [False] * 11
    (claim,) = [claim for claim in CLAIMS if claim.name == "gp_over_bce"]
    verdict = judge("s", claim, paired_evidence(wgan_gp, gan, claim.smallest))
    assert verdict.word == "supported" and verdict.value == pytest.approx(147 / 200)
    assert verdict.p_value is not None and verdict.p_value < 1e-30
    verdict = judge("s", claim, paired_evidence(gan, wgan_gp, claim.smallest))
    assert verdict.word == "refuted" and verdict.p_value is not None and verdict.p_value < 1e-9
    few = judge("s", claim, paired_evidence([True, True, False], [False, True, False], 0.3))
    assert few.word == "undecided"


# The settings.
def test_a_setting_is_its_own_draw(tmp_path: Path) -> None:
    own = context(tmp_path)
    settings = [draw(own, number) for number in range(200)]
    assert settings[3] == draw(context(tmp_path, "seeds=[3]"), 3)
    assert len(set(settings)) == 200
    logs = np.log10([setting.critic_lr for setting in settings])
    low, high = np.log10(1e-3), np.log10(3e-2)
    assert logs.min() > low - 0.01 and logs.max() < high + 0.01
    assert logs.mean() == pytest.approx((low + high) / 2, abs=4 * (high - low) / np.sqrt(12 * 200))
    ratios = [setting.generator_lr / setting.critic_lr for setting in settings]
    assert min(ratios) > 0.099 and max(ratios) < 1.01
    for name, key in (("depth", "depths"), ("width", "widths"), ("activation", "activations")):
        assert {getattr(setting, name) for setting in settings} == set(own[key])


def test_all_losses_see_the_same_setting_and_as_many_batches(tmp_path: Path) -> None:
    own = context(tmp_path)
    setting = draw(own, 5)
    planned = arms(own, {5: setting})
    assert set(planned) == {f"{loss}/5" for loss in LOSSES}
    for loss in LOSSES:
        config = compose(planned[f"{loss}/5"])
        assert config.loss.name == loss
        assert config.train.steps * config.loss.n_critic == own["critic_steps"]
        assert config.train.critic_lr == setting.critic_lr
        assert config.train.betas == [setting.first_beta, own["second_beta"]]
        assert config.network.options["depth"] == setting.depth
        assert config.data.options["sigma"] == own["sigma"]


def test_planted_successes(tmp_path: Path) -> None:
    """Coverage alone, or quality alone, is no success; a run that diverged is none either."""
    settings = [draw(context(tmp_path), number) for number in range(20)]
    good, collapsed = Outcome(1.0, 0.8, 0, 0.1, False), Outcome(0.125, 1.0, 0, 1, False)
    noisy, failed = Outcome(1.0, 0.2, 0, 0.3, False), Outcome(0.0, 0.0, 0, 9, True)
    ended = {"bce": [collapsed] * 18 + [good] * 2, "bce_saturating": [failed] * 20,
             "gp": [good] * 19 + [noisy], "lp": [good] * 20}  # fmt: skip
    found = findings(settings, ended, 0.5)
    verdicts = {claim.name: judge("s", claim, found.evidence[claim.name]) for claim in CLAIMS}
    assert verdicts["gp_over_bce"].word == "supported"
    assert verdicts["gp_over_bce"].value == pytest.approx(17 / 20)
    assert verdicts["gp_over_bce_saturating"].value == pytest.approx(19 / 20)
    assert verdicts["one_sided"].word == "undecided"
    assert sum(int(row["success"] or 0) for row in found.rows) == 2 + 0 + 19 + 20
    assert len(found.rows) == 80 and len(found.figures["figure"].axes) == 4
    assert any("bce_saturating 0 of 20" in words and "20 of them diverged" in words
               for words in found.text)  # fmt: skip


def test_the_curve_over_thresholds_counts_what_the_threshold_counts() -> None:
    scores = [0.1, 0.45, 0.4, 0.9, 0.3]
    corners, shares = shares_at_least(scores)
    for threshold in (0.05, 0.35, 0.4, 0.41, 0.95):
        counted = np.mean([score >= threshold for score in scores])
        # Drawn with steps "post": from a corner to the next one, downwards in x.
        assert shares[np.flatnonzero(corners >= threshold)[-1]] == pytest.approx(counted)


@pytest.mark.parametrize("word", ["data=grid25", "loss=gp", "success=-1"])
def test_what_would_void_the_question_is_refused(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "stability", word, f"output_dir={tmp_path}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.study
def test_a_small_study_is_decided_or_says_that_it_is_not(tmp_path: Path) -> None:
    small = ["seeds=2", "critic_steps=100", "depths=2", "widths=32", "final_n=200"]
    assert main(["study", "stability", *small, f"output_dir={tmp_path}"]) == 0
    from wganbench.studies.record import read_verdicts

    verdicts = read_verdicts(tmp_path / "studies" / "stability")
    assert {verdict.word for verdict in verdicts} <= {"undecided", "supported"}
    assert all(verdict.n == 2 for verdict in verdicts)
