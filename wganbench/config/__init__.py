"""Configuration: Hydra composes it from YAML, which holds all values; types and checks are here."""

from __future__ import annotations

from collections.abc import Sequence

from wganbench.config.schema import (
    OUTSIDE_IDENTITY,
    RunConfig,
    digest,
    from_dict,
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
    "from_dict",
    "identity",
    "run_folder",
    "run_id",
    "to_dict",
]


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """Return the typed and checked configuration of one run; imports Hydra. Raises ConfigError."""
    from wganbench.config.composition import compose

    return compose(overrides)
