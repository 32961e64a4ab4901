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

PAIRED = 2
"""What the reals of a paired objective add to a generator step: they pass the critic with the
fakes, forward and backward. Our C++ saves the way back."""

UNROLLED, NOT_FIRST = 18, 3
"""What a critic step adds through which the generator's gradient passes: forward 2 (reals and
fakes), backward 4, and twice that for the derivative of both. The first has no derivative with
respect to the critic before it; an objective that is linear in scores has 4 passes less there."""

REALS = 3
"""What the reals in the generator's loss add at the critic ahead, of a zero-sum or a paired
objective: forward 1, backward 2."""


def critic_passes(recipe: Recipe) -> int:
    """Return the passes of a critic step; networks of equal size are assumed.

    A test compares them with the products that a step executes.
    """
    return PLAIN + PENALTY * len(recipe.penalties)


def generator_passes(recipe: Recipe, unrolled: int = 0) -> int:
    """Return the passes of a generator step whose gradient passes through so many critic steps."""
    objective = recipe.objective
    if not unrolled:
        return GENERATOR + (PAIRED if objective.paired else 0)
    reals = REALS if objective.zero_sum or objective.paired else 0
    return GENERATOR + UNROLLED * unrolled - NOT_FIRST + reals


def run_passes(
    recipe: Recipe, critic_steps: float, generator_steps: float, unrolled: int = 0
) -> float:
    """Return the passes of so many steps of both kinds."""
    of_generator = generator_passes(recipe, unrolled)
    return critic_passes(recipe) * critic_steps + of_generator * generator_steps
