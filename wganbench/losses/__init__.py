"""The losses that wganbench compares: objectives, constraints, recipes."""

from wganbench.losses.constraints import clip_weights, gradient_penalty, r1_penalty
from wganbench.losses.objectives import (
    bce_critic_loss,
    bce_generator_loss,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from wganbench.losses.recipes import BCE, BCE_SATURATING, RECIPES, WASSERSTEIN, Objective, Recipe

__all__ = [
    "BCE",
    "BCE_SATURATING",
    "RECIPES",
    "WASSERSTEIN",
    "Objective",
    "Recipe",
    "bce_critic_loss",
    "bce_generator_loss",
    "clip_weights",
    "gradient_penalty",
    "r1_penalty",
    "wasserstein_critic_loss",
    "wasserstein_generator_loss",
]
