"""What every data set offers to training and to evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Generator, Tensor

    from wganbench.data.points import Units


@runtime_checkable
class Target(Protocol):
    """A distribution P_r over points, and the draws that training and evaluation take from it.

    Every draw comes from the generator that is passed in, on that generator's device,
    in float32. Nothing reads or advances the global random state. A class that derives from
    `Drawn` is drawn for all runs of a stack in one call, any other run by run.

    Optional: ``told``, lines that a person should see before training; ``held_out_points``,
    where ``held_out`` deals out that many rows, each once before one comes twice; ``units``,
    where the data were centred and scaled.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point: ``(d,)``, or ``(c, h, w)`` of a picture."""
        ...

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """``n`` independent points of the training distribution."""
        ...

    def held_out(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """``n`` points to evaluate on, which training never sees."""
        ...


@dataclass(frozen=True)
class KnownShape:
    """What a trained generator needs of its data: the shape of a point, and the units."""

    shape: tuple[int, ...]
    units: Units | None = None

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """Nothing can be drawn: raises ValueError."""
        raise ValueError("only the shape of the data is known here, not the data")

    held_out = sample


def told(target: object) -> tuple[str, ...]:
    """What a person should see of a target before it is trained on: how it was read."""
    return tuple(getattr(target, "told", ()))
