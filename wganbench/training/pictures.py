"""What the pictures of one run show: samples, the critic around them, where fakes should go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from wganbench.data.units import as_given, unit_of
from wganbench.losses.recipes import RECIPES, Recipe
from wganbench.records.figure import Arrows, CriticGrid, CurveNotes, final_figure, sample_figure
from wganbench.records.table import Cell
from wganbench.training.measuring import Subject, mode_count, stack_floor
from wganbench.training.reading import Reading

ARROWS = 64
"""Fakes that carry an arrow."""


@dataclass(frozen=True)
class Surroundings:
    """What is drawn around the samples; None where the data has no modes or is not planar."""

    modes: np.ndarray | None
    critic_grid: CriticGrid | None
    arrows: Arrows | None


def progress_picture(subject: Subject, reading: Reading) -> Figure:
    """Reals, fakes and critic at this step; of pictures the same latents at every step."""
    config = subject.config
    around = surroundings(subject, reading)
    reals, fakes = shown_points(subject, reading)
    return sample_figure(
        reals.numpy(),
        fakes.numpy(),
        title=f"{config.data.name}, {config.loss.name}, seed {reading.seed}, step {reading.step}",
        modes=around.modes,
        critic_grid=around.critic_grid,
        arrows=around.arrows,
    )


def final_picture(
    subject: Subject, reading: Reading, table: Mapping[str, Sequence[Cell]], title: str
) -> Figure:
    """The run at a glance: samples, and the measurements over training."""
    around = surroundings(subject, reading)
    floor = stack_floor(subject, subject.config.evaluate.n)
    target, label = slope_target(RECIPES[subject.config.loss.name])
    reals, fakes = shown_points(subject, reading)
    notes = CurveNotes(
        mode_count=mode_count(subject.target) or None,
        floor_sd=floor.sd * unit_of(subject.target) if floor else None,
        slope_target=target,
        slope_label=label,
    )
    return final_figure(
        table,
        reals.numpy(),
        fakes.numpy(),
        title=title,
        modes=around.modes,
        critic_grid=around.critic_grid,
        arrows=around.arrows,
        notes=notes,
    )


def shown_points(
    subject: Subject, reading: Reading
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "m ..."]]:
    """The reals and fakes to draw: those measured, of pictures the ones that are watched."""
    looks, points, target = reading.looks, reading.points, subject.target
    if looks.reals is None or looks.fakes is None:
        return as_given(points["reals"], target), as_given(points["fakes"], target)
    return looks.reals, looks.fakes


def slope_target(recipe: Recipe) -> tuple[float | None, str]:
    """The value that the loss asks of the slope, and how the figure calls it."""
    if recipe.slope_target == "1":
        return 1.0, "target 1"
    if recipe.slope_target == "at most 1":
        return 1.0, "target at most 1"
    return None, "target"


def surroundings(subject: Subject, reading: Reading) -> Surroundings:
    """Modes, critic and arrows of one run at this step."""
    modes = getattr(subject.target, "modes", None)
    centres = None if modes is None else modes.cpu().numpy()
    reals, fakes = reading.points["reals"], reading.points["fakes"]
    if reals.shape[1:] != (2,):
        return Surroundings(centres, None, None)
    # n dL_G/dx_i is what one sample feels, whatever the number of samples averaged over.
    moves = -len(fakes) * reading.points["fake_gradients"][:ARROWS]
    arrows = Arrows(as_given(fakes[:ARROWS], subject.target).numpy(), moves.numpy())
    return Surroundings(centres, reading.looks.grid, arrows)
