"""Critics against known truths: planted critics whose values the mathematics gives."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wganbench.config import compose
from wganbench.data import Target, load
from wganbench.data.funnels import Funnels
from wganbench.metrics import Evaluation, measure
from wganbench.metrics.gradients import gradient_agreement, rank_correlation
from wganbench.studies.frozen import FrozenStack
from wganbench.training.measuring import measure_stack, read_runs

RANKS = ("critic/density_rank", "critic/distance_rank")
AGREEMENT = ("critic/potential_cosine", "critic/l2_uvp")
Critic = Callable[[Tensor], Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def evaluated(target: Target, critic: Critic, fakes: Tensor, **more: Any) -> dict[str, float]:
    """All values of a planted critic at held-out reals and given fakes."""
    n = len(fakes)
    reals = target.held_out(n, seeded(1)).double()
    evaluation = Evaluation(
        target=target, reals=reals, fakes=fakes, score_real=critic(reals),
        score_fake=critic(fakes), slopes_hat=torch.ones(n), slopes_real=torch.ones(n),
        slopes_fake=torch.ones(n), fake_gradients=torch.zeros_like(fakes),
        feedback=torch.ones(n), bce=False, weights_at_clip=None, protocol="chi2", projections=2,
        floor=None, **more,
    )  # fmt: skip
    return measure(evaluation)


def blurred(target: Target, n: int = 300) -> Tensor:
    noise = torch.randn(n, *target.shape, generator=seeded(3)).double()
    return target.sample(n, seeded(2)).double() + 0.3 * noise


def near(modes: Tensor | None) -> Critic:
    """Minus the distance to the nearest mode."""
    assert modes is not None
    centres = modes.double()
    return lambda x: -torch.cdist(x, centres).amin(dim=1)


# Ranks.


@pytest.mark.parametrize("name", ["ring8", "random10", "two_gaussians", "gaussian_pair"])
def test_a_critic_that_is_the_log_density_has_rank_1(name: str) -> None:
    target = load(name)
    density = target.density
    assert density is not None
    fakes = blurred(target)
    planted = evaluated(target, density.log_density, fakes)
    assert planted["critic/density_rank"] == pytest.approx(1, abs=1e-12)
    # Any rising function orders alike; a falling one turns the sign.
    bent = evaluated(target, lambda x: density.log_density(x).clamp(min=-1e6) ** 3, fakes)
    assert bent["critic/density_rank"] == pytest.approx(1, abs=1e-12)
    turned = evaluated(target, lambda x: -density.log_density(x), fakes)
    assert turned["critic/density_rank"] == pytest.approx(-1, abs=1e-12)
    assert turned["critic/distance_rank"] == pytest.approx(-planted["critic/distance_rank"])


def test_distance_and_density_order_alike_on_equal_modes_only() -> None:
    """Far apart and of equal weights, log p falls with the distance to the nearest mode."""
    equal, unequal = load("ring8"), load("decades")
    fakes = blurred(equal)

    planted = evaluated(equal, near(equal.modes), fakes)
    assert planted["critic/distance_rank"] == pytest.approx(1, abs=1e-12)
    assert planted["critic/density_rank"] > 0.999
    other = evaluated(unequal, near(unequal.modes), blurred(unequal))
    assert other["critic/distance_rank"] == pytest.approx(1, abs=1e-12)
    assert other["critic/density_rank"] < 0.999


def test_a_mode_of_weight_0_is_no_data() -> None:
    target = load("mixture", weights=[1.0, 1.0, 0.0])
    fakes = blurred(load("mixture", weights=[1.0, 1.0, 1.0]))
    assert target.modes is not None
    full, kept = target.modes, target.modes[:2]
    among = {len(modes): evaluated(target, near(modes), fakes) for modes in (full, kept)}
    assert among[2]["critic/distance_rank"] == pytest.approx(1, abs=1e-12)
    assert among[3]["critic/distance_rank"] < 1


def test_without_modes_the_data_are_the_other_held_out_reals() -> None:
    target = load("gaussian_pair")
    fakes, reals = blurred(target), target.held_out(300, seeded(1)).double()

    def among_reals(x: Tensor) -> Tensor:
        distances = torch.cdist(x, reals, compute_mode="donot_use_mm_for_euclid_dist")
        return -torch.where(distances == 0, torch.inf, distances).amin(dim=1)

    values = evaluated(target, among_reals, fakes)
    assert values["critic/distance_rank"] == pytest.approx(1, abs=1e-12)


def test_a_critic_by_chance_has_no_order_and_a_flat_one_none() -> None:
    target = load("ring8")
    fakes = blurred(target, 2000)
    noise = torch.randn(2000, generator=seeded(5)).double()
    by_chance = evaluated(target, lambda x: noise, fakes)
    assert all(abs(by_chance[tag]) < 4 / math.sqrt(4000) for tag in RANKS)
    flat = evaluated(target, lambda x: torch.zeros(len(x)).double(), fakes)
    broken = evaluated(target, lambda x: torch.full((len(x),), math.nan).double(), fakes)
    assert not {*RANKS} & (flat.keys() | broken.keys())


def test_a_pack_s_points_have_no_order_of_their_own() -> None:
    """Each point has the score of its pack: a perfect critic would rank below 1."""
    target = load("ring8")
    assert target.density is not None
    fakes = blurred(target)
    packs = evaluated(target, target.density.log_density, fakes, packing=2)
    alone = evaluated(target, target.density.log_density, fakes, packing=1)
    assert not {*RANKS} & packs.keys() and {*RANKS} <= alone.keys()


def test_without_a_density_the_tags_are_absent() -> None:
    target = load("swiss_roll")
    assert not {*RANKS, *AGREEMENT} & evaluated(target, lambda x: x[:, 0], blurred(target)).keys()


def test_ranks_are_those_of_scipy_with_ties() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 9, 200).astype(float), generator.normal(size=200)
    expected = stats.spearmanr(a, b + a).statistic
    assert rank_correlation(a, b + a) == pytest.approx(expected, rel=1e-12)
    # An infinite score is the largest; nan has no place.
    assert rank_correlation(np.array([1.0, 2, np.inf]), np.array([1.0, 2, 3])) == 1
    assert rank_correlation(np.array([1.0, np.nan]), np.array([1.0, 2])) is None
    assert rank_correlation(np.array([1.0]), np.array([1.0])) is None


# Agreement with a potential.


@pytest.mark.parametrize("options", [{}, {"dimension": 16}, {"clusters": 32}])
@pytest.mark.parametrize(
    ("scale", "cosine", "l2"), [(1.0, 1, 0), (2.0, 1, 100), (0.5, 1, 25), (-1.0, -1, 400)]
)
def test_a_critic_that_is_the_potential_agrees_with_it(
    options: dict[str, int], scale: float, cosine: float, l2: float
) -> None:
    """s D* has the cosine sign(s), and 100 (s - 1)^2 per cent, for |grad D*| is 1."""
    target = load("funnels", **options)
    assert target.pair is not None
    potential = target.pair.potential
    y = target.pair.source(300, seeded(2)).double()

    def critic(x: Tensor) -> Tensor:
        return scale * potential(x)

    gradients = torch.func.grad(lambda x: critic(x).sum())(y)
    values = evaluated(target, critic, y, source_gradients=gradients)
    assert values["critic/potential_cosine"] == pytest.approx(cosine, abs=1e-9)
    assert values["critic/l2_uvp"] == pytest.approx(l2, abs=1e-6)
    # The sign is ours: such a critic is high on the reals, and its estimate is scale times W1.
    reals = target.held_out(300, seeded(1)).double()
    assert (float(critic(reals).mean() - critic(y).mean()) > 0) == (scale > 0)


def test_the_agreement_by_hand() -> None:
    """Not a mean of cosines: (0 + 3) / sqrt((4 + 9) 2)."""
    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    values = gradient_agreement(torch.tensor([[0.0, 2.0], [0.0, 3.0]]), truth)
    assert values["critic/potential_cosine"] == pytest.approx(3 / math.sqrt(26), rel=1e-6)
    assert values["critic/l2_uvp"] == pytest.approx(100 * (1 + 4 + 4) / 2, rel=1e-6)
    assert gradient_agreement(torch.zeros(2, 2), truth) == {"critic/l2_uvp": 100}


def test_a_generator_that_trains_has_no_known_potential() -> None:
    target = load("funnels")
    assert not {*AGREEMENT} & evaluated(target, lambda x: x[:, 0], blurred(target)).keys()


SMALL = [
    "tuned=none", "network.width=16", "network.depth=1", "train.batch_size=32", "compile=false",
    "device=cpu", "evaluate.floor_pairs=2", "train.steps=5", "train.decay=none",
]  # fmt: skip


@pytest.mark.parametrize("data", ["funnels", "lines"])
def test_critics_against_the_source_law_are_measured_against_its_potential(data: str) -> None:
    """The values of a trained critic are those of its gradient by autograd."""
    configs = [compose([f"data={data}", f"seed={seed}", *SMALL]) for seed in (0, 1)]
    stack = FrozenStack(configs, torch.device("cpu"))
    stack.advance(5)
    readings = read_runs(stack, 64)
    for run, (values, reading) in enumerate(zip(measure_stack(stack, 64), readings, strict=True)):
        y = reading.points["fakes"].requires_grad_()
        parameters = stack.run_parameters(run, "critic")
        score = stack.exact_algorithm.critic(parameters)(y)
        (gradient,) = torch.autograd.grad(score.sum(), y)
        assert stack.target.pair is not None
        truth = stack.target.pair.potential_gradient(y.detach())
        expected = gradient_agreement(gradient, truth)
        for tag in AGREEMENT:
            assert values[tag] == pytest.approx(expected[tag], rel=1e-4)
        if data == "lines":  # the source is the line beside the reals
            assert bool((y[:, 0] == 1).all())


def test_a_frozen_stack_needs_fakes_or_a_pair() -> None:
    with pytest.raises(ValueError, match="data=ring8 has no source distribution"):
        FrozenStack([compose(["data=ring8", *SMALL])], torch.device("cpu"))


def script_of_funnels(monkeypatch: pytest.MonkeyPatch, words: str) -> ModuleType:
    """scripts/funnels.py with a command line of tiny runs."""
    small = "funnels.py --d 2 --steps 3 --set compile=false device=cpu network.depth=1"
    small += " network.width=8 train.batch_size=16 "
    monkeypatch.setattr("sys.argv", (small + words).split())
    path = Path(__file__).parents[1] / "scripts" / "funnels.py"
    spec = importlib.util.spec_from_file_location("funnels_table", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "funnels_table", script)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "POINTS", 100)
    return script


def test_the_script_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script_of_funnels(monkeypatch, "--loss gp clip --seeds 2").main()
    head, rule, gp, clip = capsys.readouterr().out.splitlines()
    assert head.startswith("| d | funnels | W1 |") and set(rule) == {"|", "-"}
    known = load("funnels").pair
    assert known is not None
    assert gp.startswith(f"| 2 | 4 | {known.distance.value:.3f} | gp | 3 |") and "±" in gp
    assert "| clip |" in clip and "published" not in head


def test_the_script_reads_the_published_pairs_and_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A clone with one pair, whose centres are those of our first seed: the same known W1."""
    ours = load("funnels")
    assert isinstance(ours, Funnels)
    pair = tmp_path / "benchmarks/nd/dim_2/width_4"
    pair.mkdir(parents=True)
    state = {"net.centers": ours.centres, "net.bias": ours.offsets}
    torch.save(state, pair / "deg_8_seed_987.pt")
    results = tmp_path / "metrics/metrics_nd/dim_2/width_4"
    results.mkdir(parents=True)
    table = ",cos,l2,cost\nwgan-gp,0.75,0.125,0.6\ntrue,1.0,0.0,0.8\n"
    (results / "metrics_deg_8_seed_2.csv").write_text(table)
    script = script_of_funnels(monkeypatch, f"--loss gp --seeds 1 --pairs {tmp_path}")
    script.main()
    head, _, gp = capsys.readouterr().out.splitlines()
    assert head.count("published") == 3
    assert gp.startswith(f"| 2 | 4 | {ours.distance.value:.3f} | gp | 3 |")
    cells = [cell.strip() for cell in gp.strip("|").split("|")]
    assert cells[6::2] == ["0.750", "0.750", "12.5"]
    # A critic that is the potential itself agrees with it at every point.
    reals = ours.sample(50, torch.Generator().manual_seed(0))
    truth = ours.potential_gradient(reals.double())
    assert script.agreement(ours, reals, truth) == pytest.approx((1.0, 0.0))
    assert script.agreement(ours, reals, -3 * truth) == pytest.approx((-1.0, 1600.0))
