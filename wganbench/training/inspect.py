"""Looking at a run afterwards: load it, draw from its generator, measure it again."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.config import ConfigError, RunConfig
from wganbench.config.stored import check_contents, with_data
from wganbench.data.target import KnownShape, Target
from wganbench.data.units import as_given, units_from
from wganbench.draws import keyed
from wganbench.metrics import allow_features
from wganbench.records.folder import RunFolder
from wganbench.records.table import Table, read_table
from wganbench.training.checkpoint import newest_checkpoint
from wganbench.training.device import pick_device
from wganbench.training.measuring import measure_stack
from wganbench.training.products import products
from wganbench.training.runs import check_installed, restore_run, stored_config
from wganbench.training.stack import Stack

REPEAT_DRAW = 1000
"""Numbers the draws of later measurements, so that they differ from training's own."""

LARGEST_SIZE = 2**20
"""Of a point, a side: a larger one in run.json is no run's."""

PICTURES_AT_ONCE = 1000
"""More would not fit into the memory beside a large convolution's activations."""


class Run:
    """A run on disk: its configuration, its records and its trained generator.

    Nothing that its files name is imported, but ``features``, the user's own, where the run
    was measured with features of that name.
    Raises ConfigError when the folder holds no run that this version can read.
    """

    def __init__(self, path: str | Path, features: str | None = None) -> None:
        allow_features(features)
        self.path = Path(path)
        self.config: RunConfig = stored_config(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, status={self.status!r})"

    @property
    def status(self) -> str:
        """running, completed, diverged, failed or interrupted."""
        return str(self.record["status"])

    @property
    def metrics(self) -> dict[str, float]:
        """Final values by tag; the last finite ones of a run that diverged."""
        return RunFolder(self.path).stored().final

    @property
    def record(self) -> dict[str, Any]:
        """run.json as it is now."""
        return RunFolder(self.path).read()

    @property
    def table(self) -> Table:
        """metrics.csv as columns: ``step`` and one list a tag, None where a cell is empty."""
        return read_table(RunFolder(self.path).metrics_csv)

    def sample(self, n: int, seed: int = 0) -> Float[np.ndarray, "n ..."]:
        """``n`` points from the trained generator; the same for the same ``seed``.

        In float32; of data that were centred and scaled in their own units, in float64.
        Pictures are made in equal batches of at most 1 000, which batch norm then sees.
        """
        stack = self.networks
        parts = -(-n // PICTURES_AT_ONCE) if len(stack.target.shape) == 3 else 1
        with torch.no_grad():
            z = stack.algorithm.pair.latent.draw(keyed(seed, "sample", 0, stack.device), n)
            made = [self.generator(part).cpu() for part in z.tensor_split(parts)]
            return np.asarray(as_given(torch.cat(made), stack.target))

    def generator(self, z: Tensor) -> Tensor:
        """The trained generator as a function from latents (n, *latent) to points (n, *shape)."""
        parameters = self.networks.run_parameters(0, "generator")
        with products(z.device):
            return self.networks.exact_algorithm.generator(parameters)(z)

    def critic(self, x: Tensor) -> Tensor:
        """The trained critic as a function from points (n, *shape) to scores (n,)."""
        parameters = self.networks.run_parameters(0, "critic")
        with products(x.device):
            return self.networks.exact_algorithm.critic(parameters)(x)

    @cached_property
    def stack(self) -> Stack:
        """The trained networks and their data, as a stack of one, to measure it again.

        Raises ConfigError without a checkpoint, without the data, and for other data than the
        run was trained on.
        """
        config = with_data(self.config, self.path)
        check_contents(self.path, config)
        return self._trained(config, None)

    @cached_property
    def networks(self) -> Stack:
        """The trained networks, as a stack of one, without the data: their shape will do."""
        shape = self.record.get("data_shape")
        if "stack" in self.__dict__ or shape is None or not _is_shape(shape):
            return self.stack
        units = units_from(self.record.get("data_units"))
        return self._trained(self.config, KnownShape(tuple(shape), units))

    def _trained(self, config: RunConfig, target: Target | None) -> Stack:
        folder = RunFolder(self.path)
        checkpoint, _ = newest_checkpoint(folder.checkpoint)
        if checkpoint is None:
            raise ConfigError(f"{self.path} has no checkpoint yet: nothing is trained")
        check_installed(config)
        try:
            stack = Stack([config], pick_device("auto"), target=target)
        except ValueError as error:
            raise ConfigError(f"{error} (the run in {self.path} needs it)") from error
        restore_run(stack, 0, folder, checkpoint)
        return stack


def _is_shape(value: object) -> bool:
    """Whether run.json's data_shape is one; runs of before have none."""
    return (
        isinstance(value, list)
        and len(value) in (1, 3)
        and all(type(size) is int and 0 < size <= LARGEST_SIZE for size in value)
    )


def load_run(path: str | Path, features: str | None = None) -> Run:
    """The run in a folder, see `Run`. Raises ConfigError when there is none that can be read."""
    return Run(path, features)


def evaluate_run(path: Path, n: int) -> dict[str, float]:
    """Measure a trained run again on ``n`` fresh fakes and held-out reals: values by tag."""
    return measure_stack(load_run(path).stack, n, REPEAT_DRAW)[0].values
