"""Tiny configurations for the tests of training, and what those tests compare."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wganbench.config import RunConfig, compose, to_dict
from wganbench.config.check import from_dict
from wganbench.runs.folder import read_run
from wganbench.runs.table import read_table
from wganbench.training.stack import Stack

CPU = torch.device("cpu")

# Networks this small are slower on several threads than on one.
torch.set_num_threads(1)

TINY: dict[str, Any] = {
    "device": "cpu",
    "compile": "false",
    "loss.n_critic": 2,
    "network.width": 8,
    "network.depth": 2,
    "train.steps": 4,
    "train.batch_size": 16,
    "train.optimizer": "adam",
    "train.critic_lr": 5e-3,
    "train.generator_lr": 2e-3,
    "train.betas": [0.5, 0.9],
    "train.decay": "none",
    "log.every_n_steps": 1,
    "log.tensorboard": False,
    "evaluate.every_n_steps": 0,
    "evaluate.n": 10,
    "evaluate.final_n": 10,
    "evaluate.final_draws": 1,
    "evaluate.floor_pairs": 2,
    "evaluate.projections": 4,
    "checkpoint.every_n_steps": 1000,
}


@cache
def _composed(loss: str) -> RunConfig:
    return compose([f"loss={loss}", "tuned=none"])


def tiny(loss: str = "gp", **settings: Any) -> RunConfig:
    """A run that takes a moment; settings by dotted key, as in ``**{"train.steps": 3}``."""
    values = copy.deepcopy(to_dict(_composed(loss)))
    for key, value in (TINY | settings).items():
        *groups, name = key.split(".")
        part = values
        for group in groups:
            part = part[group]
        assert name in part, f"no setting {key}"
        part[name] = value
    return from_dict(values)


def alike(loss: str, runs: int, **settings: Any) -> list[RunConfig]:
    """Runs of one stack that differ in all that may differ: seed, rates, coefficients."""
    first = tiny(loss, **settings)
    configs = [copy.deepcopy(first) for _ in range(runs)]
    for r, config in enumerate(configs):
        config.seed += 7 * r
        config.train.critic_lr *= 1 + r / 2
        config.train.generator_lr *= 1 + r / 3
        for name in config.loss.coefficients:
            config.loss.coefficients[name] *= 1 + r / 4
    return configs


def trained(configs: list[RunConfig], steps: int) -> Stack:
    """A stack of these runs after some generator steps."""
    stack = Stack(configs, CPU)
    for _ in range(steps):
        stack.iterate()
    return stack


def resumed(configs: list[RunConfig], before: int, after: int) -> Stack:
    """A stack that takes ``after`` steps from the states of another after ``before`` steps."""
    half, stack = trained(configs, before), Stack(configs, CPU)
    for run in range(len(configs)):
        stack.load_run_state(run, before, half.run_states()[run])
    for _ in range(after):
        stack.iterate()
    return stack


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Equal names and equal bits, nan included."""
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and torch.equal(_bits(a[k]), _bits(b[k])) for k in a
    )


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def saved(folder: Path) -> dict[str, Tensor]:
    """The tensors in a run's checkpoint."""
    content = torch.load(folder / "checkpoint.pt", weights_only=True)
    tensors: dict[str, Tensor] = content["tensors"]
    return tensors


def alike_but_for_time(a: Path, b: Path) -> bool:
    """Whether two runs' folders hold the same losses and final metrics."""
    left, right = (
        {k: v for k, v in read_run(path)["metrics"].items() if "second" not in k} for path in (a, b)
    )
    courses = (read_table(path / "metrics.csv")["loss/critic"] for path in (a, b))
    return left == right and next(courses) == next(courses)
