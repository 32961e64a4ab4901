"""A run as HTML for a notebook: its verdict, its main values and its figure."""

from __future__ import annotations

import base64
import math
from html import escape
from pathlib import Path

from wganbench.errors import printable
from wganbench.files import UnusableFile, read_regular
from wganbench.runs.folder import RunFolder
from wganbench.runs.record import RunRecord
from wganbench.tags.lookup import shown_in

LARGEST_FIGURE = 2**24
"""Bytes of a figure that a notebook is given."""


def run_html(path: Path) -> str:
    """Return the HTML of the run in a folder; all its texts are escaped."""
    record = RunFolder(path).record()
    title = f"{path.name}: {record.status} at step {record.step}"
    sentences = "".join(f"<li>{_text(line)}</li>" for line in record.verdict or ())
    return (
        f"<div><p><b>{_text(title)}</b></p><table>{_rows(record)}</table>"
        f"<ul>{sentences}</ul>{_figure(RunFolder(path).figure)}</div>"
    )


def _rows(record: RunRecord) -> str:
    values = [(tag.title, record.final.get(tag.name)) for tag in shown_in("result")]
    return "".join(
        f"<tr><td>{_text(title)}</td><td>{value:.4g}</td></tr>"
        for title, value in values
        if value is not None and math.isfinite(value)
    )


def _figure(path: Path) -> str:
    try:
        content = base64.b64encode(read_regular(path, LARGEST_FIGURE)).decode()
    except (OSError, UnusableFile):
        return ""
    return f'<img style="max-width: 100%" src="data:image/png;base64,{content}">'


def _text(text: str) -> str:
    return escape(printable(text))
