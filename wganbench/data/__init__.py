"""Target distributions, which the generators learn to imitate."""

from __future__ import annotations

from typing import Any

from wganbench.data.options import Options
from wganbench.data.registry import DATASETS, Dataset, build, load
from wganbench.data.target import Target

__all__ = ["DATASETS", "Dataset", "Mixture", "Options", "Target", "build", "load"]


def __getattr__(name: str) -> Any:
    """Import `Mixture` on first use: it needs torch, which the registry does not."""
    if name == "Mixture":
        from wganbench.data.mixtures import Mixture

        return Mixture
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
