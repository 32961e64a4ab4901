"""The score by which a search ranks runs: 1 for a perfect generator, 0 for a useless one."""

from __future__ import annotations

import math
from collections.abc import Mapping

from wganbench.runs.record import RunRecord
from wganbench.tags.headline import ENERGY, SPREADS_FROM_FLOOR, headline_distance


def score_of(record: RunRecord) -> float:
    """Return the score of a finished run; 0 for a diverged one.

    score = modes/coverage x modes/high_quality x min(1, f / d), without the first two for data
    that has no modes. d is the headline distance (exact W1, the energy distance or FID), f what
    a perfect generator scores. Each factor sees what the others do not: uneven modes, stray
    samples, samples in the wrong place.
    """
    if record.diverged:
        return 0.0
    return score(record.final, record.shape)


def score(metrics: Mapping[str, float], shape: tuple[int, ...] | None) -> float:
    """Return the score of final metrics by tag, for data of a shape; see `score_of`.

    >>> score({"modes/coverage": 1.0, "modes/high_quality": 0.9,
    ...        "wasserstein/exact": 0.2, "wasserstein/floor": 0.1}, (2,))
    0.45
    """
    good = metrics.get("modes/coverage", 1.0) * metrics.get("modes/high_quality", 1.0)
    return good * nearness(metrics, shape)


def nearness(metrics: Mapping[str, float], shape: tuple[int, ...] | None) -> float:
    """Return min(1, f / d) for the headline distance d; 0 where it is missing or not finite."""
    tag = headline_distance(shape, metrics)
    if tag is None or not math.isfinite(metrics[tag.name]):
        return 0.0
    distance, floor = metrics[tag.name], metrics.get(tag.floor or "", 0.0)
    if tag.name == ENERGY:
        floor += SPREADS_FROM_FLOOR * metrics.get("energy/spread", 0.0)
    return 1.0 if distance <= floor else max(floor, 0.0) / distance
