"""The modes of the data that stored runs were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from wganbench.data.target import Target


def count_modes(path: Path) -> int | None:
    """The modes, or classes of images, of the data that a run's configuration describes."""
    from wganbench.training.measuring import mode_count

    target = stored_target(path)
    return mode_count(target) or None if target else None


@dataclass(frozen=True)
class Modes:
    """Where the modes of a run's data lie, and by which protocol it counts them."""

    centres: np.ndarray
    weights: np.ndarray
    sigma: float
    protocol: str


def read_modes(path: Path) -> Modes | None:
    """The modes of a run's data; None where it has none, or they are no mixture's."""
    from wganbench.data.mixtures import Mixture
    from wganbench.training.runs import stored_config

    target = stored_target(path)
    if not isinstance(target, Mixture):
        return None
    protocol = stored_config(path).evaluate.protocol
    return Modes(target.modes.numpy(), target.weights.numpy(), target.sigma, protocol)


def stored_target(path: Path) -> Target | None:
    """The data that a run's stored configuration describes; None where that cannot be told."""
    from wganbench.data.registry import build
    from wganbench.training.runs import stored_config

    try:
        data = stored_config(path).data
        # A report reads what is there, and never fetches it.
        here = {"download": False} if "download" in data.options else {}
        return build(data.kind, data.options | here)
    except (ValueError, TypeError, ArithmeticError, RuntimeError, MemoryError, OSError):
        # Another version's, or a stranger's: a figure does without.
        return None
