"""An intervention on the generator's loss: two runs go on from the same weights.

A run under one generator's loss is stopped. One twin goes on as before, the other
under the other loss. Both have the same weights, moments, batches and noise. The discriminator's
loss is the same for both. So what differs afterwards was caused by the generator's loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from wganbench.config import compose
from wganbench.config.schema import RunConfig
from wganbench.studies.evidence import largest_kl
from wganbench.studies.mode_collapse.arms import SATURATING
from wganbench.training.device import pick_device
from wganbench.training.measuring import measure_stack
from wganbench.training.stack import Stack

STEADY = "bce"
"""The non-saturating loss, whose gradient stays where the discriminator is sure."""
LOSSES = (STEADY, SATURATING)


@dataclass(frozen=True)
class Branch:
    """Two losses, the one before the swap and the one after, with values by seed.

    ``coverage`` and ``kl`` hold a row per seed at the evaluations ``steps``, the first at the
    swap; a run that diverged has the worst values from the first evaluation after that.
    ``gradient`` holds log10 of the mean gradient at the samples in the same places.
    """

    before: str
    after: str
    steps: Sequence[int]
    coverage: Sequence[Sequence[float]]
    kl: Sequence[Sequence[float]]
    gradient: Sequence[Sequence[float]]


def overrides(settings: Mapping[str, Any], loss: str) -> list[str]:
    """Return the overrides of the runs under a loss; both have the best settings of bce."""
    return [
        f"loss={loss}", "data=ring8", "tuned=none", "train.optimizer=adam", "train.decay=none",
        "loss.n_critic=1", f"train.critic_lr={settings['swap_critic_lr']}",
        f"train.generator_lr={settings['swap_generator_lr']}",
        f"train.betas={str(settings['swap_betas']).replace(' ', '')}",
        f"train.steps={settings['swap_steps']}", f"network.width={settings['width']}",
        f"train.batch_size={settings['batch_size']}", "evaluate.protocol=box",
        "evaluate.floor_pairs=2",
    ]  # fmt: skip


def branches(settings: Mapping[str, Any], seeds: Sequence[int], device: str) -> list[Branch]:
    """Return the four branches: each loss before the swap, each after it."""
    found = []
    for before in LOSSES:
        start = stack(settings, before, seeds, device)
        advance(start, settings["swap_at"])
        states = start.run_states()
        for after in LOSSES:
            twin = stack(settings, after, seeds, device)
            for run, tensors in enumerate(states):
                twin.load_run_state(run, start.steps_done, tensors)
            found.append(followed(twin, before, after, settings))
    return found


def stack(settings: Mapping[str, Any], loss: str, seeds: Sequence[int], device: str) -> Stack:
    config: RunConfig = compose(overrides(settings, loss))
    made = Stack([replace(config, seed=seed) for seed in seeds], pick_device(device))
    made.compile()
    return made


def advance(stack: Stack, step: int) -> None:
    """Train the runs of a stack up to a step."""
    while stack.steps_done < step:
        stack.iterate()


def followed(twin: Stack, before: str, after: str, settings: Mapping[str, Any]) -> Branch:
    """Train a twin to its end; measure it at the swap and at equal distances from there."""
    first, last, parts = twin.steps_done, settings["swap_steps"], settings["swap_evaluations"]
    steps = [first + round((last - first) * part / parts) for part in range(parts + 1)]
    worst = largest_kl([1 / len(twin.target.modes)] * len(twin.target.modes))  # type: ignore[arg-type]
    tables = []
    for step in steps:
        advance(twin, step)
        tables.append(measure_stack(twin, settings["evaluate_n"]))
    diverged = twin.diverged_at()

    def rows(tag: str, lacking: float) -> list[list[float]]:
        return [
            [lacking if 0 <= at <= step else finite(table[run].get(tag), lacking)
             for step, table in zip(steps, tables, strict=True)]
            for run, at in enumerate(diverged)
        ]  # fmt: skip

    gradients = rows("grad_norm/sample", 0.0)
    return Branch(
        before, after, steps, rows("modes/coverage", 0.0), rows("modes/kl", worst),
        [[math.log10(max(value, 1e-30)) for value in own] for own in gradients],
    )  # fmt: skip


def finite(value: float | None, lacking: float) -> float:
    return value if value is not None and math.isfinite(value) else lacking


def at(found: Sequence[Branch], before: str, after: str) -> Branch:
    """Return the branch of two losses."""
    return next(each for each in found if (each.before, each.after) == (before, after))


def drop_at_swap(found: Sequence[Branch], before: str) -> float:
    """Return by how many decades the saturating loss's gradient at the samples is smaller.

    It is measured at the swap, with the same weights under both losses, and averaged over seeds.
    """
    steady, vanishing = (at(found, before, after).gradient for after in LOSSES)
    first = torch.tensor([[a[0], b[0]] for a, b in zip(steady, vanishing, strict=True)])
    return float((first[:, 0] - first[:, 1]).mean())


def modes_kept(found: Sequence[Branch], before: str, quantity: str, modes: int) -> list[float]:
    """Return by seed how many modes the non-saturating twin ends with beyond the other's.

    By coverage it is K times the difference of the covered shares; by KL, K times the difference
    of exp(-KL), the share of equal modes that samples of this KL would cover if they covered them
    evenly.
    """

    def kept(branch: Branch) -> list[float]:
        if quantity == "coverage":
            return [row[-1] for row in branch.coverage]
        return [math.exp(-row[-1]) for row in branch.kl]

    steady, vanishing = (kept(at(found, before, after)) for after in LOSSES)
    return [modes * (a - b) for a, b in zip(steady, vanishing, strict=True)]
