"""`layer_gradients`: its slope on planted critics, its expectation against random signs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wganbench.config import compose
from wganbench.errors import ConfigError
from wganbench.networks import build_pair, initial_parameters
from wganbench.presets import read_preset
from wganbench.studies import STUDIES, judge
from wganbench.studies.layer_gradients.measure import (
    activation_gradients,
    expected_slope,
    hidden_weights,
    histogram,
    scaled_clip,
    share_at,
    slope_per_layer,
    steepest_slope,
)
from wganbench.studies.layer_gradients.study import CLIP_VALUES, Depth, Depths, evidence, overrides
from wganbench.studies.record import judge_all
from wganbench.studies.settings import read_settings
from wganbench.studies.study import Context
from wganbench.sweeps.backend import Silent
from wganbench.training.stack import Stack

DEPTH, WIDTH = 12, 64


def critic(activation: str = "relu") -> nn.Module:
    network = read_preset("network", "mlp")
    options = {k: v for k, v in network.items() if k not in ("name", "kind")}
    options |= {"width": WIDTH, "depth": DEPTH, "activation": activation}
    return build_pair("mlp", options, (2,), "fp32").critic


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points() -> tuple[Tensor, Tensor]:
    return torch.randn(64, 2, generator=source(1)), torch.randn(64, 2, generator=source(2)) + 1


def signs(clip_value: float, seed: int) -> dict[str, Tensor]:
    """Weights +-c with random signs, biases 0."""
    start = initial_parameters(critic(), "he", source(seed))
    return {
        name: clip_value * torch.sign(p) if name.endswith("weight") else p
        for name, p in start.items()
    }


@pytest.mark.parametrize("clip_value", [0.1, 0.01, 0.001])
def test_random_signs_give_the_expected_slope(clip_value: float) -> None:
    slopes = [
        slope_per_layer(
            activation_gradients(critic(), signs(scaled_clip(clip_value, WIDTH), seed), *points())
        )
        for seed in range(5)
    ]
    known = [slope for slope in slopes if slope is not None]
    assert len(known) == 5
    assert sum(known) / 5 == pytest.approx(expected_slope(clip_value, 512), abs=0.07)


def test_the_expectation_is_that_of_the_reference() -> None:
    assert [expected_slope(c, 512) for c in (0.1, 0.01, 0.001)] == pytest.approx(
        [0.204, -0.796, -1.796], abs=1e-3
    )
    assert [expected_slope(c, 64) for c in (0.1, 0.01, 0.001)] == pytest.approx(
        [-0.247, -1.247, -2.247], abs=2e-3
    )
    assert expected_slope(scaled_clip(0.01, 64), 64) == pytest.approx(expected_slope(0.01, 512))


def test_equal_signs_reach_the_steepest_slope() -> None:
    alike = {name: p.abs() for name, p in signs(0.02, 0).items()}
    points = torch.rand(64, 2, generator=source(1)), torch.rand(64, 2, generator=source(2))
    norms = activation_gradients(critic(), alike, *points)
    assert slope_per_layer(norms) == pytest.approx(steepest_slope(0.02, WIDTH), abs=1e-6)


def test_starts_have_the_slopes_of_the_reference() -> None:
    """He's start keeps the gradient; torch's own loses 0.39 decades a layer: log10(1/sqrt 6)."""
    for start, expected in (("he", 0.0), ("pytorch", -math.log10(6) / 2)):
        slopes = [
            slope_per_layer(
                activation_gradients(
                    critic(), initial_parameters(critic(), start, source(seed)), *points()
                )
            )
            for seed in range(5)
        ]
        assert sum(s or 0.0 for s in slopes) / 5 == pytest.approx(expected, abs=0.07)


def test_norms_are_those_of_finite_differences() -> None:
    """The last activation's gradient by hand: dL/dh = -+ w / n for each real and fake."""
    parameters = initial_parameters(critic(), "he", source(3))
    x, y = points()
    norms = activation_gradients(critic(), parameters, x, y)
    last = float(parameters["output.weight"].norm()) * math.sqrt(2 / len(x))
    assert len(norms) == DEPTH and norms[-1] == pytest.approx(last, rel=1e-6)
    doubled = parameters | {"output.weight": 2 * parameters["output.weight"]}
    assert activation_gradients(critic(), doubled, x, y) == pytest.approx([2 * n for n in norms])


def test_slope_of_what_is_planted_and_of_what_has_none() -> None:
    assert slope_per_layer([10.0 ** (-0.8 * k) for k in range(12)][::-1]) == pytest.approx(-0.8)
    assert slope_per_layer([1e9, 1e5, 1e1]) == pytest.approx(4.0)
    assert slope_per_layer([1.0, 0.0]) is None and slope_per_layer([1.0, math.nan]) is None


def test_shares_and_histogram_of_weights() -> None:
    planted = signs(0.02, 0)
    weights = hidden_weights(planted)
    assert len(weights) == (DEPTH - 1) * WIDTH**2, "the matrices between hidden layers alone"
    assert share_at(weights, 0.02) == 1.0 and share_at(weights, 0.03) == 0.0
    shares = histogram(weights, 0.02, 5)
    assert shares[1:4] == [0.0, 0.0, 0.0] and sum(shares) == pytest.approx(1.0)


def planted(slope: float, seed: int, gain: float = 1.0, share: float = 0.9) -> Depth:
    norms = [10.0 ** (-(slope + 0.001 * seed) * layer) for layer in range(DEPTH)]
    return Depth(norms, norms, norms, share + 0.001 * seed, 0.1, [1.0], gain)


def planted_arms(
    clip: float = -0.8, gp: float = 0.0, **own: float
) -> dict[str, list[Depth | None]]:
    gain = {"gain": own.pop("gain", 1.0)}
    arms: dict[str, list[Depth | None]] = {
        f"c={c:g}": [planted(clip, seed, 0.0, **own) for seed in range(5)] for c in CLIP_VALUES
    }
    return arms | {"gp": [planted(gp, seed, **gain) for seed in range(5)]}


def judged(
    found: Depths, before: Depths, late: Sequence[float | None] = (-0.8,) * 5
) -> dict[str, str]:
    """Verdicts on slopes of -0.8 under clipping and 0 under GP; weights went from 10 to 90 %."""
    long = [planted(0.0, seed) if slope is None else planted(slope, seed)
            for seed, slope in enumerate(late)]  # fmt: skip
    for depth, slope in zip(long, late, strict=True):
        if slope is None:
            depth.norms[0] = 0.0
    entries = evidence(found, before, long)
    claims = STUDIES["layer_gradients"].claims
    return {claim.name: judge("s", claim, entries[claim.name]).word for claim in claims}


def test_critics_at_rest_decide_whether_clipped_ones_learnt_or_not() -> None:
    trained = judged(planted_arms(), planted_arms(clip=-0.77, gp=0.03))
    for name in ("steeper_c=0.01", "slope_gp", "slope_c=0.01", "piles"):
        assert trained[name] == "supported", name
    assert trained["slope_c=0.1"] == "refuted", "+0.2 is expected of that clip value"


def test_critics_that_were_not_trained_decide_nothing() -> None:
    clipped = judged(planted_arms(), planted_arms(clip=-0.74))
    assert clipped["slope_gp"] == clipped["piles"] == "supported"
    assert {clipped[f"{kind}_c=0.01"] for kind in ("steeper", "slope")} == {"undecided"}
    penalised = judged(planted_arms(), planted_arms(gp=0.06))
    assert penalised["slope_gp"] == penalised["steeper_c=0.01"] == "undecided"
    assert penalised["slope_c=0.01"] == "supported", "this claim is on clipping alone"
    blind = judged(planted_arms(gain=-0.1), planted_arms())
    assert blind["slope_gp"] == blind["steeper_c=0.01"] == "undecided"
    assert blind["slope_c=0.01"] == "supported"
    piling = judged(planted_arms(), planted_arms(share=0.7))
    assert piling["piles"] == "undecided" and piling["slope_c=0.1"] == "refuted"


def test_critics_that_get_over_the_decay_refute_that_it_lasts() -> None:
    words = {
        "not refuted": [(-0.8,) * 5, (-0.8, -0.8, -0.8, -0.1, 0.0), (-1.2,) * 5],
        "refuted": [(-0.8, -0.8, -0.1, 0.1, 0.0), (None, None, 0.0, 0.0, -0.1)],
        "undecided": [(None,) * 5],
    }
    for word, cases in words.items():
        for late in cases:
            found = judged(planted_arms(), planted_arms(), late)
            assert found["lasts"] == word, late
            assert found["steeper_c=0.01"] == "supported", "the claim on early training"
    grown = [planted(-1.2, seed) for seed in range(5)]
    alive = evidence(planted_arms(), planted_arms(), grown)["lasts"]
    assert alive.values == [0.0] * 5 and alive.note == ""
    grown[0].norms[0] = 0.0
    dead = evidence(planted_arms(), planted_arms(), [*grown[:4], None])["lasts"]
    assert dead.values == [None, 0.0, 0.0, 0.0, None]
    assert dead.note == "1 of 5 critics died: a layer passes no gradient"


def test_a_run_that_diverged_on_the_way_is_not_at_rest() -> None:
    before = planted_arms()
    before["gp"] = [None, *before["gp"][1:]]
    assert judged(planted_arms(), before)["slope_gp"] == "undecided"


def test_the_half_is_the_beginning_of_the_whole(tmp_path: Path) -> None:
    study = STUDIES["layer_gradients"]
    small = read_settings(study.name, study.protects, ["seeds=1", "steps=6", "device=cpu"])
    context = Context(study.name, 1, tmp_path, small, Silent())
    for name in ("gp", "c=0.01"):
        ends = []
        for steps in (3, 6):
            stack = Stack([compose(overrides(context, steps)[name])], torch.device("cpu"))
            for _ in range(3):
                stack.iterate()
            ends.append(stack.run_parameters(0, "critic"))
        assert all(torch.equal(a, b) for a, b in zip(*(e.values() for e in ends), strict=True))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["depth=1"], "depth must be at least 2"),
        (["steps=1"], "steps=1 must be at least 2"),
        (["steps=40", "long_steps=40"], "steps=40 must be .* and below long_steps=40"),
    ],
)
def test_what_would_compare_nothing_is_refused(
    words: list[str], message: str, tmp_path: Path
) -> None:
    study = STUDIES["layer_gradients"]
    given = read_settings(study.name, study.protects, words)
    with pytest.raises(ConfigError, match=message):
        study.measure(Context(study.name, 1, tmp_path, given, Silent()))
    assert not any(tmp_path.iterdir())


def test_every_arm_is_trained_for_half_too_and_one_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = STUDIES["layer_gradients"]
    given = read_settings(study.name, study.protects, ["steps=40", "long_steps=90"])
    trained = dict[str, int]()

    def train(self: Context, arms: dict[str, list[str]]) -> None:
        trained.update((name, compose(words).train.steps) for name, words in arms.items())
        raise InterruptedError

    monkeypatch.setattr(Context, "train", train)
    with pytest.raises(InterruptedError):
        study.measure(Context(study.name, 1, tmp_path, given, Silent()))
    arms = ["gp", *(f"c={c:g}" for c in CLIP_VALUES)]
    halves = {f"{name} half": 20 for name in arms}
    assert trained == dict.fromkeys(arms, 40) | halves | {"c=0.01 long": 90}


@pytest.mark.slow
@pytest.mark.study
def test_clipping_explodes_and_vanishes_and_gp_does_not(tmp_path: Path) -> None:
    study = STUDIES["layer_gradients"]
    small = read_settings(
        study.name, study.protects, ["seeds=3", "steps=20", "long_steps=40", "device=cpu"]
    )
    findings = study.measure(Context(study.name, 1, tmp_path, small, Silent()))
    words = {v.claim.name: v.word for v in judge_all(study, findings)}
    for name in ("slope_c=0.01", "slope_c=0.001", "slope_gp", "steeper_c=0.001"):
        assert words[name] in ("supported", "undecided"), name
