"""A run on images is measured, recorded and measured again, with its judge."""

from __future__ import annotations

import json
import math
from functools import cache

import pytest
import torch

from wganbench.config import ConfigError, compose
from wganbench.data import load
from wganbench.metrics import judge_for, mode_coverage
from wganbench.training import measuring
from wganbench.training.measuring import read_runs
from wganbench.training.run import evaluate_run
from wganbench.training.runs import train_run
from wganbench.training.stack import Stack

SETTINGS = [
    "data=digits", "network=dcgan8", "device=cpu", "compile=false", "tuned=none",
    "train.steps=2", "train.batch_size=8", "loss.n_critic=1", "log.every_n_steps=1",
    "log.tensorboard=false", "evaluate.every_n_steps=1", "evaluate.n=20", "evaluate.final_n=30",
]  # fmt: skip


@cache
def config(*overrides):
    return compose([*SETTINGS, *overrides])


def test_a_run_records_its_judge_and_is_measured_again(tmp_path):
    outcome = train_run(config(), tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    judge = judge_for(Stack([config()], torch.device("cpu")).target)
    assert record["judge"] == {
        "accuracy": judge.accuracy,
        "sha256": judge.sha256,
        "ceiling": record["metrics"]["modes/ceiling"],
    }
    assert "of 10 classes covered" in outcome.verdict[0] and "FID" in outcome.verdict[1]
    assert outcome.metrics["fidelity/kid"] == record["metrics"]["fidelity/kid"]
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    columns = rows[0].split(",")
    last = dict(zip(columns, rows[-1].split(","), strict=True))
    assert last["modes/covered"] and last["fidelity/fid"] and not last["fidelity/kid"]
    again = evaluate_run(tmp_path / "run", 40)
    assert again["fidelity/kid"] and again["modes/ceiling"] <= 10
    assert all(math.isfinite(value) for value in again.values())


def test_the_judge_is_found_once_a_stack(monkeypatch):
    asked = []

    def count(target, features):
        asked.append(features)
        return image_reference(target, features)

    image_reference = measuring.image_reference
    monkeypatch.setattr(measuring, "image_reference", count)
    stack = Stack([config(), config("seed=1")], torch.device("cpu"))
    first = measuring.measure_stack(stack, 20, final=False)
    measuring.measure_stack(stack, 20, final=False)
    assert measuring.stack_judge(stack) is measuring.stack_judge(stack)
    assert asked == [None]
    assert first[0]["modes/kl"] != first[1]["modes/kl"]
    reals = measuring.stack_judge(stack).predict(read_runs(stack, 20)[0].points["reals"])
    assert first[0]["modes/ceiling"] == len(reals.unique())


def test_points_have_no_judge():
    stack = Stack([compose(["compile=false", "device=cpu"])], torch.device("cpu"))
    assert measuring.stack_judge(stack) is None
    assert measuring.mode_count(stack.target) == 8


def test_a_mode_of_weight_0_is_no_mode_that_a_perfect_generator_misses():
    target = load("mixture", centres=[[0, 0], [1, 0], [2, 0]], weights=[1, 0, 1], sigma=0.05)
    points = target.sample(500, torch.Generator().manual_seed(0))
    covered = mode_coverage(points, target.modes, target.sigma, target.weights).covered
    assert measuring.mode_count(target) == covered == 2


def test_features_that_cannot_be_imported_are_one_line():
    with pytest.raises(ConfigError, match=r"evaluate\.features is not used by data=ring8"):
        compose(["evaluate.features=os:system"])
    with pytest.raises(ConfigError, match="evaluate.features=nowhere:f cannot be imported"):
        config("evaluate.features=nowhere:f")
