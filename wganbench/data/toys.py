"""Toy targets of papers that are no mixtures: lines, points, circles, moons, squares, spirals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from wganbench.data.drawn import DrawnTarget
from wganbench.data.target import Distance, KnownPair
from wganbench.draws import Draws, Resident


# Distributions beside a copy of themselves.
class Shifted(DrawnTarget, KnownPair):
    """A distribution whose source is itself, moved by ``offset`` along the first axis.

    W1 is the offset, whatever the distribution, and -x_1 is a potential. Subclasses define
    ``draw``.
    """

    pair: KnownPair

    def __init__(self, offset: float, dimension: int) -> None:
        self.offset, self.dimension, self.pair = offset, dimension, self

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dimension,)

    @property
    def distance(self) -> Distance:
        """W1 = offset, exactly."""
        return Distance(self.offset)

    def source(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """Return ``n`` independent points of the moved distribution."""
        points = self.sample(n, generator)
        points[:, 0] += self.offset
        return points

    def potential(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n"]:
        """Return -x_1."""
        return -x[..., 0]

    def potential_gradient(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n d"]:
        """Return (-1, 0, ..., 0) at every point."""
        gradient = torch.zeros_like(x)
        gradient[..., 0] = -1
        return gradient


class Lines(Shifted):
    """The reals are (0, z) with z uniform on [0, 1]; the source lies ``offset`` beside them.

    JS is ln 2 for every offset, W1 is the offset. Source: arXiv:1701.07875, Example 1.
    """

    def __init__(self, offset: float) -> None:
        super().__init__(offset, 2)

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 2"]:
        """Return ``n`` independent points."""
        z = draws.uniform(n)
        return torch.stack((torch.zeros_like(z), z), dim=-1)


class PointMasses(Shifted):
    """All reals are the origin; the source is the point ``offset`` beside it.

    Source: the Dirac-GAN of arXiv:1801.04406, in any dimension.
    """

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` times the origin."""
        return torch.zeros(*draws.lead, n, *self.shape, device=draws.device)


# Curves in the plane.
class Circle(DrawnTarget):
    """Uniform on the circle of radius ``radius`` about the origin.

    Source: a 2-D example of arXiv:1801.04406, section 5.1; its radius is ours.
    """

    shape: tuple[int, ...] = (2,)

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 2"]:
        """Return ``n`` independent points."""
        angle = 2 * math.pi * draws.uniform(n)
        return self.radius * torch.stack((angle.cos(), angle.sin()), dim=-1)


class Segments(DrawnTarget):
    """Uniform along straight segments: each has points in proportion to its length.

    ``ends`` holds [x, y, x', y'] of each segment, its two ends. Source: two of the 2-D examples
    of arXiv:1801.04406, section 5.1, have one segment and four; their places are ours.
    """

    shape: tuple[int, ...] = (2,)

    def __init__(self, ends: Sequence[Sequence[float]]) -> None:
        first, last = torch.tensor(ends, dtype=torch.float64).reshape(-1, 2, 2).unbind(1)
        # Laid end to end, the segments begin at these lengths.
        lengths = torch.linalg.vector_norm(last - first, dim=1)
        self.length = float(lengths.sum())
        columns = (first, last - first, (lengths.cumsum(0) - lengths)[:, None], lengths[:, None])
        self._table = Resident(torch.cat(columns, dim=1).float())

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 2"]:
        """Return ``n`` independent points."""
        table, place = self._table.on(draws.device), self.length * draws.uniform(n)
        segment = torch.searchsorted(table[1:, 4].contiguous(), place, right=True)
        start, way, begin, length = torch.split(table[segment], [2, 2, 1, 1], dim=-1)
        points: Tensor = start + (place[..., None] - begin) / length * way
        return points


# Shapes in the plane.
class Moons(DrawnTarget):
    """Two half circles of radius 1 that reach into each other, equally likely.

    t ~ U[0, pi]; (cos t, sin t) or (1 - cos t, 1/2 - sin t), plus noise N(0, I). Source:
    scikit-learn's ``make_moons(noise=noise)``.
    """

    shape: tuple[int, ...] = (2,)

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 2"]:
        """Return ``n`` independent points."""
        lower, t = draws.below(2, n), math.pi * draws.uniform(n)
        # The lower moon is the upper one, turned about (1/2, 1/4).
        moon = torch.stack((t.cos(), t.sin()), dim=-1)
        turned = torch.stack((1 - t.cos(), 0.5 - t.sin()), dim=-1)
        points = torch.where(lower.unsqueeze(-1) == 1, turned, moon)
        return points + self.noise * draws.normal(n, 2)


class Checkerboard(DrawnTarget):
    """Uniform on every second square of a board of ``squares`` by ``squares``, round the origin.

    The lowest square on the left is filled. Source: the code of arXiv:1810.01367.
    """

    shape: tuple[int, ...] = (2,)

    def __init__(self, squares: int, edge: float) -> None:
        self.squares, self.edge = squares, edge

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 2"]:
        """Return ``n`` independent points."""
        column, pair = draws.below(self.squares, n), draws.below(self.squares // 2, n)
        corner = torch.stack((column, 2 * pair + column % 2), dim=-1)
        return self.edge * (corner - self.squares / 2 + draws.uniform(n, 2))


class Spirals(DrawnTarget):
    """Two arms that wind about the origin, each the other one turned by half a circle.

    t = 2 pi turns sqrt(U[0, 1]), which is even along the arms; the first arm is
    (-t cos t, t sin t) + jitter U[0, 1]^2, both are divided by 3, plus noise N(0, I). Source:
    the code of arXiv:1810.01367.
    """

    shape: tuple[int, ...] = (2,)

    def __init__(self, turns: float, jitter: float, noise: float) -> None:
        self.turns, self.jitter, self.noise = turns, jitter, noise

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 2"]:
        """Return ``n`` independent points."""
        side = 1 - 2 * draws.below(2, n).unsqueeze(-1)
        t = 2 * math.pi * self.turns * draws.uniform(n).sqrt()
        arm = torch.stack((-t * t.cos(), t * t.sin()), dim=-1)
        points = side * (arm + self.jitter * draws.uniform(n, 2)) / 3
        return points + self.noise * draws.normal(n, 2)
