"""All logged values of runs as one long table: a line for each run, step and tag."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from wganbench.errors import ConfigError, printable
from wganbench.files import from_here, replacing
from wganbench.runs.record import RunRecord
from wganbench.runs.table import STEP, plain_cell

LINES_AT_ONCE = 100_000
"""Lines of a Parquet file that are held in memory."""


@dataclass(frozen=True)
class LongTable:
    """The logged values of runs; a run is called by its path from the folder ``here``."""

    runs: Sequence[RunRecord]
    keys: Sequence[str]
    """The settings that are columns."""
    here: Path
    left_out: list[str] = field(default_factory=list)
    """A line on each run whose metrics.csv could not be read by `lines`."""

    @property
    def head(self) -> list[str]:
        """The columns: the run, its seed, the settings, step, tag and value."""
        return ["run", "seed", *self.keys, STEP, "tag", "value"]

    def lines(self) -> Iterator[list[object]]:
        """Yield a line for each run, step and tag with a value."""
        self.left_out.clear()
        for run in self.runs:
            try:
                table = run.read()
            except (OSError, ValueError) as error:
                self.left_out.append(printable(str(error)))
                continue
            path = printable(str(from_here(run.path, self.here)))
            first = [path, run.seed, *(run.settings.get(key, "") for key in self.keys)]
            for tag, column in table.items():
                if tag == STEP:
                    continue
                for step, value in zip(table[STEP], column, strict=True):
                    if value is not None:
                        yield [*first, step, tag, value]


def write_csv(table: LongTable, out: Path) -> int:
    """Write the table as a CSV file; return the number of lines. Raises OSError."""
    count = 0
    with replacing(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.head)
        for line in table.lines():
            writer.writerow(map(plain_cell, line))
            count += 1
        text.detach()
    return count


def write_parquet(table: LongTable, out: Path) -> int:
    """Write the table as a Parquet file, settings as text; return the number of lines.

    Raises OSError, and ConfigError without pyarrow.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("--to parquet needs pyarrow: pip install pyarrow") from None
    kinds = {"seed": pa.int64(), STEP: pa.int64(), "value": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in table.head])
    count = 0
    with replacing(out) as file, parquet.ParquetWriter(file, schema) as writer:
        for lines in _batches(table.lines()):
            columns = [
                pa.array([v if n in kinds else str(v) for v in column], schema.field(n).type)
                for n, column in zip(table.head, zip(*lines, strict=True), strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(lines)
    return count


def _batches(lines: Iterator[list[object]]) -> Iterator[list[list[object]]]:
    while batch := list(islice(lines, LINES_AT_ONCE)):
        yield batch
