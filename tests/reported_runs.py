"""Run folders as training leaves them, with figures of the test's own choice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from training_configs import tiny

from wganbench.config import run_id, to_dict
from wganbench.runs.folder import RunFolder
from wganbench.runs.stored import FORMAT
from wganbench.runs.table import MetricsTable

GOOD = {"modes/covered": 8.0, "modes/high_quality": 0.95, "wasserstein/exact": 0.05}
POOR = {"modes/covered": 3.0, "modes/high_quality": 0.4, "wasserstein/exact": 0.6}


def leave_run(
    folder: Path,
    loss: str = "gp",
    seed: int = 0,
    metrics: Mapping[str, float] | None = None,
    status: str = "completed",
    rows: Sequence[tuple[int, Mapping[str, float]]] = (),
    step: int = 100,
    **settings: Any,
) -> Path:
    """A run's folder with run.json and metrics.csv; where it is."""
    config = tiny(loss, seed=seed, **settings)
    run = RunFolder(folder / run_id(config)).create()
    table = MetricsTable(
        run.metrics_csv, list(dict.fromkeys(tag for _, row in rows for tag in row))
    )
    for at, row in rows:
        table.extend([(at, row)])
    with run.lock() as held:
        held.write_status(
            status=status,
            step=step,
            metrics=dict(metrics or {}),
            format=FORMAT,
            seconds=1.0,
            data_modes=8,
            config=to_dict(config),
        )
    return run.path


@cache
def first_run(size: float) -> str:
    """run.json of a run, made once for all seeds: to compose a configuration takes its time."""
    with TemporaryDirectory() as folder:
        run = leave_run(Path(folder), "gp", 0, **{"loss.gp_lambda": size})
        return (run / "run.json").read_text()


def leave_lambda(
    folder: Path,
    size: float,
    seed: int,
    metrics: Mapping[str, float],
    status: str = "completed",
) -> None:
    """A run of a sweep of lambda."""
    record = json.loads(first_run(float(size)))
    record["config"]["seed"], record["metrics"], record["status"] = seed, metrics, status
    run = folder / f"lambda-{size}-seed-{seed}"
    run.mkdir()
    (run / "run.json").write_text(json.dumps(record))


def spread(metrics: dict[str, float], seed: int) -> dict[str, float]:
    """The same figures with a little spread from seed to seed."""
    return {tag: value * (1 + 0.01 * ((seed * 7) % 5 - 2)) for tag, value in metrics.items()}


def two_losses(folder: Path, seeds: int = 6) -> None:
    for seed in range(seeds):
        leave_run(folder, "gp", seed, spread(GOOD, seed))
        leave_run(folder, "bce", seed, spread(POOR, seed + 1))
