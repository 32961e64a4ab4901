"""wganbench: BCE-GAN, WGAN with clipping and WGAN-GP side by side, measured.

    >>> import wganbench                                            # doctest: +SKIP
    >>> run = wganbench.train(["loss=gp", "data=ring8"])            # doctest: +SKIP
    >>> run.metrics["modes/covered"], run.sample(1000).shape        # doctest: +SKIP
    (8.0, (1000, 2))

Losses stand in `wganbench.losses`, targets in `wganbench.data`, measurements in
`wganbench.metrics`. Importing this module imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from wganbench.training.run import Run

__all__ = ["load_run", "sweep", "train"]
__version__ = "0.1.0"


def train(overrides: list[str]) -> Run:
    """Train one run as ``wganbench train`` does, and return it.

    ``overrides`` are those of the command line, such as ``["loss=gp", "seed=3"]``. A
    finished run of the same configuration is returned as it is; an interrupted one goes
    on. Raises ConfigError for a wrong configuration.
    """
    from wganbench.config import compose, run_folder
    from wganbench.training.run import Run
    from wganbench.training.runs import train_run

    config = compose(overrides)
    return Run(train_run(config, run_folder(config)).path)


def sweep(overrides: list[str]) -> list[Run]:
    """Train many runs side by side as ``wganbench sweep`` does, and return them all.

    ``overrides`` are those of the command line, such as ``["loss=bce,clip,gp",
    "seed=range(0,5)"]``. Runs that could not be begun, because a signal stopped the sweep,
    are missing. Raises ConfigError for a wrong configuration.
    """
    from wganbench.sweeps.workers import early_workers

    with early_workers(overrides):
        from wganbench.sweeps.backend import Silent
        from wganbench.sweeps.command import run_sweep
        from wganbench.training.run import Run

        done = run_sweep(overrides, Silent())
    folders = [outcome.path for _, outcomes in done.folders.values() for outcome in outcomes]
    return [Run(folder) for folder in folders if (folder / "run.json").is_file()]


def load_run(path: str | Path, features: str | None = None) -> Run:
    """The run in a folder. Raises ConfigError when there is none that can be read.

    ``features`` allows the code that the run's evaluate.features names, by the same name.
    """
    from wganbench.training.run import Run

    return Run(path, features)
