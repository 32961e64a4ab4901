"""Modes lost and kept on planted runs: effects, diverged runs, what came first."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wganbench.cli.app import main
from wganbench.config import compose
from wganbench.config.jobs import Job
from wganbench.presets import read_preset
from wganbench.studies import STUDIES, judge
from wganbench.studies.evidence import (
    Outcome,
    bounded_evidence,
    bounded_interval,
    largest_kl,
    outcomes,
    sign_evidence,
    sign_test,
)
from wganbench.studies.mode_collapse.figure import collapse_figure
from wganbench.studies.mode_collapse.measure import (
    ARMS,
    TUNED,
    Measured,
    Order,
    common_arms,
    effects,
    first_drop,
    first_lasting_loss,
    lost_shares,
    order_of,
    pacgan_arms,
    precedence,
    tuned_arms,
)
from wganbench.studies.mode_collapse.study import (
    CLAIMS,
    arm_rows,
    effect_rows,
    evidence,
    order_rows,
    text,
)
from wganbench.studies.settings import read_settings
from wganbench.studies.study import Context
from wganbench.sweeps.backend import Silent
from wganbench.sweeps.plan import group_jobs
from wganbench.training.run import Run

LN8 = math.log(8)


def context(tmp_path: Path, *overrides: str) -> Context:
    settings = read_settings("mode_collapse", {}, [f"output_dir={tmp_path}", *overrides])
    return Context("mode_collapse", 1, tmp_path, settings, Silent())


# Effects.
def test_planted_effects_are_found_each_in_its_place() -> None:
    seeds = np.array([0.0, 0.01, -0.02])  # of all arms alike: it cancels

    def arms(penalty: float, objective: float, interaction: float) -> dict[str, list[float]]:
        cells = (0.0, objective, penalty, penalty + objective + interaction)
        return {arm: list(seeds + cell) for arm, cell in zip(ARMS, cells, strict=True)}

    found = effects(arms(0.6, 0.0, 0.0))
    assert found.penalty == pytest.approx([0.6] * 3)
    assert found.objective == pytest.approx([0.0] * 3) == found.interaction
    assert found.penalty_over_objective == pytest.approx([0.6] * 3)
    found = effects(arms(0.0, 0.3, 0.0))
    assert found.objective == pytest.approx([0.3] * 3)
    assert found.penalty_over_objective == pytest.approx([-0.3] * 3)
    assert found.objective_with_penalty == pytest.approx([0.3] * 3)
    # The penalty works on W alone: half of it is main effect, of either factor.
    found = effects(arms(0.0, 0.0, 0.8))
    assert found.interaction == pytest.approx([0.8] * 3)
    assert found.penalty == pytest.approx([0.4] * 3) == found.objective
    with pytest.raises(ValueError, match="same seeds"):
        effects(dict(zip(ARMS, [[1.0], [1.0], [1.0], [1.0, 2.0]], strict=True)))


class Ended(Run):
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
        Ended("completed", **good, modes__kl=0.01),
        Ended("completed", **good),  # no sample of high quality: no KL
        Ended("diverged", **good, modes__kl=0.3),  # its last finite figures count for nothing
    ]
    fine, empty, failed = outcomes(runs, worst_kl=LN8, worst_w1=7.0)
    assert (fine.coverage, fine.kl, fine.w1, fine.score) == (1.0, 0.01, 0.2, 0.9)
    assert empty.kl == LN8 and not empty.diverged
    assert failed == Outcome(0.0, 0.0, LN8, 7.0, True) and failed.score == 0
    assert largest_kl([0.125] * 8) == pytest.approx(LN8)
    assert largest_kl([0.5, 0.3, 0.2]) == pytest.approx(-math.log(0.2))


def planted(**coverage: float) -> dict[str, list[Outcome]]:
    """Four seeds an arm around a coverage; no two arms vary alike."""
    return {
        arm: [Outcome(value + (place + 1) * e, 0.9, (1 - value + e) * LN8, 1.0 - value, False)
              for e in (-0.01, 0.0, 0.007, 0.003)]
        for place, (arm, value) in enumerate(coverage.items())
    }  # fmt: skip


def measured(common: dict[str, list[Outcome]], tuned: dict[str, list[Outcome]]) -> Measured:
    orders = {arm: [Order(300, 200, None, 1.0)] * 3 + [Order(None, 100, 100, 1.0)]
              for arm in tuned}  # fmt: skip
    return Measured(common, tuned, {}, orders, {}, LN8)


def words(found: Measured) -> dict[str, str]:
    seen = evidence(found)
    return {claim.name: judge("s", claim, seen[claim.name]).word for claim in CLAIMS}


def test_a_planted_collapse_gets_its_verdicts() -> None:
    common = planted(bce=0.2, wasserstein=0.02, bce_gp=0.95, gp=0.95)
    tuned = {loss: planted(**{loss: 0.6})[loss] for loss in TUNED}
    tuned["gp"] = [Outcome(1.0, 0.9, 0.01, 0.1, False)] * 4
    found = words(measured(common, tuned))
    assert found["penalty"] == found["penalty_over_objective"] == "supported"
    assert found["objective"] == "refuted"
    assert found["clip_eliminates"] == "refuted" and found["gp_eliminates"] == "not refuted"
    assert found["bce_collapses"] == found["bce_saturating_collapses"] == "supported"
    assert found["gradient_first_bce"] == "undecided", "three seeds are no sign test"
    # The other way round: the objective cures, the penalty does nothing.
    common = planted(bce=0.2, wasserstein=0.95, bce_gp=0.2, gp=0.95)
    found = words(measured(common, tuned))
    assert found["objective"] == "supported" and found["penalty"] == "refuted"
    assert found["penalty_over_objective"] == "refuted"


def test_blurred_modes_are_not_lost_ones() -> None:
    """Coverage 0 for want of quality, shares even: nothing is lost. Half the modes: half is."""
    blurred = Outcome(0.0, 0.05, 0.0, 0.3, False)
    halved = Outcome(0.5, 0.9, math.log(2), 1.0, False)
    failed = Outcome(0.0, 0.0, LN8, 3.0, True)
    assert lost_shares([blurred, halved, failed]) == pytest.approx([0.0, 0.5, 7 / 8])


def test_diverged_runs_refute_that_nothing_collapses() -> None:
    common = planted(bce=0.2, wasserstein=0.02, bce_gp=0.95, gp=0.95)
    tuned = {"clip": [Outcome(0.0, 0.0, LN8, 3.0, True)] * 3 + planted(clip=1.0)["clip"][1:2]}
    found = measured(common, tuned)
    assert words(found)["clip_eliminates"] == "refuted"
    notes = [row["note"] for row in arm_rows(found) if row["what"] == "clip"]
    assert all("3 diverged" in str(note) for note in notes) and len(notes) == 4
    rows = [*arm_rows(found), *effect_rows(found), *order_rows(found)]
    assert len({tuple(row) for row in rows}) == 1, "one set of columns"
    assert any("3 diverged" in paragraph for paragraph in text(found))
    figure = collapse_figure(found.common, found.tuned, found.orders, {})
    assert len(figure.axes) == 4


def test_the_order_of_events_has_axes_only_where_modes_were_lost() -> None:
    common = planted(bce=0.2, wasserstein=0.02, bce_gp=0.95, gp=0.95)
    none = {"bce": [Order(None, 100, None, 1.0)] * 2}
    panel = collapse_figure(common, {}, none, {}).axes[3]
    (said,) = [text.get_text() for text in panel.texts]
    assert "no seed lost a mode" in said and "bce: 0 of 2" in said
    assert not panel.axison and not panel.lines
    late = {"bce": [Order(300, 500, None, 1.0)]}
    panel = collapse_figure(common, {}, late, {}).axes[3]
    assert panel.axison and panel.get_xlim()[1] > 500, "a drop after the loss is not cut off"


# Numbers with bounds.
def test_equal_values_still_have_an_interval_and_it_is_wide() -> None:
    found = bounded_interval([1.0] * 10, -1.0, 1.0)
    again = 0.025 ** (1 / 10)  # Clopper and Pearson, 10 of 10
    assert found.low == pytest.approx(2 * again - 1) and found.high == 1.0
    supported = bounded_evidence([1.0] * 10, -1.0, 1.0, 0.25)
    assert supported.p_value == pytest.approx(2 / 2**10), "the sign test"
    refuted = bounded_evidence([-0.5] * 20, -1.0, 1.0, 0.25)
    assert refuted.p_value == pytest.approx(2 * 0.5**20), "(1 - 0.25) / (1 + 0.5) of the seeds"
    assert bounded_evidence([0.0] * 10, -1.0, 1.0, 0.25).p_value == 1.0
    assert bounded_evidence([0.1, 0.2, 0.3], 0.0, 1.0, 0.25).interval is None, "Student's t"
    assert math.isnan(bounded_interval([1.0], -1.0, 1.0).low)


def test_the_p_value_is_that_of_what_the_verdict_denies() -> None:
    """At the level where p says "just so", the interval's end lies on the denied value."""
    for value, smallest, end in ((0.4, 0.25, 0.0), (-0.9, 0.25, 0.25)):
        p = bounded_evidence([value] * 10, -1.0, 1.0, smallest).p_value
        assert p is not None
        again = (p / 2) ** (1 / 10)
        other = -1.0 if value > 0 else 1.0
        assert again * value + (1 - again) * other == pytest.approx(end)
    never = sign_evidence([-1.0] * 12, 0.5)
    assert never.interval is not None and never.interval[1] < 0.5
    assert never.p_value == pytest.approx(0.25**12)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 3))
def test_the_sign_test_is_the_binomial(wins: int, losses: int, ties: int) -> None:
    signs = [1.0] * wins + [-1.0] * losses + [0.0] * ties
    n, most = wins + losses, max(wins, losses)
    tail = sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n if n else 1.0
    assert sign_test(signs) == pytest.approx(min(1.0, 2 * tail))
    found = sign_evidence(signs, 0.5)
    assert len(found.values) == n
    if n:
        assert found.interval is not None and found.value == pytest.approx((wins - losses) / n)
        assert found.interval[0] <= found.value <= found.interval[1]


# The order of events.
def test_a_loss_is_lasting_or_it_is_none() -> None:
    steps = list(range(0, 800, 100))
    assert first_lasting_loss(steps, [0, 0.5, 1, 1, 0.75, 0.75, 0.75, 0.5], 4) == 400
    assert first_lasting_loss(steps, [0, 0.5, 1, 0.75, 1, 1, 1, 1], 4) is None, "it came back"
    assert first_lasting_loss(steps, [0, 0.5, 1, 0.75, 1, 0.75, 0.5, 0.5], 4) == 500
    assert first_lasting_loss(steps, [0.0] * 8, 4) is None, "never had, never lost"
    assert first_lasting_loss(steps, [0, 1, 1, 1, 1, 1, 0.5, 0.5], 4) is None, "too late to last"


def test_a_drop_is_held_against_what_came_before() -> None:
    steps = list(range(0, 800, 100))
    assert first_drop(steps, [1, 1, 1, 1, 0.6, 0.49, 1, 1]) == 500
    assert first_drop(steps, [1, 0.1, 1, 1, 1, 1, 1, 1]) is None, "no history yet"
    # Slow decay: the median of all before it stays high.
    assert first_drop(steps, [8, 7, 6, 5, 4, 3, 2, 1]) == 600


def test_what_came_first() -> None:
    assert precedence(400, 300) == 1 and precedence(400, 500) == -1
    assert precedence(400, None) == -1 and precedence(400, 400) == 0
    assert precedence(None, 100) is None
    table = {
        "step": [0, 100, 200, 300, 400, 500, 600, 700],
        "modes/coverage": [0.0, 0.5, 1, 1, 1, 0.5, 0.5, 0.5],
        "critic/feedback": [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1],
        "grad_norm/sample": [1.0, None, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1],
    }
    assert order_of(table, 2) == Order(loss=500, feedback=400, gradient=700, best=1.0)


# The runs.
def test_a_number_of_seeds_is_a_number_although_the_study_names_its_own(tmp_path: Path) -> None:
    assert context(tmp_path).seeds == tuple(range(10, 20))
    assert context(tmp_path, "seeds=2").seeds == (0, 1)
    assert context(tmp_path, "seeds=[7]").seeds == (7,)


def test_the_four_arms_differ_in_nothing_but_the_loss(tmp_path: Path) -> None:
    arms = common_arms(context(tmp_path))
    assert set(arms) == set(ARMS)
    configs = {arm: compose(overrides) for arm, overrides in arms.items()}
    for arm, config in configs.items():
        assert config.loss.name == arm and config.loss.n_critic == 5
        assert config.train == configs["gp"].train
        assert config.network == configs["gp"].network and config.data == configs["gp"].data
    assert configs["gp"].loss.coefficients == configs["bce_gp"].loss.coefficients
    assert not configs["bce"].loss.coefficients and not configs["wasserstein"].loss.coefficients


def test_every_loss_gets_its_tuned_rates_and_its_share_of_steps(tmp_path: Path) -> None:
    for loss, overrides in tuned_arms(context(tmp_path)).items():
        config, own = compose(overrides), read_preset("tuned", f"{loss}-ring8")
        assert config.train.critic_lr == own["train"]["critic_lr"]
        assert config.loss.n_critic == own["loss"]["n_critic"]
        assert config.train.steps == pytest.approx(own["train"]["steps"] / 5)
    assert tuned_arms(context(tmp_path, "tuned_share=0")) == {}
    grid = tuned_arms(context(tmp_path, "data=grid25"))["clip"]
    assert compose(grid).data.name == "grid25" and compose(grid).loss.n_critic == 1


def test_gp_as_tuned_is_the_arm_with_equal_settings(tmp_path: Path) -> None:
    own = context(tmp_path)
    for loss in ("gp", "bce_gp"):
        pair = compose(common_arms(own)[loss]), compose(tuned_arms(own)[loss])
        assert pair[0].loss == pair[1].loss and pair[0].train == pair[1].train
        jobs = [Job(config, tmp_path, ()) for config in pair]
        assert len(group_jobs(jobs, [0, 0])) == 1


def test_pacgans_protocol_with_other_losses(tmp_path: Path) -> None:
    assert pacgan_arms(context(tmp_path)) == {}
    arms = pacgan_arms(context(tmp_path, "pacgan_steps=7"))
    for loss, overrides in arms.items():
        config = compose(overrides)
        assert (config.loss.name, config.loss.n_critic) == (loss, 1)
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


@pytest.mark.slow
@pytest.mark.study
def test_a_small_study_supports_the_penalty_or_decides_nothing(tmp_path: Path) -> None:
    small = ["seeds=2", "steps=200", "tuned_share=0", "evaluate_every_share=0.5", "final_n=500"]
    assert main(["study", "mode_collapse", *small, f"output_dir={tmp_path}"]) == 0
    folder = tmp_path / "studies" / "mode_collapse"
    from wganbench.studies.record import read_verdicts

    verdicts = {v.claim.name: v for v in read_verdicts(folder)}
    assert set(verdicts) == {claim.name for claim in STUDIES["mode_collapse"].claims}
    assert verdicts["penalty"].word in ("supported", "undecided")
    assert verdicts["penalty"].n == 2
