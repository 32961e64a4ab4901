"""Which run a configuration is: its identity, its digest and the name of its folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from wganbench.config.schema import OUTSIDE_IDENTITY, WHERE_DATA_LIES, RunConfig, to_dict
from wganbench.data.options import ADDED_LATER

DIGEST_DIGITS = 8


def identity(config: RunConfig) -> dict[str, Any]:
    """The typed configuration without the keys that say where and how it is computed.

    Nor with those of `ADDED_LATER` that have their first value: what a run of before is.
    """
    values = {key: value for key, value in to_dict(config).items() if key not in OUTSIDE_IDENTITY}
    plain = ADDED_LATER.get(config.data.kind, {}).items()
    values["data"] = {
        k: v for k, v in values["data"].items() if k not in WHERE_DATA_LIES and (k, v) not in plain
    }
    return values


def digest(config: RunConfig) -> str:
    """SHA-256, in hex, of the identity as JSON with sorted keys and no spaces."""
    canonical = json.dumps(identity(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def run_id(config: RunConfig) -> str:
    """A legible name for the run's folder, such as ``ring8-gp-gp_lambda=10-seed=0-1f3a5c7e``.

    Data, loss, each coefficient, seed, and the first digits of the identity's digest.
    """
    coefficients = [f"{name}={value:g}" for name, value in config.loss.coefficients.items()]
    words = [config.data.name, config.loss.name, *coefficients, f"seed={config.seed}"]
    return "-".join([*words, digest(config)[:DIGEST_DIGITS]])


def run_folder(config: RunConfig) -> Path:
    """Where the run's files go: ``output_dir/name/run_id``."""
    return Path(config.output_dir) / config.name / run_id(config)
