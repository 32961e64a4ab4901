"""What the kernel is compiled for: the sizes of sizes.h, and how a run is divided on a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

THREADS = 256
TALL = 8
WIDTHS = (16, 32, 64)
MOST_LAYERS = 4
MOST_NUMBERS = 8
"""The largest size of a point and of a latent."""

MOST_BLOCKS = 8
"""Blocks of a cluster that every GPU with clusters has."""

AT_ONCE = 8
"""Critic steps whose fakes and rates the kernel computes before them."""

CLUSTERS = (9, 0)
"""The compute capability from which GPUs have clusters of blocks."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a stack's runs, in the words of sizes.h."""

    activation: int
    rule: int
    hidden: int
    layers: int
    point: int
    latent: int
    penalties: int
    pairs: int
    batch: int
    blocks: int = 1
    wide: int = 2

    @property
    def macros(self) -> list[str]:
        """The compiler's flags that name the sizes."""
        own = {each.name.upper(): getattr(self, each.name) for each in fields(self)}
        fixed = {
            "THREADS": THREADS,
            "TALL": TALL,
            "AT_ONCE": AT_ONCE,
            "MOST_LAYERS": MOST_LAYERS,
        }
        return [f"-D{name}={value}" for name, value in (own | fixed).items()]

    @property
    def tile(self) -> int:
        """Points of a tile."""
        return self.wide * THREADS * TALL // self.hidden

    @property
    def own(self) -> int:
        """Points of a block."""
        return -(-self.batch // self.blocks)

    @property
    def critic(self) -> list[tuple[int, ...]]:
        """The shapes of the critic's weights and biases in turn."""
        return self._shapes(self.point, 1)

    @property
    def generator(self) -> list[tuple[int, ...]]:
        """The shapes of the generator's weights and biases in turn."""
        return self._shapes(self.latent, self.point)

    def _shapes(self, inputs: int, outputs: int) -> list[tuple[int, ...]]:
        rows = [inputs, *[self.hidden] * self.layers, outputs]
        layers = zip(rows, rows[1:], strict=False)
        return [shape for a, b in layers for shape in ((b, a), (b,))]

    @property
    def parameters(self) -> int:
        """Parameters of the larger network."""
        return max(sum(map(math.prod, shapes)) for shapes in (self.critic, self.generator))

    @property
    def _sums(self) -> int:
        return 5 + self.layers + 1

    @property
    def exchanged(self) -> int:
        """Numbers of global memory in which a block passes its gradient to others."""
        return self.parameters + self._sums

    @property
    def room(self) -> int:
        """Numbers of a block's shared memory, as in sizes.h."""
        hidden, layers, inputs = self.hidden, self.layers, max(self.point, self.latent)
        losses = 2 + self.penalties
        columns = (3 if self.pairs and losses < 3 else losses) * self.tile + 2
        weights = (layers - 1) * hidden**2 + hidden * (inputs + self.point + layers) + self.point
        shares = (layers - 1) * THREADS * 16
        lines = (layers + inputs + 2 * self.point) * THREADS
        kept = shares + lines + self._sums * (THREADS + 16)
        activations = max(layers * hidden * columns, kept)
        return (
            -(-weights // 4) * 4 + (inputs + self.point) * columns + activations + 4 * (AT_ONCE + 1)
        )

    def divided(
        self, runs: int, shared_bytes: int, at_once: Callable[[Sizes], int]
    ) -> Sizes | None:
        """Return the sizes with the blocks of a run and columns of a thread for a GPU.

        A run has as many blocks as leave none of them without a tile of points, and as let all
        ``runs`` train at the same time: ``at_once`` says how many a GPU trains of some sizes. None
        when the shared memory is too small.
        """
        for each in self._divisions():
            fits = each.own >= each.tile and 4 * each.room <= shared_bytes
            if fits and (each.blocks == 1 or runs <= at_once(each)):
                return each
        smallest = replace(self, blocks=1, wide=1)
        return smallest if 4 * smallest.room <= shared_bytes else None

    def _divisions(self) -> Iterator[Sizes]:
        blocks = MOST_BLOCKS
        while blocks:
            for wide in (2, 1):
                yield replace(self, blocks=blocks, wide=wide)
            blocks //= 2
