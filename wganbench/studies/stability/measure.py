"""The scores and gradient norms of runs at random settings, and the profiles of success."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from wganbench.reports.statistics import LEVEL
from wganbench.runs.table import Cell, series
from wganbench.studies.evidence import outcome
from wganbench.studies.study import Context
from wganbench.studies.verdicts import Evidence
from wganbench.training.run import Run
from wganbench.tuning.space import point


@dataclass(frozen=True)
class Setting:
    """One draw: a trial of the neutral space, and the size and activation of both networks."""

    trial: int
    depth: int
    width: int
    activation: str

    def network(self) -> list[str]:
        """Return the overrides for the networks."""
        return [
            f"network.depth={self.depth}",
            f"network.width={self.width}",
            f"network.activation={self.activation}",
        ]

    @property
    def critic_lr(self) -> float:
        return float(point(self.trial)["train.critic_lr"])

    @property
    def generator_lr(self) -> float:
        return float(point(self.trial)["train.generator_lr"])

    @property
    def imbalance(self) -> float:
        """The decades between the two rates: |log10(generator's rate / critic's rate)|."""
        return abs(float(np.log10(self.generator_lr / self.critic_lr)))


def draw(context: Context, number: int) -> Setting:
    """Return setting ``number`` of the study, drawn independently of the others.

    The trial is ``first_trial`` + number, which no search uses. The networks are uniform choices
    of numpy's generator at (settings_seed, number).
    """
    random = np.random.default_rng([context["settings_seed"], number])
    depth, width, activation = (
        context[name][random.integers(len(context[name]))]
        for name in ("depths", "widths", "activations")
    )
    return Setting(context["first_trial"] + number, depth, width, activation)


MOST_DECADES = 6.0
"""A ratio of gradient norms beyond six decades counts as six; a norm of 0 is beyond."""

WORST_KL = 0.0
"""A placeholder, because no claim of this study uses the KL."""


@dataclass(frozen=True)
class Measured:
    """A run in numbers: score in [0, 1], imbalance of gradients in decades, divergence.

    The score is coverage times the share of high quality, 0 for a run that diverged. The
    imbalance is None for a run without logged gradient norms.
    """

    score: float
    coverage: float
    high_quality: float
    imbalance: float | None
    diverged: bool


def measured(run: Run) -> Measured:
    """Return the numbers of a run."""
    ended = outcome(run, WORST_KL, 0.0)
    return Measured(
        ended.score, ended.coverage, ended.high_quality, gradient_imbalance(run.table),
        ended.diverged,
    )  # fmt: skip


def gradient_imbalance(table: Mapping[str, Sequence[Cell]]) -> float | None:
    """Return the median over logged steps of |log10(||g_critic|| / ||g_generator||)|.

    The norms are those of the losses' gradients with respect to all weights of a network, before
    the optimizer.
    """
    critic = dict(zip(*series(table, "grad_norm/critic"), strict=True))
    generator = dict(zip(*series(table, "grad_norm/generator"), strict=True))
    steps = sorted(critic.keys() & generator.keys())
    return (
        float(np.median([decades_between(critic[step], generator[step]) for step in steps]))
        if steps
        else None
    )


def decades_between(a: float, b: float) -> float:
    """Return |log10(a / b)|, at most `MOST_DECADES`; that much unless both are above 0.

    >>> decades_between(0.1, 10.0), decades_between(0.0, 1.0)
    (2.0, 6.0)
    """
    if not (0 < a < math.inf and 0 < b < math.inf):
        return MOST_DECADES
    return min(MOST_DECADES, abs(math.log10(a) - math.log10(b)))


def profile(scores: Sequence[float], thresholds: Sequence[float]) -> list[float]:
    """Return the share of the scores that reach each threshold.

    The area under the profile over all thresholds in [0, 1] is the mean score, because
    E X = integral of P(X >= t) dt for X in [0, 1].

    >>> profile([0.2, 0.8], [0.1, 0.5, 0.9])
    [1.0, 0.5, 0.0]
    """
    values = np.asarray(scores, dtype=np.float64)
    return [float(np.mean(values >= threshold)) for threshold in thresholds]


def slope_evidence(
    x: Sequence[float], y: Sequence[float], smallest: float, note: str = ""
) -> Evidence:
    """Return evidence that y rises with x, from least squares over settings.

    The interval and p are those of Student's t with n - 2 degrees of freedom; the p of a slope
    below ``smallest`` is that of "it is ``smallest``". Empty for fewer than 3 different x.
    """
    if len(set(x)) < 3:
        return Evidence([], note=note)
    fit = stats.linregress(x, y)
    freedom = len(x) - 2
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * fit.stderr)
    low, high = float(fit.slope) - half, float(fit.slope) + half
    against = smallest if high < smallest else 0.0
    t = (float(fit.slope) - against) / float(fit.stderr) if fit.stderr > 0 else 0.0
    return Evidence(
        list(y),
        value=float(fit.slope),
        interval=(low, high),
        p_value=float(2 * stats.t.sf(abs(t), freedom)),
        method="least squares over settings",
        note=note,
    )
