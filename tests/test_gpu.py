"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_configs import tiny

from wganbench.config import compose
from wganbench.training.device import prepare
from wganbench.training.measuring import measure_stack
from wganbench.training.runs import train_run
from wganbench.training.sampling import sample_run
from wganbench.training.stack import Stack

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CUDA = torch.device("cuda")


def after(stack: Stack, steps: int) -> list[dict[str, torch.Tensor]]:
    for _ in range(steps):
        stack.iterate()
    return [stack.run_state(run) for run in range(len(stack.configs))]


@pytest.mark.parametrize("compile_", ["true", "false"])
def test_two_deterministic_runs_are_equal_bit_for_bit(compile_):
    config = tiny("gp", **{"compile": compile_, "deterministic": True})
    prepare(config, CUDA)
    (first,), (second,) = after(Stack([config], CUDA), 5), after(Stack([config], CUDA), 5)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_compiled_with_cuda_graphs_is_close_to_eager():
    configs = {c: tiny("gp", **{"compile": c, "deterministic": True}) for c in ("true", "false")}
    states = {c: after(Stack([config], CUDA), 8)[0] for c, config in configs.items()}
    for name, tensor in states["true"].items():
        torch.testing.assert_close(tensor, states["false"][name], rtol=1e-3, atol=1e-4)


def test_scalars_belong_to_the_step_they_are_read_at():
    stack = Stack([tiny("gp", compile="true")], CUDA)
    seen = []
    for _ in range(6):
        stack.iterate()
        seen.append(stack.scalars()[0]["loss/critic"])
    assert len(set(seen)) == len(seen)


def test_measuring_on_the_gpu_gives_finite_numbers():
    stack = Stack([tiny("gp"), tiny("gp", seed=1)], CUDA)
    after(stack, 2)
    assert all(measured.values["wasserstein/exact"] > 0 for measured in measure_stack(stack, 100))


def test_weights_start_equal_on_both_devices():
    there, here = Stack([tiny("gp")], CUDA), Stack([tiny("gp")], torch.device("cpu"))
    ours, theirs = here.run_state(0), there.run_state(0)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("data", ["ring8", "digits"])
def test_a_whole_run_with_its_records_pictures_and_resume(data, tmp_path):
    small = [
        *["tuned=none", "device=cuda", "train.steps=6", "train.batch_size=16", "loss.n_critic=1"],
        *["log.every_n_steps=2", "log.picture_every_n_steps=2", "evaluate.every_n_steps=2"],
        *["evaluate.n=20", "evaluate.final_n=30", "checkpoint.every_n_steps=2"],
        *["network.width=4", f"data={data}"],
    ]
    outcome = train_run(compose(small), tmp_path / "run")
    assert outcome.status == "completed" and (tmp_path / "run" / "figure.png").is_file()
    assert train_run(compose(small), tmp_path / "run").metrics == outcome.metrics
    sample_run(tmp_path / "run", 5, str(tmp_path / "five.npy"))
    assert len(np.load(tmp_path / "five.npy")) == 5
