"""p-values of one group of runs against another, of many tests together, and their least ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float64
from scipy import stats

from wganbench.reports.statistics import Values, goodness, pair_outcomes

EXACT_SMALLER, EXACT_TOTAL = 8, 400
"""Up to so many values, in the smaller group and in both, the Mann-Whitney test is exact."""


def improvement_p_value(a: Values, b: Values, *, higher_is_better: bool, paired: bool) -> float:
    """Two-sided p-value of "neither is better"; 1 where nothing speaks against it.

    Paired: the exact sign test on the pairs that do not tie, which cannot fall below 0.05
    with fewer than six of them. Unpaired: the Mann-Whitney test on ranks, with the exact
    distribution of the ranks at hand, ties included, where the groups are small
    (``EXACT_SMALLER``, ``EXACT_TOTAL``), else by its normal limit: their sizes alone decide,
    for the limit would find in ties of three runs what three runs cannot show. Runs that
    diverged or have no value are worse than all others, and tie.
    Raises ValueError for pairs of unequal number.

    >>> improvement_p_value(range(1, 9), [0] * 8, higher_is_better=True, paired=True)
    0.0078125
    """
    ours, theirs = goodness(a, higher_is_better), goodness(b, higher_is_better)
    if paired:
        outcomes = pair_outcomes(ours, theirs)
        wins, losses = int((outcomes == 1).sum()), int((outcomes == 0).sum())
        return _sign_test(wins, wins + losses)
    ranks = stats.rankdata(np.concatenate([ours, theirs]))
    if not (ours.size and theirs.size) or (ranks == ranks[0]).all():
        return 1.0
    if min(ours.size, theirs.size) <= EXACT_SMALLER and ranks.size <= EXACT_TOTAL:
        part = ranks[: ours.size] if ours.size <= theirs.size else ranks[ours.size :]
        return _exact_rank_sum(part, ranks)
    halves = ranks[: ours.size], ranks[ours.size :]
    return float(stats.mannwhitneyu(*halves, method="asymptotic").pvalue)


@lru_cache(maxsize=4096)
def least_p_value(n: int, m: int, paired: bool) -> float:
    """The smallest p-value that `improvement_p_value` can give for groups of n and m runs.

    It is that of groups without a tie between them: 2 / 2^n for n pairs, and 2 in the number
    of ways to choose n of n + m runs where the Mann-Whitney test is exact.

    >>> least_p_value(8, 8, True), least_p_value(3, 3, False)
    (0.0078125, 0.1)
    """
    if not (n and m):
        return 1.0
    if paired:
        return min(1.0, 2.0 ** (1 - min(n, m)))
    return improvement_p_value([1.0] * n, [0.0] * m, higher_is_better=True, paired=False)


def enough_seeds(tests: int, paired: bool, level: float = 0.05) -> int:
    """How many seeds a group allow the smallest p of each of ``tests`` tests to pass (Holm).

    Raises ValueError for no test.

    >>> enough_seeds(6, True), enough_seeds(24, True), enough_seeds(1, False)
    (8, 10, 4)
    """
    if tests < 1:
        raise ValueError(f"a family has at least one test, got {tests}")
    return next(n for n in itertools.count(1) if tests * least_p_value(n, n, paired) < level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down p-values, in the order given: max over j <= i of (m - j + 1) p_(j).

    All m tests together then err with at most the chosen level (Holm 1979).
    Raises ValueError for what is no probability.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must lie in [0, 1], got {list(p_values)}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return [float(value) for value in adjusted.clip(max=1)]


def _exact_rank_sum(part: Float64[np.ndarray, " n"], ranks: Float64[np.ndarray, " m"]) -> float:
    """Two-sided p of a rank sum: twice the smaller tail over all choices of n of these ranks.

    Without ties it is what scipy's exact Mann-Whitney test gives.
    """
    doubled = np.rint(2 * ranks).astype(np.int64)  # mean ranks of ties are halves
    n, observed = part.size, int(np.rint(2 * part.sum()))
    largest = int(np.sort(doubled)[-n:].sum())
    ways = np.zeros((n + 1, largest + 1))
    ways[0, 0] = 1
    for rank in doubled:
        ways[1:, rank:] += ways[:-1, : largest + 1 - rank]
    chosen = ways[n] / ways[n].sum()
    return float(min(1.0, 2 * min(chosen[: observed + 1].sum(), chosen[observed:].sum())))


@lru_cache(maxsize=4096)
def _sign_test(wins: int, n: int) -> float:
    """Two-sided p of so many wins in n pairs without a tie; many groups ask it often."""
    return float(stats.binomtest(wins, n).pvalue) if n else 1.0
