"""What a figure of a comparison is called, and what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wganbench.files import inside


@dataclass(frozen=True)
class Picture:
    """A figure on disk, ``figures/<name>.png`` and ``.svg`` in the comparison's folder."""

    name: str
    title: str
    caption: str

    def file(self, folder: Path, kind: str) -> Path:
        return inside(folder, f"figures/{self.name}.{kind}")
