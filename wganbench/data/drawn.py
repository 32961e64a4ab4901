"""Targets whose points are functions of random words."""

from __future__ import annotations

from jaxtyping import Float
from torch import Generator, Tensor

from wganbench.data.target import Target
from wganbench.draws import Draws, Generated


class Drawn(Target):
    """A target whose points are functions of random words: the same on every device.

    It gives ``draw`` and ``draw_held_out``; ``sample`` and ``held_out`` follow from them.
    """

    def draw(self, draws: Draws, n: int) -> Float[Tensor, ...]:
        """(*lead, n, *shape): ``n`` independent points of the training distribution."""
        raise NotImplementedError

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, ...]:
        """(*lead, n, *shape): ``n`` points to evaluate on; by default fresh ones."""
        return self.draw(draws, n)

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n ..."]:
        """``n`` points of `draw`, on the generator's device."""
        return self.draw(Generated(generator), n)

    def held_out(self, n: int, generator: Generator) -> Float[Tensor, "n ..."]:
        """``n`` points of `draw_held_out`, on the generator's device."""
        return self.draw_held_out(Generated(generator), n)
