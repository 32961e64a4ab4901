"""Which runs may share a stack."""

from __future__ import annotations

from typing import Any

from wganbench.config.identity import identity
from wganbench.config.schema import RunConfig

TRACED = ("critic_lr", "generator_lr")


def static_settings(config: RunConfig) -> dict[str, Any]:
    """What runs of one stack must share: everything but seed, rates and coefficients."""
    settings = identity(config)
    settings.pop("seed")
    settings["loss"] = {"name": config.loss.name, "n_critic": config.loss.n_critic}
    settings["train"] = {k: v for k, v in settings["train"].items() if k not in TRACED}
    return settings
