"""What every data set offers to training and to evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Generator, Tensor


@runtime_checkable
class Target(Protocol):
    """A distribution P_r over points, and the draws that training and evaluation take from it.

    Every draw comes from the generator that is passed in, on that generator's device,
    in float32. Nothing reads or advances the global random state.
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
