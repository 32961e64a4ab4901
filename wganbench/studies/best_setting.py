"""The best of a search without looking at the seed that is judged."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64


def left_out_best(scores: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, " n"]:
    """Of n seeds and k settings: each seed's score at the setting best on the other seeds.

    Choosing and judging on the same seeds flatters the larger search, and the noisier one.
    Ties go to the first setting. Raises ValueError for fewer than two seeds.

    >>> left_out_best(np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.9]]))
    array([1. , 1. , 0.5])
    """
    n = len(scores)
    if n < 2:
        raise ValueError("a setting is chosen on other seeds: two seeds are needed at least")
    others = (scores.sum(axis=0) - scores) / (n - 1)
    return np.asarray(scores[np.arange(n), others.argmax(axis=1)])


def best_setting(scores: Float64[np.ndarray, "n k"]) -> int:
    """Number of the setting with the best mean, the first of equal ones."""
    return int(scores.mean(axis=0).argmax())
