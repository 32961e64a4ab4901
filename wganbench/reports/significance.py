"""p-values of two groups of runs, the least possible ones, Holm's correction, compact letters."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from functools import lru_cache
from string import ascii_lowercase

import numpy as np
from jaxtyping import Float64
from scipy import stats

from wganbench.reports.statistics import LEVEL, Estimate, Values, goodness, pair_outcomes

SIGNIFICANT = round(1 - LEVEL, 6)
"""A difference is shown only by a p-value below this level, after any correction."""

EXACT_SMALLER, EXACT_TOTAL = 8, 400
"""The Mann-Whitney test is exact up to these numbers of values: smaller group, both groups."""


def improvement_p_value(a: Values, b: Values, *, higher_is_better: bool, paired: bool) -> float:
    """Return the two-sided p-value of "neither group is better"; 1 without any evidence.

    Paired: the exact sign test on the pairs that do not tie; its p cannot fall below 0.05 with
    fewer than six of them. Unpaired: the Mann-Whitney test on ranks. For small groups
    (``EXACT_SMALLER``, ``EXACT_TOTAL``) it uses the exact distribution of the given ranks, ties
    included, else the normal limit. Only the sizes decide, because for three tied runs the limit
    would find a difference that three runs cannot show. Runs that diverged or have no value are
    worse than all others, and tie.
    Raises ValueError for different numbers of paired runs.

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


def shows_difference(p: float, probability: Estimate) -> bool:
    """Return whether both the p-value after any correction and the interval show a difference."""
    return p < SIGNIFICANT and (probability.low > 0.5 or probability.high < 0.5)


@lru_cache(maxsize=4096)
def least_p_value(n: int, m: int, paired: bool) -> float:
    """Return the smallest p-value that `improvement_p_value` can give for n and m runs.

    It occurs if all runs of one group are better: 2 / 2^n for n pairs; without pairs
    2 / C(n + m, n) if the Mann-Whitney test is exact.

    >>> least_p_value(8, 8, True), least_p_value(3, 3, False)
    (0.0078125, 0.1)
    """
    if not (n and m):
        return 1.0
    if paired:
        return min(1.0, 2.0 ** (1 - min(n, m)))
    return improvement_p_value([1.0] * n, [0.0] * m, higher_is_better=True, paired=False)


def enough_seeds(tests: int, paired: bool, level: float = 0.05) -> int:
    """Return the seeds per group with which each of ``tests`` tests can pass after Holm.

    Raises ValueError for ``tests`` below 1.

    >>> enough_seeds(6, True), enough_seeds(24, True), enough_seeds(1, False)
    (8, 10, 4)
    """
    if tests < 1:
        raise ValueError(f"a family has at least one test, got {tests}")
    return next(n for n in itertools.count(1) if tests * least_p_value(n, n, paired) < level)


def _checked(p_values: Sequence[float]) -> Float64[np.ndarray, " n"]:
    """Return the p-values as an array. Raises ValueError for a value outside [0, 1]."""
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must lie in [0, 1], got {list(p_values)}")
    return p


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down p-values in the given order: max over j <= i of (m - j + 1) p_(j).

    The probability of any false positive in the m tests is then at most the level (Holm 1979).
    Raises ValueError for a value outside [0, 1].

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return [float(value) for value in adjusted.clip(max=1)]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return step-up p-values in the given order: min over j >= i of m p_(j) / j, at most 1.

    The expected share of false positives among those below the level is then at most the level,
    for independent tests (Benjamini and Hochberg 1995). Raises ValueError outside [0, 1].

    >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, 0.03, 0.005])]
    [0.02, 0.04, 0.04, 0.02]
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return [float(value) for value in adjusted.clip(max=1)]


def _exact_rank_sum(part: Float64[np.ndarray, " n"], ranks: Float64[np.ndarray, " m"]) -> float:
    """Return a rank sum's two-sided p: twice the smaller tail over all choices of n ranks.

    Without ties it equals the p of scipy's exact Mann-Whitney test.
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
    """Return the two-sided p of ``wins`` in n pairs without ties; cached for many groups."""
    return float(stats.binomtest(wins, n).pvalue) if n else 1.0


# Compact letters.
def compact_letters(
    names: Sequence[str], differing: Collection[frozenset[str]]
) -> dict[str, str] | None:
    """Return the letters of each name; two names share one exactly if their pair does not differ.

    ``names`` stand from best to worst, so that "a" goes to the first. ``differing`` holds the
    pairs that differ. Insert and absorb: begin with one set of all names; for each differing pair
    replace a set that holds both by two sets without one of them, then remove sets inside others
    (H.-P. Piepho 2004, doi:10.1198/1061860043515). Returns None if the alphabet is too short.

    >>> compact_letters(["x", "y", "z"], [frozenset("xz")])
    {'x': 'a', 'y': 'ab', 'z': 'b'}
    """
    place = {name: i for i, name in enumerate(names)}
    sets = {frozenset(names)} if names else set()
    for pair in differing:
        split = {part - {name} for part in sets if pair <= part for name in pair}
        sets = absorbed({part for part in sets if not pair <= part} | split)
        if len(sets) > len(ascii_lowercase) ** 2:  # it can grow as 3^(n / 3)
            return None
    ordered = sorted(sets, key=lambda part: sorted(place[name] for name in part))
    if len(ordered) > len(ascii_lowercase):
        return None
    return {
        name: "".join(
            letter for letter, part in zip(ascii_lowercase, ordered, strict=False) if name in part
        )
        for name in names
    }


def absorbed(sets: Collection[frozenset[str]]) -> set[frozenset[str]]:
    """Return the sets that are not inside another one."""
    return {part for part in sets if not any(part < other for other in sets)}
