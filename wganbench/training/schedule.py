"""How many critic steps each generator step takes, and how the learning rates decay."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wganbench.config.schema import RunConfig


def n_critic_at(step: int, config: RunConfig) -> int:
    """Critic steps before generator step ``step`` (counted from 0).

    ``loss.n_critic``, except in the bursts of the WGAN authors' code
    (arXiv:1701.07875: 100 critic steps for the first 25 generator steps and for
    every 500th): there ``train.burst_n_critic``.
    """
    train = config.train
    if train.burst_n_critic:
        periodic = train.burst_every_n_steps and step % train.burst_every_n_steps == 0
        if step < train.burst_first_steps or periodic:
            return train.burst_n_critic
    return config.loss.n_critic


def critic_steps_before(step: int, config: RunConfig) -> int:
    """Critic steps taken when ``step`` generator steps are done."""
    train = config.train
    bursts = 0
    if train.burst_n_critic:
        bursts = min(step, train.burst_first_steps)
        if train.burst_every_n_steps:
            every = train.burst_every_n_steps
            periodic = math.ceil(step / every)
            bursts += periodic - math.ceil(min(step, train.burst_first_steps) / every)
    return bursts * train.burst_n_critic + (step - bursts) * config.loss.n_critic


def rate_factor(step: Tensor, steps: int, decay: str) -> Tensor:
    """What both learning rates are multiplied with at a step (a tensor, on the device).

    ``none``: 1. ``linear``: 1 - step / steps. ``cosine``: (1 + cos(pi step / steps)) / 2.
    """
    progress = step.to(torch.float32) / steps
    if decay == "linear":
        return 1 - progress
    if decay == "cosine":
        return (1 + torch.cos(math.pi * progress)) / 2
    return torch.ones_like(progress)
