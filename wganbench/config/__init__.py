"""Configuration: composed from YAML by Hydra, typed and checked here, values only in YAML."""

from __future__ import annotations

from collections.abc import Sequence

from wganbench.config.identity import digest, identity, run_folder, run_id
from wganbench.config.schema import OUTSIDE_IDENTITY, RunConfig, from_dict, to_dict
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
    """The typed and checked configuration of one run; imports Hydra. Raises ConfigError."""
    from wganbench.config.hydra_entry import compose

    return compose(overrides)
