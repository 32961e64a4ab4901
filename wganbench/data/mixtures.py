"""Mixtures of Gaussians of equal width, the Swiss roll, finite training sets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wganbench.data.drawn import DrawnTarget
from wganbench.data.target import Density, Target
from wganbench.draws import Draws, Resident

APART = 6.0
"""Distance of two centres in sigmas below which their high-quality regions (3 sigma) overlap."""

STEPS = 10
"""Steps of float32 in a sigma below which the points of a mode fall on a coarse grid."""

FAR_MEAN, SMALL_SPREAD, LARGE_SPREAD = 100.0, 1e-3, 1e3
"""Data are far from a new network's range (mean 0, slope 1) with |mean| above this many spreads,
or with a spread outside these bounds."""


def far_warning(means: Sequence[float], spread: float, remedy: str) -> list[str]:
    """Return a warning of data that are far from where networks begin; none for others."""
    far = max(map(abs, means)) > FAR_MEAN * spread
    if not far and SMALL_SPREAD <= spread <= LARGE_SPREAD:
        return []
    shown = ", ".join(f"{mean:.3g}" for mean in means[:SHOWN_COORDINATES])
    return [
        f"warning: mean {shown}, spread {spread:.3g}: far from where networks begin (mean 0, "
        f"spread 1), so they may learn nothing; {remedy}"
    ]


SHOWN_COORDINATES = 4
"""Most coordinates that a line shows."""

AT_ONCE = 2**22
"""Most distances of points to centres in memory at once, for the density."""

MOST_COMPARED = 4096
"""Most centres whose distances are computed; the cost grows with their square."""


class Mixture(DrawnTarget, Density):
    """A mixture of Gaussians: P_r = sum_k w_k N(mode_k, sigma^2 I).

    ``modes`` (K, d) and ``weights`` (K,), which sum to 1, are float32 on the CPU;
    ``sigma`` is the standard deviation of each coordinate, in the units of the points.
    """

    modes: Float[Tensor, "K d"]
    weights: Float[Tensor, " K"]
    sigma: float
    density: Density

    def __init__(
        self, modes: Float[Tensor, "K d"], weights: Float[Tensor, " K"], sigma: float
    ) -> None:
        """Normalise the weights, which need not sum to 1.

        Raises ValueError when the shapes do not fit, a weight is negative or not finite,
        the weights sum to 0, or sigma is not above 0.
        """
        if modes.ndim != 2 or weights.shape != modes.shape[:1] or modes.numel() == 0:
            raise ValueError(
                f"modes must be (K, d) and weights (K,), got {tuple(modes.shape)} and "
                f"{tuple(weights.shape)}"
            )
        total = float(weights.double().sum())
        if not (bool((weights >= 0).all()) and 0 < total < float("inf")):
            raise ValueError("weights must be at least 0 and sum to something above 0")
        if not 0 < sigma < float("inf"):
            raise ValueError(f"sigma must be above 0, got {sigma}")
        self.modes = modes.float()
        self.weights = (weights.double() / total).float()
        self.sigma = float(sigma)
        self.notes, self.density = self._warnings(), self
        self._modes = Resident(self.modes)
        self._even = bool((self.weights == self.weights[0]).all())
        # The last step is exactly 1, so that no uniform number exceeds it.
        steps = weights.double().cumsum(0)
        self._steps = Resident((steps / steps[-1]).float())

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.modes.shape[1:])

    @property
    def steps(self) -> Float[Tensor, " K"] | None:
        """The distribution function of the modes; None when all are equally likely."""
        return None if self._even else self._steps.tensor

    def _warnings(self) -> tuple[str, ...]:
        """Return warnings of likely problems: centres out of reach, on a coarse grid, too near."""
        modes, weights = self.modes.double(), self.weights.double()
        mean, largest = weights @ modes, float(modes[weights > 0].abs().max())
        variance = float((weights @ (modes - mean).square()).mean()) + self.sigma**2
        lines, spread = [], math.sqrt(variance)
        # One narrow mode near 0 is in reach.
        if largest > FAR_MEAN or not SMALL_SPREAD <= spread <= LARGE_SPREAD:
            lines = far_warning(mean.tolist(), spread, "use another unit and origin")
        step = math.ulp(largest) * 2**29  # float32 has 29 bits less than float64
        if step * STEPS > self.sigma:
            lines.append(
                f"warning: at {largest:.3g} numbers of float32 lie {step:.2g} apart, too coarse "
                f"for sigma={self.sigma:.3g}: points merge; use a larger sigma or another origin"
            )
        return (*lines, *self._too_near())

    def _too_near(self) -> tuple[str, ...]:
        """Return a warning when centres are too near to separate their modes."""
        if not 1 < len(self.modes) <= MOST_COMPARED:
            return ()
        distances = torch.pdist(self.modes.double())
        apart = float(distances.min()) / self.sigma
        if apart >= APART:
            return ()
        near = int((distances < APART * self.sigma).sum())
        pairs = "two centres" if near == 1 else f"{near} pairs of centres, the nearest two,"
        return (
            f"warning: {pairs} lie {apart:.2g} sigma apart; below {APART:g} their points mix, and "
            "counts of modes say little",
        )

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` independent points: a mode drawn by weight, plus Gaussian noise."""
        if self._even:
            mode = draws.below(len(self.modes), n)
        else:
            mode = torch.searchsorted(self._steps.on(draws.device), draws.uniform(n), right=True)
        return self._around(mode, draws)

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` points with modes in exact proportions, in random order.

        Without the random imbalance of mode counts, the distance between two samples of the
        target (the floor of every measured distance) is ten times smaller.
        """
        counts = proportional_counts(self.weights, n)
        mode = torch.arange(len(counts)).repeat_interleave(counts).to(draws.device)
        return self._around(mode[draws.order(n)], draws)

    def _around(self, mode: Int[Tensor, "*lead n"], draws: Draws) -> Float[Tensor, "*lead n d"]:
        modes = self._modes.on(draws.device)
        return modes[mode] + self.sigma * draws.normal(mode.shape[-1], modes.shape[1])

    def log_density(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n"]:
        """Return log p(x) = logsumexp_k (log w_k - ||x - m_k||^2 / (2 sigma^2)) + constant."""
        d = x.shape[-1]
        parts = [logits.logsumexp(dim=-1) for logits, _ in self._logits(x)]
        constant = d * (math.log(self.sigma) + math.log(2 * math.pi) / 2)
        return torch.cat(parts).reshape(x.shape[:-1]) - constant

    def log_density_gradient(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n d"]:
        """Return (sum_k r_k m_k - x) / sigma^2 with r_k the probability of mode k given x."""
        means = [logits.softmax(dim=-1) @ modes for logits, modes in self._logits(x)]
        gradient: Tensor = (torch.cat(means).reshape(x.shape) - x) / self.sigma**2
        return gradient

    def _logits(self, x: Float[Tensor, "*lead n d"]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield log w_k - ||x - m_k||^2 / (2 sigma^2), a part of the points at a time, and m."""
        modes = self._modes.on(x.device).to(x.dtype)
        shares = self.weights.to(x.device, x.dtype).log()
        for part in torch.split(x.reshape(-1, x.shape[-1]), max(1, AT_ONCE // len(modes))):
            distances = torch.cdist(part, modes, compute_mode="donot_use_mm_for_euclid_dist")
            yield shares - (distances / self.sigma).square() / 2, modes


def proportional_counts(weights: Float[Tensor, " K"], n: int) -> Int[Tensor, " K"]:
    """Return whole numbers nearest to n w_k with sum n (largest remainder, ties to the first).

    >>> proportional_counts(torch.tensor([0.5, 0.25, 0.25]), 10).tolist()
    [5, 3, 2]
    """
    shares = n * (weights.double() / weights.double().sum())
    counts = shares.floor().long()
    missing = n - int(counts.sum())
    largest = torch.sort(shares - counts, descending=True, stable=True).indices[:missing]
    counts[largest] += 1
    return counts


# A fixed training set for targets that would otherwise give new points without end.
class TrainingSet:
    """A set of points to draw from with replacement, with a copy on each device."""

    def __init__(self, points: Float[Tensor, "m d"]) -> None:
        self.points = points
        self._resident = Resident(points)

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` rows, all equally likely."""
        points = self._resident.on(draws.device)
        return points[draws.below(len(points), n)]


class Finite(DrawnTarget):
    """A target with ``train_points`` fixed training points; it is evaluated on ``target``."""

    points: Tensor

    def __init__(self, target: DrawnTarget, train_points: int, train_seed: int) -> None:
        self.target, self.pair, self.density = target, target.pair, target.density
        self.notes = target.notes
        self.points = draw_once(target, train_points, train_seed)
        self._training_set = TrainingSet(self.points)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.points.shape[1:])

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` points of the training set, drawn with replacement."""
        return self._training_set.draw(draws, n)

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` held-out points of the true target."""
        return self.target.draw_held_out(draws, n)


class FiniteMixture(Mixture):
    """A mixture with fixed training points, see `Finite`; it keeps modes, weights and sigma."""

    points: Tensor

    def __init__(self, target: Mixture, train_points: int, train_seed: int) -> None:
        super().__init__(target.modes, target.weights, target.sigma)
        self.target = target
        self.points = draw_once(target, train_points, train_seed)
        self._training_set = TrainingSet(self.points)

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """Return ``n`` points of the training set, drawn with replacement."""
        return self._training_set.draw(draws, n)


def finite(target: DrawnTarget, train_points: int | None, train_seed: int) -> Target:
    """Return ``target`` with a fixed set of ``train_points``; unchanged when that is None.

    The set is drawn on the CPU from ``train_seed``, so it is the same on all devices and for
    all seeds of runs. Source: 100 000 points in arXiv:1712.04086.
    """
    if train_points is None:
        return target
    if isinstance(target, Mixture):
        return FiniteMixture(target, train_points, train_seed)
    return Finite(target, train_points, train_seed)


def endless(target: Target) -> Target:
    """Return the target from which a training set of `finite` was drawn; any other unchanged."""
    return target.target if isinstance(target, Finite | FiniteMixture) else target


def draw_once(target: DrawnTarget, train_points: int, train_seed: int) -> Float[Tensor, "m d"]:
    """Return ``train_points`` training points, a function of the target and the seed."""
    return target.sample(train_points, torch.Generator().manual_seed(train_seed))


# The toy distributions of the literature.
def ring(modes: int, radius: float, sigma: float) -> Mixture:
    """Return equal Gaussians at ``radius`` (cos, sin)(2 pi k / modes), k = 0 .. modes - 1.

    Source: the 8 Gaussians of arXiv:1704.00028 (Fig. 1a) and arXiv:1705.07761 (Sec. 4.1).
    """
    # The angle 2 pi equals 0, so the angles stop one step before it.
    angles = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
    centres = radius * torch.stack((angles.cos(), angles.sin()), dim=1)
    return Mixture(centres, torch.ones(modes), sigma)


def grid(side: int, spacing: float, sigma: float) -> Mixture:
    """Return ``side`` x ``side`` equal Gaussians, ``spacing`` apart, centred on the origin.

    Source: the 25 Gaussians of arXiv:1704.00028 (Fig. 1a) and arXiv:1705.07761 (Sec. 4.1).
    """
    line = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
    return Mixture(torch.cartesian_prod(line, line), torch.ones(side * side), sigma)


def two_gaussians(distance: float, dimension: int, sigma: float) -> Mixture:
    """Return two equal Gaussians in R^dimension, means at ± distance/2 on the first axis."""
    centres = torch.zeros(2, dimension, dtype=torch.float64)
    centres[0, 0], centres[1, 0] = -distance / 2, distance / 2
    return Mixture(centres, torch.ones(2), sigma)


def chain(modes: int, spacing: float, decades: float, sigma: float) -> Mixture:
    """Return Gaussians in a row in the plane, ``spacing`` apart, centred on the origin.

    The weights fall in equal ratios from the first to the last, by ``decades`` powers of ten:
    w_k is proportional to 10^(-decades k / (modes - 1)).
    """
    places = torch.arange(modes, dtype=torch.float64)
    centres = torch.zeros(modes, 2, dtype=torch.float64)
    centres[:, 0] = spacing * (places - (modes - 1) / 2)
    return Mixture(centres, 10 ** (-decades * places / max(1, modes - 1)), sigma)


def mixture(
    centres: Sequence[Sequence[float]], weights: Sequence[float] | None, sigma: float
) -> Mixture:
    """Return Gaussians at ``centres`` with ``weights`` (None: equal).

    Raises ValueError for equal centres: a perfect sampler would not cover both.
    """
    modes = torch.tensor(centres, dtype=torch.float64)
    first: dict[tuple[float, ...], int] = {}
    for k, centre in enumerate(modes.float().tolist()):
        if (j := first.setdefault(tuple(centre), k)) != k:
            raise ValueError(
                f"data.centres[{j}] and data.centres[{k}] are equal (in float32): give each centre "
                "once, and what it weighs in data.weights"
            )
    shares = torch.ones(len(modes)) if weights is None else torch.tensor(weights)
    return Mixture(modes, shares.double(), sigma)


class SwissRoll(DrawnTarget):
    """The Swiss roll in the plane, a spiral with coordinates of about ± 2.

    t ~ U[1.5 pi, 4.5 pi], x = ((t cos t, t sin t) + noise N(0, I)) / 7.5. These are columns 0
    and 2 of scikit-learn's ``make_swiss_roll(noise=noise)``, scaled as in the code of
    arXiv:1704.00028.
    """

    shape: tuple[int, ...] = (2,)

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n 2"]:
        """Return ``n`` independent points."""
        t = 1.5 * math.pi * (1 + 2 * draws.uniform(n))
        spiral = torch.stack((t * t.cos(), t * t.sin()), dim=-1)
        return (spiral + self.noise * draws.normal(n, 2)) / 7.5
