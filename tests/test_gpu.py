"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stepwise import PLAIN, assert_a_step_is_the_same
from training_configs import alike, same, tiny

from wganbench.config import compose, to_dict
from wganbench.training.device import products
from wganbench.training.measuring import measure_stack
from wganbench.training.run import sample_run
from wganbench.training.runs import train_run
from wganbench.training.stack import Stack

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CUDA = torch.device("cuda")


# A process of its own: without the shape checks of the tests, which would not compile, and with
# cuBLAS's workspace, which is read once. Any warning of wganbench is an error: it says that a
# program was not compiled. Those of torch's own modules are not ours to mend.
CHILD = """
import json, sys, warnings
import torch
from wganbench.config.check import from_dict
from wganbench.training.device import prepare
from wganbench.training.stack import Stack

warnings.filterwarnings("error", category=UserWarning, module="wganbench")
device = torch.device("cuda")
config = from_dict(json.loads(sys.argv[1]))
prepare(config, device)
found = []
for _ in range(2):
    stack = Stack([config], device)
    rows = []
    for _ in range(int(sys.argv[2])):
        stack.iterate()
        rows.append(stack.scalars()[0])
    found.append({"state": stack.run_states()[0], "rows": rows})
torch.save(found, sys.argv[3])
"""


EAGER, COMPILED = {"compile": "false"}, {"compile": "true"}
SETTINGS: dict[str, dict[str, Any]] = {
    "eager": EAGER,
    "compiled": COMPILED,
    # Adam's first steps depend on signs alone, and a gradient of nothing has any.
    "eager sgd": EAGER | {"train.optimizer": "sgd"},
    "compiled sgd": COMPILED | {"train.optimizer": "sgd"},
}
STEPS = 8


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """By settings, of the same run twice: its state at the end, and the scalars of each step.

    The children compile beside each other, which takes most of their time.
    """
    folder, children = tmp_path_factory.mktemp("trained"), {}
    for name, settings in SETTINGS.items():
        values = json.dumps(to_dict(tiny("gp", deterministic=True, **settings)))
        # POT's first import under Python 3.12 warns of its own text.
        words = [values, str(STEPS), str(folder / name)]
        command = [sys.executable, "-W", "ignore", "-c", CHILD, *words]
        children[name] = subprocess.Popen(command, cwd=Path(__file__).parent.parent)
    for name, child in children.items():
        assert child.wait(timeout=600) == 0, name
    return {name: torch.load(folder / name, weights_only=True) for name in SETTINGS}


def after(stack: Stack, steps: int) -> list[dict[str, torch.Tensor]]:
    for _ in range(steps):
        stack.iterate()
    return stack.run_states()


@pytest.mark.parametrize("name", SETTINGS)
def test_two_deterministic_runs_are_equal_bit_for_bit(name, trained):
    first, second = (found["state"] for found in trained[name])
    assert all(torch.equal(first[tensor], second[tensor]) for tensor in first)


def test_compiled_with_cuda_graphs_is_close_to_eager(trained):
    compiled, eager = (trained[f"{name} sgd"][0]["state"] for name in ("compiled", "eager"))
    for name, tensor in compiled.items():
        torch.testing.assert_close(tensor, eager[name], rtol=1e-3, atol=1e-4)


def test_scalars_belong_to_the_step_they_are_read_at(trained):
    losses = [row["loss/critic"] for row in trained["compiled"][0]["rows"]]
    assert len(set(losses)) == len(losses) == STEPS


@pytest.mark.parametrize(
    ("loss", "width", "depth", "batch", "runs"),
    [
        ("gp", 64, 3, 256, 1), ("gp", 64, 3, 256, 64), ("gp", 64, 3, 250, 200),
        ("gp", 16, 2, 100, 3), ("bce", 32, 1, 256, 2), ("rpgan_r1r2", 64, 2, 64, 2),
        ("clip", 64, 4, 256, 5),
    ],
)  # fmt: skip
def test_our_kernel_steps_as_the_definition_does(loss, width, depth, batch, runs):
    sizes = {"network.width": width, "network.depth": depth, "train.batch_size": batch}
    # Rates and lambdas grow with the number of the run: they must not make steps unstable.
    sizes |= {"train.critic_lr": 5e-3 / runs, "train.generator_lr": 2e-3 / runs}
    sizes |= {"loss.gp_lambda": 0.1 / runs} if loss == "gp" else {}
    eager, kernel = (
        Stack(alike(loss, runs, compile=word, device="cuda", **PLAIN, **sizes), CUDA)
        for word in ("false", "true")
    )
    assert (eager.executor, kernel.executor) == ("eager", "kernel"), kernel.why_not_ours()
    with products(CUDA):
        for _ in range(2):
            assert_a_step_is_the_same(eager, kernel, 3e-5)


def test_measuring_on_the_gpu_gives_finite_numbers():
    stack = Stack([tiny("gp"), tiny("gp", seed=1)], CUDA)
    after(stack, 2)
    assert all(measured["wasserstein/exact"] > 0 for measured in measure_stack(stack, 100))


def test_weights_start_equal_on_both_devices():
    there, here = Stack([tiny("gp")], CUDA), Stack([tiny("gp")], torch.device("cpu"))
    ours, theirs = here.run_states()[0], there.run_states()[0]
    assert same(ours, theirs)


@pytest.mark.parametrize(("data", "width"), [("ring8", 4), ("ring8", 16), ("digits", 4)])
def test_a_whole_run_with_its_records_pictures_and_resume(data, width, tmp_path):
    small = [
        *["tuned=none", "device=cuda", "train.steps=6", "train.batch_size=16", "loss.n_critic=1"],
        *["log.every_n_steps=2", "log.picture_every_n_steps=2", "evaluate.every_n_steps=2"],
        *["evaluate.n=20", "evaluate.final_n=30", "checkpoint.every_n_steps=2"],
        *[f"network.width={width}", f"data={data}"],
    ]
    outcome = train_run(compose(small), tmp_path / "run")
    assert outcome.status == "completed" and (tmp_path / "run" / "figure.png").is_file()
    assert (outcome.executor == "kernel") == (width == 16)
    assert train_run(compose(small), tmp_path / "run").metrics == outcome.metrics
    sample_run(tmp_path / "run", 5, str(tmp_path / "five.npy"))
    assert len(np.load(tmp_path / "five.npy")) == 5
