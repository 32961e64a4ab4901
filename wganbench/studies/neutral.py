"""Arms of a study at settings of the neutral space: equal rates and equal compute for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from wganbench.losses import Recipe
from wganbench.losses.recipes import composed
from wganbench.training.passes import StepCost
from wganbench.tuning.space import Space, read_space


@dataclass(frozen=True)
class Arm:
    """A loss, perhaps with further penalties, under the name that a study gives it."""

    name: str
    loss: str
    penalties: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The recipe of the loss with its further penalties."""
        return composed(self.loss, self.penalties)

    def words(self) -> list[str]:
        """Return the overrides that choose the loss and its penalties."""
        added = [f"loss.penalties=[{','.join(self.penalties)}]"] if self.penalties else []
        return [f"loss={self.loss}", *added]


def arms_of(losses: Sequence[str]) -> dict[str, Arm]:
    """Return an arm for each loss, by its name."""
    return {loss: Arm(loss, loss) for loss in losses}


@cache
def space() -> Space:
    return read_space()


@cache
def point(trial: int) -> Mapping[str, Any]:
    """Return the settings of a trial by key, the coefficients of all losses included."""
    return space().point(trial)


def settings_of(arm: Arm, trial: int) -> dict[str, Any]:
    """Return the settings of a trial of the neutral space that exist under an arm.

    Two arms have the same value of each key that both have.
    """
    own = {"loss.n_critic", *(f"loss.{name}" for name in arm.recipe.coefficients)}
    drawn = {k: v for k, v in point(trial).items() if k in own or not k.startswith("loss.")}
    return {**space().fixed, **drawn}


def overrides(arm: Arm, trial: int, passes: float, smooth: bool = False) -> list[str]:
    """Return the overrides of an arm at a trial, for about so many passes of training.

    ``smooth``: the networks' activations are not piecewise linear, see `StepCost`.
    """
    values = settings_of(arm, trial)
    steps = generator_steps(arm, values["loss.n_critic"], passes, smooth)
    pairs = [f"{key}={str(value).replace(' ', '')}" for key, value in values.items()]
    return [*arm.words(), "tuned=none", *pairs, f"train.steps={steps}"]


def generator_steps(arm: Arm, n_critic: int, passes: float, smooth: bool = False) -> int:
    """Return the number of generator steps that costs at most ``passes``, at least 1."""
    return max(1, int(passes / StepCost(arm.recipe, smooth=smooth).of_run(n_critic, 1)))
