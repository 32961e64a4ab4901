"""Which runs may share a stack, and where in it each of them stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wganbench.config.identity import identity
from wganbench.config.schema import RunConfig
from wganbench.records.folder import RunFolder

TRACED = ("critic_lr", "generator_lr")


def static_settings(config: RunConfig) -> dict[str, Any]:
    """What runs of one stack must share: everything but seed, rates and coefficients."""
    settings = identity(config)
    settings.pop("seed")
    settings["loss"] = {"name": config.loss.name, "n_critic": config.loss.n_critic}
    settings["train"] = {k: v for k, v in settings["train"].items() if k not in TRACED}
    return settings


LARGEST_STACK = 4096
"""No larger one is rebuilt, whatever a run.json says."""


@dataclass(frozen=True)
class Places:
    """How many places a stack has, and which of them runs have that are trained here."""

    size: int
    own: tuple[int, ...]

    @staticmethod
    def all_of(runs: int) -> Places:
        """Those of a stack whose runs are all here."""
        return Places(runs, tuple(range(runs)))

    def of(self, runs: Sequence[int]) -> Places:
        """Those of some of the runs, by their numbers among those that are here."""
        return Places(self.size, tuple(self.own[run] for run in runs))


def place_of(folder: RunFolder) -> Places | None:
    """Where a run that has begun stood in its stack; None where nobody knows."""
    try:
        return as_places(folder.read().get("stack"))
    except (OSError, ValueError):
        return None


def as_places(stored: object) -> Places | None:
    """What run.json or sweep.json holds of a run's place; None where it makes no sense."""
    if not isinstance(stored, dict):
        return None
    size, place = stored.get("size"), stored.get("place")
    if type(size) is not int or type(place) is not int:
        return None
    return Places(size, (place,)) if 0 <= place < size <= LARGEST_STACK else None
