"""The walk over the registry: what comes out, what stays away, and that nothing changes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from wganbench.data import load
from wganbench.data.images import Images
from wganbench.data.mixtures import Mixture
from wganbench.data.points import Points
from wganbench.data.target import KnownShape
from wganbench.errors import ConfigError
from wganbench.metrics import (
    METRICS,
    Evaluation,
    Floor,
    ImageReference,
    Spread,
    energy_distance,
    evaluation,
    measure,
    mode_coverage,
    wasserstein_exact,
    wasserstein_sliced,
    wasserstein_symmetric,
)
from wganbench.metrics.evaluation import numbers_by_tag
from wganbench.metrics.judge import calibrated, judge_network
from wganbench.metrics.rows import LINES_SEED, measure_fidelity
from wganbench.tags.lookup import TAGS

N = 60
MODES = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
MIXTURE = Mixture(MODES, torch.tensor([0.5, 0.25, 0.25]), 0.05)
NO_MODES = KnownShape((2,))


def make(**changes):
    rng = torch.Generator().manual_seed(0)
    near = MODES[torch.arange(N) % 3]
    row = torch.rand(N, generator=rng)
    parts = {
        "target": MIXTURE,
        "reals": near + 0.05 * torch.randn(N, 2, generator=rng),
        "fakes": near + 0.08 * torch.randn(N, 2, generator=rng),
        "fake_gradients": torch.randn(N, 2, generator=rng),
        **{f"score_{of}": row for of in ("real", "fake")},
        **{f"slopes_{of}": row for of in ("hat", "real", "fake")},
        "feedback": row,
        "bce": False,
        "weights_at_clip": 0.5,
        "protocol": "veegan",
        "projections": 8,
        "floor": Floor(0.03, 0.01, 5, N, Spread(-0.01, 0.02), Spread(-0.001, 0.002)),
    }
    return Evaluation(**{**parts, **changes})


def pictured():
    """What makes an evaluation one of images, seen by a judge that has learnt nothing."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2 * N, 1, 8, 8), generator=rng).to(torch.uint8)
    labels = torch.arange(2 * N) % 3
    target = Images(images[:N], images[N:], labels[:N], labels[N:], ["a", "b", "c"])
    judge = calibrated(judge_network(1, 3, rng).eval(), target)
    points = target.scaled(images)
    return {
        "target": target,
        "reals": points[N:],
        "fakes": points[:N].flip(3),
        "fake_gradients": points[:N],
        "floor": None,
        "images": ImageReference(target, judge),
    }


def test_every_row_gives_its_own_tags_and_all_are_in_the_table_of_tags():
    seen = set()
    paired = {"target": load("funnels"), "source_gradients": torch.ones(N, 2)}
    far = {"fakes": MODES[torch.arange(N) % 3] + 5}
    for changes in ({"bce": False}, {"bce": True}, far, pictured(), paired):
        for name, metric in METRICS.items():
            assert metric.name == name and metric.source
            assert set(metric.tags) <= set(TAGS)
            if metric.applies(make(**changes)):
                values = metric.compute(make(**changes))
                assert values.keys() <= set(metric.tags)
                assert all(type(value) is float for value in values.values())
                seen |= values.keys()
    declared = [tag for metric in METRICS.values() for tag in metric.tags]
    assert len(declared) == len(set(declared))
    assert seen == set(declared)


def test_distances_are_of_fakes_against_reals():
    e = make()
    values, modes = measure(e), mode_coverage(e.fakes, MODES, 0.05, MIXTURE.weights)
    exact = wasserstein_exact(e.fakes, e.reals)
    assert values["wasserstein/exact"] == exact
    assert values["wasserstein/floor"] == 0.03
    assert values["wasserstein/excess"] == pytest.approx(exact - 0.03)
    lines = torch.Generator().manual_seed(LINES_SEED)
    assert values["wasserstein/sliced"] == wasserstein_sliced(e.fakes, e.reals, 8, lines)
    assert values["modes/kl"] == modes.kl
    assert values["modes/high_quality"] == modes.high_quality < 0.95
    assert measure(make(protocol="box"))["modes/high_quality"] > modes.high_quality


def test_symmetric_and_energy_come_with_their_floors_in_the_data_s_unit():
    e = make(unit=2.0)
    values = measure(e)
    assert values["wasserstein/symmetric"] == 2 * wasserstein_symmetric(e.reals, e.fakes)
    assert values["energy/distance"] == 2 * energy_distance(e.reals, e.fakes)
    floors = ("wasserstein/symmetric_floor", "wasserstein/symmetric_spread")
    assert [values[tag] for tag in floors] == [-0.02, 0.04]
    assert [values[tag] for tag in ("energy/floor", "energy/spread")] == [-0.002, 0.004]
    without = measure(make(floor=Floor(0.03, 0.01, 5, N)))
    assert {"energy/distance", "wasserstein/symmetric"} <= without.keys()
    assert not {*floors, "energy/floor", "energy/spread"} & without.keys()


def test_the_symmetric_distance_is_measured_at_the_end_and_energy_always():
    values = measure(make(final=False))
    assert not {tag for tag in values if tag.startswith("wasserstein/symmetric")}
    assert {"energy/distance", "energy/floor", "wasserstein/exact"} <= values.keys()


def test_fidelity_is_not_swapped():
    collapsed = make(fakes=MODES[0] + 0.01 * torch.randn(N, 2))
    values = measure(collapsed)
    assert values["fidelity/precision"] > 0.9
    assert values["fidelity/recall"] < 0.2


LAWS = {
    "blobs": lambda n: (
        torch.randint(5, (n, 1)) * torch.tensor([[1.0, 2.0]]) + 0.1 * torch.randn(n, 2)
    ),
    "whole numbers": lambda n: (3 * torch.randn(n, 2)).round(),
    "nine points": lambda n: torch.randint(3, (n, 2)).float(),
}


def fidelity_of(target, fakes):
    n = len(fakes)
    reals = target.held_out(n, torch.Generator().manual_seed(0))
    slopes = dict.fromkeys(["slopes_hat", "slopes_real", "slopes_fake"], torch.ones(n))
    scores = dict.fromkeys(["score_real", "score_fake", "feedback"], torch.ones(n))
    evaluation = make(
        target=target,
        reals=reals,
        fakes=fakes,
        fake_gradients=fakes,
        floor=None,
        **slopes,
        **scores,
    )
    return {tag.removeprefix("fidelity/"): v for tag, v in measure_fidelity(evaluation).items()}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("rows", "n"), [(200, 1000), (600, 2500), (2000, 1000)])
def test_few_held_out_points_do_not_hide_a_perfect_generator(law, rows, n):
    torch.manual_seed(0)
    target = Points(LAWS[law](rows), 0.2, None, 0)
    values = fidelity_of(target, LAWS[law](n))
    assert min(values["precision"], values["recall"], values["coverage"]) > 0.8
    assert values["density"] == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("law", LAWS)
def test_nor_do_they_hide_a_collapsed_one(law):
    torch.manual_seed(0)
    target = Points(LAWS[law](600), 0.2, None, 0)
    values = fidelity_of(target, target.points[:1].repeat(1000, 1))
    assert max(values["recall"], values["coverage"]) < 0.35
    away = fidelity_of(target, LAWS[law](1000) + 50)
    assert set(away.values()) == {0}


def test_too_few_held_out_points_have_no_fidelity():
    target = Points(torch.randn(20, 2), 0.2, None, 0)
    assert fidelity_of(target, torch.randn(1000, 2)) == {}


def test_without_modes_or_floor_their_tags_are_absent():
    values = measure(make(target=NO_MODES, floor=None))
    assert not {tag for tag in values if tag.startswith("modes/")}
    assert "wasserstein/exact" in values
    assert not {"wasserstein/floor", "wasserstein/excess"} & values.keys()


def test_an_undefined_kl_is_absent_and_the_rest_is_zero():
    values = measure(make(fakes=torch.full((N, 2), 1e6)))
    assert values["modes/covered"] == values["modes/high_quality"] == 0
    assert "modes/kl" not in values


def test_diverged_fakes_cover_nothing_and_have_no_distance():
    fakes = torch.zeros(N, 2)
    fakes[5] = math.nan
    values = measure(make(fakes=fakes))
    assert values["modes/covered"] == 0
    assert not {tag for tag in values if tag.startswith("fidelity/")}
    assert not {"wasserstein/exact", "wasserstein/excess", "critic/direction"} & values.keys()
    assert "critic/lipschitz" in values


def test_images_have_slopes_and_no_transport():
    image = torch.rand(N, 1, 4, 4)
    values = measure(make(target=NO_MODES, reals=image, fakes=image, fake_gradients=image))
    assert values["grad_norm/sample"] == pytest.approx(
        float(image.flatten(1).norm(dim=1).mean()) * N
    )
    assert "wasserstein/exact" not in values


def test_measuring_changes_nothing_and_says_the_same_twice():
    e = make()
    before = {
        name: part.clone() for name, part in vars(e).items() if isinstance(part, torch.Tensor)
    }
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert measure(e) == measure(e) == measure(make())
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(getattr(e, name), part) for name, part in before.items())


def test_the_plan_is_solved_once(monkeypatch):
    solved = []

    def count(x, y):
        solved.append(1)
        return exact_transport(x, y)

    exact_transport = evaluation.exact_transport
    monkeypatch.setattr(evaluation, "exact_transport", count)
    assert {"wasserstein/exact", "critic/direction"} <= measure(make()).keys()
    assert len(solved) == 1


def test_a_new_row_is_measured(monkeypatch):
    row = evaluation.Metric("n", ("n/fakes",), lambda e: {"n/fakes": float(len(e.fakes))},
                            lambda e: e.bce, "here")  # fmt: skip
    monkeypatch.setitem(METRICS._rows, "n", row)
    assert measure(make(bce=True))["n/fakes"] == N
    assert "n/fakes" not in measure(make())


def test_rows_that_disagree_and_a_floor_for_another_n_are_refused():
    with pytest.raises((ValueError, TypeError)):
        make(slopes_hat=torch.ones(N + 1))
    with pytest.raises((ValueError, TypeError)):
        make(reals=torch.zeros(N - 1, 2))
    with pytest.raises(ValueError, match="floor is for n = 7"):
        make(floor=Floor(0.1, 0.1, 5, 7))
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().bce = True


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (3.0, "'modes' must return numbers by tag, such as .* returned 3"),
        ({"mine/other": 1.0}, "'modes' gave 'mine/other', which is not among the tags"),
        (
            {"modes/coverage": "high"},
            "'modes' must give one number for 'modes/coverage'; it gave 'high'",
        ),
        ({"modes/coverage": torch.ones(2)}, "'modes' must give one number for 'modes/coverage'"),
    ],
)
def test_what_is_no_number_by_tag_is_refused_by_the_metrics_name(found, told):
    metric = dataclasses.replace(next(iter(METRICS.values())), name="modes")
    metric = dataclasses.replace(metric, tags=("modes/coverage",))
    with pytest.raises(ConfigError, match=told):
        numbers_by_tag(metric, found)
    assert numbers_by_tag(metric, {"modes/coverage": torch.ones(())}) == {"modes/coverage": 1.0}
