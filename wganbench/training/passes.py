"""The cost of training in passes of one network over one batch, counted from its products."""

from __future__ import annotations

from wganbench.losses import Recipe

PLAIN = 7
"""Passes of a critic step: the fakes' forward 1, the critic's on reals and fakes 2, backward 4."""

PENALTY = 4
"""What a penalty on one set of points adds, with piecewise linear activations: forward and slope
2, their derivative 2."""

GENERATOR = 5
"""Passes of a generator step: forward 2, backward through the critic 1 and the generator 2."""


def critic_passes(recipe: Recipe) -> int:
    """Return the passes of a critic step; networks of equal size are assumed.

    A test compares them with the products that a step executes.
    """
    return PLAIN + PENALTY * len(recipe.penalties)


def run_passes(recipe: Recipe, critic_steps: float, generator_steps: float) -> float:
    """Return the passes of so many steps of both kinds."""
    return critic_passes(recipe) * critic_steps + GENERATOR * generator_steps
