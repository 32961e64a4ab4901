"""The cost of clipping on planted searches: quality, gradients at the ends, honest choice."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from wganbench.cli.app import main
from wganbench.config import compose
from wganbench.studies import judge
from wganbench.studies.clip_capacity import (
    CLAIMS,
    GRADIENTS,
    Search,
    arms,
    best_setting,
    decades,
    eps_share,
    findings,
    left_out_best,
)
from wganbench.studies.evidence import Outcome
from wganbench.studies.settings import read_settings
from wganbench.studies.study import Context
from wganbench.sweeps.backend import Silent

RATES = ((1e-3, 1e-3), (1e-2, 1e-2))
SEEDS = 5


def context(tmp_path: Path, *overrides: str) -> Context:
    settings = read_settings("clip_capacity", {}, [f"output_dir={tmp_path}", *overrides])
    return Context("clip_capacity", 1, tmp_path, settings, Silent())


def planted(
    loss: str,
    values: tuple[float, ...],
    quality: Callable[[float], float],
    slope: Callable[[float], float],
) -> Search:
    """The second rates are always worse; seeds differ by a little."""
    noise = np.random.default_rng(1).normal(0, 0.01, (len(values), 2, SEEDS))
    ended = tuple(
        tuple(
            tuple(Outcome(1.0, max(0.0, quality(v) - 0.1 * r + noise[k, r, s]), 0, 0, False)
                  for s in range(SEEDS))
            for r in range(2)
        )
        for k, v in enumerate(values)
    )  # fmt: skip
    exact = np.array([[slope(v)] * len(RATES) for v in values])
    logs = exact + np.random.default_rng(2).normal(0, 0.02, (SEEDS, *exact.shape))
    spread = np.random.default_rng(3).normal(0, 0.01, logs.shape)
    return Search(loss, values, RATES, ended, dict.fromkeys(GRADIENTS, logs), spread, spread)


C = (0.001, 0.01, 0.1, 1.0, math.inf)
GP = planted("gp", (0.1, 1.0), lambda v: 0.8 if v == 0.1 else 0.5, lambda v: 0.0)


def verdicts(clip: Search, gp: Search) -> dict[str, str]:
    found = findings(clip, gp)
    return {claim.name: judge("s", claim, found.evidence[claim.name]).word for claim in CLAIMS}


def test_a_planted_cost_is_found() -> None:
    """Best at c = 0.1 and worse than the penalty; gradients grow by a decade a decade."""
    clip = planted("clip", C, lambda c: 0.6 - 0.1 * abs(math.log10(min(c, 10)) + 1),
                   lambda c: math.log10(min(c, 10.0)))  # fmt: skip
    assert clip.best == (2, 0) and GP.best == (0, 0)
    scales = dict.fromkeys(("limits", "scale_small", "scale_large"), "supported")
    assert verdicts(clip, GP) == scales | {"vanishing": "refuted", "eps": "refuted"}
    found = findings(clip, GP)
    assert judge("s", CLAIMS[1], found.evidence["scale_small"]).value == pytest.approx(2, abs=0.1)
    # Against the largest finite c, not against no clipping.
    exploding = judge("s", CLAIMS[2], found.evidence["scale_large"])
    assert exploding.value == pytest.approx(1.0, abs=0.1)
    assert found.evidence["limits"].note == "best c 0.1, best lambda 0.1"
    assert [row["value"] for row in found.rows[:10:2]] == ["0.001", "0.01", "0.1", "1.0", "inf"]
    assert len(found.rows) == 14 and len(found.figures["figure"].axes) == 4
    assert any("c 0.1, rates 0.001 and 0.001" in words for words in found.text)


def test_clipping_that_costs_nothing_is_said_to_cost_nothing() -> None:
    clip = planted("clip", C, lambda c: 0.85 if c == 0.1 else 0.2, lambda c: 0.0)
    assert set(verdicts(clip, GP).values()) == {"refuted"}


def test_best_settings_that_have_not_learnt_are_not_compared() -> None:
    """The penalty at 0.8 or 0.3, clipping at 0.1 or 0.6: slow is not yet limited."""
    slow, fast = (
        planted("clip", C, lambda c, q=q: q, lambda c: math.log10(min(c, 10.0))) for q in (0.1, 0.6)
    )
    low = planted("gp", (0.1, 1.0), lambda v: 0.3, lambda v: 0.0)
    for clip, gp, short in ((slow, GP, ["clip"]), (slow, low, ["clip", "gp"]), (fast, low, ["gp"])):
        reason = findings(clip, gp).evidence["limits"].undecided
        assert reason.startswith("not learnt in these steps: ")
        assert [loss for loss in ("clip", "gp") if f"{loss}'s best scores 0." in reason] == short
        assert verdicts(clip, gp)["limits"] == "undecided"
        assert verdicts(clip, gp)["scale_small"] == "supported", "of sizes it may speak"
    assert verdicts(fast, GP)["limits"] == "supported"


def test_a_scale_is_no_vanishing_and_eps_is_neither() -> None:
    """At the smallest c the gradient falls by 3 decades, or half of the update goes to eps."""
    clip = planted("clip", C, lambda c: 0.85 if c == 0.1 else 0.2, lambda c: 0.0)
    fallen, eps = clip.fallen.copy(), clip.eps.copy()
    fallen[:, 0, 0] += 3.0
    one = dataclasses.replace(clip, fallen=fallen)
    assert {n for n, w in verdicts(one, GP).items() if w == "supported"} == {"vanishing"}
    eps[:, 0, 0] += 0.4
    other = dataclasses.replace(clip, eps=eps)
    assert {n for n, w in verdicts(other, GP).items() if w == "supported"} == {"eps"}
    fallen[1, 0, 0] = math.nan
    assert verdicts(dataclasses.replace(clip, fallen=fallen), GP)["vanishing"] == "undecided"


def test_the_share_of_eps_by_hand() -> None:
    """g of 1e-8 is halved by eps, g of 1 is not changed, no gradient does not count."""
    assert eps_share(np.array([1e-16, 1.0, 0.0])) == pytest.approx(-math.log10(0.75), abs=1e-6)
    assert eps_share(np.array([1e-24])) == pytest.approx(4.0, abs=1e-4)
    assert math.isnan(eps_share(np.zeros(3)))


def test_adam_itself_loses_that_share() -> None:
    for gradient in (1e-9, 1e-8, 1e-4):
        w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([w], lr=1.0, betas=(0.5, 0.9))
        for _ in range(60):
            w.grad = torch.full((1,), gradient, dtype=torch.float64)
            before = w.item()
            optimizer.step()
        assert abs(w.item() - before) == pytest.approx(10 ** -eps_share(np.array([gradient**2])),
                                                       rel=2e-3)  # fmt: skip


def test_gradients_that_were_never_finite_decide_nothing() -> None:
    clip = planted("clip", C, lambda c: 0.85 if c == 0.1 else 0.2, lambda c: 0.0)
    logs = clip.gradients[GRADIENTS[0]].copy()
    logs[2, 3, 0] = math.nan
    clip = dataclasses.replace(clip, gradients=dict.fromkeys(GRADIENTS, logs))
    assert findings(clip, GP).evidence["scale_large"].values[2] is None
    assert verdicts(clip, GP)["scale_large"] == "undecided"


def test_a_setting_is_chosen_on_other_seeds() -> None:
    """Pure noise: chosen on the same seeds the best of many looks good, on others it does not."""
    scores = np.random.default_rng(3).normal(0, 1, (6, 400))
    assert scores[:, best_setting(scores)].mean() > 0.8
    assert abs(left_out_best(scores).mean()) < 0.8
    brute = [
        scores[i, np.delete(scores, i, axis=0).mean(axis=0).argmax()] for i in range(len(scores))
    ]
    assert left_out_best(scores) == pytest.approx(brute)
    with pytest.raises(ValueError, match="two seeds"):
        left_out_best(scores[:1])


def test_decades_are_the_mean_logarithm_of_what_is_finite() -> None:
    assert decades([1e-3, 1e1, math.nan, math.inf]) == pytest.approx(-1.0)
    assert math.isnan(decades([math.nan])) and math.isnan(decades([]))
    assert decades([0.0]) < -37, "a gradient of zero has vanished, it is not missing"


def test_runs_of_a_search_differ_in_the_knob_and_the_rates_alone(tmp_path: Path) -> None:
    own = context(tmp_path)
    planned = arms(own, "clip", "clip_value", own["clip_values"], RATES)
    configs = [compose(overrides) for overrides in planned.values()]
    assert len(configs) == 2 * len(own["clip_values"])
    assert sorted({c.loss.coefficients["clip_value"] for c in configs}) == own["clip_values"]
    assert {(c.train.critic_lr, c.train.generator_lr) for c in configs} == set(RATES)
    assert len({(c.train.steps, c.loss.n_critic, c.network.name) for c in configs}) == 1
    penalised = compose(next(iter(arms(own, "gp", "gp_lambda", [0.1], RATES).values())))
    assert penalised.train == configs[0].train and penalised.loss.n_critic == 2


def test_both_searches_cost_the_same(tmp_path: Path) -> None:
    """Passes of a critic step: 7, with a penalty 11."""
    own = context(tmp_path)
    plain, penalised = 7 * len(own["clip_values"]), 11 * len(own["gp_lambdas"])
    assert penalised == pytest.approx(plain, rel=0.1)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("clip_value=1", "all of clip_values"),
        ("critic_lrs=[0.1,0.2,0.3]", "pairs"),
        ("seeds=1", "give two at least"),
        ("data=swiss_roll", "data=swiss_roll has no modes"),
    ],
)
def test_what_would_void_the_question_is_refused(
    word: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "clip_capacity", word, f"output_dir={tmp_path}"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.study
def test_a_small_study_finds_the_vanishing_end_or_decides_nothing(tmp_path: Path) -> None:
    from wganbench.studies.record import read_verdicts

    small = ["seeds=2", "steps=40", "clip_values=[0.001,0.1,1]", "gp_lambdas=[0.1]",
             "critic_lrs=5e-3", "generator_lrs=1.67e-3", "evaluate_every_n_steps=20",
             "evaluate_n=50", "final_n=100", "precision=fp32", "compiled=false"]  # fmt: skip
    assert main(["study", "clip_capacity", *small, f"output_dir={tmp_path}"]) == 0
    found = {v.claim.name: v for v in read_verdicts(tmp_path / "studies" / "clip_capacity")}
    assert found["scale_small"].word in ("supported", "undecided")
    assert found["scale_small"].value is not None and found["eps"].value is not None
    assert found["limits"].word in ("supported", "undecided", "refuted")
