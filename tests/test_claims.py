"""What the README says of the losses, on a short budget: slow, and judged over seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# A process of its own: the shape checks of the tests would not compile. One stack, so one
# compilation: its runs differ in seed and coefficient only, and none of them sees the others.
TRAIN = """
import json, sys
import torch
from wganbench.config import compose
from wganbench.training.measuring import measure_stack
from wganbench.training.stack import Stack

torch.set_num_threads(1)
configs = [compose(words) for words in json.loads(sys.argv[1])]
stack = Stack(configs, torch.device("cpu"))
while stack.steps_done < stack.config.train.steps:
    stack.iterate()
print(json.dumps(measure_stack(stack, 2500)))
"""
SEEDS = range(4)


def trained(*arms: str) -> list[list[dict[str, float]]]:
    """Final figures of seeds 0-3 on ring8 after a short training, for each arm's overrides."""
    common = ["data=ring8", "compile=true", "train.decay=linear"]
    runs = [[*common, *arm.split(), f"seed={seed}"] for arm in arms for seed in SEEDS]
    command = [sys.executable, "-W", "ignore", "-c", TRAIN, json.dumps(runs)]
    output = subprocess.run(
        command,
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"JAXTYPING_DISABLE": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=1800,
    ).stdout
    found: list[dict[str, float]] = json.loads(output.splitlines()[-1])
    assert len(found) == len(runs)
    return [found[i : i + len(SEEDS)] for i in range(0, len(found), len(SEEDS))]


@pytest.mark.thorough
def test_gp_covers_the_ring_on_every_seed_and_without_its_penalty_the_same_critic_fails():
    short = "loss=gp network.width=64 train.steps=1000"
    runs, without = trained(short, f"{short} loss.gp_lambda=0")
    assert [run["modes/covered"] for run in runs] == [8] * 4
    assert min(run["modes/coverage"] for run in runs) > 0.85
    assert min(run["modes/high_quality"] for run in runs) > 0.4
    assert max(run["wasserstein/exact"] / run["wasserstein/floor"] for run in runs) < 8
    # The penalty acts: the slope stays near its order of magnitude, at lambda 0.1 well above 1.
    assert all(0.5 < run["critic/slope_mean"] < 20 for run in runs)

    good = [run.get("modes/coverage", 0) * run.get("modes/high_quality", 0) for run in without]
    assert max(good) < 0.4
    # On these seeds. Of 10-13, with 1 500 steps, one reaches every mode at quality 0.72 without it:
    # an unconstrained critic need not fail, see the README's row of wasserstein.
    # Nothing holds the slope.
    assert all(not run["critic/slope_mean"] < 50 for run in without)
