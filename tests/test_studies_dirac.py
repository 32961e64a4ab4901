"""Dirac-GAN: golden distances, fields against the losses, statistics on planted paths."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from sweep_watcher import Seen

from wganbench.errors import ConfigError
from wganbench.studies import run_study
from wganbench.studies.dirac import (
    CLAIMS,
    FIELD_TOLERANCE,
    SIMULTANEOUS,
    Method,
    all_paths,
    decades_lost,
    evidence,
    field_error,
    is_kept,
    kept_distance,
    measure,
    methods,
    power_of_steps,
    radius,
    run_notes,
    trajectory,
    unsettled,
)
from wganbench.studies.settings import read_settings
from wganbench.studies.study import Context
from wganbench.studies.verdicts import judge
from wganbench.sweeps.backend import Silent

METHODS = {method.name: method for method in methods(1.0, 0.35, 0.3)}
POINTS = np.random.default_rng(0).uniform(-2, 2, (40, 2))


def final(name: str, steps: int, n_critic: int) -> float:
    path = trajectory(METHODS[name], (1.0, -1.0), 0.2, steps, n_critic)
    return float(radius(path)[-1])


# Distance after the given steps: simultaneous, alternating with one critic step. Derived from
# the formulas of arXiv:1801.04406 and recomputed independently.
GOLDEN = [
    ("saturating", 500, 3.09695, 1.42102),
    ("non_saturating", 500, 0.640207, 0.283923),
    ("clip", 500, 1.00215, 1.02412),
    ("gp", 500, 1.80179, 1.22107),
    ("r1_saturating", 500, 2.64e-6, 2.30e-7),
]


@pytest.mark.parametrize(("name", "steps", "simultaneous", "alternating"), GOLDEN)
def test_golden_distances(name: str, steps: int, simultaneous: float, alternating: float) -> None:
    tolerance = 2e-3 if name.startswith("r1") else 5e-6
    assert final(name, steps, SIMULTANEOUS) == pytest.approx(simultaneous, rel=tolerance)
    assert final(name, steps, 1) == pytest.approx(alternating, rel=tolerance)


def test_golden_distances_of_long_paths() -> None:
    assert final("saturating", 5000, SIMULTANEOUS) == pytest.approx(4.24, abs=5e-3)
    assert final("non_saturating", 5000, 1) == pytest.approx(0.0880, abs=5e-5)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_closed_forms_are_the_losses(method: Method) -> None:
    points = np.vstack([POINTS, [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
    assert field_error(method, points) < 1e-12


@pytest.mark.parametrize("pair", [("saturating", "non_saturating"), ("gp", "clip")])
def test_the_field_of_another_loss_is_noticed(pair: tuple[str, str]) -> None:
    right, wrong = METHODS[pair[0]], METHODS[pair[1]]
    mixed = Method("mixed", "", "", right.recipe, wrong.generator, wrong.critic,
                   right.coefficients)  # fmt: skip
    assert field_error(mixed, POINTS) > 1e3 * FIELD_TOLERANCE


def test_lemma_2_3_holds_step_by_step() -> None:
    # |F(w)|^2 = |w|^2 (1 + h^2 s^2) for the zero-sum game, s the sigmoid at theta psi.
    path = trajectory(METHODS["saturating"], (0.6, 0.3), 0.1, 50, SIMULTANEOUS)
    sigmoids = 1 / (1 + np.exp(-path[:-1, 0] * path[:-1, 1]))
    growth = radius(path)[1:] / radius(path)[:-1]
    assert growth == pytest.approx(np.sqrt(1 + 0.01 * sigmoids**2), rel=1e-12)


def test_clipping_follows_every_critic_step() -> None:
    path = trajectory(METHODS["clip"], (3.0, 0.5), 0.2, 200, 5)
    assert np.abs(path[1:, 1]).max() == 1.0


def test_the_statistics_on_planted_paths() -> None:
    n = np.arange(1001)
    linear = np.stack([10.0 ** (-0.004 * n), np.zeros(1001)], axis=1)
    assert decades_lost(linear, 0.2) == pytest.approx(0.4)
    power = np.stack([3.0 * np.maximum(n, 1) ** -0.7, np.zeros(1001)], axis=1)
    assert power_of_steps(power) == pytest.approx(-0.7)
    # 3 decades in 500 steps at this power would be linear; it loses them almost all at first.
    assert decades_lost(power, 0.2) == pytest.approx(100 * 0.7 * math.log10(2) / 500)
    cycle = 2.0 * np.stack([np.cos(n / 7), np.sin(n / 7)], axis=1)
    assert kept_distance(cycle) == pytest.approx(1.0)
    assert kept_distance(power) == pytest.approx(10**-0.7)
    growing = np.stack([np.maximum(n, 1) ** 0.3, np.zeros(1001)], axis=1)
    assert kept_distance(growing) == pytest.approx(10**0.3)


@pytest.mark.parametrize(("name", "n_critic", "keeps"), [
    ("saturating", SIMULTANEOUS, True), ("clip", 1, True), ("non_saturating", 1, False),
])  # fmt: skip
def test_the_length_of_a_path_decides_nothing(name: str, n_critic: int, keeps: bool) -> None:
    for steps in (500, 1500):
        path = trajectory(METHODS[name], (1.0, -1.0), 0.2, steps, n_critic)
        assert (kept_distance(path) >= 0.5) == keeps


def found_with(steps: int, rate: float = 0.2) -> dict[str, str]:
    """The words of all claims with so many steps of a size."""
    schedules = {name: (SIMULTANEOUS, 1, 5) if name in ("clip", "gp") else (SIMULTANEOUS, 1)
                 for name in METHODS}  # fmt: skip
    paths = {(name, n): trajectory(METHODS[name], (1.0, -1.0), rate, steps, n)
             for name, own in schedules.items() for n in own}  # fmt: skip
    notes = dict.fromkeys(("plain", "clip", "gp", "r1"), "")
    found = evidence(paths, min(500, steps), rate, notes)
    return {claim.name: judge("dirac", claim, found[claim.name]).word for claim in CLAIMS}


def test_steps_that_are_too_few_for_a_power_decide_nothing() -> None:
    """The distance under alternating steps turns to 1 / sqrt(n) after some hundred steps."""
    enough = found_with(500)
    assert enough["non_saturating_alternating"] == "refuted"
    assert enough["non_saturating_power"] == "supported"
    few = found_with(50)
    assert few["non_saturating_alternating"] == few["non_saturating_power"] == "undecided"
    assert few["saturating_alternating"] == few["clip"] == "supported", "cycles from the start"
    assert found_with(50, 0.1)["clip"] == "undecided", "its case with 5 critic steps still changes"
    assert {found_with(3)[name] for name in ("clip", "non_saturating_power")} == {"undecided"}


def test_a_game_that_has_hardly_begun_decides_nothing_on_powers() -> None:
    begun = found_with(5000, 1e-4)
    names = [name for name in begun if not name.startswith("r1")]
    assert len(names) == 7 and {begun[name] for name in names} == {"undecided"}


def test_a_power_that_changes_within_the_last_decade_decides_nothing() -> None:
    n = np.arange(1, 1001)

    def bent(before: float, after: float) -> np.ndarray:
        """A path round the equilibrium whose power changes in the middle of its last decade."""
        logs = np.log(n) - np.log(316)
        radii = np.exp(np.where(n < 316, before, after) * logs)
        return np.multiply(radii, np.stack([np.cos(n / 7), np.sin(n / 7)]))

    def reason(*powers: tuple[float, float]) -> str:
        return unsettled([bent(*pair).T for pair in powers], is_kept)

    assert reason((0.0, 0.0)) == "" == reason((-0.5, -0.5))
    for powers in ((0.0, -0.5), (-0.5, 0.0), (0.0, -0.2)):
        assert "still changes, from" in reason(powers)
        assert reason((0.0, 0.0), powers), "one of several paths is enough"
    assert reason((-0.29, -0.29)) == "" == reason((-0.31, -0.31)), "half of it is at -0.301"
    assert reason((-0.29, -0.31))


@pytest.mark.parametrize("word", ["steps=1", "early_step=1", "learning_rate=0"])
def test_steps_that_lead_nowhere_are_refused(word: str, tmp_path: Path) -> None:
    context = Context("dirac", 1, tmp_path, read_settings("dirac", {}, [word]), Silent())
    with pytest.raises(ConfigError, match="steps and early_step must be at least 2, learning_rate"):
        measure(context)


def test_a_linear_rate_is_one_of_time_and_not_of_the_size_of_steps() -> None:
    assert found_with(3000, 0.02)["r1_saturating"] == found_with(3000)["r1_saturating"]
    n = np.arange(1001)
    path = np.stack([10.0 ** (-0.0004 * n), np.zeros(1001)], axis=1)
    assert decades_lost(path, 0.02) == pytest.approx(0.4), "100 steps of 0.2 are 1000 of 0.02"


@pytest.mark.slow
def test_the_study_reproduces_the_paper_and_its_length_decides_nothing(tmp_path: Path) -> None:
    """Quick has 5 000 steps and paper 500: a verdict on convergence is about neither."""
    words = {}
    for budget, steps in (("quick", 5000), ("paper", 500)):
        settings = read_settings("dirac", {}, [f"budget={budget}"])
        context = Context("dirac", 1, tmp_path, settings, Silent())
        paths = all_paths(context, list(METHODS.values()))
        found = evidence(paths, 500, 0.2, run_notes(context))
        verdicts = [judge("dirac", claim, found[claim.name]) for claim in CLAIMS]
        words[budget] = {verdict.claim.name: verdict.word for verdict in verdicts}
        assert f"lambda = 0.35, {steps} steps" in found["gp"].note
    assert words["quick"] == words["paper"]
    refuted = {"non_saturating_alternating"}
    assert {name for name, word in words["quick"].items() if word == "refuted"} == refuted
    assert {words["quick"][name] for name in words["quick"].keys() - refuted} == {"supported"}


@pytest.mark.parametrize(("device", "told"), [("cpu", True), ("auto", False)])
def test_a_device_changes_nothing_and_that_is_told(device: str, told: bool, tmp_path: Path) -> None:
    settings, seen = read_settings("dirac", {}, [f"device={device}", "steps=20"]), Seen()
    measure(Context("dirac", 1, tmp_path, settings, seen))
    line = f"device={device} changes nothing: this study trains no network"
    assert seen.lines == [line] * told


@pytest.mark.slow
def test_the_study_draws_and_writes_its_files(tmp_path: Path) -> None:
    folder, _ = run_study("dirac", [f"output_dir={tmp_path}", "steps=500"], Silent())
    assert (folder / "figure.png").is_file() and (folder / "table.csv").is_file()
