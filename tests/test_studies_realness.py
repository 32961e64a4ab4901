"""Scores as realness on planted critics and planted correlations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from wganbench.cli.app import main
from wganbench.config import compose
from wganbench.data import load
from wganbench.metrics.gradients import rank_correlation
from wganbench.studies import judge
from wganbench.studies.realness import (
    CLAIMS,
    KINDS,
    NAMES,
    course,
    findings,
    late_mean,
    words,
)
from wganbench.studies.settings import read_settings
from wganbench.studies.study import Context
from wganbench.sweeps.backend import Silent


def test_a_critic_that_is_the_density_has_the_correlation_one() -> None:
    """On planted points; one that tells reals from fakes and no more has it in part."""
    target, generator = load("ring8", sigma=0.1), torch.Generator().manual_seed(0)
    reals = target.sample(400, generator)
    fakes = reals + 0.4 * torch.randn(reals.shape, generator=generator)
    points = torch.cat((reals, fakes))
    assert target.density is not None
    truth = target.density.log_density(points.double()).numpy()
    assert rank_correlation(3 * truth - 7, truth) == pytest.approx(1.0)
    assert rank_correlation(-truth, truth) == pytest.approx(-1.0)
    groups = np.r_[np.ones(400), np.zeros(400)]
    found = rank_correlation(groups, truth)
    assert found is not None and 0.5 < found < 0.9

    assert target.modes is not None
    near = -torch.cdist(points.double(), target.modes.double()).min(dim=1).values.numpy()
    equal = rank_correlation(near, truth)
    assert equal is not None and equal > 0.999, "with equal modes the two orders are one"


def planted(mean: float, seeds: int = 6) -> list[float | None]:
    return [mean + e for e in np.random.default_rng(3).normal(0, 0.03, seeds)]


def test_planted_correlations_get_their_verdicts() -> None:
    values = {
        "bce": {"density": planted(0.8), "distance": planted(0.1)},
        "gp": {"density": planted(0.5), "distance": [*planted(0.8, 5), None]},
    }
    steps = [0, 10, 20]
    courses = {loss: {kind: [(steps, [0.1, 0.5, 0.5])] * 6 for kind in KINDS} for loss in values}
    found = findings(values, courses, range(6))
    words = {c.name: judge("s", c, found.evidence[c.name]).word for c in CLAIMS}
    assert words["density_bce"] == "supported" and words["distance_bce"] == "refuted"
    assert words["distance_gp"] == "undecided", "a seed has no value"
    assert words["density_clip"] == "undecided"
    assert "no best settings" in found.evidence["density_clip"].note
    assert len(found.rows) == 12 and len(found.figures["figure"].axes) == 2


def test_only_the_second_half_counts() -> None:
    assert late_mean([0, 4, 5, 6, 10], [9.0, 9.0, 9.0, 1.0, 2.0], 10) == 1.5
    assert late_mean([0, 4], [1.0, 1.0], 10) is None


def test_a_flat_critic_says_nothing() -> None:
    table: dict[str, list[float | None]] = {
        "step": [0, 5, 10],
        "wasserstein/exact": [1.0, None, 1.0],
        "critic/density_rank": [0.4, None, None],
    }
    assert course(table, "critic/density_rank") == ([0, 10], [0.4, 0.0])


def test_each_loss_has_its_best_rates(tmp_path: Path) -> None:
    settings = read_settings("realness", {}, [f"output_dir={tmp_path}"])
    own = Context("realness", 1, tmp_path, settings, Silent())
    rates = {loss: compose(words(own, loss)).train.critic_lr for loss in NAMES}
    for loss, rate in rates.items():
        assert (
            rate == compose([f"loss={loss}", "data=ring8", f"tuned={loss}-ring8"]).train.critic_lr
        )


@pytest.mark.slow
@pytest.mark.study
def test_a_small_study_has_a_number_for_each_seed(tmp_path: Path) -> None:
    small = ["seeds=2", "tuned_share=0.001", "evaluate_n=100"]
    assert main(["study", "realness", *small, f"output_dir={tmp_path}"]) == 0
    from wganbench.studies.record import read_verdicts

    assert {v.n for v in read_verdicts(tmp_path / "studies" / "realness")} == {2}
