"""Classes of digits on planted judgements: lost ones, simple effects, diverged runs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from wganbench.cli.app import main
from wganbench.config import compose
from wganbench.studies import judge
from wganbench.studies.digit_classes import ARMS, CLAIMS, WORST_KL, Judged, findings, words
from wganbench.studies.settings import read_settings
from wganbench.studies.study import Context
from wganbench.sweeps.backend import Silent


def test_classes_lost() -> None:
    """Seven of ten classes in even shares: three are lost. All samples in one class: nine."""
    assert Judged(0.7, 0.9, math.log(10 / 7)).lost == pytest.approx(3.0)
    assert Judged(0.1, 0.9, math.log(10)).lost == pytest.approx(9.0)
    assert Judged(0.0, 0.0, WORST_KL, diverged=True).lost == pytest.approx(9.0)
    assert Judged(0.0, 0.1, 0.0).lost == 0, "unsure images lose no class"


def planted(lost: float, kl: float) -> list[Judged]:
    waves = (0.0, 0.05, -0.03, 0.02, 0.01)
    return [Judged(1 - (lost + 2 * e) / 10, 0.9, kl + abs(e) / 10) for e in waves]


def test_planted_classes_get_their_verdicts() -> None:
    kept, gone = (0.1, 0.01), (4.0, math.log(10 / 6))
    found = findings({"bce": planted(*gone), "wasserstein": planted(*gone),
                      "bce_gp": planted(*kept), "gp": planted(*kept)})  # fmt: skip
    seen = {c.name: judge("s", c, found.evidence[c.name]) for c in CLAIMS}
    assert seen["bce_collapses"].word == "supported"
    assert seen["bce_collapses"].value == pytest.approx(4.0, abs=0.1)
    assert len(found.rows) == 20 and len(found.figures["figure"].axes) == 3
    # The penalty does nothing under W: one effect of four classes is not enough.
    waves = [Judged(0.6 - e, 0.9, math.log(10 / 6) + e) for e in (0.01, 0.0, 0.02, 0.005, 0.003)]
    found = findings({"bce": planted(*gone), "wasserstein": planted(*gone),
                      "bce_gp": planted(*kept), "gp": waves})  # fmt: skip
    assert judge("s", CLAIMS[1], found.evidence["penalty"]).word == "refuted"


def test_an_effect_that_both_objectives_have_is_supported() -> None:
    waves = [(0.0, 0.1, 0.02, 0.05, 0.01), (0.03, 0.0, 0.01, 0.06, 0.02)]
    lossy = [[Judged(0.6 - e, 0.9, 0.5 + e) for e in wave] for wave in waves]
    full = [Judged(1.0, 0.9, 0.0)] * 5
    found = findings({"bce": lossy[0], "wasserstein": lossy[1], "bce_gp": full, "gp": full})
    seen = {c.name: judge("s", c, found.evidence[c.name]).word for c in CLAIMS}
    assert seen["penalty"] == "supported" and seen["objective"] == "refuted", "W loses as many"
    # 0.4 of a class lost on every seed: above 0 without doubt, and not half a class.
    few = [Judged(1.0, 0.9, -math.log(0.96) + e / 1000) for e in waves[0]]
    found = findings({"bce": few, "wasserstein": lossy[1], "bce_gp": full, "gp": full})
    assert judge("s", CLAIMS[0], found.evidence["bce_collapses"]).word == "refuted"


def test_a_gan_that_loses_no_class_leaves_the_penalty_nothing_to_keep() -> None:
    few = [Judged(1.0, 0.9, -math.log(0.988) + e / 1000) for e in (0.0, 0.1, 0.05, 0.02, 0.07)]
    full = [Judged(1.0, 0.9, 0.0)] * 5
    found = findings({"bce": few, "wasserstein": few, "bce_gp": full, "gp": full})
    seen = {c.name: judge("s", c, found.evidence[c.name]).word for c in CLAIMS}
    assert seen == {"bce_collapses": "refuted", "penalty": "undecided", "objective": "undecided"}


def test_the_four_arms_differ_in_nothing_but_the_loss(tmp_path: Path) -> None:
    settings = read_settings("digit_classes", {}, [f"output_dir={tmp_path}"])
    own = Context("digit_classes", 1, tmp_path, settings, Silent())
    configs = {arm: compose(words(own, arm)) for arm in ARMS}
    for arm, config in configs.items():
        assert config.loss.name == arm and config.loss.n_critic == own["n_critic"]
        assert config.train == configs["gp"].train and config.network == configs["gp"].network
    assert configs["gp"].loss.coefficients == configs["bce_gp"].loss.coefficients


@pytest.mark.slow
@pytest.mark.study
def test_a_small_study_counts_classes(tmp_path: Path) -> None:
    small = ["seeds=2", "steps=4", "batch_size=16", "final_n=100"]
    assert main(["study", "digit_classes", *small, f"output_dir={tmp_path}"]) == 0
    from wganbench.studies.record import read_verdicts

    assert {v.n for v in read_verdicts(tmp_path / "studies" / "digit_classes")} == {2}
