"""Targets whose points are functions of random words."""

from __future__ import annotations

from jaxtyping import Float
from torch import Generator, Tensor

from wganbench.data.target import Target
from wganbench.draws import Draws, Generated


class DrawnTarget(Target):
    """A target whose points are functions of random words, the same on every device.

    Subclasses define ``draw`` and ``draw_held_out``; ``sample`` and ``held_out`` use them.
    """

    def draw(self, draws: Draws, n: int) -> Float[Tensor, ...]:
        """Return ``n`` independent training points: (*lead, n, *shape)."""
        raise NotImplementedError

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, ...]:
        """Return ``n`` points for evaluation: (*lead, n, *shape); new ones by default."""
        return self.draw(draws, n)

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n ..."]:
        """Return ``n`` points of `draw` on the generator's device."""
        return self.draw(Generated(generator), n)

    def held_out(self, n: int, generator: Generator) -> Float[Tensor, "n ..."]:
        """Return ``n`` points of `draw_held_out` on the generator's device."""
        return self.draw_held_out(Generated(generator), n)
