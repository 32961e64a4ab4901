"""What the pictures of one run show: samples, the critic around them, where fakes should go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from wganbench.data.units import as_given, unit_of
from wganbench.losses.recipes import Recipe
from wganbench.records.figure import Arrows, CriticGrid, CurveNotes, final_figure, sample_figure
from wganbench.records.table import Cell
from wganbench.training.image_pictures import watched_fakes, watched_reals
from wganbench.training.measuring import mode_count, stack_floor
from wganbench.training.stack import Stack

GRID = 128
"""Points a side of the grid on which the critic is drawn (arXiv:1704.00028, Fig. 1a)."""

MARGIN = 0.25
"""How far the grid reaches beyond the reals, as a share of their extent."""

ARROWS = 64
"""Fakes that carry an arrow."""


@dataclass(frozen=True)
class Surroundings:
    """What is drawn around the samples; None where the data has no modes or is not planar."""

    modes: np.ndarray | None
    critic_grid: CriticGrid | None
    arrows: Arrows | None


def progress_picture(stack: Stack, run: int, points: Mapping[str, Tensor]) -> Figure:
    """Reals, fakes and critic at this step; of pictures the same latents at every step."""
    config = stack.configs[run]
    around = surroundings(stack, run, points)
    reals, fakes = shown_points(stack, run, points)
    return sample_figure(
        reals.numpy(),
        fakes.numpy(),
        title=f"{config.data.name}, {config.loss.name}, seed {config.seed}, "
        f"step {stack.steps_done}",
        modes=around.modes,
        critic_grid=around.critic_grid,
        arrows=around.arrows,
    )


def final_picture(
    stack: Stack,
    run: int,
    points: Mapping[str, Tensor],
    table: Mapping[str, Sequence[Cell]],
    title: str,
) -> Figure:
    """The run at a glance: samples, and the measurements over training."""
    around = surroundings(stack, run, points)
    floor = stack_floor(stack, stack.config.evaluate.n)
    target, label = slope_target(stack.algorithm.recipe)
    reals, fakes = shown_points(stack, run, points)
    notes = CurveNotes(
        mode_count=mode_count(stack.target) or None,
        floor_sd=floor.sd * unit_of(stack.target) if floor else None,
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
    stack: Stack, run: int, points: Mapping[str, Tensor]
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "m ..."]]:
    """The reals and fakes to draw: those measured, of pictures the ones that are watched."""
    if len(stack.target.shape) != 3:
        return as_given(points["reals"], stack.target), as_given(points["fakes"], stack.target)
    return watched_reals(stack, run), watched_fakes(stack, run)


def slope_target(recipe: Recipe) -> tuple[float | None, str]:
    """The value that the loss asks of the slope, and how the figure calls it."""
    if recipe.slope_target == "1":
        return 1.0, "target 1"
    if recipe.slope_target == "at most 1":
        return 1.0, "target at most 1"
    return None, "target"


def surroundings(stack: Stack, run: int, points: Mapping[str, Tensor]) -> Surroundings:
    """Modes, critic and arrows of one run at this step."""
    modes = getattr(stack.target, "modes", None)
    centres = None if modes is None else modes.cpu().numpy()
    reals, fakes = points["reals"], points["fakes"]
    if reals.shape[1:] != (2,):
        return Surroundings(centres, None, None)
    # n dL_G/dx_i is what one sample feels, whatever the number of samples averaged over.
    moves = -len(fakes) * points["fake_gradients"][:ARROWS]
    arrows = Arrows(as_given(fakes[:ARROWS], stack.target).numpy(), moves.numpy())
    return Surroundings(centres, critic_grid(stack, run, reals), arrows)


def critic_grid(stack: Stack, run: int, reals: Tensor) -> CriticGrid:
    """Scores of one run's critic on a grid around planar reals."""
    low, high = reals.amin(dim=0), reals.amax(dim=0)
    reach = MARGIN * float((high - low).max())
    x, y = (torch.linspace(float(low[i]) - reach, float(high[i]) + reach, GRID) for i in (0, 1))
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
    critic = stack.exact_algorithm.critic(stack.run_parameters(run, "critic"))
    with torch.no_grad():
        scores = critic(points.to(stack.device)).reshape(GRID, GRID).cpu()
    x, y = as_given(torch.stack((x, y), dim=1), stack.target).unbind(dim=1)
    return CriticGrid(np.asarray(x), np.asarray(y), np.asarray(scores))
