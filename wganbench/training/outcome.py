"""How a run ended: on its own, so that who only passes it on need not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ELSEWHERE = "elsewhere"
"""The status of a run that was left to another process, or has gone on there; never stored."""


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended: status, generator steps done, final values by tag, the verdict."""

    path: Path
    status: str
    step: int
    metrics: dict[str, float]
    verdict: list[str]
    seconds: float
    executor: str | None = None
    """What ran the steps, see `Stack.executor`; None where no step was taken."""
