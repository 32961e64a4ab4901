"""The modes of the data that stored runs were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wganbench.bounds import ModeProtocol

if TYPE_CHECKING:
    from wganbench.data.target import Target


def count_modes(path: Path) -> int | None:
    """Return the number of modes, or image classes, of a run's data; None if unknown."""
    from wganbench.training.measuring import mode_count

    target = stored_target(path)
    return None if target is None else mode_count(target) or None


@dataclass(frozen=True)
class Modes:
    """The modes of a run's data, and the protocol that counts them."""

    centres: np.ndarray
    weights: np.ndarray
    sigma: float
    protocol: ModeProtocol


def read_modes(path: Path) -> Modes | None:
    """Return the modes of a run's data; None unless the data are a mixture."""
    from wganbench.data.mixtures import Mixture
    from wganbench.runs.stored import stored_config

    target = stored_target(path)
    if not isinstance(target, Mixture):
        return None
    protocol = stored_config(path).evaluate.protocol
    return Modes(target.modes.numpy(), target.weights.numpy(), target.sigma, protocol)


def stored_target(path: Path) -> Target | None:
    """Return the data of a run's stored configuration; None if they cannot be built."""
    from wganbench.data.registry import build
    from wganbench.runs.stored import stored_config

    try:
        data = stored_config(path).data
        # A report reads existing files and never downloads any.
        here = {"download": False} if "download" in data.options else {}
        return build(data.kind, data.options | here)
    except (ValueError, TypeError, ArithmeticError, RuntimeError, MemoryError, OSError):
        # The configuration is of another version or a stranger's; figures then omit the modes.
        return None
