"""The verdict in words: each sentence claims what the numbers say, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wganbench.cli.run_view import summary
from wganbench.config import compose
from wganbench.data import load
from wganbench.losses import RECIPES
from wganbench.losses.recipes import composed
from wganbench.training.figures import slope_target
from wganbench.training.finish import spread_of
from wganbench.training.verdict import (
    Seen,
    bounds_slope,
    on_too_few_points,
    seen,
    verdict,
)

FINAL = {
    "modes/covered": 8.0,
    "modes/coverage": 1.0,
    "modes/high_quality": 0.967,
    "wasserstein/exact": 0.06,
    "wasserstein/floor": 0.04,
    "critic/slope_mean": 0.9,
    "critic/slope_std": 0.2,
    "critic/lipschitz": 2.0,
}


def course(norms, distances, floor=0.04):
    steps = [500 * i for i in range(len(norms))]
    return {
        "step": steps,
        "grad_norm/sample": norms,
        "wasserstein/exact": distances,
        "wasserstein/floor": [floor] * len(norms),
    }


@pytest.mark.parametrize(
    ("norms", "distances", "vanished"),
    [
        ([1.0, 0.009], [1.4, 0.09], True),
        ([1.0, 0.009], [1.4, 0.07], False),  # small, but the samples have arrived
        ([1.0, 0.011], [1.4, 1.4], False),  # far off, but told to move
        ([0.5, 10.0, 0.09], [1.4, 1.4, 1.4], True),  # of its own maximum, not of the start
        ([1.0, 0.009, None], [1.4, 1.0, None], True),  # a row without measurements
        ([1.0, float("nan")], [1.4, 1.4], False),
    ],
)
def test_vanished_means_small_while_the_samples_are_still_bad(norms, distances, vanished):
    (line,) = verdict({}, course(norms, distances), RECIPES["gp"], 8)
    assert ("gradient vanished:" in line) is vanished


def test_the_start_of_a_clipped_critic_does_not_count():
    """Nothing has been clipped at step 0: the gradient falls there without training."""
    steady = course([1.0, 1e-6, 2e-6, 2e-6], [1.4, 1.4, 1.4, 1.4])
    falling = course([1.0, 1e-2, 1e-3, 1e-5], [1.4, 1.4, 1.4, 1.4])
    assert "gradient vanished:" in verdict({}, falling, RECIPES["clip"], 8)[0]
    assert verdict({}, course([1.0], [1.4]), RECIPES["clip"], 8) == []
    gradient = "The generator's gradient"
    told = {
        loss: next(line for line in verdict(FINAL, steady, RECIPES[loss], 8) if gradient in line)
        for loss in ("clip", "gp")
    }
    assert told["clip"] == f"{gradient} did not vanish: 100.0 % of its largest."
    assert told["gp"].startswith(f"{gradient} vanished: under 0.1 %")


def test_the_start_of_a_clipped_critic_does_not_count_for_the_energy_distance():
    table = {
        "step": [0, 500, 1000],
        "grad_norm/sample": [1.0, 4e-6, 2e-6],
        "energy/distance": [1.4, 1.4, 1.4],
        "energy/floor": [0.01] * 3,
        "energy/spread": [0.001] * 3,
    }
    (line,) = verdict({}, table, RECIPES["clip"], 8, shape=(8,))
    assert line == "The generator's gradient did not vanish: 50.0 % of its largest."


def test_too_few_points_for_exact_w1_are_told():
    """On 250 points of N(0, I) in the plane a narrow generator scores lower than a perfect one."""
    few = on_too_few_points({"wasserstein/floor": 0.3}, 2**0.5, 250)
    assert few == [
        "The floor of exact W1 is 21 % of the data's spread: on 250 points it prefers samples "
        "that are too narrow. Give more (evaluate.final_n), or read energy/distance."
    ]
    assert on_too_few_points({"wasserstein/floor": 0.14}, 2**0.5, 1000) == []
    assert on_too_few_points({}, 1.0, 10) == []
    assert on_too_few_points({"wasserstein/floor": 0.3}, 0.0, 10) == [], "equal points"
    (many,) = on_too_few_points({"wasserstein/floor": 0.3}, 1.0, 100_000)
    assert "on 5000 points" in many and "more" not in many


def test_the_spread_of_the_data_is_in_their_own_unit():
    """Of ring8: radius^2 + 2 sigma^2, with centres that sum to 0."""
    ring = load("ring8")
    expected = (1.414**2 + 2 * ring.sigma**2) ** 0.5
    assert spread_of(ring) == pytest.approx(expected, rel=0.01)


def test_nothing_measured_says_nothing():
    assert verdict({}, {"step": []}, RECIPES["gp"], 8) == []


def test_the_sentences_hold_the_numbers():
    text = " ".join(verdict(FINAL, course([1.0, 0.3], [1.4, 0.06]), RECIPES["gp"], 8))
    for part in ("8 of 8 modes", "96.7 %", "W1 0.06,", "1.5 times", "30.0 %", "asks for 1."):
        assert part in text


def test_coverage_by_one_hit_and_by_fair_share_are_told_apart():
    poor = FINAL | {"modes/coverage": 0.5}
    (sentence, *_) = verdict(poor, course([1.0], [1.0]), RECIPES["bce"], 8)
    assert "8 of 8 modes covered, 4 of them with at least a fifth" in sentence


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("gp", "the penalty asks for 1."),
        ("lp", "the penalty asks for at most 1."),
        ("clip", "clipping asks only for some bound."),
        ("bce", "unconstrained."),
        ("gp0", "the penalty asks for 0."),
        ("bce_r1", "the penalty asks for 0 at reals."),
        ("rpgan_r1r2", "the penalty asks for 0 at reals and at fakes."),
        ("dragan", "the penalty asks for 1 around reals."),
    ],
)
def test_the_slope_is_read_against_what_the_loss_asks_for(loss, words):
    last = verdict(FINAL, course([1.0], [1.0]), RECIPES[loss], 8)[-1]
    assert last == f"Critic's slope at interpolates 0.9 ± 0.2, largest seen 2: {words}"


def test_terms_of_different_slopes_and_a_function_of_ones_own_have_no_place():
    def own(critic, x, x_fake, eps, coefficients):
        return critic(x).mean()

    for beside in ((), RECIPES["bce_r1"].penalties):
        recipe = replace(RECIPES["bce_r1"], penalties=(own, *beside))
        last = verdict(FINAL, course([1.0], [1.0]), recipe, 8)[-1]
        assert last.endswith("the penalty asks for 0.")
    assert composed("gp", ["div", "r1"]).slope_elsewhere == "at interpolates and at reals"
    both = verdict(FINAL, course([1.0], [1.0]), composed("gp", ["r1"]), 8)[-1]
    assert both.endswith(": its terms ask for different slopes.")


@pytest.mark.parametrize(
    ("words", "target", "label"),
    [
        ("loss=gp", 1, "target 1"),
        ("loss=lp", 1, "target at most 1"),
        ("loss=dragan", 1, "target 1 around reals"),
        ("loss=bce_r1", None, "target"),
        ("loss=clip", None, "target"),
        ("loss=hinge_sn", 1, "target at most 1"),
        ("loss=hinge_sn data=digits", None, "target"),
        ("loss=gp data=digits", 1, "target 1"),
        ("loss=hinge_gn network.activation=softplus", None, "target"),
    ],
)
def test_the_figure_s_target_of_the_slope(words, target, label):
    """A line at 1 only where 1 is asked for or ensured; convolutions have no such bound."""
    config = compose(words.split())
    assert slope_target(config, RECIPES[config.loss.name]) == (target, label)


@pytest.mark.parametrize(
    ("words", "bounded"),
    [
        ("loss=hinge_sn", True),
        ("loss=wasserstein_sn data=digits", False),
        ("loss=hinge_gn", True),
        ("loss=hinge_gn network.activation=softplus", False),
        ("loss=hinge_gn network.critic_normalization=layer", False),
    ],
)
def test_a_bound_on_the_slope_is_claimed_only_where_it_holds(words, bounded):
    config = compose(words.split())
    recipe = RECIPES[config.loss.name]
    assert bounds_slope(config, recipe) is bounded
    last = verdict(FINAL, course([1.0], [1.0]), recipe, 8, bounded=bounded)[-1]
    assert ("at most 1" in last) is bounded


def test_a_distance_without_a_floor_is_told_as_it_is():
    found = FINAL | {"wasserstein/exact": 0.111, "wasserstein/floor": 0.0}
    sentences = verdict(found, course([1.0], [1.0]), RECIPES["gp"], 8)
    assert "Exact W1 0.111; a perfect generator scores 0." in sentences


def test_converged_and_vanished_read_differently():
    arrived = verdict(FINAL, course([1.0, 0.001], [1.4, 0.05]), RECIPES["gp"], 8)[2]
    stuck = verdict(FINAL, course([1.0, 0.0001], [1.4, 1.4]), RECIPES["gp"], 8)[2]
    assert "this is not vanishing" in arrived and "vanished" not in arrived
    assert "vanished: under 0.1 %" in stuck


PICTURES = {
    "modes/covered": 9.0,
    "modes/coverage": 0.8,
    "modes/high_quality": 0.615,
    "modes/ceiling": 10.0,
    "modes/kl": 0.0312,
    "fidelity/fid": 4.31,
    "fidelity/fid_floor": 0.62,
    "fidelity/precision": 0.71,
    "fidelity/recall": 0.42,
    "fidelity/nearest_train": 2.31,
    "fidelity/nearest_train_floor": 2.14,
}


def test_pictures_are_told_with_the_judge_s_ceiling_and_the_floors():
    lines = verdict(PICTURES, {"step": []}, RECIPES["gp"], 10, Seen(0.978, False))
    assert lines == [
        "9 of 10 classes covered, 8 of them with at least a fifth of their fair share (judge: "
        "97.8 % accurate; as many real images give 10); KL 0.0312; the judge is sure of 61.5 % "
        "of the fakes.",
        "FID 4.31 in the judge's features, against 0.62 between as many real images; precision "
        "0.71, recall 0.42.",
        "Fakes lie 2.31 from the nearest training image on average, held-out images 2.14.",
    ]


def test_copies_are_said_only_well_below_the_floor():
    def last(nearest):
        near = PICTURES | {"fidelity/nearest_train": nearest}
        return verdict(near, {"step": []}, RECIPES["gp"], 10, Seen(0.978, False))[-1]

    assert last(1.0).endswith("they may be copies.")
    assert "copies" not in last(1.1)


def test_pictures_say_only_what_was_measured():
    def lines(metrics, how):
        return verdict(metrics, {"step": []}, RECIPES["gp"], 10, how)

    unmeasured = {tag: v for tag, v in PICTURES.items() if not tag.startswith("fidelity/")}
    assert len(lines(unmeasured, Seen(0.978, False))) == 1
    assert "pip install 'wganbench[images]'" in lines(unmeasured, Seen(0.978, False, False))[1]
    assert lines({}, Seen(None, False, False)) == lines({}, Seen(None, False)) == []
    undefined = {tag: v for tag, v in PICTURES.items() if tag != "modes/kl"}
    assert "KL" not in lines(undefined, Seen(0.978, False))[0]
    assert "in evaluate.features" in lines(PICTURES, Seen(0.978, True))[1]
    assert seen(None) is None


def test_distances_keep_their_digits_in_any_unit():
    nano = {"wasserstein/exact": 1.328e-9, "wasserstein/floor": 1.326e-10}
    text = " ".join(verdict(nano, {}, RECIPES["gp"], 0))
    assert "Exact W1 1.33e-09, 10.0 times the 1.33e-10 that" in text
    lost = " ".join(verdict({**nano, "wasserstein/exact": 1.328}, {}, RECIPES["gp"], 0))
    assert "1e+10 times" in lost
    assert "W1 1.33e-09" in summary([nano])
