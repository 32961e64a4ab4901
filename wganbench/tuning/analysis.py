"""What a search says about a loss: expected best of n trials, profile, sensitivity by setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from wganbench.reports.statistics import LEVEL

Scores = Float64[np.ndarray, " n"]

RESAMPLES = 1000
BINS = 4
"""Groups of equal size into which a setting's values are divided."""
PERMUTATIONS = 999


def expected_best(scores: Sequence[float]) -> Float64[np.ndarray, " n"]:
    """Return E[max of n trials] for n = 1 to N, by the trials' own distribution.

    E_n = sum_i s_(i) ((i/N)^n - ((i-1)/N)^n) over the sorted scores. Source: arXiv:1909.03004,
    equation 5. The trials must be independent draws, all at one compute.

    >>> expected_best([0.0, 1.0])
    array([0.5 , 0.75])
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    return np.asarray(best_weights(len(ordered)) @ ordered)


def best_weights(total: int) -> Float64[np.ndarray, "total total"]:
    """Return the weight of the i-th smallest of ``total`` scores in the best of n, by (n, i)."""
    n = np.arange(1, total + 1)[:, None]
    share = np.arange(total + 1) / total
    return np.asarray(share[1:] ** n - share[:-1] ** n)


@dataclass(frozen=True)
class Curve:
    """A curve with a pointwise interval; all three have the shape of ``x``."""

    x: Float64[np.ndarray, " n"]
    value: Float64[np.ndarray, " n"]
    low: Float64[np.ndarray, " n"]
    high: Float64[np.ndarray, " n"]


def expected_best_curve(scores: Sequence[float], seed: int = 0) -> Curve:
    """Return `expected_best` with a 95 % percentile bootstrap interval over trials."""
    own = np.asarray(scores, dtype=np.float64)
    weights, value = best_weights(len(own)), expected_best(scores)
    random = np.random.default_rng(seed)
    drawn = own[random.integers(len(own), size=(RESAMPLES, len(own)))]
    curves = np.sort(drawn, axis=1) @ weights.T
    low, high = np.quantile(curves, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Curve(np.arange(1.0, len(own) + 1), value, low, high)


def success_profile(scores: Sequence[float], points: int = 101) -> Curve:
    """Return the share of trials whose score reaches tau, for tau from 0 to 1.

    The band holds at all thresholds together, see `band`.

    >>> success_profile([0.2, 0.8], points=3).value
    array([1. , 0.5, 0. ])
    """
    own = np.asarray(scores, dtype=np.float64)
    x = np.linspace(0, 1, points)
    value = (own[None, :] >= x[:, None]).mean(axis=1)
    half = band(len(own))
    return Curve(x, value, np.clip(value - half, 0, 1), np.clip(value + half, 0, 1))


def band(n: int) -> float:
    """Return the half width of a band that holds a whole profile of n scores at 95 %.

    It is sqrt(ln(2 / (1 - 0.95)) / (2 n)): the inequality of Dvoretzky, Kiefer and Wolfowitz
    with the constant of Massart, Annals of Probability 18 (1990) 1269-1283.

    >>> round(band(24), 4)
    0.2772
    """
    return math.sqrt(math.log(2 / (1 - LEVEL)) / (2 * n))


@dataclass(frozen=True)
class Sensitivity:
    """How much of the scores' variance one setting explains, and how often chance explains more."""

    key: str
    share: float
    p_value: float


def sensitivities(
    trials: Sequence[Mapping[str, Any]], scores: Sequence[float], keys: Sequence[str]
) -> list[Sensitivity]:
    """Return the sensitivity to each setting, the largest first.

    The share is the correlation ratio: the variance between the means of the setting's groups over
    the whole variance, minus what chance gives on average (omega squared in spirit; never below
    0). Numbers fall into `BINS` groups of equal size, choices into one a value. The p-value is
    of a permutation test.
    """
    ranked = np.asarray(scores, dtype=np.float64)
    found = [sensitivity(key, [trial[key] for trial in trials], ranked) for key in keys]
    return sorted(found, key=lambda one: -one.share)


def sensitivity(key: str, values: Sequence[Any], scores: Scores) -> Sensitivity:
    """Return the sensitivity of the scores to one setting's values; see `sensitivities`."""
    groups = grouped(values)
    if len(set(groups.tolist())) < 2 or float(scores.std()) == 0:
        return Sensitivity(key, 0.0, 1.0)
    explained = correlation_ratio(groups, scores)
    random = np.random.default_rng(0)
    chance = np.array(
        [correlation_ratio(groups, random.permutation(scores)) for _ in range(PERMUTATIONS)]
    )
    p_value = (1 + int((chance >= explained - 1e-12).sum())) / (PERMUTATIONS + 1)
    expected = float(chance.mean())
    left = 1 - expected  # 0 where every group holds one trial: then nothing can be told
    share = max(0.0, (explained - expected) / left) if left > 1e-9 else 0.0
    return Sensitivity(key, share, p_value)


def grouped(values: Sequence[Any]) -> Int[np.ndarray, " n"]:
    """Return the group of each value: quantiles of numbers that differ, else equal values."""
    texts = [str(value) for value in values]
    numbers = all(isinstance(value, int | float) for value in values)
    if not numbers or len(set(texts)) <= BINS:
        kinds = {text: number for number, text in enumerate(sorted(set(texts)))}
        return np.array([kinds[text] for text in texts])
    order = np.argsort(np.argsort(np.asarray(values, dtype=np.float64), kind="stable"))
    return np.asarray(order * BINS // len(values))


def correlation_ratio(groups: Int[np.ndarray, " n"], scores: Scores) -> float:
    """Return the variance between group means, weighted by group size, over the variance."""
    mean = scores.mean()
    between = sum(
        (groups == group).sum() * (scores[groups == group].mean() - mean) ** 2
        for group in np.unique(groups)
    )
    return float(between / ((scores - mean) ** 2).sum())
