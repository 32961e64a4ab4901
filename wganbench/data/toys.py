"""Toy targets that are no mixtures: lines, points, circles, moons, spirals, pairs of Gaussians."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Generator, Tensor

from wganbench.data.drawn import DrawnTarget
from wganbench.data.target import Density, Distance, KnownPair
from wganbench.draws import Draws, Generated, Resident


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


# A pair of Gaussians with any covariances, at distances in closed form.
class Gaussian(DrawnTarget, Density):
    """N(mean, covariance), drawn as mean + L N(0, I) with the Cholesky factor L."""

    density: Density

    def __init__(self, mean: Float64[Tensor, " d"], covariance: Float64[Tensor, "d d"]) -> None:
        """Raise ValueError unless the covariance is symmetric and positive definite."""
        root, failed = torch.linalg.cholesky_ex(covariance)
        if int(failed) or not torch.equal(covariance, covariance.T):
            raise ValueError("a covariance must be symmetric and positive definite")
        self.mean, self.covariance, self.root = mean, covariance, root
        self.density = self
        self._mean, self._root = Resident(mean.float()), Resident(root.float())

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.mean.shape)

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` independent points."""
        noise = draws.normal(n, *self.shape)
        return self._mean.on(draws.device) + noise @ self._root.on(draws.device).T

    def log_density(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n"]:
        """Return log p(x) = -||L^-1 (x - mean)||^2 / 2 - log det L - d/2 log 2 pi."""
        squares = self._white(x).square().sum(dim=-1)
        constant = self.root.diagonal().log().sum() + len(self.mean) / 2 * math.log(2 * math.pi)
        found: Tensor = -squares / 2 - constant.to(x.device, x.dtype)
        return found

    def log_density_gradient(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n d"]:
        """Return -S^-1 (x - mean)."""
        root = self.root.to(x.device, x.dtype)
        found: Tensor = torch.linalg.solve_triangular(root, self._white(x), upper=False, left=False)
        return -found

    def _white(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n d"]:
        """Return L^-1 (x - mean) of each point."""
        root, mean = self.root.to(x.device, x.dtype), self.mean.to(x.device, x.dtype)
        found: Tensor = torch.linalg.solve_triangular(root.T, x - mean, upper=True, left=False)
        return found


class GaussianPair(DrawnTarget):
    """The reals, N(m, S), beside a source N(m_0, S_0); both in R^d.

    W2 and the W1 of every projection are known in closed form; W1 itself is not, unless the
    covariances are equal: then it is ||m - m_0||. A distance of your own can be held against them:
    see ``sample`` and ``source``.

    >>> narrow, wide = [[1.0, 0.0], [0.0, 1.0]], [[4.0, 0.0], [0.0, 1.0]]
    >>> pair = GaussianPair([1.0, 0.5], narrow, [-1.0, 0.5], wide)
    >>> round(pair.wasserstein_2() ** 2, 9), pair.projected_wasserstein_1(torch.eye(2)).tolist()[1]
    (5.0, 0.0)
    """

    density: Density

    def __init__(
        self,
        mean: Sequence[float],
        covariance: Sequence[Sequence[float]],
        source_mean: Sequence[float],
        source_covariance: Sequence[Sequence[float]],
    ) -> None:
        """Raise ValueError, naming the key, for a covariance that is none."""
        self.gaussian = _gaussian(mean, covariance, "covariance")
        self.source_gaussian = _gaussian(source_mean, source_covariance, "source_covariance")
        self.density = self.gaussian

    @property
    def shape(self) -> tuple[int, ...]:
        return self.gaussian.shape

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` independent points of the reals' distribution."""
        return self.gaussian.draw(draws, n)

    def source(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """Return ``n`` independent points of the source distribution."""
        return self.source_gaussian.draw(Generated(generator), n)

    def wasserstein_2(self) -> float:
        """Return W2: W2^2 = ||m - m_0||^2 + tr(S + S_0 - 2 (S^1/2 S_0 S^1/2)^1/2).

        Source: Dowson & Landau 1982; Olkin & Pukelsheim 1982.
        """
        real, other = self.gaussian, self.source_gaussian
        root = square_root(real.covariance)
        cross = square_root(root @ other.covariance @ root)
        spread = torch.trace(real.covariance + other.covariance - 2 * cross)
        return math.sqrt(max(0.0, float((real.mean - other.mean).square().sum() + spread)))

    def projected_wasserstein_1(self, directions: Float[Tensor, "k d"]) -> Float64[Tensor, " k"]:
        """Return W1 between the projections on each direction v: E|e + t Z|.

        Projections are Gaussians, which a monotone plan matches: e = v.(m - m_0) and
        t = |(v'S v)^1/2 - (v'S_0 v)^1/2|. E|e + t Z| = 2 t phi(e/t) + e (2 Phi(e/t) - 1), |e| where
        t = 0. Over uniform unit directions its mean is the sliced W1.
        """
        v, real, other = directions.double(), self.gaussian, self.source_gaussian
        e = v @ (real.mean - other.mean)
        t = (deviations(v, real.covariance) - deviations(v, other.covariance)).abs()
        z = e / t.clamp(min=1e-300)
        density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
        return 2 * t * density + e * torch.erf(z / math.sqrt(2))


def _gaussian(mean: Sequence[float], covariance: Sequence[Sequence[float]], key: str) -> Gaussian:
    try:
        return Gaussian(
            torch.tensor(mean, dtype=torch.float64), torch.tensor(covariance, dtype=torch.float64)
        )
    except ValueError as error:
        raise ValueError(f"data.{key}: {error}") from error


def deviations(
    directions: Float64[Tensor, "k d"], covariance: Float64[Tensor, "d d"]
) -> Float64[Tensor, " k"]:
    """Return the standard deviation (v'S v)^1/2 of each projection."""
    return ((directions @ covariance) * directions).sum(dim=1).sqrt()


def square_root(matrix: Float64[Tensor, "d d"]) -> Float64[Tensor, "d d"]:
    """Return the symmetric root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
