"""metrics.csv: one row per logged step, one column per tag; the long table of many runs."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat

from wganbench.errors import ConfigError, of_the_system, printable, short_repr
from wganbench.files import (
    RECORD_BYTES,
    UnusableFile,
    explained,
    from_here,
    open_own,
    read_regular,
    replacing,
    write_atomic,
)
from wganbench.output import numbered
from wganbench.registry import unknown

if TYPE_CHECKING:
    from wganbench.runs.record import RunRecord

STEP = "step"
LARGEST_STEP = 2**53
"""No run reaches this step; up to it every step is exact as a float too."""
OWN_BYTES = 2**31
"""The largest metrics.csv that the run reads that writes it.

A configuration is accepted if its table is likely to be read by all, within `RECORD_BYTES`. One
with longer rows (of very deep networks, or with many metrics of the user's) can still go on."""

Cell = int | float | None
SHOWN = 5
"""Columns that the text of a table names."""


class Table(dict[str, list[Cell]]):
    """Columns by name, all of equal length; None is an empty cell, nan a value that is nan.

    ``dropped`` counts the lines of the file that were not complete rows.
    """

    dropped: int = 0

    def __repr__(self) -> str:
        """The size and the first columns: the values of a run would fill many screens.

        >>> Table(step=[1, 2], a=[0.5, None])
        Table of 2 rows and 2 columns: step, a
        """
        first = ", ".join(list(self)[:SHOWN]) + (", ..." if len(self) > SHOWN else "")
        rows = len(next(iter(self.values()), ()))
        return f"Table of {numbered(rows, 'row')} and {numbered(len(self), 'column')}: {first}"


class MetricsTable:
    """Writer of metrics.csv with the column ``step`` followed by the given tags.

    Rows are added to an existing file; a truncated last line is cut off. Raises ValueError if
    the file has other columns, or for a column name with a comma, quote or line break; OSError
    if it cannot be written.
    """

    def __init__(self, path: str | Path, columns: Sequence[str]) -> None:
        self.path = Path(path)
        self.columns = (STEP, *columns)
        bad = [name for name in columns if name == STEP or set(name) & set(',"\r\n')]
        if bad or len(set(columns)) != len(columns):
            raise ValueError(f"not usable as columns: {', '.join(bad) or 'repeated names'}")
        self._tags = frozenset(columns)
        self._last_step = -1
        self._rewrite(float("inf"))

    def extend(self, rows: Iterable[tuple[int, Mapping[str, SupportsFloat]]]) -> None:
        """Write rows, all at once, and flush them; tags without a value become empty cells.

        Raises ValueError for a tag without a column, or a step that is not after the last one;
        then none of the rows is written.
        """
        lines, last = [], self._last_step
        for step, values in rows:
            for name in values:
                if name not in self._tags:
                    raise ValueError(unknown("column", name, list(self.columns[1:])))
            if step <= last:
                raise ValueError(f"step {step} follows step {last} in {self.path}")
            cells = [_cell(values[name]) if name in values else "" for name in self.columns[1:]]
            lines.append(",".join([str(int(step)), *cells]) + "\n")
            last = int(step)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with explained(self.path), os.fdopen(open_own(self.path, flags), "ab") as file:
            file.write("".join(lines).encode())
        self._last_step = last

    def cut(self, step: int) -> None:
        """Drop the rows after ``step`` and every broken line, atomically."""
        self._rewrite(float(step))

    def read(self) -> Table:
        """Return what `read_table` does, of a file of up to `OWN_BYTES`."""
        return read_table(self.path, limit=OWN_BYTES)

    def _rewrite(self, last: float) -> None:
        """Keep the complete rows up to ``last``; write only if that changes the file."""
        content = read_regular(self.path, OWN_BYTES) if os.path.lexists(self.path) else b""
        header = ",".join(self.columns)
        lines = _lines(content)
        if lines and lines[0] != header:
            raise UnusableFile(
                f"{self.path} has other columns than this run ({_difference(lines[0], header)}): "
                "start it afresh with --overwrite"
            )
        rows = [(line, row) for line in lines[1:] if (row := _row(line, len(self.columns)))]
        kept = [(line, int(row[0] or 0)) for line, row in rows if (row[0] or 0) <= last]
        wanted = ("\n".join([header, *(line for line, _ in kept)]) + "\n").encode()
        if wanted != content:
            write_atomic(self.path, wanted)
        self._last_step = kept[-1][1] if kept else -1


def read_table(
    path: str | Path, only: Sequence[str] | None = None, limit: int = RECORD_BYTES
) -> Table:
    """Return metrics.csv as columns; broken lines are left out and counted in ``dropped``.

    ``only`` restricts the columns that are read, which saves most of the time for many files. A
    line that is broken in another column then counts as complete. Raises FileNotFoundError;
    UnusableFile for a link, for anything but a plain file, for one of more than ``limit`` bytes,
    and for a head that does not begin with ``step`` or repeats a column.
    """
    content = read_regular(Path(path), limit)
    lines = _lines(content)
    table = Table()
    table.dropped = int(bool(content) and not content.endswith(b"\n"))
    if not lines:
        return table
    names = lines[0].split(",")
    check_columns(names, path)
    kept = [i for i, name in enumerate(names) if only is None or name in only]
    columns: list[list[Cell]] = [table.setdefault(names[i], []) for i in kept]
    for line in lines[1:]:
        row = _row(line, len(names), kept)
        table.dropped += row is None
        for column, cell in zip(columns, row or [], strict=False):
            column.append(cell)
    return table


def check_columns(names: Sequence[str], path: str | Path) -> None:
    """Raise UnusableFile unless the columns begin with ``step`` and each occurs once."""
    if names[0] != STEP:
        raise UnusableFile(
            f"{path}: its first column must be {STEP}; it is {short_repr(printable(names[0]))}"
        )
    ((twice, count),) = Counter(names).most_common(1)
    if count > 1:
        raise UnusableFile(
            f"{path}: the column {short_repr(printable(twice))} occurs more than once"
        )


FORMULA = tuple("=+-@\t\r")
"""The characters with which a spreadsheet formula begins."""


def plain_cell(value: object) -> object:
    """Return the value; a text that looks like a formula gets an apostrophe before it.

    >>> [plain_cell(value) for value in ("=1+1", "gp", -2.5)]
    ["'=1+1", 'gp', -2.5]
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA else value


def pandas() -> Any:
    """Return pandas, for tables in notebooks. Raises ConfigError when it is not installed."""
    try:
        import pandas as module
    except ImportError:
        raise ConfigError(
            "a frame needs pandas, which is not installed: pip install 'wganbench[notebook]'"
        ) from None
    return module


def series(table: Mapping[str, Sequence[Cell]], tag: str) -> tuple[list[int], list[float]]:
    """Return the steps and values of a column's filled cells; empty lists without any."""
    pairs = [
        (int(step), float(value))
        for step, value in zip(table.get(STEP, ()), table.get(tag, ()), strict=False)
        if step is not None and value is not None
    ]
    return [step for step, _ in pairs], [value for _, value in pairs]


def rows_of(table: Mapping[str, Sequence[Cell]]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the step and the filled cells of each row."""
    tags = [tag for tag in table if tag != STEP]
    for step, *cells in zip(table.get(STEP, ()), *(table[tag] for tag in tags), strict=True):
        filled = zip(tags, cells, strict=True)
        yield int(step or 0), {tag: float(value) for tag, value in filled if value is not None}


def _lines(content: bytes) -> list[str]:
    """Return the complete lines, without an unfinished one after the last line break.

    A spreadsheet or an editor may have added a byte order mark, or ended the lines by CRLF.
    """
    text = content.decode("utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").split("\n")[:-1]


def _row(line: str, width: int, kept: Iterable[int] | None = None) -> list[Cell] | None:
    """Return the (``kept``) cells of a line: step as int, others as float or None.

    Returns None for a broken line.
    """
    cells = line.split(",")
    if len(cells) != width:
        return None
    places = range(width) if kept is None else kept
    try:
        if not 0 <= int(cells[0]) <= LARGEST_STEP:
            return None
        return [(float(cells[i]) if cells[i] else None) if i else int(cells[0]) for i in places]
    except ValueError:
        return None


def _cell(value: SupportsFloat) -> str:
    """Return the shortest text that reads back exactly; nan, inf and -inf as these words."""
    if type(value) is float:  # nearly always; the test for integers takes longer
        return repr(value)
    return str(int(value)) if isinstance(value, Integral) else repr(float(value))


def _difference(there: str, here: str) -> str:
    def names(label: str, only: Iterable[str]) -> Iterator[str]:
        listed = sorted(only)
        if listed:
            yield f"{label} {', '.join(listed)}"

    old, new = set(there.split(",")), set(here.split(","))
    parts = [*names("only there", old - new), *names("only here", new - old)]
    return "; ".join(parts) or "another order"


# All logged values of runs as one long table: a line for each run, step and tag.
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
                self.left_out.append(printable(of_the_system(error)))
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
