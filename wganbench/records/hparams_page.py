"""TensorBoard's HParams page as we serve it: its columns, and finished runs' final figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wganbench.records.stored_run import stored_run

SWEPT = ("loss", "seed", "loss.", "data", "network", "train.")
"""What stands first among the settings in which runs differ.

A name that ends in a dot stands for every key of its group.
"""

CONSTANT = (
    "loss",
    "seed",
    "data",
    "network",
    "train.steps",
    "train.batch_size",
    "train.optimizer",
    "train.critic_lr",
    "train.generator_lr",
    "train.decay",
    "precision",
    "loss.",
)
"""What is listed where all runs agree. Coefficients come last: where one is shown, the page's
parallel coordinates leave out the runs that have none."""

METRICS = (
    "modes/covered",
    "modes/coverage",
    "modes/high_quality",
    "wasserstein/exact",
    "wasserstein/excess",
    "wasserstein/floor",
    "wasserstein/sliced",
    "modes/kl",
    "fidelity/fid",
    "modes/entropy",
    "fidelity/kid",
    "fidelity/precision",
    "fidelity/recall",
    "critic/slope_mean",
)
"""What stands first among the metrics."""


def arrange(experiment: Any) -> Any:
    """The page shows five settings and five metrics until it is told otherwise: these first.

    All that differ stand before what all runs share, of which only some is listed.
    """
    differing = [info for info in experiment.hparam_infos if info.differs]
    shared = [
        info
        for info in experiment.hparam_infos
        if not info.differs and place(info.name, CONSTANT) < len(CONSTANT)
    ]
    differing.sort(key=lambda info: (place(info.name, SWEPT), info.name))
    shared.sort(key=lambda info: (place(info.name, CONSTANT), info.name))
    metrics = sorted(experiment.metric_infos, key=lambda info: place(info.name.tag, METRICS))
    new = type(experiment)()
    new.CopyFrom(experiment)
    del new.hparam_infos[:], new.metric_infos[:]
    new.hparam_infos.extend(differing + shared)
    new.metric_infos.extend(metrics)
    return new


def place(name: str, order: tuple[str, ...]) -> int:
    """Where a name stands in an order, itself or its group; the order's length if nowhere.

    >>> [place(name, ("loss", "loss.")) for name in ("loss", "loss.gp_lambda", "seed")]
    [0, 1, 2]
    """
    group = name.partition(".")[0] + "."
    if name in order:
        return order.index(name)
    return order.index(group) if "." in name and group in order else len(order)


def final_values(folder: Path) -> dict[str, float]:
    """A completed run's figures by tag as run.json has them; of any other folder none."""
    try:
        stored = stored_run(folder)
    except (OSError, ValueError):
        return {}
    return stored.final if stored.status == "completed" else {}


def with_finals(last: Mapping[str, Any], final: Mapping[str, float]) -> dict[str, Any]:
    """The last points of a run's curves, those of the final evaluation with its value."""
    return {
        tag: type(point)(step=point.step, wall_time=point.wall_time, value=final[tag])
        if tag in final
        else point
        for tag, point in last.items()
    }


def arranged(plugin: Any) -> Any:
    """TensorBoard's class for the HParams page, made to show what is said here."""
    from tensorboard.plugins.hparams.backend_context import (  # type: ignore[import-untyped, unused-ignore]
        Context,
    )

    class ArrangedContext(Context):  # type: ignore[misc, unused-ignore]
        """What the page, its table and its downloads are made from."""

        def experiment_from_metadata(self, *args: Any, **kwargs: Any) -> Any:
            return arrange(super().experiment_from_metadata(*args, **kwargs))

        def read_last_scalars(self, *args: Any, **kwargs: Any) -> Any:
            runs, below = super().read_last_scalars(*args, **kwargs), Path(self._tb_context.logdir)
            return {run: with_finals(last, final_values(below / run)) for run, last in runs.items()}

    class ArrangedPage(plugin):  # type: ignore[misc, unused-ignore]
        """The page with that in place of its own."""

        def __init__(self, context: Any) -> None:
            super().__init__(context)
            self._context = ArrangedContext(context)

    return ArrangedPage
