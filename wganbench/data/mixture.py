"""Mixtures of Gaussians of equal width: targets whose modes are known."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wganbench.data.drawn import Drawn
from wganbench.draws import Draws, Resident

APART = 6.0
"""Sigmas between two centres: nearer ones share points within the 3 that make high quality."""

MOST_COMPARED = 4096
"""Centres whose distances are looked at: the cost grows with their square."""


class Mixture(Drawn):
    """P_r = sum_k w_k N(mode_k, sigma^2 I).

    ``modes`` (K, d) and ``weights`` (K,), which sum to 1, are float32 on the CPU;
    ``sigma`` is the standard deviation of each coordinate, in the units of the points.
    """

    def __init__(
        self, modes: Float[Tensor, "K d"], weights: Float[Tensor, " K"], sigma: float
    ) -> None:
        """Weights need not sum to 1: they are normalised.

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
        self._modes = Resident(self.modes)
        self._even = bool((self.weights == self.weights[0]).all())
        # The last step is exactly 1, so that no uniform number lies above it.
        steps = weights.double().cumsum(0)
        self._steps = Resident((steps / steps[-1]).float())

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.modes.shape[1:])

    @property
    def steps(self) -> Float[Tensor, " K"] | None:
        """The modes' distribution function; None where all are as likely."""
        return None if self._even else self._steps.tensor

    @property
    def told(self) -> tuple[str, ...]:
        """A warning where centres are so near that their modes cannot be told apart."""
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
        """``n`` independent points: a mode drawn by weight, then Gaussian noise around it."""
        if self._even:
            mode = draws.below(len(self.modes), n)
        else:
            mode = torch.searchsorted(self._steps.on(draws.device), draws.uniform(n), right=True)
        return self._around(mode, draws)

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, "*lead n d"]:
        """``n`` points whose modes stand in exact proportions, in shuffled order.

        Without the chance imbalance of the mode counts the distance between two samples
        of the target itself, the floor of every measured distance, is ten times smaller.
        """
        counts = proportional_counts(self.weights, n)
        mode = torch.arange(len(counts)).repeat_interleave(counts).to(draws.device)
        return self._around(mode[draws.order(n)], draws)

    def _around(self, mode: Int[Tensor, "*lead n"], draws: Draws) -> Float[Tensor, "*lead n d"]:
        modes = self._modes.on(draws.device)
        return modes[mode] + self.sigma * draws.normal(mode.shape[-1], modes.shape[1])


def proportional_counts(weights: Float[Tensor, " K"], n: int) -> Int[Tensor, " K"]:
    """Whole numbers nearest to n w_k that sum to n (largest remainder, ties to the first).

    >>> proportional_counts(torch.tensor([0.5, 0.25, 0.25]), 10).tolist()
    [5, 3, 2]
    """
    shares = n * (weights.double() / weights.double().sum())
    counts = shares.floor().long()
    missing = n - int(counts.sum())
    largest = torch.sort(shares - counts, descending=True, stable=True).indices[:missing]
    counts[largest] += 1
    return counts
