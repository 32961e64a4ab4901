"""Tables of points in files: text with any separator, and NumPy's formats.

Files that can be read in one way only are read, with a note on every interpretation. Others
raise an error of one line with the line number in the file and a remedy.
"""

from __future__ import annotations

import csv
import gzip
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from wganbench.data.table_text import ColumnsError, TableFile, choose, from_text, label, transposed
from wganbench.errors import expanded
from wganbench.files import open_regular

TEXT = (".csv", ".tsv", ".txt")
ENDINGS = ".npy, .npz, .csv, .tsv or .txt (these three also as .gz)"
LARGEST_TEXT = 2**31
"""Most bytes of text that are read, also after decompression."""


def read_table_file(path: str, columns: Sequence[str] | None = None) -> TableFile:
    """Return the table in a file; ``columns`` selects by name, or by number from 0.

    Raises ValueError, one line that names ``data.path`` or ``data.columns``.
    """
    file = expanded(path, "data.path")
    endings = [suffix.lower() for suffix in file.suffixes]
    if endings[-1:] == [".gz"]:
        endings = endings[-2:-1] if endings[-2:-1] and endings[-2] in TEXT else []
    ending = endings[-1] if endings else ""
    if ending not in (".npy", ".npz", *TEXT):
        raise ValueError(f"data.path must end in {ENDINGS}; got {path!r}")
    try:
        with open_regular(file, follow=True) as opened:
            if ending in TEXT:
                packed = file.suffix.lower() == ".gz"
                return from_text(read_text(opened, packed), ending, columns)
            return from_array(read_array(opened, ending), columns)
    except FileNotFoundError:
        raise ValueError(f"data.path: there is no file {path!r}") from None
    except ColumnsError:
        raise
    except UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"data.path: cannot read {path!r}: {reason}") from error


UNREADABLE = (
    OSError, EOFError, ValueError, MemoryError, OverflowError, csv.Error, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
"""The errors that readers raise for a file that is damaged or has another format."""


# NumPy's files.
def read_array(opened: BinaryIO, ending: str) -> np.ndarray:
    """Return the array in one of NumPy's files. Raises one of `UNREADABLE`, also if encrypted."""
    try:
        return loaded_array(opened, ending)
    except (tokenize.TokenError, SyntaxError) as error:
        raise ValueError("its header is damaged") from error
    except RuntimeError as error:  # encrypted, or packed in a way that zipfile does not know
        raise ValueError(str(error)) from error


def loaded_array(opened: BinaryIO, ending: str) -> np.ndarray:
    loaded = np.load(opened, allow_pickle=False)
    if ending == ".npy":
        if not isinstance(loaded, np.ndarray):
            raise ValueError("it is an archive, not one array: call it .npz")
        return loaded
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        names = loaded.files
        if len(names) == 1 or "fakes" in names:
            # `wganbench sample --out x.npz` writes its points under "fakes".
            return np.asarray(loaded[names[0] if len(names) == 1 else "fakes"])
    raise ValueError(f"it holds {len(names)} arrays ({', '.join(names[:5])}): save one alone")


def from_array(array: np.ndarray, columns: Sequence[str] | None) -> TableFile:
    names: list[str] | None = None
    if array.dtype.names and array.ndim == 1:
        names = list(array.dtype.names)
        array = from_fields(array, names, choose(columns, names, len(names)))
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "iuf":
        more = "; save it as array.reshape(-1, 1)" if array.ndim == 1 and array.size else ""
        raise ValueError(
            f"it must hold numbers of shape (n, d), one point a row; got {array.dtype} of shape "
            f"{array.shape}{more}"
        )
    chosen = choose(columns if names is None else None, names, array.shape[1])
    values = array[:, chosen].astype(np.float64)
    shown = [names[i] if names else label(i, array.shape[1]) for i in chosen]
    broken = np.argwhere(~np.isfinite(values))
    if len(broken):
        i, k = broken[0]
        raise ValueError(
            f"row {i} (from 0), column {shown[k]}, is {values[i, k]}: {len(broken)} of "
            f"{values.size} values are not finite"
        )
    return TableFile(values, tuple(shown), transposed(values))


def from_fields(array: np.ndarray, names: list[str], chosen: list[int]) -> np.ndarray:
    """Return the chosen fields of a table (n,) as columns (n, d), and cut ``names`` to them.

    Raises ValueError for a field that holds no numbers.
    """
    numbers = [name for name in names if array.dtype[name].kind in "iuf"]
    for i in chosen:
        if names[i] not in numbers:
            remedy = f"; data.columns=[{','.join(numbers)}] takes the numbers" if numbers else ""
            raise ValueError(
                f"its field {names[i]} holds {array.dtype[names[i]]}, no number{remedy}"
            )
    names[:] = [names[i] for i in chosen]
    return np.stack([array[name] for name in names], axis=1)


# Text.
def read_text(opened: BinaryIO, packed: bool) -> str:
    """Return the text of a file in UTF-8, in UTF-16 if it has the mark, else in Latin-1.

    A wrong guess of Latin-1 changes names only."""
    if packed:
        with gzip.open(opened) as unpacked:
            content = unpacked.read(LARGEST_TEXT + 1)
    else:
        content = opened.read(LARGEST_TEXT + 1)
    if len(content) > LARGEST_TEXT:
        raise ValueError(f"more than {LARGEST_TEXT:,} bytes of text; save it as .npy")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    if b"\0" in content[:4096]:
        raise ValueError("it is no text; UTF-16 needs its mark at the beginning")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
