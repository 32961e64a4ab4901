"""All logged values of runs as one long table: a line for each run, step and tag."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from wganbench.files import replacing
from wganbench.runs.record import RunRecord
from wganbench.runs.table import STEP, plain_cell


def write_long_table(runs: Sequence[RunRecord], keys: Sequence[str], out: Path) -> int:
    """Write metrics.csv of all runs to one CSV file; return the number of lines.

    Its columns are the run's folder, its seed, the settings ``keys``, step, tag and value.
    Raises OSError.
    """
    count = 0
    with replacing(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["run", "seed", *keys, STEP, "tag", "value"])
        for run in runs:
            for line in _lines(run, keys):
                writer.writerow(map(plain_cell, line))
                count += 1
        text.detach()
    return count


def _lines(run: RunRecord, keys: Sequence[str]) -> Iterator[list[object]]:
    head = [str(run.path), run.seed, *(run.settings.get(key, "") for key in keys)]
    table = run.table
    for tag, column in table.items():
        if tag == STEP:
            continue
        for step, value in zip(table[STEP], column, strict=True):
            if value is not None:
                yield [*head, step, tag, value]
