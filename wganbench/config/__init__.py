"""Configuration: Hydra composes it from YAML, which holds all values; types and checks are here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wganbench.config.schema import (
    OUTSIDE_IDENTITY,
    RunConfig,
    digest,
    identity,
    run_folder,
    run_id,
    to_dict,
)
from wganbench.errors import ConfigError

__all__ = [
    "OUTSIDE_IDENTITY",
    "ConfigError",
    "RunConfig",
    "compose",
    "digest",
    "identity",
    "run_folder",
    "run_id",
    "to_dict",
]


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> RunConfig:
    """Return the typed and checked configuration of one run; imports Hydra.

    ``config_dir`` is a folder of the user's YAML files. Raises ConfigError.
    """
    from wganbench.config.composition import compose

    return compose(overrides, config_dir)
