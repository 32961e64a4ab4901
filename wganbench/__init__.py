"""wganbench: BCE-GAN, WGAN with clipping and WGAN-GP side by side, measured.

    >>> import wganbench                                            # doctest: +SKIP
    >>> run = wganbench.train("loss=gp", "data=ring8", seed=3)      # doctest: +SKIP
    >>> run.metrics["modes/covered"], run.sample(1000).shape        # doctest: +SKIP
    (8.0, (1000, 2))

Losses stand in `wganbench.losses`, targets in `wganbench.data`, measurements in
`wganbench.metrics`. Importing this module imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from pathlib import Path

    from wganbench.config.from_python import Given
    from wganbench.errors import ConfigError
    from wganbench.reports.comparison import Comparison
    from wganbench.studies.verdicts import Verdict
    from wganbench.training.run import Run, load_run
    from wganbench.tuning.command import Tuned

__all__ = ["ConfigError", "Run", "compare", "load_run", "study", "sweep", "train", "tune"]
__version__ = "0.1.0"


def train(
    *overrides: Given,
    config_dir: str | Path | None = None,
    progress: bool | None = None,
    **settings: object,
) -> Run:
    """Train one run as ``wganbench train`` does, and return it.

    ``overrides`` are those of the command line, or values by key; ``settings`` are values of keys
    without dots. These are the same run::

        train("loss=gp", "train.steps=2000", seed=3)
        train(["loss=gp", "train.steps=2000", "seed=3"])
        train({"loss": "gp", "train.steps": 2000, "seed": 3})

    A finished run of the same configuration is returned as it is; an interrupted one goes on.
    ``config_dir`` is a folder of YAML files of your own. ``progress`` shows it while it trains: by
    default in a notebook only. Raises ConfigError for a wrong configuration.
    """
    from wganbench.config.composition import compose, hydra_to_ourselves

    with hydra_to_ourselves():
        from wganbench.config import run_folder
        from wganbench.config.from_python import overrides_from
        from wganbench.training.run import Run
        from wganbench.training.runs import train_run

        config = compose(overrides_from(overrides, settings), config_dir)
    view: Any = None
    if progress or (progress is None and in_notebook()):
        from wganbench.cli.cell_view import RunCell
        from wganbench.cli.run_view import RunView

        view = RunCell() if in_notebook() else RunView()
    return Run(train_run(config, run_folder(config), view).path)


def sweep(
    *overrides: Given,
    config_dir: str | Path | None = None,
    progress: bool | None = None,
    **settings: object,
) -> list[Run]:
    """Train many runs side by side as ``wganbench sweep`` does, and return those asked for.

    The arguments are those of `train`; in values by key, a list, tuple, range or array holds the
    values to sweep over::

        sweep("loss=bce,clip,gp", seed=range(5))
        sweep({"loss": "gp", "loss.gp_lambda": [0.1, 1, 10], "seed": range(8)})

    Runs that could not be begun, because a signal stopped the sweep, are missing. Raises
    ConfigError for a wrong configuration.
    """
    from wganbench.config.composition import hydra_to_ourselves
    from wganbench.config.from_python import overrides_from
    from wganbench.sweeps.workers import early_workers

    arguments = overrides_from(overrides, settings, several=True)
    with hydra_to_ourselves(), early_workers(arguments):
        from wganbench.runs.record import RUN_JSON
        from wganbench.sweeps.backend import Silent
        from wganbench.sweeps.command import run_sweep
        from wganbench.training.run import Run

        view: Any = Silent()
        if progress or (progress is None and in_notebook()):
            from wganbench.cli.cell_view import SweepCell
            from wganbench.cli.sweep_view import SweepView

            view = SweepCell() if in_notebook() else SweepView()
        flags = [] if config_dir is None else ["--config-dir", str(config_dir)]
        done = run_sweep([*arguments, *flags], view)
    folders = [outcome.path for outcome in done.outcomes()]
    return [Run(folder) for folder in folders if (folder / RUN_JSON).is_file()]


def tune(
    *overrides: Given,
    config_dir: str | Path | None = None,
    into: str | Path | None = None,
    **settings: object,
) -> Tuned:
    """Search for the settings of each loss as ``wganbench tune`` does, and return the result.

    The arguments are those of the command::

        tuned = tune(loss=["bce", "gp"], data="ring8", trials=64)
        tuned.arms["gp", "ring8"][0].settings, tuned.files["gp", "ring8"]

    Raises ConfigError for wrong arguments.
    """
    from pathlib import Path

    from wganbench.config.composition import hydra_to_ourselves
    from wganbench.config.from_python import overrides_from
    from wganbench.sweeps.workers import workers_in_use

    arguments = overrides_from(overrides, settings, several=True)
    with hydra_to_ourselves(), workers_in_use():
        from wganbench.sweeps.backend import Silent
        from wganbench.tuning.command import tune as search

        return search(arguments, Silent(), config_dir, Path(into) if into else None)


def study(
    name: str, *overrides: Given, config_dir: str | Path | None = None, **settings: object
) -> list[Verdict]:
    """Measure a study as ``wganbench study NAME`` does, and return its verdicts.

    ``overrides`` and ``settings`` are those of the command::

        for verdict in study("dirac", seeds=10):
            print(verdict.word, verdict.claim.text)

    ``config_dir`` is a folder of YAML files of your own. Raises ConfigError for an unknown study
    or wrong settings.
    """
    from wganbench.config.composition import hydra_to_ourselves

    with hydra_to_ourselves():
        from wganbench.config.from_python import overrides_from
        from wganbench.presets import directories, user_files_first
        from wganbench.studies import STUDIES, run_study
        from wganbench.studies.settings import numbers_that_fail
        from wganbench.sweeps.backend import Silent
        from wganbench.sweeps.workers import workers_in_use

        if name not in STUDIES:
            from wganbench.errors import ConfigError
            from wganbench.registry import unknown

            raise ConfigError(unknown("study", name, list(STUDIES)))
        with user_files_first(directories(config_dir)), workers_in_use():
            words = overrides_from(overrides, settings)
            with numbers_that_fail(name, words):
                return list(run_study(name, words, Silent())[1])


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    import sys

    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def compare(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    by: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    baseline: str | None = None,
) -> Comparison:
    """Compare runs as ``wganbench compare`` does: ``rows`` of groups, ``contrasts``, ``notes``.

    ``paths`` are runs, or folders of runs, of sweeps or above them; ``by`` are the keys that make
    the groups, ``metrics`` tags, a text being one of them, and ``baseline`` the group that the
    others are compared with.
    Nothing is written. Raises ConfigError.
    """
    from os import PathLike
    from pathlib import Path

    from wganbench.reports.comparison import compare as compare_runs
    from wganbench.runs.record import find_runs
    from wganbench.sweeps.manifest import not_begun

    folders = list(map(Path, [paths] if isinstance(paths, str | PathLike) else paths))
    runs = find_runs(folders)
    names = [str(path) for path in folders]
    missing = not_begun(folders, runs)
    by, metrics = ([text] if isinstance(text, str) else text for text in (by, metrics))
    return compare_runs(runs, by, metrics, missing=missing, paths=names, baseline=baseline)


def __getattr__(name: str) -> Any:
    """`Run`, `load_run` and `ConfigError` on first use: the first two need torch."""
    if name == "ConfigError":
        from wganbench.errors import ConfigError

        return ConfigError
    if name in ("Run", "load_run"):
        from wganbench.training import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
