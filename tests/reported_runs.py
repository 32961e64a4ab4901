"""Run folders as training leaves them, with figures of the test's own choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training_configs import tiny

from wganbench.config import run_id, to_dict
from wganbench.runs.folder import RunFolder
from wganbench.runs.stored import FORMAT
from wganbench.runs.table import MetricsTable


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
