"""wganbench: BCE-GAN, WGAN with clipping and WGAN-GP side by side, measured.

    >>> import wganbench                                            # doctest: +SKIP
    >>> run = wganbench.train(["loss=gp", "data=ring8"])            # doctest: +SKIP
    >>> run.metrics["modes/covered"], run.sample(1000).shape        # doctest: +SKIP
    (8.0, (1000, 2))

Losses stand in `wganbench.losses`, targets in `wganbench.data`, measurements in
`wganbench.metrics`. Importing this module imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wganbench.errors import ConfigError
    from wganbench.reports.comparison import Comparison
    from wganbench.training.run import Run

__all__ = ["ConfigError", "Run", "compare", "load_run", "sweep", "train"]
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


def compare(
    paths: str | Path | Sequence[str | Path],
    by: Sequence[str] = (),
    metrics: Sequence[str] = (),
    baseline: str | None = None,
) -> Comparison:
    """Compare runs as ``wganbench compare`` does: ``rows`` of groups, ``contrasts``, ``notes``.

    ``paths`` are folders of runs, of sweeps or above them; ``by`` are the keys that make the
    groups, ``metrics`` tags, and ``baseline`` the group that the others are compared with.
    Nothing is written. Raises ConfigError.
    """
    from pathlib import Path

    from wganbench.reports.comparison import compare as compare_runs
    from wganbench.runs.found import find_runs
    from wganbench.sweeps.manifest import not_begun

    folders = [paths] if isinstance(paths, str | Path) else list(paths)
    runs = find_runs(folders)
    names = [str(path) for path in folders]
    missing = not_begun(folders, runs)
    return compare_runs(runs, by, metrics, missing=missing, paths=names, baseline=baseline)


def __getattr__(name: str) -> Any:
    """`Run` and `ConfigError` on first use: the first needs torch."""
    if name == "ConfigError":
        from wganbench.errors import ConfigError

        return ConfigError
    if name == "Run":
        from wganbench.training.run import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
