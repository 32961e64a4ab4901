"""Random settings of a network and its training: the population over which success is counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wganbench.studies.study import Context


@dataclass(frozen=True)
class Setting:
    """One draw: both networks' size and activation, Adam's first beta and the two rates."""

    depth: int
    width: int
    activation: str
    first_beta: float
    critic_lr: float
    generator_lr: float

    def overrides(self, second_beta: float) -> list[str]:
        return [
            f"network.depth={self.depth}",
            f"network.width={self.width}",
            f"network.activation={self.activation}",
            f"train.betas=[{self.first_beta},{second_beta}]",
            f"train.critic_lr={self.critic_lr}",
            f"train.generator_lr={self.generator_lr}",
        ]


def draw(context: Context, number: int) -> Setting:
    """Return setting ``number`` of the study, drawn independently of the others.

    Choices uniform, rates log-uniform, from numpy's generator at (settings_seed, number).
    """
    random = np.random.default_rng([context["settings_seed"], number])
    critic_lr = log_uniform(random, context["least_critic_lr"], context["most_critic_lr"])
    ratio = log_uniform(random, context["least_ratio"], context["most_ratio"])
    depth, width, activation, first_beta = (
        context[name][random.integers(len(context[name]))]
        for name in ("depths", "widths", "activations", "first_betas")
    )
    return Setting(depth, width, activation, first_beta, critic_lr, rounded(critic_lr * ratio))


def log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return rounded(float(np.exp(random.uniform(np.log(low), np.log(high)))))


def rounded(value: float) -> float:
    """Return a number rounded to three digits, so that the table shows exactly what was run."""
    return float(f"{value:.3g}")
