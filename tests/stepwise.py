"""Iterations of two stacks from the same state: for tests of the executors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from training_configs import CPU, alike, trained

from wganbench.config import RunConfig, compose
from wganbench.losses.recipes import composed
from wganbench.training.stack import Stack

EXECUTED = ("false", "auto")
"""What ``compile`` says for the eager stack and for that of our C++."""

PLAIN: dict[str, Any] = {"train.optimizer": "sgd", "train.betas": [0.0, 0.9]}
"""Adam's first steps depend on signs alone, and a gradient of nothing has any."""


def both(loss: str, runs: int, **settings: Any) -> tuple[Stack, Stack]:
    """An eager stack and one of our C++, of the same runs."""
    configs = [alike(loss, runs, compile=word, **settings) for word in EXECUTED]
    for r, config in [*enumerate(configs[0]), *enumerate(configs[1])]:
        for i, name in enumerate(composed(loss, config.loss.penalties).coefficients):
            config.loss.coefficients.setdefault(name, 1.5 + r + i)  # those of further penalties
    return checked([Stack(members, CPU) for members in configs])


def both_on(words: str) -> tuple[Stack, Stack]:
    """The same two of one run, given as on the command line."""
    given = [*words.split(), "tuned=none", "train.optimizer=sgd", "device=cpu"]
    given += ["train.critic_lr=1e-2", "train.generator_lr=1e-2"]
    return checked([Stack([compose([*given, f"compile={word}"])], CPU) for word in EXECUTED])


def checked(stacks: list[Stack]) -> tuple[Stack, Stack]:
    eager, native = stacks
    assert (eager.executor, native.executor) == ("eager", "native"), native.why_not_ours()
    return eager, native


def after(configs: list[RunConfig], threads: int, steps: int = 3) -> Stack:
    """A stack of these runs, trained on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return trained(configs, steps)
    finally:
        torch.set_num_threads(before)


def parts(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A run's tensors, each network's and each of its moments in one: a bias may be nothing."""
    joined: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        joined.setdefault(name.rpartition("/")[0] or name, []).append(tensor.flatten().double())
    return {name: torch.cat(values) for name, values in joined.items()}


def far(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-30))


def assert_a_step_is_the_same(eager: Stack, native: Stack, bound: float = 1e-5) -> None:
    """One iteration of both from the eager one's state."""
    runs = range(len(eager.configs))
    for run in runs:
        native.load_run_state(run, eager.steps_done, eager.run_states()[run])
    before = [parts(eager.run_states()[run]) for run in runs]
    eager.iterate()
    native.iterate()
    for run in runs:
        wanted, found = parts(eager.run_states()[run]), parts(native.run_states()[run])
        assert wanted.keys() == found.keys()
        for name in wanted:
            if "moments" in name or "average" in name:
                assert far(found[name], wanted[name]) < bound, name
            elif name != "diverged_at":
                # What was moved, not where to: a step is small.
                old, rounding = before[run][name], 3e-7 * float(before[run][name].norm())
                moved = (wanted[name] - old).norm()
                assert (found[name] - wanted[name]).norm() <= bound * moved + rounding, name
        assert wanted["diverged_at"] == found["diverged_at"]
        rows = eager.scalars()[run], native.scalars()[run]
        assert list(rows[0]) == list(rows[1])
        scale = max(abs(rows[0][tag]) for tag in rows[0] if tag.startswith("critic/score"))
        assert rows[1] == pytest.approx(rows[0], rel=bound, abs=bound * scale)


def assert_rules_are_the_same(stacks: tuple[Stack, Stack]) -> None:
    """Steps of an optimizer from moments that are not nothing, of which Adam makes much."""
    eager = stacks[0]
    for _ in range(3):
        eager.iterate()
    for moments in (eager.state.critic_moments, eager.state.generator_moments):
        for tensor in (t for tensors in moments.values() for t in tensors.values()):
            tensor.fill_(0.01)
    assert_steps_are_the_same(stacks, 2e-5)


def assert_steps_are_the_same(stacks: Sequence[Stack], bound: float = 1e-5) -> None:
    for _ in range(2):
        assert_a_step_is_the_same(*stacks, bound)
