"""Tables as text with any separator: cells, column names, row numbers, decimal commas."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from wganbench.output import numbered


# A table of points, and the choice of its columns.
@dataclass(frozen=True)
class TableFile:
    """Numbers (n, d), the names of the columns, and notes for the user on the reading."""

    values: Float64[np.ndarray, "n d"]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


class ColumnsError(ValueError):
    """``data.columns`` does not fit the file's columns."""


def transposed(values: np.ndarray) -> tuple[str, ...]:
    n, d = values.shape
    if d <= max(n, 10):
        return ()
    return (f"{n} points of {d} coordinates: a point is a row; if these are columns save array.T",)


def label(i: int, d: int) -> str:
    """Return the name to show for a column without a name."""
    return "xyz"[i] if d <= 3 else f"column {i}"


def columns_word(names: Sequence[str]) -> str:
    """Return the override that chooses columns, in the quotes that a shell and Hydra need.

    >>> print(columns_word(["x", "y"]), columns_word(["x (m)", "a,b"]))
    data.columns=[x,y] 'data.columns=[x (m),"a,b"]'
    """
    items = [quoted(name) if re.search(r"[][{},'\"\\]", name) else name for name in names]
    word = f"data.columns=[{','.join(items)}]"
    return word if re.fullmatch(r"[\w.,=[\]-]+", word) else shlex.quote(word)


def quoted(name: str) -> str:
    """Return a name in Hydra's quotes, in which a backslash counts only before them."""
    return '"' + re.sub(r'(\\+)(?="|$)', r"\1\1", name).replace('"', '\\"') + '"'


def choose(columns: Sequence[str] | None, names: Sequence[str] | None, d: int) -> list[int]:
    """Return the indices of the selected columns, matched by name first. Raises ColumnsError."""
    if columns is None:
        return list(range(d))
    if not columns:
        raise ColumnsError("data.columns is empty; null takes all columns")
    chosen = []
    for column in columns:
        found = [i for i, name in enumerate(names or ()) if name.strip() == column.strip()]
        if not found and column.strip().isdecimal() and int(column) < d:
            found = [int(column)]
        if len(found) != 1:
            have = ", ".join(repr(name) for name in names) if names else f"0 to {d - 1}, no names"
            many = "there are several" if found else "there is none"
            raise ColumnsError(f"data.columns: {column!r}: {many}; the file has {have}")
        chosen += found
    if len(set(chosen)) < len(chosen):
        raise ColumnsError(f"data.columns names a column twice: {list(columns)}")
    return chosen


ROW_NAMES = re.compile(r"|index|idx|id|row|rows?[ ._-]?(names?|id|number)|unnamed: *\d+", re.I)
"""Names of columns of row numbers; pandas and R leave the name empty."""

ERRORS = ("#n/a", "#div/0!", "#num!", "#value!", "#ref!", "#name?", "#null!")
"""The words that Excel writes instead of a number that it cannot compute."""

MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "?", *ERRORS)

COMMENT = re.compile(rf"(?!(?:{'|'.join(map(re.escape, ERRORS))})(?!\w))#", re.I)
"""The mark of a comment: it begins no word of Excel's."""

MINUS = "\u2212"
"""The sign that typesetters and some locales write instead of a hyphen before a number."""

FAR = 3.0
"""A first line is probably not a point if each column is this many extents beyond the others."""


@dataclass
class Cells:
    """The cells of a text file: rows with their line numbers, and names and notes."""

    rows: list[list[str]]
    lines: list[int]
    names: list[str] | None
    notes: list[str]


def from_text(text: str, ending: str, columns: Sequence[str] | None) -> TableFile:
    lines = re.split(r"\r\n|\n|\r", text.replace(MINUS, "-"))
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    separators = [*(("\t",) if ending == ".tsv" else ()), *"\t;,|", " "]
    if named := re.fullmatch(r'"?sep=(.)"?', lines[first].strip("\r\n ") if lines else ""):
        separators, lines[first] = [named[1]], ""
    if blanks_in_numbers(lines):
        separators = [" "]
    error: ValueError | None = None
    for separator in separators:
        if separator != " " and not in_most_lines(separator, lines):
            continue
        try:
            cells = cut(lines, separator)
            # With comma-separated cells, "1,5" is not one number.
            if error is None or separator != " " or (cells.rows and len(cells.rows[0]) > 1):
                return to_table(cells, separator, columns)
        except ColumnsError:
            raise
        except ValueError as problem:
            # The error for the first common separator is the most useful one.
            error = error or problem
    raise error or ValueError("it holds no numbers")


def blanks_in_numbers(lines: list[str]) -> bool:
    """Return whether every line (``1 100,5``) may be one number or several with decimal commas.

    Raises ValueError then, unless a first line names as many columns as there would be.
    """
    shown = [
        (i, line) for i, line in enumerate(lines, 1) if line.strip() and not COMMENT.match(line)
    ]
    one_number = re.compile(r"\s*[+-]?\d{1,3}([ \u00a0\u202f]\d{3})+,\d+\s*")
    body = shown if shown and one_number.fullmatch(shown[0][1]) else shown[1:]
    if not body or not all(one_number.fullmatch(line) for _, line in body):
        return False
    (number, line), head = body[0], shown[0][1]
    count = len(line.split())
    if len(body) < len(shown) and len(head.split()) == count:
        return True
    raise ValueError(
        f"line {number} ({line.strip()}) is one number with a blank as mark of thousands, or "
        f"{count} numbers with decimal commas: write numbers without marks of thousands, or a "
        "semicolon between two"
    )


def in_most_lines(separator: str, lines: list[str]) -> bool:
    """Return whether at least half of the lines have a separator.

    If some lack it, that is an error in the file and does not mean another separator."""
    shown = [line for line in lines if line.strip() and not COMMENT.match(line)][:1000]
    body = shown[1:] or shown
    return bool(body) and 2 * sum(separator in line for line in body) >= len(body)


def cut(lines: list[str], separator: str) -> Cells:
    """Return rows of cells, each with its last line; blank lines and comments are skipped."""
    header = ""
    width = width_of(lines, separator)

    def content() -> Iterator[str]:
        nonlocal header
        for line in lines:
            if '"' not in line and "#" in line:
                if not rows and COMMENT.match(line.lstrip()):
                    header = line.lstrip("# ")
                line = without_comment(line, separator, width)
            if separator == " ":
                line = re.sub(r"\s+", " ", line.strip())
            yield line

    rows: list[list[str]] = []
    numbers: list[int] = []
    begin = end = 0
    reader = csv.reader(content(), delimiter=separator, skipinitialspace=True)
    for row in reader:
        begin, end = end + 1, reader.line_num
        if any(cell.strip() for cell in row):
            rows.append([cell.strip() for cell in row])
            numbers.append(end)
    if begin < end and "".join(lines[begin - 1 :]).count('"') % 2:
        raise ValueError(f"line {begin}: a quotation mark opens and never closes")
    if not rows:
        raise ValueError("it holds no numbers: too few points")
    cells = Cells(rows, numbers, None, [])
    drop_trailing(cells)
    take_names(cells, [name.strip() for name in header.split(separator)] if header else [])
    return cells


def width_of(lines: list[str], separator: str) -> int:
    """Return the most cells in front of a comment in the first lines below the names."""
    fronts = [COMMENT.split(line, maxsplit=1)[0] for line in lines[:1000]]
    return max((len(pieces(front, separator)) for front in fronts if front.strip()), default=0)


def pieces(text: str, separator: str) -> list[str]:
    return text.split(None if separator == " " else separator)


def without_comment(line: str, separator: str, width: int) -> str:
    """Return a line without its comment; a ``#`` inside a name (``x #1,y #2``) begins none.

    A comment begins at the head of a line, or after as many cells as the other lines have: after
    a number, or as a mark with a blank on both sides.
    """
    if (begin := COMMENT.search(line)) is None:
        return line
    front, rest = line[: begin.start()], line[begin.end() :]
    cells = pieces(front, separator)
    if not front.strip():
        return ""
    mark = front[-1:].isspace() and (separator == " " or rest[:1].isspace())
    return front if len(cells) >= width and (is_number(cells[-1].strip()) or mark) else line


def drop_trailing(cells: Cells) -> None:
    """Remove the empty last column that a separator at the end of every line makes."""
    body = cells.rows[1:] or cells.rows
    width = len(body[0])
    if width > 1 and all(len(row) == width and row[-1] == "" for row in body):
        for row in body:
            row.pop()
        if len(cells.rows) > 1 and len(cells.rows[0]) == width and cells.rows[0][-1] == "":
            cells.rows[0].pop()


def take_names(cells: Cells, header: list[str]) -> None:
    """Move a first line of names into ``names``; skip a title above it, or units below it."""
    rows, lines = cells.rows, cells.lines
    if not is_head(rows):
        if len(header) == len(rows[0]) and not all(map(is_number, header)):
            cells.names = header
        return
    if all(map(is_number, rows[0])):
        cells.notes.append(f"line {lines[0]} ({', '.join(rows[0])}) was taken for names")
    cells.names, first = rows.pop(0), lines.pop(0)
    second = rows[0] if len(rows) > 1 and all(map(is_number, rows[1])) else []
    if second and not any(is_number(cell) or is_missing(cell) for cell in second):
        skipped, line = second, lines[0]
        if len(cells.names) == 1 < len(second):
            skipped, line, cells.names = cells.names, first, second
        cells.notes.append(f"line {line} ({', '.join(skipped)}) was passed over")
        del rows[0], lines[0]


def is_head(rows: list[list[str]]) -> bool:
    """Return whether the first line has column names: words, or 0, 1, ... as in pandas."""
    head, following = rows[0], rows[1] if len(rows) > 1 else []
    numbers = [cell for cell in head if is_number(cell)]
    words = [i for i, cell in enumerate(head) if not (is_number(cell) or is_missing(cell))]
    if words:  # beside numbers, words are names only if the next line has numbers there
        return not numbers or all(i < len(following) and is_number(following[i]) for i in words)
    counting = numbers == [str(i) for i in range(len(numbers))]
    fractions = any("." in cell or "," in cell for row in rows[1:] for cell in row)
    return len(rows) > 2 and counting and (len(numbers) > 1 or (fractions and len(numbers) == 1))


def to_table(cells: Cells, separator: str, columns: Sequence[str] | None) -> TableFile:
    rows, names, notes = cells.rows, cells.names, cells.notes
    if not rows:
        raise ValueError("it holds names and no numbers: too few points")
    width, few = len(rows[0]), ""
    if names is not None and len(names) == width - 1:
        few = f" ({numbered(len(names), 'name')} for {width} columns)"
        names = ["", *names]  # R writes row names without a name for their column
    for row, line in zip(rows, cells.lines, strict=True):
        if len(row) != width:
            cells_here = numbered(len(row), "cell")
            raise ValueError(f"line {line} has {cells_here}, line {cells.lines[0]} {width}")
    if names is not None and len(names) != width:
        raise ValueError(
            f"line {cells.lines[0]} has {numbered(width, 'cell')}, the line of names has "
            f"{len(names)}"
        )
    if columns is None and names is None:
        refuse_far_head(cells)
    if columns is not None and names is None and not set(columns) <= {str(i) for i in range(width)}:
        names = names_in_head(cells, columns)
    chosen = choose(columns, names, width)
    if columns is None and names is not None and width > 1:
        chosen = without_row_numbers(rows, names, chosen, notes, few)
    shown = [names[i] or label(i, width) if names else label(i, width) for i in chosen]
    values = to_numbers(cells, chosen, shown, separator, names)
    for k, name in enumerate(shown):
        if columns is None and len(chosen) > 1 and counts_up(values[:, k], 10):
            notes.append(
                f"{name} counts up by 1, as row numbers do: data.columns leaves a column out"
            )
    return TableFile(values, tuple(shown), tuple(notes) + transposed(values))


def names_in_head(cells: Cells, columns: Sequence[str]) -> list[str] | None:
    """Return the first line as names if ``columns`` selects from it (years, for example)."""
    if len(cells.rows) < 2 or not set(columns) <= set(cells.rows[0]):
        return None
    cells.lines.pop(0)
    return cells.rows.pop(0)


def refuse_far_head(cells: Cells) -> None:
    """Raise ValueError when a first line of whole numbers (years) may be names or a point."""
    head, rest = cells.rows[0], cells.rows[1:]
    if len(rest) < 3 or not all(re.fullmatch(r"[+-]?\d+", cell) for cell in head):
        return
    try:
        body = np.array([[float(cell) for cell in row] for row in rest])
    except ValueError:
        return
    low, high = body.min(axis=0), body.max(axis=0)
    first = np.array([float(cell) for cell in head])
    if bool(((first > high + FAR * (high - low)) | (first < low - FAR * (high - low))).all()):
        raise ValueError(
            f"line {cells.lines[0]} ({','.join(head)}) lies far outside all others: if it holds "
            f"names give {columns_word(head)}, if it is a point put names above it"
        )


def without_row_numbers(
    rows: list[list[str]], names: list[str], chosen: list[int], notes: list[str], few: str
) -> list[int]:
    """Leave out the first or last column if it numbers or names the rows; add a note.

    Distinct whole numbers need not count up: a filtered or shuffled table keeps its old ones.
    ``few`` says in an error that the file has too few names.
    """
    for i in (0, len(names) - 1):
        nameless = names[i] == ""
        if not (nameless or ROW_NAMES.fullmatch(names[i])):
            continue
        cells = [row[i] for row in rows]
        whole = all(re.fullmatch(r"\d+", cell) for cell in cells)
        numbers = whole and len(set(cells)) == len(cells) > 1
        if numbers or (nameless and not any(all(map(is_number, cell.split())) for cell in cells)):
            what = "row numbers" if whole else "row names"
            notes.append(
                f"{'a column without a name' if nameless else names[i]} was left out: {what}"
            )
            return [k for k in chosen if k != i]
        if nameless:
            raise ValueError(
                f"column {i} has no name{few} and holds no row numbers: choose columns by "
                f"{columns_word(list(map(str, range(len(names)))))}, numbers from 0, or name all"
            )
    return chosen


def counts_up(values: np.ndarray, least: int) -> bool:
    """Return whether there are at least ``least`` values and each is 1 above the last."""
    return len(values) >= least and bool((np.diff(values) == 1).all())


def to_numbers(
    cells: Cells, chosen: list[int], shown: list[str], separator: str, names: list[str] | None
) -> Float64[np.ndarray, "n d"]:
    """Return the chosen cells as numbers. Raises ValueError with the first bad cell's line."""
    picked = [[row[i] for i in chosen] for row in cells.rows]
    if separator != "," and decimal_commas(picked, separator):
        picked = [[cell.replace(",", ".") for cell in row] for row in picked]
    try:
        values = np.array(picked, dtype=np.float64)
    except ValueError:
        values = None
    if values is not None and bool(np.isfinite(values).all()):
        return values
    wrong = [(k, cell, line) for row, line in zip(picked, cells.lines, strict=True)
             for k, cell in enumerate(row) if not is_finite(cell)]  # fmt: skip
    k, cell, line = wrong[0]
    good = [i for i in range(len(chosen)) if not any(k == i for k, _, _ in wrong)]
    missing = "is empty" if cell == "" else f"is {cell!r}, which is no finite number"
    remedy = "fill it or delete the line"
    if not is_missing(cell) and good and not is_number(cell):
        columns = columns_word([shown[i] if names else str(chosen[i]) for i in good])
        remedy = f"{columns} takes the columns of numbers alone"
    elif "," in cell:
        remedy = "write numbers with a point and without marks of thousands"
    elif not (is_missing(cell) or is_number(cell)):
        remedy = "write numbers such as -1.5 or 2e-3, without units, or delete the line"
    raise ValueError(
        f"line {line}, column {shown[k]}, {missing} ({numbered(len(wrong), 'such cell')} in all); "
        f"{remedy}"
    )


def decimal_commas(rows: list[list[str]], separator: str) -> bool:
    """Return whether commas are decimal points.

    No cell may have a point. Without semicolons as separators, which suggest decimal commas, at
    least one comma must not be a mark of thousands (1,234)."""
    commas = [cell for row in rows for cell in row if "," in cell]
    alone = separator == " " and len(rows[0]) == 1
    if not commas or alone or any("." in cell for row in rows for cell in row):
        return False
    thousands = all(re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", cell) for cell in commas)
    return separator == ";" or not thousands


def is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ".", 1))
    except ValueError:
        return False
    return True


def is_finite(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def is_missing(cell: str) -> bool:
    return cell.lower() in MISSING
