"""A row of the registry of data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wganbench.data.options import Options
from wganbench.data.target import Target


@dataclass(frozen=True)
class Dataset:
    """A kind of data, as ``kind:`` names it in YAML. A row: ``DATASETS.register(kind, row)``.

    ``options`` is a dataclass that extends `Options`; ``build`` gets an instance of it. The
    options ``root`` and ``download`` say where files lie, and are no part of a run's identity.
    """

    kind: str
    options: type[Options]
    build: Callable[[Any], Target]
    summary: str
    source: str
