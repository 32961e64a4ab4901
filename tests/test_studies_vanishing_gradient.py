"""`vanishing_gradient`: its statistic on planted critics, its gradient against a hand's."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training_configs import CPU

from wganbench.errors import ConfigError
from wganbench.networks import Latent
from wganbench.studies import STUDIES
from wganbench.studies.record import judge_all
from wganbench.studies.rest import Rest
from wganbench.studies.settings import read_settings
from wganbench.studies.study import Context
from wganbench.studies.vanishing_gradient.measure import (
    Frozen,
    decades_fallen,
    follow,
    line_settings,
    measured,
    settings,
    skew_lines,
    trained_generators,
)
from wganbench.studies.vanishing_gradient.study import (
    FLOOR,
    distance,
    early_error,
    fallen,
    pushed,
)
from wganbench.sweeps.backend import Silent

N = 64


def shifted(reals: float = 2.0) -> Frozen:
    """G(z) = z + theta in one dimension; reals at a point."""
    return Frozen(
        lambda parameters, z: z + parameters["theta"],
        {"theta": torch.zeros(1)},
        Latent("uniform", (1,)),
        lambda n, g: torch.full((n, 1), reals),
    )


def linear(slope: float, offset: float) -> dict[str, dict[str, float]]:
    """What is measured of the critic D(x) = slope x + offset, by objective."""
    z = torch.linspace(-1, 1, N, dtype=torch.float64).reshape(-1, 1)
    x = torch.full((N, 1), 2.0, dtype=torch.float64)

    def critic(points: Tensor) -> Tensor:
        return slope * points[:, 0] + offset

    return {loss: measured(loss, critic, shifted(), z, x)
            for loss in ("bce_saturating", "bce", "gp")}  # fmt: skip


def test_the_gradient_is_that_of_the_chain_rule() -> None:
    """d/dtheta of E f(a (z + theta) + b) = a E f'(a z + b)."""
    slope, offset = 3.0, -1.0
    scores = slope * torch.linspace(-1, 1, N, dtype=torch.float64) + offset
    by_hand = {
        "bce_saturating": slope * float(torch.sigmoid(scores).mean()),
        "bce": slope * float(torch.sigmoid(-scores).mean()),
        "gp": slope,
    }
    found = linear(slope, offset)
    for loss, expected in by_hand.items():
        assert found[loss]["norm"] == pytest.approx(expected, rel=1e-12)
        assert found[loss]["feedback"] == pytest.approx(expected / slope, rel=1e-12)
    assert found["bce"]["accuracy"] == pytest.approx(
        (1 + float((scores < 0).double().mean())) / 2
    )  # fmt: skip
    # Logits from -4 to 2 at the fakes, 5 at the reals; 1 % and 99 % lie at -+ln 99 = -+4.595.
    assert (found["bce"]["saturation"], found["bce"]["saturation_real"]) == (0.0, 1.0)


def test_a_sure_critic_vanishes_for_one_objective_only() -> None:
    """At logits near -200 float32 would give 0, and the saturating gradient is e^-200."""
    sure = linear(1.0, -200.0)
    norm = sure["bce_saturating"]["norm"]
    mean = sum(math.exp(z / (N - 1) * 2 - 1) for z in range(N)) / N
    assert norm == pytest.approx(math.exp(-200) * mean, rel=1e-9)
    assert sure["bce"]["norm"] == pytest.approx(1.0) and sure["gp"]["norm"] == pytest.approx(1.0)
    assert sure["bce"]["saturation"] == 1.0
    falls = decades_fallen([linear(1.0, b)["bce_saturating"]["norm"] for b in (0.0, -20.0, -46.05)])
    assert falls == pytest.approx(19.8, abs=0.3)


def test_the_statistic() -> None:
    assert decades_fallen([1e-3, 1e2, 1e-3]) == pytest.approx(5.0)
    assert decades_fallen([1.0, 10.0, 1e3]) == pytest.approx(-2.0)
    assert decades_fallen([1.0, math.nan]) is None
    assert decades_fallen([1.0, 0.0]) == pytest.approx(300.0)


def test_the_lines_do_not_meet_and_are_at_distance_one() -> None:
    lines = skew_lines(10, 3, CPU)
    x = lines.reals(500, torch.Generator().manual_seed(1))
    y = lines.fakes(500, torch.Generator().manual_seed(2))
    distances = torch.cdist(x, y)
    assert x.shape == y.shape == (500, 10)
    assert float(distances.min()) == pytest.approx(1.0, abs=0.01)
    assert torch.linalg.matrix_rank(x, rtol=1e-4) == 1
    assert torch.linalg.matrix_rank(torch.cat([x, y]), rtol=1e-4) == 3
    assert not torch.equal(skew_lines(10, 4, CPU).parameters["offset"], lines.parameters["offset"])


def test_fakes_of_a_generator_that_was_trained_on_a_gpu_are_drawn_on_the_cpu_too() -> None:
    class Elsewhere(Tensor):
        """A parameter on another device: it must be fetched before it can be added."""

        def to(self, device: torch.device) -> Tensor:  # type: ignore[override]
            return torch.tensor([0.5], device=device)

    theta = torch.empty(1, device="meta").as_subclass(Elsewhere)
    there = replace(shifted(), parameters={"theta": theta})
    here = replace(shifted(), parameters={"theta": torch.tensor([0.5])})
    assert distance([there], 50) == distance([here], 50) > 0


def test_critics_start_anew_and_see_their_own_generators() -> None:
    config = settings(
        "bce", 16, "tuned=none", "compile=false", "network.width=8", "network.depth=2"
    )
    stages = trained_generators(config, [1, 3], [5, 6], CPU)
    assert [len(group) for group in stages] == [2, 2]
    first, later = (group[0].parameters for group in stages)
    assert any(not torch.equal(first[k], later[k]) for k in first), "it trained on"
    records = [r for group in stages for r in follow(config, group, [5, 6], (2, 2), 32, CPU)]
    assert [r["bce"]["step"] for r in records] == [[1, 2]] * 4
    norms = [r["bce"]["norm"][0] for r in records]
    assert len(set(norms)) == 4 and all(norm > 0 for norm in norms)
    assert records[0]["bce"]["rest"]["steps"] == 2
    again = follow(config, stages[1][1:], [6], (2, 2), 32, CPU)
    assert again[0]["bce"]["norm"] == pytest.approx(records[3]["bce"]["norm"], rel=1e-6)


Reads = list[dict[str, list[float]]]


def rest_at_once(
    monkeypatch: pytest.MonkeyPatch, moved: dict[str, float], expected: dict[str, float]
) -> Reads:
    """Have critics train once and move by given tolerances; return what is read of them."""
    reads: Reads = []

    def rested(stack: Any, read: Any, groups: Any, first: int, most: int, tolerances: Any,
               mark: Any) -> list[Rest]:  # fmt: skip
        stack.advance(first - stack.steps_done)
        mark()
        reads.append(read())
        assert tolerances == expected
        return [Rest(first, dict.fromkeys(moved, 0.0), moved) for _ in groups]

    monkeypatch.setattr("wganbench.studies.vanishing_gradient.measure.train_to_rest", rested)
    return reads


def test_each_objective_rests_by_its_own_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The discriminator rests, the saturating gradient falls on by a tenth of a decade."""
    moved = {"js": 0.5, "pushed": 1.5, "log bce": 0.5, "log bce_saturating": 2.5}
    expected = {"js": 0.005, "pushed": 0.02, "log bce": 0.04, "log bce_saturating": 0.04}
    reads = rest_at_once(monkeypatch, moved, expected)
    config = settings("bce", 16, "tuned=none", "compile=false", "network.width=8",
                      "network.depth=2")  # fmt: skip
    generators = trained_generators(config, [1], [5], CPU)[0]
    (found,) = follow(config, generators, [5], (2, 2), 32, CPU)
    assert found["bce"]["rest"]["at_rest"] and not found["bce_saturating"]["rest"]["at_rest"]
    assert found["bce_saturating"]["rest"]["moved"] == 2.5
    assert found["bce"]["pushed_rest"] == {"steps": 2, "moved": 1.5, "at_rest": False}
    last = found["bce"]["saturation"][-1], found["bce"]["saturation_real"][-1]
    assert reads[0]["pushed"] == [min(last)]
    for name in ("bce", "bce_saturating"):
        assert reads[0][f"log {name}"] == pytest.approx([math.log10(found[name]["norm"][-1])])


def test_a_wasserstein_critic_rests_by_its_estimate_too(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"js": 0.005, "pushed": 0.02, "log gp": 0.04}  # the estimate rests by its own size
    reads = rest_at_once(monkeypatch, {"log gp": 0.5, "estimate": 3.0}, expected)
    config = settings("gp", 16, "tuned=none", "compile=false", "network.width=8",
                      "network.depth=2")  # fmt: skip
    generators = trained_generators(config, [1], [5], CPU)[0]
    (found,) = follow(config, generators, [5], (2, 2), 32, CPU)
    assert set(reads[0]) == {"log gp", "estimate"}
    assert found["gp"]["rest"] == {"steps": 2, "moved": 3.0, "at_rest": False}


def planted(**cells: Any) -> list[dict[str, Any]]:
    """Three seeds whose gradient falls by three decades, with a discriminator that is at rest."""
    rest = {"steps": 400, "moved": 0.5, "at_rest": True}
    whole = {
        "step": [1, 32, 400], "norm": [1.0, 0.1, 1e-3], "accuracy": [0.5, 0.995, 1.0],
        "saturation": [0.0, 0.5, 0.9], "saturation_real": [0.1, 0.6, 0.8], "rest": rest,
        "pushed_rest": rest,
    }  # fmt: skip
    return [whole | cells for _ in range(3)]


FAR = {"bce_much": 0.5, FLOOR: 0.1}


def test_what_is_neither_right_nor_at_rest_says_nothing_of_an_optimal_critic() -> None:
    moving = {"steps": 400, "moved": 8.0, "at_rest": False}
    for loss, accuracy, gated in (("bce", 0.98, True), ("bce", 0.995, False), ("gp", 1.0, True)):
        records = planted(rest=moving, accuracy=[0.5, 0.9, accuracy])
        found = fallen(records, loss, "bce_much", FAR)
        assert bool(found.undecided) == gated and found.values == [pytest.approx(3.0)] * 3
        assert pushed(records).undecided == "", "the share of outputs rests"
        assert "8 times" in pushed(planted(pushed_rest=moving)).undecided
    assert fallen(planted(accuracy=[0.5, 0.8, 0.9]), "bce", "bce_much", FAR).undecided == ""
    assert "still moves" in fallen(planted(rest=moving), "bce", "bce_much", FAR).note
    assert "still moves" not in fallen(planted(), "bce", "bce_much", FAR).note


def test_a_small_gradient_of_samples_that_have_arrived_is_not_called_vanished() -> None:
    assert fallen(planted(), "bce", "bce_much", FAR).undecided == ""
    near = FAR | {"bce_much": 0.15}
    assert "not bad" in fallen(planted(), "bce", "bce_much", near).undecided


def test_outputs_are_pushed_where_both_reals_and_fakes_are() -> None:
    assert pushed(planted()).values == [pytest.approx(0.8)] * 3, "reals 0.8, fakes 0.9, from 0"
    one_side = planted(saturation_real=[0.0, 0.0, 0.1])
    assert pushed(one_side).values == [pytest.approx(0.1)] * 3
    # Three equal rises of 0.8: a share q of seeds with q^3 = 0.025 rises, the rest may fall by 1.
    low, high = pushed(planted(saturation_real=[0.0, 0.6, 0.8])).interval or (0.0, 0.0)
    again = 0.025 ** (1 / 3)
    assert low == pytest.approx(0.8 * again - (1 - again)) and high <= 1


def test_early_accuracy_is_that_of_the_first_fifty_steps() -> None:
    assert early_error(planted()).values == [pytest.approx(0.005)] * 3


@pytest.mark.slow
@pytest.mark.study
def test_disjoint_lines_saturate_the_saturating_loss_alone() -> None:
    config = line_settings("bce", 64, 10)
    config.train.critic_lr *= 5
    seeds = [0, 1, 2]
    lines = [skew_lines(10, s, CPU) for s in seeds]
    records = follow(config, lines, seeds, (400, 400), 512, CPU)
    for record in records:
        down = decades_fallen(record["bce_saturating"]["norm"])
        up = decades_fallen(record["bce"]["norm"])
        assert down is not None and down > 1.5
        assert up is not None and up < 0
        assert record["bce"]["accuracy"][-1] == 1.0


@pytest.mark.parametrize("word", ["bce_stages=[1,2]", "gp_stages=[1,2,2]"])
def test_three_stages_are_needed(word: str, tmp_path: Path) -> None:
    study = STUDIES["vanishing_gradient"]
    given = read_settings(study.name, study.protects, [word])
    key = word.partition("=")[0]
    with pytest.raises(ConfigError, match=f"{key} needs 3 different numbers: little, some, much"):
        study.measure(Context(study.name, 1, tmp_path, given, Silent()))


@pytest.mark.slow
@pytest.mark.study
def test_the_study_runs_in_small(tmp_path: Path) -> None:
    small = ["seeds=2", "first=4", "most=4", "points=32", "bce_stages=[1,2,3]", "gp_stages=[1,2,3]"]
    study = STUDIES["vanishing_gradient"]
    given = read_settings(study.name, study.protects, small)
    findings = study.measure(Context(study.name, 1, tmp_path, given, Silent()))
    verdicts = {v.claim.name: v for v in judge_all(study, findings)}
    assert verdicts["bce_saturating_line"].n == 2 and set(findings.figures) >= {"figure"}
