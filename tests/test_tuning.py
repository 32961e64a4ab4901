"""Searches: the neutral space, successive halving, and what is concluded from the trials."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from wganbench.config import compose
from wganbench.config.from_python import overrides_from
from wganbench.config.jobs import Job
from wganbench.errors import ConfigError
from wganbench.losses import RECIPES
from wganbench.presets import conf_directory
from wganbench.reports.drawing import loss_styles
from wganbench.runs.record import RunRecord
from wganbench.sweeps.launch import make_backend
from wganbench.sweeps.slurm import SlurmBackend
from wganbench.training.passes import StepCost, step_cost
from wganbench.training.streams import critic_steps_before
from wganbench.tuning import command as tuning_command
from wganbench.tuning import search as searching
from wganbench.tuning.analysis import (
    correlation_ratio,
    expected_best,
    expected_best_curve,
    grouped,
    sensitivities,
    success_profile,
)
from wganbench.tuning.command import parse, speedrun
from wganbench.tuning.report import SCORE, value_entry, write_report
from wganbench.tuning.search import (
    base_of,
    count_at,
    elsewhere,
    jobs_of,
    run_search,
    score,
    score_of,
    steps_of,
    winner_yaml,
    write_winners,
)
from wganbench.tuning.space import read_space
from wganbench.tuning.speedrun import (
    Arrival,
    LossResult,
    Median,
    Speedrun,
    arrival,
    arrival_steps,
    check_modes,
    loss_result,
    pair_tests,
    settings_of,
)
from wganbench.tuning.speedrun_report import curves, pair_text

SPACE = read_space()


# The space.
def test_a_trial_is_the_same_under_every_loss() -> None:
    for number in (0, 7, 31):
        trials = {loss: SPACE.trial(loss, number) for loss in RECIPES}
        shared = set.intersection(*(set(trial) for trial in trials.values()))
        assert {"train.critic_lr", "train.generator_lr", "train.betas", "loss.n_critic"} <= shared
        for key in shared:
            assert len({str(trial[key]) for trial in trials.values()}) == 1, key
        assert trials["gp"]["loss.gp_lambda"] == trials["dragan"]["loss.gp_lambda"]


def test_a_trial_has_its_losss_coefficients_and_no_others() -> None:
    for loss, recipe in RECIPES.items():
        own = {key for key in SPACE.trial(loss, 3) if key.startswith("loss.")}
        assert own == {"loss.n_critic", *(f"loss.{name}" for name in recipe.coefficients)}, loss


def test_every_coefficient_of_every_loss_is_drawn() -> None:
    for recipe in RECIPES.values():
        assert {f"loss.{name}" for name in recipe.coefficients} <= set(SPACE.draw)


def test_draws_are_log_uniform_and_do_not_depend_on_how_many_there_are() -> None:
    trials = SPACE.trials("gp", 1000)[:1000]
    assert trials[5:9] == [SPACE.trial("gp", number) for number in range(5, 9)]
    rates = np.log10([trial["train.critic_lr"] for trial in trials])
    # A uniform on [-5, -1] has mean -3 and standard deviation 4 / sqrt(12) = 1.155.
    assert -5 <= rates.min() < -4.95 and -1.05 < rates.max() <= -1
    assert abs(rates.mean() + 3) < 4 * 1.155 / math.sqrt(1000)
    assert abs(rates.std() - 1.155) < 0.07
    ratio = np.log10([t["train.generator_lr"] / t["train.critic_lr"] for t in trials])
    assert abs(ratio.mean()) < 4 * 0.577 / math.sqrt(1000) and np.abs(ratio).max() < 1.01
    assert abs(np.corrcoef(rates, ratio)[0, 1]) < 0.1
    counts = [sum(t["loss.n_critic"] == n for t in trials) for n in (1, 2, 5)]
    assert min(counts) > 1000 / 3 - 4 * 15 and sum(counts) == 1000


def test_known_settings_are_trials_of_every_loss() -> None:
    for loss in ("bce", "clip", "gp"):
        known = SPACE.trials(loss, 4)[4:]
        assert len(known) == len(SPACE.known) == 2, "published ones, of no loss's own search"
        assert known[1]["train.critic_lr"] == 1e-4 and known[1]["train.betas"] == [0.0, 0.9]
    assert SPACE.trials("clip", 4)[5]["loss.clip_value"] == 0.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"draw": {"train.critic_lr": {"low": 1, "high": 0.1}}}, "train.critic_lr needs 0 < low"),
        ({"draw": {"train.critic_lr": {"high": 0.1}}}, "low and high, or among"),
        ({"draw": {"train.betas": {"among": []}}}, "train.betas.among"),
        ({"rungs": [{"trials": 0.5, "seeds": 1, "compute": 1.0}]}, "from 1.0 downwards"),
        ({"rungs": [{"trials": 1.0, "seeds": 1, "compute": 0.5}]}, "rises to 1.0"),
        ({"rungs": [{"trials": 1.0, "seeds": 0, "compute": 1.0}]}, "rungs[0].seeds must be at lea"),
        ({"rungs": [{"trials": 1.0, "seeds": 2.5, "compute": 1.0}]}, "rungs[0].seeds must be a wh"),
        ({"rungs": [{"trials": 1.0, "seeds": 10**9, "compute": 1.0}]}, "seeds must be at most 100"),
        ({"rungs": [{"trials": 1.0, "seed": 1, "compute": 1.0}]}, "'seed'; did you mean seeds?"),
        ({"rungs": [3]}, "rungs[0] must be"),
        ({"knwon": []}, "unknown key 'knwon'; did you mean known?"),
        ({"known": ["train.critic_lr"]}, "known[0] must be"),
        ({"draw": ["train.critic_lr"]}, "draw must be"),
        (
            {"draw": {"train.critic_lr": {"low": "slow", "high": 1}}},
            "train.critic_lr.low must be a",
        ),
        ({"draw": {"train.steps": {"among": [10]}}}, "train.steps follows from compute"),
        ({"fixed": {"train.critic_lr": 1e-3}}, "train.critic_lr is both in draw and in fixed"),
        ({"draw": {"loss.n_critic": {"low": 1, "high": 5}}}, "loss.n_critic is a whole number"),
        ({"draw": {"loss.n_critic": {"among": [None]}}}, "loss.n_critic must be given"),
        ({"known": [{"loss.n_critic": 0}]}, "loss.n_critic must be at least 1"),
        (
            {
                "draw": {
                    "train.betas": {"among": [[0.0, 0.9]]},
                    "loss.n_critic": {"among": [1]},
                    "train.critic_lr": {"low": 1, "high": 2, "times": "train.betas"},
                }
            },
            "train.critic_lr.times needs a number drawn before it; got train.betas",
        ),
        ({"compute": {"ring8": 1.0}}, "one for default"),
        ({"seed": None}, "seed"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": math.inf}, "seed must be a whole number"),
        ({"compute": {"default": math.inf}}, "compute needs finite numbers above 0"),
        ({"draw": {"train.critic_lr": {"low": 1e-308, "high": 1e300}}}, "both finite"),
        ({"fixed": {"network.width": 128, "loss.n_critic": 1}}, "network.width is no key of loss"),
        (
            {"draw": {"train.critic_lr": {"low": 1, "high": 2, "times": "train.critic_rate"}}},
            "train.critic_lr.times needs a number drawn before it; got train.critic_rate",
        ),
        ({"draw": {"train.critic_lr": {"low": 1, "high": 2}}}, "loss.n_critic is missing"),
    ],
)
def test_a_wrong_space_is_refused_in_one_line(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    values = yaml.safe_load(Path("conf/tune/space.yaml").read_text())
    values.update(change)
    file = tmp_path / "mine.yaml"
    ordered = yaml.safe_dump({k: v for k, v in values.items() if v is not None}, sort_keys=False)
    file.write_text(ordered)
    with pytest.raises(ConfigError) as caught:
        read_space(str(file))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_key_that_no_loss_has_is_refused(tmp_path: Path) -> None:
    """It would not be searched, and the winner would not hold it."""
    values = yaml.safe_load(Path("conf/tune/space.yaml").read_text())
    values["draw"]["loss.gp_lamda"] = {"low": 0.1, "high": 1.0}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"loss\.gp_lamda: no loss has it; .*gp_lambda"):
        read_space(str(tmp_path / "mine.yaml"))
    del values["draw"]["loss.gp_lamda"]
    values["fixed"]["loss.packing"] = 2
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    assert read_space(str(tmp_path / "mine.yaml")).trial("gp", 0)["loss.packing"] == 2
    values["draw"]["loss.unrolled"] = {"low": 1, "high": 10}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"loss\.unrolled: it is no number to draw"):
        read_space(str(tmp_path / "mine.yaml"))


def test_common_names_of_losses_are_those_of_train() -> None:
    assert parse(["loss=wgan-gp,bce"]).losses == ("gp", "bce")


def test_where_the_winners_go_is_checked_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tuning_command, "run_search", lambda *_: pytest.fail("it searched"))
    with pytest.raises(ConfigError, match="is not a folder; give another --into"):
        tuning_command.tune(["loss=gp"], Silent(), into=tmp_path / "file")


@pytest.mark.parametrize("where", ["config_dir", "into"])
def test_winners_may_go_to_a_new_folder_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """No shell expands the ~ in --config-dir=~/conf, and the first search makes the folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    places: list[Path] = []
    monkeypatch.setattr(tuning_command, "check_writable", places.append)
    monkeypatch.setattr(tuning_command, "run_search", lambda *_: {})
    monkeypatch.setattr(tuning_command, "write_winners", lambda *g: places.append(g[2]) or {})
    monkeypatch.setattr(tuning_command, "write_report", lambda *_: tmp_path)
    tuning_command.tune(["loss=gp"], Silent(), **{where: Path("~/conf")})
    assert places == [tmp_path / "conf" / "tuned", tmp_path / "conf"]


def test_a_space_that_is_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml must hold values"):
        read_space(str(tmp_path / "mine.yaml"))


def test_a_space_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "space.yaml")
    with pytest.raises(ConfigError, match=r"space\.yaml is not a regular file"):
        read_space(str(tmp_path / "space.yaml"))


def test_a_space_of_ones_own_is_found_by_its_name(tmp_path: Path) -> None:
    own = tmp_path / "tune" / "narrow.yaml"
    own.parent.mkdir()
    text = (conf_directory() / "tune" / "space.yaml").read_text()
    own.write_text(text.replace("name: space", "name: narrow"))
    assert parse(["loss=gp", "space=narrow"], tmp_path).space.name == "narrow"
    with pytest.raises(ConfigError, match="space"):
        parse(["loss=gp", "space=narrow"])


def test_an_unknown_space_names_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="space"):
        read_space("spice")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        read_space("nowhere.yaml")


# The score.
def test_score_is_one_for_a_perfect_generator_and_zero_for_a_diverged_one(tmp_path: Path) -> None:
    perfect = {"modes/coverage": 1.0, "modes/high_quality": 1.0, "wasserstein/exact": 0.05,
               "wasserstein/floor": 0.06}  # fmt: skip
    assert score(perfect, (2,)) == 1.0
    assert score({**perfect, "modes/coverage": 0.5}, (2,)) == 0.5
    assert score({**perfect, "wasserstein/exact": 0.12}, (2,)) == pytest.approx(0.5)
    assert score({**perfect, "wasserstein/exact": math.nan}, (2,)) == 0.0
    assert score({}, (2,)) == 0.0
    far = {"energy/distance": 0.4, "energy/floor": 0.0, "energy/spread": 0.05}
    assert score(far, (64,)) == pytest.approx(0.1 / 0.4)
    assert score({**far, "energy/distance": -0.01}, (64,)) == 1.0
    diverged = RunRecord(tmp_path, "diverged", metrics=perfect, data_shape=[2])
    assert score_of(diverged) == 0.0
    assert score_of(RunRecord(tmp_path, "completed", metrics=perfect, data_shape=[2])) == 1.0


# What the trials say.
def test_expected_best_is_the_mean_of_the_maximum_over_all_samples() -> None:
    scores = [0.1, 0.7, 0.7, 0.2, 0.0]
    for n in (1, 2, 3):
        every = [max(drawn) for drawn in itertools.product(scores, repeat=n)]
        assert expected_best(scores)[n - 1] == pytest.approx(np.mean(every), abs=1e-12)


def test_the_interval_of_the_expected_best_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    hits = 0
    for seed in range(60):
        curve = expected_best_curve(random.uniform(size=40).tolist(), seed)
        hits += curve.low[2] <= 0.75 <= curve.high[2]  # E max of three uniforms is 3/4
    assert 50 <= hits <= 60


def test_the_profile_and_its_band() -> None:
    curve = success_profile([0.0, 0.25, 0.5, 1.0], points=5)
    assert curve.value.tolist() == [1.0, 0.75, 0.5, 0.25, 0.25]
    half = math.sqrt(math.log(40) / 8)  # ln(2 / 0.05) / (2 n), n = 4
    assert curve.low[0] == pytest.approx(1 - half) and curve.high[0] == 1.0


def test_a_knob_that_decides_is_told_from_one_that_does_not() -> None:
    random = np.random.default_rng(0)
    drawn = random.uniform(size=(64, 2)).tolist()
    trials = [{"a": a, "b": b} for a, b in drawn]
    scores = [float(trial["a"] > 0.5) for trial in trials]
    found = {one.key: one for one in sensitivities(trials, scores, ["a", "b"])}
    assert found["a"].share > 0.8 and found["a"].p_value == 1 / 1000
    assert found["b"].share < 0.15 and found["b"].p_value > 0.05
    constant = sensitivities(trials, [0.5] * 64, ["a"])[0]
    assert constant.share == 0.0 and constant.p_value == 1.0
    few = sensitivities(trials[:4], [0.0, 1.0, 0.5, 0.2], ["a"])[0]  # a group for each trial
    assert few.share == 0.0 and few.p_value == 1.0


def test_the_correlation_ratio_is_that_of_its_definition() -> None:
    groups, scores = np.array([0, 0, 1, 1, 1]), np.array([1.0, 3.0, 5.0, 5.0, 8.0])
    # Means 2 and 6, overall 4.4: between 2 (2.4)^2 + 3 (1.6)^2 = 19.2; whole 27.2.
    assert correlation_ratio(groups, scores) == pytest.approx(19.2 / 27.2)
    assert np.bincount(grouped(list(range(10, 0, -1)))).tolist() == [3, 2, 3, 2]
    assert grouped(["x", "y", "x"]).tolist() == [0, 1, 0]


# The search.
def a_search(tmp_path: Path, *words: str) -> searching.Search:
    return parse([*words, f"output_dir={tmp_path}", "network.width=8"])


def test_every_loss_gets_the_same_compute(tmp_path: Path) -> None:
    search = a_search(tmp_path, "loss=bce,gp,rpgan_r1r2")
    for loss in search.losses:
        base = base_of(search, (loss, "ring8"))
        for n_critic, share in itertools.product((1, 2, 5), (1.0, 0.125, 0.01, 0.002)):
            steps = steps_of(search, base, "ring8", {"loss.n_critic": n_critic}, share)
            each, wanted = StepCost(RECIPES[loss]).of_run(n_critic, 1), 480_000 * share
            assert abs(steps * each - wanted) <= max(0.021 * wanted, 0.5 * each)


def test_halving_keeps_the_best_and_raises_the_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a score that grows with the critic's rate, the trial of the largest rate wins."""
    trained: list[list[Any]] = []
    monkeypatch.setattr(searching, "train_all", lambda folder, jobs, *_: trained.append(jobs))
    monkeypatch.setattr(searching, "scored", lambda job: job.config.train.critic_lr)
    search = a_search(tmp_path, "loss=gp,bce", "trials=9")
    arms = run_search(search, Silent())
    count = 9 + len(SPACE.known)
    expected = [count_at(search, rung) for rung in range(3)]
    assert expected == [count, round(count / 4), 2]
    for rung, jobs, number in zip(SPACE.rungs, trained, expected, strict=True):
        assert len(jobs) == 2 * number * rung.seeds
        seeds = {job.config.seed for job in jobs}
        assert seeds == {100 + seed for seed in range(rung.seeds)}
        compute = {
            job.config.train.steps
            * StepCost(RECIPES[job.config.loss.name]).of_run(job.config.loss.n_critic, 1)
            for job in jobs
        }
        assert min(compute) > 0.95 * 480_000 * rung.compute
        assert max(compute) < 1.05 * 480_000 * rung.compute
    for trials in arms.values():
        largest = max(trials, key=lambda trial: trial.settings["train.critic_lr"])
        assert trials[0] is largest and len(trials[0].scores) == 3
        assert [len(trial.scores) for trial in trials] == sorted(
            (len(trial.scores) for trial in trials), reverse=True
        )


class Silent:
    """A watcher that hears nothing."""

    def say(self, line: str) -> None:
        assert line


def test_a_search_in_which_nothing_scored_says_so(tmp_path: Path) -> None:
    """What leads a tie at 0, such as the first of trials that all diverged, is no finding."""
    search = a_search(tmp_path, "loss=gp", "trials=2", "seeds=0")
    arm = ("gp", "ring8")
    for score_of_last, told in ((0.0, True), (0.1, False)):
        trials = searching.trials_of(search, "gp")
        for trial in trials:
            trial.scores = [[0.5], [score_of_last]]
        assert ("No trial of gp" in winner_yaml(search, arm, trials[0], "tune")) == told
        assert yaml.safe_load(winner_yaml(search, arm, trials[0], "tune"))["train"]
        page = write_report(search, {arm: trials}, {arm: []}, "tune").read_text()
        assert ("No trial of gp on ring8 scored above 0" in page) == told
        assert "one space (" in page


def test_numbers_of_a_space_may_be_written_as_elsewhere(tmp_path: Path) -> None:
    """Hydra, which reads the other YAML files, takes 1e-3 for a number."""
    (tmp_path / "mine.yaml").write_text(
        "seed: 1\ndraw:\n  train.critic_lr: {among: [1e-3, 2E+4, 1_0e2]}\n"
        "  loss.gp_lambda: {low: 1e-4, high: 1e4}\nfixed: {loss.n_critic: 1, train.decay: e5}\n"
        "rungs: [{trials: 1, seeds: 1, compute: 1}]\ncompute: {default: 1e-3}\n"
    )
    space = read_space(str(tmp_path / "mine.yaml"))
    assert space.draw["train.critic_lr"].among == (0.001, 20_000.0, 1000.0)
    assert space.draw["loss.gp_lambda"].low == 0.0001 and space.compute == {"default": 1000.0}
    assert space.fixed["train.decay"] == "e5" and space.name == "mine"


def test_a_search_tunes_a_loss_with_further_penalties(tmp_path: Path) -> None:
    search = a_search(tmp_path, "loss=hinge,bce", "trials=4", "loss.penalties=[r1]",
                      "loss.packing=2", "network.width=32")  # fmt: skip
    for loss in ("hinge", "bce"):
        trial = searching.trials_of(search, loss)[1]
        assert trial.settings["loss.r1_gamma"] == SPACE.trial("bce_r1", 1)["loss.r1_gamma"]
        base = base_of(search, (loss, "ring8"))
        (job, *_) = jobs_of(search, base, (loss, "ring8"), trial.settings, SPACE.rungs[0])
        assert job.config.loss.penalties == ["r1"]
        assert job.config.loss.coefficients["r1_gamma"] == trial.settings["loss.r1_gamma"]
    file = write_winners(search, {("hinge", "ring8"): trial}, tmp_path, "tune")["hinge", "ring8"]
    written = yaml.safe_load(file.read_text())["loss"]
    assert written["penalties"] == ["r1"] and written["packing"] == 2
    assert elsewhere(search) == ["network.width=32", "network.width=8"]
    assert file.name == "hinge+r1-ring8.yaml"
    config = compose(["loss=hinge", "data=ring8", "tuned=hinge+r1-ring8"], tmp_path)
    assert config.loss.penalties == ["r1"] and config.loss.packing == 2
    assert compose(["loss=hinge", "data=ring8"], tmp_path).loss.penalties == []
    with pytest.raises(ConfigError, match=r"loss.penalties: loss=gp has the penalty gp already"):
        parse(["loss=gp", "loss.penalties=[gp]"])


def test_the_winners_file_trains_what_won(tmp_path: Path) -> None:
    search = a_search(tmp_path, "loss=gp", "trials=4")
    trial = searching.trials_of(search, "gp")[0]
    trial.settings = {**trial.settings, "train.critic_lr": 1e-05, "train.betas": [0.0, 0.99]}
    text = winner_yaml(search, ("gp", "ring8"), trial, "wganbench tune loss=gp")
    assert "# wganbench tune loss=gp" in text and "seeds 100-104" in text
    assert yaml.safe_load(text)["train"]["critic_lr"] == 1e-05
    write_winners(search, {("gp", "ring8"): trial}, tmp_path, "wganbench tune loss=gp")
    config = compose(["loss=gp", "data=ring8"], tmp_path)
    arm = ("gp", "ring8")
    wanted = jobs_of(search, base_of(search, arm), arm, trial.settings, SPACE.rungs[-1])[0]
    assert config.train.critic_lr == 1e-05 and config.train.betas == [0.0, 0.99]
    assert config.train.steps == wanted.config.train.steps
    assert config.loss == wanted.config.loss


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trials=0"], "trials="),
        (["trials=1e9"], "trials="),
        (["budget=-1"], "budget="),
        (["budget=nan"], "budget="),
        (["loss=gpp"], "gp"),
        (["loss="], "loss is empty"),
        (["data=ring9"], "ring8"),
        (["loss=gp", "train.critic_lr=1e-3"], "train.critic_lr is set by the search"),
        (["seed=3"], "seed is set by the search: tuning seeds are 100 and up"),
        (["train.steps=10"], "train.steps is set by the search: it follows from the compute"),
        (["tuned=none"], "tuned is set by the search"),
        (["overwrite=true"], "name=NAME searches anew"),
        (["experiment=pacgan_ring8"], "experiment wins over tuned settings"),
        (["network.width=16,32"], "'network.width=16,32': give one value"),
        (["trails=5"], "unknown key trails; did you mean trials?"),
        (["+qwertz=5"], "unknown key qwertz; wganbench list settings tune shows its own"),
        (["lr=5"], "did you mean train.critic_lr and train.generator_lr?"),
        (["gp"], "KEY=VALUE"),
        (["name=../../esc"], "name names a folder"),
        (["name='../x'"], "name names a folder"),
        (["output_dir="], "output_dir is empty"),
        (["hydra/launcher=rai"], "ray"),
        (["hydra/launcher=ray", "hydra.launcher.adress=x"], "address"),
        (["hydra.run.dir=x"], "hydra.run.dir"),
        (["hydra/launcher=slurm", "hydra.launcher.setup=[a"], "hydra.launcher.setup"),
        (["seeds=1000"], "seeds="),
        (["hydra/launcher=slurm", "hydra.launcher.mem_gb=${nowhere}"], "nowhere"),
    ],
)
def test_wrong_words_are_refused_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(words)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_budget_beyond_all_steps_is_refused() -> None:
    search = parse(["budget=1e308", "loss=gp"])
    base = base_of(search, ("gp", "ring8"))
    with pytest.raises(ConfigError, match=r"a run of gp on ring8 would have .* lower budget="):
        jobs_of(search, base, ("gp", "ring8"), SPACE.trial("gp", 0), SPACE.rungs[0])


def test_quotes_are_those_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my space.yaml").write_bytes((conf_directory() / "tune/space.yaml").read_bytes())
    given = {"output_dir": "my runs", "name": "007", "space": f"{tmp_path}/my space.yaml"}
    words = overrides_from([], {**given, "loss": ["bce", "gp"]}, several=True)
    search = parse(words)
    assert search.folder == Path("my runs/007") and search.losses == ("bce", "gp")
    assert parse(["loss='bce','gp'", "output_dir='~/a b'"]).losses == ("bce", "gp")
    assert parse(["output_dir='~/a b'", "name=x"]).folder == tmp_path / "a b" / "x"


@pytest.mark.parametrize(
    "word",
    ["seed=1", "evaluate.every_n_steps=7", "++log.figure=true", "sweep.max_stack=2", "name=../x",
     "network.width=8,16"],
)  # fmt: skip
def test_a_speedrun_refuses_what_it_sets_itself(word: str) -> None:
    with pytest.raises(ConfigError, match="is set by the speedrun|names a folder|give one value"):
        speedrun(["loss=gp", word], Silent())


def test_every_launcher_can_be_chosen() -> None:
    for name in ("stack", "ray", "slurm"):
        choice = parse([f"hydra/launcher={name}"]).choice
        assert choice[0] == name
        make_backend(*choice, planning=True)
    chosen, settings = parse(["hydra/launcher=ray", "hydra.launcher.cpus_per_stack=2"]).choice
    assert chosen == "ray" and settings["cpus_per_stack"] == 2
    words = ["hydra/launcher=slurm", "hydra.launcher.mem_gb=7.5", "hydra.launcher.slurm.qos=long"]
    choice = parse([*words, "hydra.launcher.setup=[module load cuda]"]).choice
    backend = make_backend(*choice, planning=True)
    assert isinstance(backend, SlurmBackend) and backend.mem_gb == 7.5
    assert backend.slurm["qos"] == "long" and backend.setup == ["module load cuda"]


@pytest.mark.slow
def test_a_search_trains_ranks_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wganbench.cli.app import main

    monkeypatch.chdir(tmp_path)
    words = ["tune", "loss=bce,gp", "trials=4", "budget=0.01", "seeds=2", "network.width=8"]
    assert main(words) == 0
    folder = tmp_path / "outputs" / "tune-ring8"
    found = json.loads((folder / "search.json").read_text())
    assert [arm["loss"] for arm in found["arms"]] == ["bce", "gp"]
    assert all(len(arm["fresh"]) == 2 for arm in found["arms"])
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")} == written
    assert "report.html" in {path.name for path in folder.iterdir()}
    assert len((folder / "trials.csv").read_text().splitlines()) == 1 + 2 * (4 + len(SPACE.known))


# Speedruns.
REMISSIONS = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
RELAPSED = [True] * 9 + [False] * 12
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
"""Weeks of remission under 6-MP and under placebo (Freireich et al. 1963), as textbooks have
them: medians 23 and 8, log-rank chi squared 16.79."""


def result_of(loss: str, times: list[int], arrived: list[bool]) -> LossResult:
    arrivals = [Arrival(i, a, t, t) for i, (t, a) in enumerate(zip(times, arrived, strict=True))]
    return loss_result(loss, "tuned", arrivals)


def test_medians_and_test_are_those_of_the_textbook() -> None:
    treated, placebo = result_of("a", REMISSIONS, RELAPSED), result_of("b", PLACEBO, [True] * 21)
    assert (treated.passes.value, placebo.passes.value) == (23, 8)
    # R's survfit with conf.type = "log-log" gives [13, NA] and [4, 11].
    assert (treated.passes.low, treated.passes.high) == (13, None)
    assert (placebo.passes.low, placebo.passes.high) == (4, 11)
    (p_value,) = pair_tests([treated, placebo]).values()
    assert p_value == pytest.approx(math.erfc(math.sqrt(16.793 / 2)), rel=1e-3)


def test_runs_that_never_arrive_count() -> None:
    never = result_of("bce", [100] * 5, [False] * 5)
    assert never.passes.value is None and never.arrived == 0
    few = result_of("clip", [10, 20, 100, 100, 100], [True, True, False, False, False])
    assert few.passes.value is None  # 2 of 5: under a half; dropping the others would say 10
    most = result_of("gp", [10, 20, 30, 100, 100], [True, True, True, False, False])
    assert most.passes.value == 30
    assert pair_tests([never, result_of("lsgan", [9] * 5, [False] * 5)]) == {("bce", "lsgan"): 1.0}


def test_a_run_arrives_at_the_second_good_evaluation_in_a_row() -> None:
    good = {"modes/coverage": 1.0, "modes/high_quality": 0.96, "wasserstein/exact": 0.14,
            "wasserstein/floor": 0.1}  # fmt: skip

    def table(*changes: dict[str, float]) -> dict[str, list[Any]]:
        rows = [{**good, **change} for change in changes]
        columns = {tag: [row[tag] for row in rows] for tag in good}
        return {"step": list(range(50, 50 * len(rows) + 50, 50)), **columns}

    assert arrival_steps(table({}, {})) == 100
    assert arrival_steps(table({}, {"modes/coverage": 0.875}, {}, {})) == 200
    assert arrival_steps(table({}, {"modes/high_quality": 0.949}, {})) is None
    assert arrival_steps(table({"wasserstein/exact": 0.151}, {})) is None
    # In many dimensions the energy distance decides, and lies within two spreads of its floor.
    energy = {"energy/distance": 0.019, "energy/floor": 0.0, "energy/spread": 0.01}
    good |= energy
    assert arrival_steps(table({}, {}), (64,)) == 100
    assert arrival_steps(table({"wasserstein/exact": 9.0}, {}), (64,)) == 100
    assert arrival_steps(table({"energy/distance": 0.021}, {}), (64,)) is None
    assert arrival_steps(table({}, {"wasserstein/exact": math.nan}, {}, {})) == 200


def test_the_table_says_whose_settings_a_loss_had() -> None:
    assert settings_of("gp", "ring8", (), None) == "tuned"
    assert settings_of("gp", "ring8", ("tuned=none",), None) == "paper's"
    assert settings_of("gp", "ring8", ("tuned=gp-grid25",), None) == "gp-grid25"
    assert settings_of("gp", "swiss_roll", (), None) == "paper's"
    for word in ("~tuned", "tuned=null", "tuned=paper"):
        assert settings_of("gp", "ring8", (word,), None) == "paper's"


@pytest.mark.parametrize(("status", "seconds"), [("diverged", 40.0), ("completed", 4.0)])
def test_a_diverged_run_counts_to_the_end_in_seconds_too(
    tmp_path: Path, status: str, seconds: float
) -> None:
    """It stopped after a tenth of its passes and 4 seconds."""
    config = compose(["loss=gp", "data=ring8", "tuned=none", "train.steps=100"])
    whole = step_cost(config).of_run(critic_steps_before(100, config), 100)
    final = {"budget/seconds": 4.0, "budget/passes": whole / 10}
    record = {"status": status, "step": 10, "metrics": final}
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "metrics.csv").write_text("step,modes/coverage\n10,0.5\n")
    found = arrival(Job(config, tmp_path))
    assert (found.arrived, found.passes) == (False, whole)
    assert found.seconds == pytest.approx(seconds)


def test_a_winners_means_keep_to_what_is_possible_and_say_how_many_they_are_of() -> None:
    def runs(modes: Sequence[float], diverged: int = 0) -> list[RunRecord]:
        found = [
            RunRecord(Path("run"), status="completed", data_modes=8, metrics={"modes/covered": m})
            for m in modes
        ]
        return found + [RunRecord(Path("run"), status="diverged", data_modes=8)] * diverged

    assert value_entry("modes/covered", runs([8, 8, 8, 8, 7])).text == "7.80 [7.24, 8.00]"
    assert value_entry("modes/covered", runs([8, 6, 8], 2)).text.endswith(", 3 of 5")
    low = value_entry(SCORE, runs([8], 4))
    assert low.key == 0 and "of" not in low.text, "a diverged run scores 0 and counts"


def test_two_seeds_are_called_weak_evidence() -> None:
    few, enough = (
        [LossResult("gp", "own", (arrival,) * n, Median(1, 1, 1), Median(1, 1, 1))]
        for n in (2, 5)
        for arrival in [Arrival(0, True, 1000.0, 1.0)]
    )
    assert "weak evidence" in pair_text(Speedrun("ring8", tuple(few), {}))
    assert "weak evidence" not in pair_text(Speedrun("ring8", tuple(enough), {}))


def test_a_curve_of_arrivals_ends_where_training_did_unless_all_arrived() -> None:
    never, early = Arrival(0, False, 1000.0, 1.0), Arrival(1, True, 500.0, 1.0)
    late = Arrival(0, True, 4000.0, 1.0)
    results = [
        LossResult(loss, "own", arrivals, Median(1, 1, 1), Median(1, 1, 1))
        for loss, arrivals in (("bce", (never, early)), ("gp", (early, late)), ("clip", (early,)))
    ]
    (axes,) = curves(Speedrun("ring8", tuple(results), {})).axes
    ends = {line.get_label().split()[0]: line.get_xydata()[-1].tolist() for line in axes.lines}
    assert ends == {"bce": [1.0, 0.5], "gp": [4.0, 1.0], "clip": [4.0, 1.0]}


def test_losses_of_one_colour_have_other_lines() -> None:
    styles = loss_styles(RECIPES)
    assert len(set(styles.values())) == len(styles) >= 22


def test_a_speedrun_needs_modes() -> None:
    check_modes("ring8", compose(["data=ring8"]))
    with pytest.raises(ConfigError, match="data=swiss_roll has no modes"):
        check_modes("swiss_roll", compose(["data=swiss_roll"]))


@pytest.mark.slow
def test_a_speedrun_leaves_a_table_with_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wganbench.cli.app import main

    monkeypatch.chdir(tmp_path)
    words = ["loss=bce,gp", "seeds=2", "network.width=8", "train.steps=200", "loss.n_critic=5"]
    assert main(["speedrun", *words]) == 0
    folder = tmp_path / "outputs" / "speedrun-ring8"
    text = (folder / "speedrun.md").read_text()
    assert "0 of 2" in text and "never" in text and "cores" in text
    found = json.loads((folder / "speedrun.json").read_text())
    # 200 steps of gp: 200 (5 x 11 + 5) passes.
    (gp,) = [one for one in found["losses"] if one["loss"] == "gp"]
    assert [one["passes"] for one in gp["arrivals"]] == [12_000.0, 12_000.0]
