"""Settings at random: the population over which a study of stability averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wganbench.studies.neutral import point
from wganbench.studies.study import Context


@dataclass(frozen=True)
class Setting:
    """One draw: a trial of the neutral space, and the size and activation of both networks."""

    trial: int
    depth: int
    width: int
    activation: str

    def network(self) -> list[str]:
        """Return the overrides for the networks."""
        return [
            f"network.depth={self.depth}",
            f"network.width={self.width}",
            f"network.activation={self.activation}",
        ]

    @property
    def critic_lr(self) -> float:
        return float(point(self.trial)["train.critic_lr"])

    @property
    def generator_lr(self) -> float:
        return float(point(self.trial)["train.generator_lr"])

    @property
    def imbalance(self) -> float:
        """The decades between the two rates: |log10(generator's rate / critic's rate)|."""
        return abs(float(np.log10(self.generator_lr / self.critic_lr)))


def draw(context: Context, number: int) -> Setting:
    """Return setting ``number`` of the study, drawn independently of the others.

    The trial is ``first_trial`` + number, which no search uses. The networks are uniform choices
    of numpy's generator at (settings_seed, number).
    """
    random = np.random.default_rng([context["settings_seed"], number])
    depth, width, activation = (
        context[name][random.integers(len(context[name]))]
        for name in ("depths", "widths", "activations")
    )
    return Setting(context["first_trial"] + number, depth, width, activation)
