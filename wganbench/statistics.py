"""The statistics of `wganbench compare`, for scores of any origin.

>>> from wganbench.statistics import compare_scores
>>> found = compare_scores({"ours": [0.9, 0.8, 0.95, 0.85, 0.9, 0.92],
...                         "theirs": [0.5, 0.6, 0.4, 0.55, 0.45, 0.5]})
>>> [(row.name, round(row.mean.value, 2), row.letters) for row in found.rows]
[('ours', 0.89, 'a'), ('theirs', 0.5, 'b')]
>>> found.pairs[0].better, round(found.pairs[0].p_value, 4)
('ours', 0.0022)
"""

from __future__ import annotations

from wganbench.reports.scores import Pair, Row, ScoreComparison, compare_scores
from wganbench.reports.significance import holm, improvement_p_value
from wganbench.reports.statistics import (
    Estimate,
    improvement_interval,
    iqm_interval,
    mean_interval,
    probability_of_improvement,
    share_interval,
    spearman,
)

__all__ = [
    "Estimate",
    "Pair",
    "Row",
    "ScoreComparison",
    "compare_scores",
    "holm",
    "improvement_interval",
    "improvement_p_value",
    "iqm_interval",
    "mean_interval",
    "probability_of_improvement",
    "share_interval",
    "spearman",
]
