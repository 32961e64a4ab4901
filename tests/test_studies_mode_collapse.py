"""Modes lost and kept on planted runs: simple effects, diverged runs, swapped losses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from wganbench.cli.app import main
from wganbench.config import compose
from wganbench.presets import read_preset
from wganbench.studies import STUDIES, judge
from wganbench.studies.evidence import (
    Outcome,
    bounded_evidence,
    count_evidence,
    effect_interval,
    effects_with_room,
    largest_kl,
    of_all,
    outcomes,
    smallest_effect,
)
from wganbench.studies.mode_collapse.arms import (
    ARMS,
    COVERAGE,
    LOST,
    OBJECTIVE,
    PENALTY,
    TUNED,
    Ended,
    controls_lose,
    drawn_arms,
    lost_shares,
    pacgan_arms,
    shortened,
    simple_effects,
    tuned_arms,
    untuned,
)
from wganbench.studies.mode_collapse.intervention import (
    LOSSES,
    Branch,
    advance,
    branches,
    drop_at_swap,
    followed,
    modes_kept,
    stack,
)
from wganbench.studies.mode_collapse.study import AT_BEST, CLAIMS, Measured, findings
from wganbench.studies.settings import budgets, read_settings
from wganbench.studies.study import Context
from wganbench.studies.verdicts import Evidence
from wganbench.sweeps.backend import Silent
from wganbench.training.run import Run

LN8 = math.log(8)


def context(tmp_path: Path, *overrides: str) -> Context:
    settings = read_settings("mode_collapse", {}, [f"output_dir={tmp_path}", *overrides])
    return Context("mode_collapse", 1, tmp_path, settings, Silent())


# Outcomes.
class Recorded(Run):
    """A run with planted records."""

    def __init__(self, status: str, **metrics: float) -> None:
        self.planted: dict[str, Any] = {"status": status, "metrics": metrics}

    @property
    def record(self) -> dict[str, Any]:
        values = {name.replace("__", "/"): v for name, v in self.planted["metrics"].items()}
        return {"status": self.planted["status"], "metrics": values}

    @property
    def status(self) -> str:
        return str(self.record["status"])

    @property
    def metrics(self) -> dict[str, float]:
        return dict(self.record["metrics"])


def test_a_run_that_diverged_is_the_worst_case_and_stays() -> None:
    good = {"modes__coverage": 1.0, "modes__high_quality": 0.9, "wasserstein__exact": 0.2}
    runs = [
        Recorded("completed", **good, modes__kl=0.01),
        Recorded("completed", **good),  # no sample of high quality: no KL
        Recorded("diverged", **good, modes__kl=0.3),  # its last finite figures count for nothing
    ]
    fine, empty, failed = outcomes(runs, worst_kl=LN8, worst_w1=7.0)
    assert (fine.coverage, fine.kl, fine.w1, fine.score) == (1.0, 0.01, 0.2, 0.9)
    assert empty.kl == LN8 and not empty.diverged
    assert failed == Outcome(0.0, 0.0, LN8, 7.0, True) and failed.score == 0
    assert largest_kl([0.125] * 8) == pytest.approx(LN8)
    assert largest_kl([0.5, 0.3, 0.2]) == pytest.approx(-math.log(0.2))


def test_blurred_modes_are_not_lost_ones() -> None:
    """Coverage 0 for want of quality, shares even: nothing is lost. Half the modes: half is."""
    blurred = Outcome(0.0, 0.05, 0.0, 0.3, False)
    halved = Outcome(0.5, 0.9, math.log(2), 1.0, False)
    failed = Outcome(0.0, 0.0, LN8, 3.0, True)
    assert lost_shares([blurred, halved, failed]) == pytest.approx([0.0, 0.5, 7 / 8])


# Simple effects.
def outcome(coverage: float, kl: float) -> Outcome:
    return Outcome(coverage, 0.9, kl, 1.0, False)


def planted(coverage: dict[str, float], seeds: int = 8) -> dict[str, list[Outcome]]:
    """Seeds around a coverage, and even shares over the modes that are covered."""
    return {
        arm: [
            outcome(c, -math.log(max(c, 1 / 8)))
            for c in value + np.random.default_rng(place).uniform(-0.02, 0.02, seeds)
        ]
        for place, (arm, value) in enumerate(coverage.items())
    }


SIX = {"bce": 0.2, "bce_saturating": 0.3, "wasserstein": 0.1, "bce_gp": 0.9,
       "bce_saturating_gp": 0.85, "gp": 0.8}  # fmt: skip


def test_an_effect_is_a_difference_of_two_arms_seed_by_seed_over_the_data_sets() -> None:
    first = {"bce": [outcome(0.5, 0.7)] * 2, "bce_gp": [outcome(1.0, 0.0), outcome(0.5, 0.7)]}
    second = {"bce": [outcome(0.0, LN8)] * 2, "bce_gp": [outcome(1.0, 0.0)] * 2}
    alone = {"bce": [outcome(1.0, 0.0)] * 2}
    found = Ended({"a": first, "b": second, "c": alone}, {"a": 8, "b": 8, "c": 8})
    effects = simple_effects(found, PENALTY, COVERAGE)
    assert list(effects) == ["bce_gp less bce"], "the other arms were not run"
    assert effects["bce_gp less bce"] == pytest.approx([(0.5 + 1) / 2, (0.0 + 1) / 2])
    lost = simple_effects(found, PENALTY, LOST)["bce_gp less bce"]
    assert lost == pytest.approx([(1 - math.exp(-0.7) + 7 / 8) / 2, (7 / 8) / 2])
    assert found.modes_lost("bce") == pytest.approx([7.0, 7.0]), "the worst of the data sets"


def test_the_pairs_differ_in_one_factor_alone() -> None:
    for one, other in PENALTY:
        assert set(TUNED[one].recipe.penalties) > set(TUNED[other].recipe.penalties)
        assert TUNED[one].recipe.objective == TUNED[other].recipe.objective
    for one, other in OBJECTIVE:
        assert TUNED[one].recipe.penalties == TUNED[other].recipe.penalties
        assert TUNED[one].recipe.objective != TUNED[other].recipe.objective


def measured(drawn: dict[str, float], tuned: dict[str, float]) -> Measured:
    data = ("ring8", "grid25", "ring8_unequal")
    return Measured(
        Ended({name: planted(drawn) for name in data}, dict.fromkeys(data, 8)),
        Ended({"ring8": planted(tuned)} if tuned else {}, {"ring8": 8}),
        Ended({}, {}),
        [],
        ["bce_saturating_gp on ring8"],
    )


def words(found: Measured) -> dict[str, str]:
    seen = findings(found).evidence
    return {claim.name: judge("s", claim, seen[claim.name]).word for claim in CLAIMS}


def test_a_claim_on_whatever_objective_needs_every_simple_effect() -> None:
    found = words(measured(SIX, {}))
    assert found["penalty_coverage"] == found["penalty_lost"] == "supported"
    assert found["objective_coverage"] == "refuted"
    assert found["penalty_over_objective_coverage"] == "supported"
    assert found["tuned_penalty_coverage"] == found["bce_collapses"] == "undecided"
    # Under one objective the penalty adds nothing: the other two effects, of 0.7, do not help.
    found = words(measured(SIX | {"wasserstein": 0.4, "gp": 0.4}, {}))
    assert found["penalty_coverage"] == found["penalty_lost"] == "refuted"


def test_a_lost_mode_is_half_a_mode_of_tolerance() -> None:
    best = {"bce": 0.6, "bce_saturating": 0.98, "clip": 0.98, "gp": 0.98, "wasserstein": 0.98,
            "bce_gp": 0.98}  # fmt: skip
    found = words(measured(SIX, best))
    assert found["gp_eliminates"] == "not refuted" and found["bce_collapses"] == "supported"
    assert found["bce_saturating_collapses"] == "refuted"
    assert words(measured(SIX, best | {"gp": 7 / 8}))["gp_eliminates"] == "refuted"
    assert found["tuned_penalty_coverage"] == "undecided", "W loses nothing at its best"
    notes = findings(measured(SIX, best)).evidence["tuned_penalty_coverage"].note
    assert "1 of the simple effects have no arm" in notes
    helped = {"bce": 0.3, "bce_gp": 0.9, "wasserstein": 0.3, "gp": 0.9}
    for without in (SIX, SIX | {"bce_saturating_gp": 0.3}):
        assert words(measured(without, helped))["tuned_penalty_coverage"] == "undecided", (
            "two effects of three cannot support a claim on all"
        )


def test_the_effects_that_have_an_arm_may_refute_a_claim_on_all() -> None:
    def reason(absent: int, interval: tuple[float, float] | None, own: str = "") -> str:
        found = of_all(Evidence([0.1] * 5, interval=interval, undecided=own), absent, 0.2)
        assert ("no arm" in found.note) is (absent > 0)
        return found.undecided

    assert reason(1, (0.0, 0.19)) == "" == reason(0, (0.3, 0.4))
    for interval in ((0.0, 0.3), (0.3, 0.4), None):
        assert reason(1, interval) == "1 of the simple effects have no arm"
    assert reason(1, (0.0, 0.1), "no room") == "no room"


def test_arms_that_stopped_before_their_end_decide_nothing_at_best_settings(
    tmp_path: Path,
) -> None:
    found = measured(SIX, {"bce": 0.5, "gp": 1.0})
    short = shortened(context(tmp_path, "tuned_share=0.2"))
    assert short == "the arms trained for 0.2 of their steps" and not shortened(context(tmp_path))
    whole, cut = words(found), words(replace(found, shortened=short))
    assert whole["bce_collapses"] == "supported" and whole["gp_eliminates"] == "not refuted"
    changed = {name for name in whole if whole[name] != cut[name]}
    assert {"bce_collapses", "gp_eliminates"} <= changed <= set(AT_BEST)
    assert {cut[name] for name in AT_BEST} == {"undecided"}


def test_what_controls_lose_is_the_mean_over_the_shared_data() -> None:
    ring = planted({"bce": 0.9, "bce_gp": 1.0})
    found = Ended({"ring8": ring, "grid25": {"bce": ring["bce"]}}, {"ring8": 8, "grid25": 25})
    pairs = (("bce_gp", "bce"), ("gp", "wasserstein"))
    effects = simple_effects(found, pairs, COVERAGE)
    for quantity in (COVERAGE, LOST):
        lost = controls_lose(found, pairs, quantity)
        assert lost.keys() == effects.keys() and 0.05 < lost["bce_gp less bce"] < 0.15


def test_where_the_control_loses_little_there_is_little_to_prevent() -> None:
    """Such an effect withholds support; another one may still refute, and so may harm."""
    helps, waves = [0.5, 0.52, 0.49, 0.51], [0.01, 0.02, 0.0, 0.015]
    room = {"a": 0.6, "b": 0.03}
    found = effects_with_room({"a": helps, "b": waves}, room, (-1, 1), 0.1)
    assert found.undecided == "in b the control itself loses 0.03: there is less to prevent"
    assert effects_with_room({"a": helps, "b": helps}, room, (-1, 1), 0.1).undecided
    refuted = effects_with_room({"a": waves, "b": helps}, room, (-1, 1), 0.1)
    assert refuted.undecided == "" and refuted.interval is not None and refuted.interval[1] < 0.1
    harm = effects_with_room({"a": helps, "b": [-v for v in helps]}, room, (-1, 1), 0.1)
    assert harm.undecided == "" and harm.value == pytest.approx(-0.505)
    roomy = effects_with_room({"a": helps, "b": helps}, {"a": 0.6, "b": 0.6}, (-1, 1), 0.1)
    assert roomy == smallest_effect({"a": helps, "b": helps}, (-1, 1), 0.1)


def test_all_tables_and_figures_are_made() -> None:
    found = findings(Measured(**{**vars(measured(SIX, {"bce": 0.5, "gp": 1.0})),
                                 "branches": planted_branches(6.0, 0.4)}))  # fmt: skip
    assert len({tuple(row) for row in found.rows}) == 1, "one set of columns"
    assert len(found.figures["figure"].axes) == 4
    assert any("No file of best settings" in words for words in found.text)


# The intervention.
WAVE = (-0.01, -0.02, -0.012, -0.015, -0.03)


def planted_branches(lost: float, drop: float) -> list[Branch]:
    """The saturating twins end with so many modes fewer, and a gradient weaker by ``drop``."""
    found = []
    for before in LOSSES:
        for after in LOSSES:
            gone = lost if after == "bce_saturating" else 0.0
            last = [1 - gone * e / 8 for e in (1.0, 1.02, 0.96, 1.01, 1.01)]
            last = [c + (e if after == "bce" else 0.0) for c, e in zip(last, WAVE, strict=True)]
            weak = -drop if after == "bce_saturating" else 0.0
            found.append(Branch(before, after, [0, 1], [[1.0, c] for c in last],
                                [[0.0, -math.log(c)] for c in last],
                                [[weak, 0.0]] * 5))  # fmt: skip
    return found


def test_a_planted_cause_is_found_and_a_swap_that_changes_nothing_decides_nothing() -> None:
    caused = planted_branches(3.0, 1.0)
    assert drop_at_swap(caused, "bce") == pytest.approx(1.0)
    for quantity in ("coverage", "lost"):
        kept = np.mean(modes_kept(caused, "bce", quantity, 8))
        assert kept == pytest.approx(3.0 + 8 * np.mean(WAVE))
    base = vars(measured(SIX, {}))

    def found(branches: list[Branch]) -> dict[str, str]:
        return words(Measured(**{**base, "branches": branches}))

    assert found(caused)["weaker_loses_coverage"] == "supported"
    assert found(caused)["stronger_keeps_lost"] == "supported"
    assert found(planted_branches(0.0, 1.0))["weaker_loses_coverage"] == "refuted"
    assert found(planted_branches(3.0, 0.1))["weaker_loses_coverage"] == "undecided"


SMALL = budgets("mode_collapse")["quick"] | {
    "swap_steps": 8, "swap_at": 4, "width": 16, "batch_size": 16, "evaluate_n": 50,
}  # fmt: skip
"""The intervention in eight steps."""


def test_a_twin_that_diverges_keeps_what_was_measured_at_the_swap() -> None:
    small = SMALL | {"swap_evaluations": 2}
    twin = stack(small, "bce", [1, 2], "cpu")
    advance(twin, 4)
    whole = stack(small, "bce", [1, 2], "cpu")
    advance(whole, 4)
    wanted = followed(whole, "bce", "bce", small)
    iterate = twin.iterate

    def breaking() -> None:
        iterate()
        if twin.steps_done == 5:
            for weights in twin.state.generator.values():
                weights[1] = math.nan

    twin.iterate = breaking  # type: ignore[method-assign]
    found = followed(twin, "bce", "bce", small)
    assert found.gradient[0] == wanted.gradient[0] and found.coverage[0] == wanted.coverage[0]
    assert found.gradient[1][0] == wanted.gradient[1][0], "at the swap it was a run like others"
    assert found.gradient[1][1:] == [-30.0, -30.0] and found.coverage[1][1:] == [0.0, 0.0]


def test_the_twins_go_on_from_the_same_weights_and_batches() -> None:
    """The twin that does not swap is the run that was never stopped, bit for bit."""
    small = SMALL | {"swap_evaluations": 1}
    whole = stack(small, "bce", [1, 2], "cpu")
    advance(whole, 4)
    middle = whole.run_states()
    advance(whole, 8)
    stays, swaps = (stack(small, loss, [1, 2], "cpu") for loss in LOSSES)
    for twin in (stays, swaps):
        for run, tensors in enumerate(middle):
            twin.load_run_state(run, 4, tensors)
        advance(twin, 8)
    for name, weights in whole.state.generator.items():
        assert torch.equal(weights, stays.state.generator[name])
        assert not torch.equal(weights, swaps.state.generator[name])
    found = branches(small, [1, 2], "cpu")
    assert [(b.before, b.after) for b in found] == [(a, b) for a in LOSSES for b in LOSSES]
    assert found[0].coverage[0][0] == found[1].coverage[0][0], "equal at the swap"
    assert found[0].steps == [4, 8] and len(found[0].coverage) == 2


# Numbers with bounds.
def test_equal_values_still_have_an_interval_and_it_is_wide() -> None:
    found = effect_interval([1.0] * 10, (-1.0, 1.0))
    again = 0.025 ** (1 / 10)  # Clopper and Pearson, 10 of 10
    assert found.low == pytest.approx(2 * again - 1) and found.high == 1.0
    supported = bounded_evidence([1.0] * 10, -1.0, 1.0, 0.25)
    assert supported.p_value == pytest.approx(2 / 2**10), "the sign test"
    refuted = bounded_evidence([-0.5] * 20, -1.0, 1.0, 0.25)
    assert refuted.p_value == pytest.approx(2 * 0.5**20), "(1 - 0.25) / (1 + 0.5) of the seeds"
    assert bounded_evidence([0.0] * 10, -1.0, 1.0, 0.25).p_value == 1.0
    assert bounded_evidence([0.1, 0.2, 0.3], 0.0, 1.0, 0.25).interval is None, "Student's t"
    assert math.isnan(effect_interval([1.0], (-1.0, 1.0)).low)


def test_a_number_of_lost_modes_is_held_against_half_a_mode() -> None:
    """It never lies below 0, so an interval above 0 shows nothing."""
    claim = next(c for c in CLAIMS if c.name == "bce_collapses")
    for values, word in (
        ([0.9, 1.1, 1.0, 1.05, 0.95], "supported"),
        ([0.4, 0.8, 0.6, 0.9, 0.3], "undecided"),  # 0.6, interval from 0.28
        ([0.1, 0.2, 0.15, 0.1, 0.12], "refuted"),
        ([4.0] * 12, "supported"),
        ([0.0] * 4, "undecided"),  # at least a share 0.4 of new seeds gives 0 again
    ):
        found = count_evidence(values, 8.0, 0.5)
        assert judge("s", claim, found).word == word, values
    sure = count_evidence([4.0] * 12, 8.0, 0.5)
    assert sure.p_value == pytest.approx(2 * (0.5 / 4) ** 12), "q of the seeds give 4: 4 q = 0.5"
    low = count_evidence([0.1, 0.2, 0.15], 8.0, 0.5)
    assert low.p_value == pytest.approx(stats.ttest_1samp([0.1, 0.2, 0.15], 0.5).pvalue)
    assert count_evidence([1.0], 8.0, 0.5).values == []


def test_the_p_value_is_that_of_what_the_verdict_denies() -> None:
    """At the level where p says "just so", the interval's end lies on the denied value."""
    for value, smallest, end in ((0.4, 0.25, 0.0), (-0.9, 0.25, 0.25)):
        p = bounded_evidence([value] * 10, -1.0, 1.0, smallest).p_value
        assert p is not None
        again = (p / 2) ** (1 / 10)
        other = -1.0 if value > 0 else 1.0
        assert again * value + (1 - again) * other == pytest.approx(end)


# The runs.
def test_a_number_of_seeds_is_a_number_although_the_study_names_its_own(tmp_path: Path) -> None:
    assert context(tmp_path).seeds == tuple(range(60, 68))
    assert context(tmp_path, "seeds=2").seeds == (21, 22)
    assert context(tmp_path, "seeds=[27]").seeds == (27,)


def test_the_six_arms_differ_in_nothing_but_objective_and_penalty(tmp_path: Path) -> None:
    own = drawn_arms(context(tmp_path, "seeds=[23]", "data=ring8"))
    assert set(own) == {f"ring8/{arm}/23" for arm in ARMS}
    configs = {name.split("/")[1]: compose(overrides) for name, overrides in own.items()}
    base = configs["gp"]
    for name, config in configs.items():
        assert config.network == base.network and config.data == base.data
        assert config.loss.n_critic == base.loss.n_critic
        for key in ("critic_lr", "generator_lr", "betas", "optimizer", "decay", "batch_size"):
            assert getattr(config.train, key) == getattr(base.train, key)
        penalised = name.endswith("gp")
        assert config.loss.coefficients == (base.loss.coefficients if penalised else {})
    plain, penalised_steps = (configs[name].train.steps for name in ("bce", "gp"))
    assert penalised_steps < plain, "equal compute"


def test_every_arm_has_its_best_settings_and_full_length(tmp_path: Path) -> None:
    own = context(tmp_path)
    for overrides in tuned_arms(own).values():
        chosen = next(word for word in overrides if word.startswith("tuned="))
        config, file = compose(overrides), read_preset("tuned", chosen.removeprefix("tuned="))
        assert chosen.startswith(f"tuned={config.loss.name}") and chosen.endswith("-ring8")
        assert config.train.critic_lr == file["train"]["critic_lr"]
        assert config.train.steps == file["train"]["steps"]
        assert config.loss.n_critic == file["loss"]["n_critic"]
    assert {"ring8/bce", "ring8/wasserstein", "ring8/gp"} <= tuned_arms(own).keys()
    assert untuned(own) == []
    assert "loss.penalties=[gp]" in tuned_arms(own)["ring8/bce_saturating_gp"]
    none = context(tmp_path, "tuned_data=ring8_unequal")
    assert tuned_arms(none) == {} and len(untuned(none)) == len(TUNED)


def test_pacgans_protocol_with_other_losses(tmp_path: Path) -> None:
    assert pacgan_arms(context(tmp_path)) == {}
    arms = pacgan_arms(context(tmp_path, "pacgan_steps=7"))
    config = compose(arms["clip"])
    assert (config.loss.name, config.loss.n_critic) == ("clip", 1)
    assert config.network.name == "pacgan" and config.data.name == "ring8_veegan"
    assert config.train.betas == [0.8, 0.999] and config.train.batch_size == 100
    assert config.train.steps == 7 and config.data.options["train_points"] == 100_000


@pytest.mark.parametrize("word", ["loss=gp", "tuned=none", "train.steps=3"])
def test_what_would_void_the_question_is_refused(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "mode_collapse", word, f"output_dir={tmp_path}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data=[ring8,swiss_roll]", "data=swiss_roll has no modes"),
        ("tuned_data=digits", "data=digits has no modes"),
        ("swap_at=12000", "swap_at=12000 must be below swap_steps=12000"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_it_is_trained(
    word: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "mode_collapse", word, f"output_dir={tmp_path}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "studies" / "mode_collapse" / "runs").exists()


@pytest.mark.slow
@pytest.mark.study
def test_a_small_study_decides_nothing_that_it_did_not_run(tmp_path: Path) -> None:
    small = ["seeds=2", "data=ring8", "passes=400", "tuned_share=0.0005", "tuned_seeds=2",
             "swap_steps=20", "swap_at=10", "swap_evaluations=1", "evaluate_n=200",
             "final_n=200"]  # fmt: skip
    assert main(["study", "mode_collapse", *small, f"output_dir={tmp_path}"]) == 0
    folder = tmp_path / "studies" / "mode_collapse"
    from wganbench.studies.record import read_verdicts

    verdicts = {v.claim.name: v for v in read_verdicts(folder)}
    assert set(verdicts) == {claim.name for claim in STUDIES["mode_collapse"].claims}
    assert verdicts["penalty_coverage"].n == 2
