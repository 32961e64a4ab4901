"""Success at random settings: profiles, simple effects, and counts against known tables."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from wganbench.cli.app import main
from wganbench.config import compose
from wganbench.networks.layers import SMOOTH
from wganbench.studies import judge
from wganbench.studies.evidence import effect_interval, smallest_effect
from wganbench.studies.settings import read_settings
from wganbench.studies.stability.measure import (
    MOST_DECADES,
    Measured,
    Setting,
    decades_between,
    draw,
    gradient_imbalance,
    profile,
    slope_evidence,
)
from wganbench.studies.stability.study import (
    CLAIMS,
    COMPARED,
    LOSSES,
    arms,
    findings,
    shares_at_least,
)
from wganbench.studies.study import Context
from wganbench.studies.verdicts import Claim
from wganbench.sweeps.backend import Silent
from wganbench.training.passes import step_cost
from wganbench.tuning.analysis import band
from wganbench.tuning.space import Arm, generator_steps, overrides, settings_of


def context(tmp_path: Path, *overrides: str) -> Context:
    settings = read_settings("stability", {}, [f"output_dir={tmp_path}", *overrides])
    return Context("stability", 1, tmp_path, settings, Silent())


# The profile.
def test_the_area_under_the_profile_is_the_mean_score() -> None:
    scores = [0.0, 0.07, 0.5, 0.5, 0.93, 0.989]
    thresholds = np.linspace(0, 1, 20_001)[1:]
    assert np.mean(profile(scores, list(thresholds))) == pytest.approx(np.mean(scores), abs=1e-4)
    corners, shares = shares_at_least(scores)
    for threshold in (0.05, 0.5, 0.51, 0.95):
        # Drawn with steps "post": from a corner to the next one, downwards in x.
        drawn = shares[np.flatnonzero(corners >= threshold)[-1]]
        assert drawn == pytest.approx(profile(scores, [threshold])[0])


def test_the_band_holds_whole_profiles() -> None:
    """Of 2 000 samples of uniform scores, about 5 % leave the band somewhere, never many more."""
    random, n = np.random.default_rng(0), 24
    assert 2 * math.exp(-2 * n * band(n) ** 2) == pytest.approx(0.05)
    scores = np.sort(random.random((2000, n)), axis=1)
    above, below = np.arange(1, n + 1) / n - scores, scores - np.arange(n) / n
    far = np.maximum(above, below).max(axis=1)
    assert 0.02 < np.mean(far > band(n)) < 0.06


# Simple effects.
def claim(smallest: float = 0.1) -> Claim:
    return Claim("c", "text", "ours", "comparative", "s", "u", smallest, spread=0.1)


def test_the_smallest_effect_decides() -> None:
    random = np.random.default_rng(1)
    strong, weak = 0.5 + 0.1 * random.random(12), 0.2 * (random.random(12) - 0.5)
    one = smallest_effect({"strong": strong.tolist()}, (-1, 1), 0.1)
    assert judge("s", claim(), one).word == "supported"
    assert one.p_value == pytest.approx(stats.ttest_1samp(strong, 0).pvalue)
    both = smallest_effect({"strong": strong.tolist(), "weak": weak.tolist()}, (-1, 1), 0.1)
    assert both.value == pytest.approx(weak.mean()) and "weak" in both.note
    assert judge("s", claim(), both).word == "refuted"
    # The mean of both is far above 0.1: an average would have supported it.
    assert (strong.mean() + weak.mean()) / 2 > 0.2
    half = stats.t.ppf(1 - 0.025 / 2, 11) * weak.std(ddof=1) / math.sqrt(12)
    assert both.interval is not None and both.interval[1] == pytest.approx(weak.mean() + half)
    expected = min(1.0, 2 * stats.ttest_1samp(weak, 0.1).pvalue)
    assert both.p_value == pytest.approx(expected)
    assert judge("s", claim(), smallest_effect({}, (-1, 1), 0.1)).word == "undecided"
    single = smallest_effect({"a": [0.5]}, (-1, 1), 0.1)
    assert judge("s", claim(), single).word == "undecided"


def test_equal_numbers_have_an_interval_and_a_p_value() -> None:
    found = smallest_effect({"a": [0.5] * 10}, (-1.0, 1.0), 0.1)
    again = 0.025 ** (1 / 10)  # Clopper and Pearson, 10 of 10
    assert found.interval == pytest.approx((again * 0.5 - (1 - again), again * 0.5 + 1 - again))
    # A share 2/3 of seeds that give 0.5, the others -1, has the mean 0.
    assert found.p_value == pytest.approx(2 * (2 / 3) ** 10)
    none = smallest_effect({"a": [0.0] * 60}, (-1.0, 1.0), 0.1)
    assert none.p_value == pytest.approx(2 * 0.9**60)
    assert judge("s", claim(), none).word == "refuted"
    assert effect_interval([0.5] * 10, (-1, 1), 0.99).low < effect_interval([0.5] * 10, (-1, 1)).low


def test_a_slope_over_settings_is_least_squares() -> None:
    random = np.random.default_rng(2)
    x = random.random(30)
    y = 0.4 * x + 0.02 * random.standard_normal(30)
    found = slope_evidence(x.tolist(), y.tolist(), 0.1)
    design = np.c_[np.ones(30), x]
    solved, squares, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = math.sqrt(squares[0] / 28 * np.linalg.inv(design.T @ design)[1, 1])
    assert found.value == pytest.approx(solved[1])
    assert found.interval is not None
    assert found.interval[1] - solved[1] == pytest.approx(stats.t.ppf(0.975, 28) * error)
    assert judge("s", claim(), found).word == "supported"
    flat = slope_evidence(x.tolist(), (y - 0.4 * x).tolist(), 0.1)
    assert judge("s", claim(), flat).word == "refuted"
    assert judge("s", claim(), slope_evidence([1, 1, 1], [1, 2, 3], 0.1)).word == "undecided"


# Gradients.
def test_the_imbalance_is_a_median_of_decades() -> None:
    table: dict[str, list[float | None]] = {
        "step": [1, 2, 3, 4],
        "grad_norm/critic": [1.0, 10.0, 100.0, None],
        "grad_norm/generator": [1.0, 1.0, 1000.0, 1.0],
    }
    assert gradient_imbalance(table) == pytest.approx(1.0), "0, 1, 1 decades"
    assert (
        gradient_imbalance({"step": [], "grad_norm/critic": [], "grad_norm/generator": []}) is None
    )
    assert decades_between(1e-30, 1.0) == MOST_DECADES == decades_between(math.nan, 1.0)
    assert decades_between(2.0, 1.0) == decades_between(1.0, 2.0) == pytest.approx(math.log10(2))


# The settings.
def test_a_setting_is_its_own_draw_from_the_neutral_space(tmp_path: Path) -> None:
    own = context(tmp_path)
    settings = [draw(own, number) for number in range(200)]
    assert settings[3] == draw(context(tmp_path, "seeds=[3]"), 3)
    logs = np.log10([setting.critic_lr for setting in settings])
    assert -5 <= logs.min() < -4.8 and -1.2 < logs.max() <= -1
    assert logs.mean() == pytest.approx(-3, abs=4 * 4 / np.sqrt(12 * 200)), "centred on no loss"
    slower = np.mean([setting.generator_lr < setting.critic_lr for setting in settings])
    assert 0.36 < slower < 0.64, "the generator is the slower one in half of the settings"
    assert max(setting.imbalance for setting in settings) <= 1.01
    for name, key in (("depth", "depths"), ("width", "widths"), ("activation", "activations")):
        assert {getattr(setting, name) for setting in settings} == set(own[key])


def test_no_search_uses_the_trials_of_the_study(tmp_path: Path) -> None:
    first = min(draw(context(tmp_path), number).trial for number in range(3))
    assert first == 27_000


@pytest.mark.parametrize("smooth", [False, True])
def test_all_losses_see_the_same_setting_and_equal_compute(smooth: bool, tmp_path: Path) -> None:
    """Also where the activations are smooth, and a step under a penalty costs more."""
    own = context(tmp_path, "budget=full")
    number = next(k for k in range(99) if (draw(own, k).activation in SMOOTH) is smooth)
    setting = draw(own, number)
    planned = arms(own, {number: setting})
    assert set(planned) == {f"{loss}/{number}" for loss in LOSSES}
    configs = {loss: compose(planned[f"{loss}/{number}"]) for loss in LOSSES}
    for loss, config in configs.items():
        assert config.loss.name == loss and config.train.critic_lr == setting.critic_lr
        assert config.train.betas == configs["gp"].train.betas
        assert config.loss.n_critic == configs["gp"].loss.n_critic
        assert config.network.options["depth"] == setting.depth
        assert config.data.options["sigma"] == own["sigma"]
        step = step_cost(config).of_run(config.loss.n_critic, 1)
        assert own["passes"] - step < config.train.steps * step <= own["passes"]
    assert configs["gp"].loss.coefficients == configs["bce_gp"].loss.coefficients


def test_an_arm_with_an_added_penalty_takes_its_coefficient_from_the_same_draw() -> None:
    arm = Arm("saturating, penalised", "bce_saturating", ("gp",))
    values = settings_of(arm, 7)
    assert values == settings_of(Arm("gp", "gp"), 7)
    assert settings_of(Arm("bce", "bce"), 7) == {
        key: value for key, value in values.items() if key != "loss.gp_lambda"
    }
    config = compose(overrides(arm, 7, 5000))
    assert config.loss.penalties == ["gp"] and config.loss.name == "bce_saturating"
    assert generator_steps(arm, 5, 10) == 1


# Verdicts on planted runs.
def planted(score: float, imbalance: float = 1.0, failed: bool = False) -> Measured:
    return Measured(score, score, 1.0, imbalance, failed)


def of_twenty(mean: float, place: int, imbalance: float = 1.0) -> list[Measured]:
    wave = np.random.default_rng(place).normal(0, 0.02, 20)
    return [planted(mean + e, imbalance + e) for e in wave]


def test_planted_profiles_get_their_verdicts() -> None:
    settings = [Setting(k, 2, 32, "relu") for k in range(20)]
    means = {"bce": 0.2, "bce_saturating": 0.3, "hinge": 0.5, "lsgan": 0.2, "bce_gp": 0.6,
             "wasserstein": 0.1, "clip": 0.1, "gp": 0.6, "lp": 0.62}  # fmt: skip
    ended = {
        loss: of_twenty(mean, place, 0.2 if loss == "gp" else 1.0)
        for place, (loss, mean) in enumerate(means.items())
    }
    found = findings(settings, ended, [0.5])
    words = {c.name: judge("s", c, found.evidence[c.name]).word for c in CLAIMS}
    assert words["gp_over_bce"] == words["gp_over_bce_saturating"] == "supported"
    assert words["constraint_of_w"] == "refuted", "clipping adds nothing"
    assert words["constraint_of_bce"] == words["constraint_over_objective"] == "supported"
    assert words["unbounded_output"] == "refuted", "W is worse than BCE, though hinge is better"
    assert words["one_sided"] == "refuted"
    assert words["balanced_updates"] == "supported"
    assert words["r1r2_over_bce"] == words["rpgan_r1r2_over_gp"] == "undecided"
    assert "does not train" in found.evidence["r1r2_over_bce"].note
    assert len(found.rows) == 9 * 20 and len(found.figures["figure"].axes) == 4


def test_claims_on_losses_that_were_left_out_say_so() -> None:
    settings = [Setting(k, 2, 32, "relu") for k in range(20)]
    ended = {loss: of_twenty(0.5, place) for place, loss in enumerate(("gp", "lp"))}
    found = findings(settings, ended, [0.5]).evidence
    for name in ("balanced_updates", "ratio_tolerance", "gp_over_bce"):
        assert found[name].note == "this budget does not train bce" and not found[name].values
    assert len(found["one_sided"].values) == 20


def test_a_run_that_diverged_scores_nothing_and_stays() -> None:
    settings = [Setting(k, 2, 32, "relu") for k in range(4)]
    ended = {loss: of_twenty(0.5, place)[:4] for place, loss in enumerate(LOSSES[:9])}
    ended["gp"] = [*ended["gp"][:3], planted(0.0, failed=True)]
    found = findings(settings, ended, [0.5])
    assert len(found.evidence["gp_over_bce"].values) == 4
    assert min(v for v in found.evidence["gp_over_bce"].values if v is not None) < -0.4
    assert any("gp 0.3" in words and "1 of 4 diverged" in words for words in found.text)


def test_every_pair_names_losses_of_the_study() -> None:
    assert {loss for pairs in COMPARED.values() for pair in pairs for loss in pair} == set(LOSSES)


@pytest.mark.parametrize("word", ["data=grid25", "loss=gp", "passes=-1", "losses=[gp,gpp]"])
def test_what_would_void_the_question_is_refused(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "stability", word, f"output_dir={tmp_path}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.study
def test_a_small_study_is_decided_or_says_that_it_is_not(tmp_path: Path) -> None:
    small = ["seeds=2", "passes=400", "depths=2", "widths=32", "activations=relu", "final_n=200"]
    assert main(["study", "stability", *small, f"output_dir={tmp_path}"]) == 0
    from wganbench.studies.record import read_verdicts

    verdicts = read_verdicts(tmp_path / "studies" / "stability")
    assert {verdict.word for verdict in verdicts} <= {"undecided", "refuted"}
    assert {verdict.n for verdict in verdicts} == {0, 2}
