"""The cost of training in passes of one network over one batch, counted from its products.

Networks of equal size are assumed. A test compares the counts with the products that a step
executes. What depends on the weights alone, such as a spectral norm, is not counted: it is a
width / batch share of a pass for each layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from wganbench.config.check import recipe_of
from wganbench.config.schema import RunConfig
from wganbench.losses import WASSERSTEIN, Recipe
from wganbench.losses.recipes import Wrapper
from wganbench.networks.layers import SMOOTH


@dataclass(frozen=True)
class CriticPasses:
    """The passes of a critic, for activations that are piecewise linear and for smooth ones.

    ``step``: on reals and fakes, forward 2 and backward 4. ``penalty``: what a penalty on one set
    of points adds, forward and slope 2 and their derivative 2, or 4. ``score``: forward and
    backward in a generator step. ``unrolled``: a critic step through which the generator's
    gradient passes, forward 2, backward 4, and twice that for the derivative of both; ``first``:
    what is saved at the first, which has no derivative with respect to the critic before it.
    """

    step: int
    penalty: tuple[int, int]
    score: tuple[int, int]
    unrolled: int
    first: tuple[int, int]


PLAIN = CriticPasses(step=6, penalty=(4, 6), score=(2, 2), unrolled=18, first=(3, 3))
NORMALISED = CriticPasses(step=12, penalty=(9, 12), score=(3, 4), unrolled=36, first=(9, 6))
"""A critic divided by its gradient (`Wrapper.GRADIENT`): each of its scores has a slope."""

FAKES, MADE = 1, 3
"""Passes of the generator: forward in a critic step; forward and backward in its own step."""

PAIRED = 2
"""What the reals of a paired objective add to a generator step: they pass the critic with the
fakes, forward and backward. Our C++ saves the way back."""

REALS = 3
"""What the reals in the generator's loss add at the critic ahead, of a zero-sum or a paired
objective: forward 1, backward 2."""

LINEAR = 4
"""What is saved at the first unrolled step by an objective that is linear in scores, with
piecewise linear activations."""


@dataclass(frozen=True)
class StepCost:
    """What a step of a run costs. A critic of packs sees ``packing`` points at once.

    ``smooth``: its activations are not piecewise linear.
    """

    recipe: Recipe
    unrolled: int = 0
    packing: int = 1
    smooth: bool = False

    @property
    def critic(self) -> float:
        """The passes of a critic step."""
        counts = self._counts
        penalty = counts.penalty[self.smooth] * len(self.recipe.penalties)
        return FAKES + self._of_packs(counts.step + penalty)

    @property
    def generator(self) -> float:
        """The passes of a generator step."""
        objective, counts = self.recipe.objective, self._counts
        score = counts.score[self.smooth]
        if not self.unrolled:
            return MADE + self._of_packs(score + (PAIRED if objective.paired else 0))
        ahead = counts.unrolled * self.unrolled - counts.first[self.smooth]
        reals = REALS if objective.zero_sum or objective.paired else 0
        linear = objective is WASSERSTEIN and not self.smooth
        return MADE + self._of_packs(score + ahead + reals - (LINEAR if linear else 0))

    def of_run(self, critic_steps: float, generator_steps: float) -> float:
        """Return the passes of so many steps of both kinds."""
        return self.critic * critic_steps + self.generator * generator_steps

    @property
    def _counts(self) -> CriticPasses:
        return NORMALISED if self.recipe.wrapper is Wrapper.GRADIENT else PLAIN

    def _of_packs(self, passes: int) -> float:
        return passes if self.packing == 1 else passes / self.packing


def step_cost(config: RunConfig) -> StepCost:
    """Return the cost of a run's steps."""
    loss, options = config.loss, config.network.options
    smooth = options.get("critic_activation", options.get("activation")) in SMOOTH
    return StepCost(recipe_of(config), loss.unrolled, loss.packing, smooth)
