"""One run's records as it trains: rows, events, pictures, status, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from wganbench.config.schema import RunConfig, to_dict
from wganbench.records.events import EventLog, cut_events
from wganbench.records.folder import RunFolder, versions
from wganbench.records.table import MetricsTable
from wganbench.records.tags import TAGS, column_order, is_pattern
from wganbench.training.animation import cut_frames
from wganbench.training.checkpoint import Checkpoint, save_checkpoint
from wganbench.training.measuring import GENERATOR
from wganbench.training.stack import Stack
from wganbench.training.step import layers

FORMAT = 1
"""Raise when run folders of older versions can no longer be read."""


def columns(stack: Stack) -> list[str]:
    """The columns of metrics.csv: every tag, layers counted, whether the loss uses it or not."""
    tags = [tag for tag in TAGS if not is_pattern(tag)]
    for network in ("critic", "generator"):
        count = len(layers(getattr(stack.algorithm.pair, network)))
        tags += [f"grad_norm/{network}_layer_{i}" for i in range(count)]
    ordered = column_order(tags)
    if stack.state.average:
        ordered += [f"averaged/{tag}" for tag in ordered if tag.startswith(GENERATOR)]
    return ordered


class Recorder:
    """Writes one run's folder. Everything after ``step`` is cut off first: no point twice."""

    def __init__(self, folder: RunFolder, config: RunConfig, tags: list[str], step: int) -> None:
        self.folder, self.config = folder, config
        self.table = MetricsTable(folder.metrics_csv, tags)
        self.table.cut(step if step else -1)
        self.events: EventLog | None = None
        if config.log.tensorboard:
            cut_events(folder.path, step if step else -1)
            self.events = EventLog(folder.path, purge_step=step + 1 if step else None)
        cut_frames(folder, step)
        self.latest: dict[str, float] = {}
        self.diverged_at = -1
        if not step and self.events:
            self.events.layout()

    def running(self, device: str) -> None:
        """Say in run.json that the run is under way."""
        self.folder.write_status(
            status="running",
            format=FORMAT,
            versions=versions(),
            device=device,
            config=to_dict(self.config),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row; nothing once the run has diverged."""
        if self.diverged_at >= 0:
            return
        self.latest |= {tag: v for tag, v in values.items() if math.isfinite(v)}
        self.table.append(step, values)
        if self.events:
            self.events.scalars(step, dict(values))

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint; a diverged run keeps its last finite one."""
        if self.diverged_at < 0:
            save_checkpoint(self.folder.checkpoint, checkpoint)

    def close(self, status: str, **fields: Any) -> None:
        """Write the final status and close the event file."""
        self.folder.write_status(status=status, **fields)
        if self.events:
            self.events.hparams(hyperparameters(self.config), fields.get("metrics") or {}, status)
            self.events.close()


def hyperparameters(config: RunConfig) -> dict[str, bool | int | float | str]:
    """The settings shown in TensorBoard's HParams table, by dotted key; the same for all runs."""
    from wganbench.losses import RECIPES

    names = sorted({name for recipe in RECIPES.values() for name in recipe.coefficients})
    return {
        "loss": config.loss.name,
        "data": config.data.name,
        "network": config.network.name,
        "seed": config.seed,
        "loss.n_critic": config.loss.n_critic,
        **{f"loss.{name}": config.loss.coefficients.get(name, math.nan) for name in names},
        "train.steps": config.train.steps,
        "train.batch_size": config.train.batch_size,
        "train.optimizer": config.train.optimizer,
        "train.critic_lr": config.train.critic_lr,
        "train.generator_lr": config.train.generator_lr,
        "train.decay": config.train.decay,
        "precision": config.precision,
    }
