"""Features of pictures: a user's own callable by its name, and its output checked."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.errors import ConfigError

Features = Callable[[Tensor], Tensor]
"""From pictures (n, c, h, w) in [-1, 1], on the CPU, to features (n, f)."""

BATCH = 500
"""Pictures given to a user's features at once."""


_typed: set[str] = set()


def allow_features(*names: str | None) -> None:
    """This command line, or this program, has typed these names: their code may be run.

    A name that only a stored file holds may be anybody's: it is never imported.
    """
    _typed.update(name for name in names if name is not None)


def check_allowed(name: str | None) -> None:
    """Raise ConfigError, which says how to allow it, for a name that nobody has typed."""
    if name is not None and name not in _typed:
        raise ConfigError(
            f"evaluate.features={name} is named by a stored file, and is code: it is run only "
            f"when the command line names it too. If you trust it, add --features {name} (in "
            "Python load_run(path, features=...))"
        )


def load_features(name: str) -> Features:
    """The callable that ``package.module:callable`` names; the current folder counts too.

    Raises ValueError, in one line, when there is none, or the name was not typed.
    """
    check_allowed(name)
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ValueError(f"evaluate.features={name}: write package.module:callable")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        # A user's module may raise anything while it is imported.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"evaluate.features={name} cannot be imported: {reason}") from error
    if not callable(found):
        raise ValueError(f"evaluate.features={name} is no callable but a {type(found).__name__}")
    return found


def read_features(extract: Features, points: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
    """Features of all points in float64, read in batches without gradients.

    Raises ValueError when a batch of n points does not give (n, f) numbers.
    """
    with torch.no_grad():
        batches = torch.split(points.detach().float().cpu(), BATCH)
        parts = [torch.as_tensor(extract(batch)).detach().cpu().double() for batch in batches]
    for batch, part in zip(batches, parts, strict=True):
        if part.ndim != 2 or len(part) != len(batch):
            raise ValueError(
                f"evaluate.features gave shape {tuple(part.shape)} for pictures of shape "
                f"{tuple(batch.shape)}: (n, f) is needed"
            )
    return torch.cat(parts)
