"""A pair of Gaussians with any covariances, at distances in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Generator, Tensor

from wganbench.data.drawn import DrawnTarget
from wganbench.data.target import Density
from wganbench.draws import Draws, Generated, Resident


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
