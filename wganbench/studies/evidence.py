"""Evidence from runs: outcomes, bounded numbers, several effects at once, rank correlations.

A run that diverged is a failure: it counts as the worst case and is never left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wganbench.config import compose
from wganbench.errors import ConfigError
from wganbench.reports.statistics import LEVEL, Estimate, mean_interval, share_interval
from wganbench.studies.frozen import target_of
from wganbench.studies.verdicts import Evidence, t_test
from wganbench.training.run import Run

NO_SPREAD = 1e-9
"""Values that differ by less count as equal."""

LEAST_LEARNT = 0.2
"""A generator has learnt when its exact W1 falls by so much of that at the start, in the mean."""


@dataclass(frozen=True)
class Outcome:
    """The final values of a run: shares of modes and of samples, KL in nats, W1 in data units.

    A run that diverged has coverage and high quality 0, the largest possible ``kl``, and the
    largest ``w1`` among the other runs. A finished run without any high-quality sample has no
    KL; it gets the largest possible ``kl`` too.
    """

    coverage: float
    high_quality: float
    kl: float
    w1: float
    diverged: bool

    @property
    def score(self) -> float:
        """Coverage times the high-quality share: 0 for a run that failed, 0.989 at best."""
        return self.coverage * self.high_quality


def outcomes(runs: Sequence[Run], worst_kl: float, worst_w1: float) -> list[Outcome]:
    """Return the outcomes of the runs, with the worst case for those that diverged."""
    return [outcome(run, worst_kl, worst_w1) for run in runs]


def outcome(run: Run, worst_kl: float, worst_w1: float) -> Outcome:
    if run.status == "diverged":
        return Outcome(0.0, 0.0, worst_kl, worst_w1, True)
    values = run.metrics
    return Outcome(
        coverage=values["modes/coverage"],
        high_quality=values["modes/high_quality"],
        kl=values.get("modes/kl", worst_kl),
        w1=values["wasserstein/exact"],
        diverged=False,
    )


def check_modes(names: Sequence[str]) -> None:
    """Raise ConfigError for a data set without modes, before a study trains on it."""
    for name in names:
        if target_of(compose([f"data={name}"])).weights is None:
            raise ConfigError(f"data={name} has no modes: choose a mixture")


def mode_weights(run: Run) -> list[float]:
    """Return the weights of the modes of a run's data, which has some: see `check_modes`."""
    weights = run.stack.target.weights
    assert weights is not None
    return [float(weight) for weight in weights if weight > 0]


def largest_kl(weights: Sequence[float]) -> float:
    """Return the largest KL of samples of a mixture: all of them are in its rarest mode.

    >>> round(largest_kl([0.125] * 8), 4)
    2.0794
    """
    return -math.log(min(weights))


def largest_w1(runs: Sequence[Run]) -> float:
    """Return the largest final W1 of the runs that did not diverge; nan if all diverged."""
    finished = [run.metrics["wasserstein/exact"] for run in runs if run.status != "diverged"]
    return max(finished, default=math.nan)


def effect_interval(
    values: Sequence[float], bounds: tuple[float, float], level: float = LEVEL
) -> Estimate:
    """Return the mean over seeds of numbers within bounds, with an interval of positive width.

    Different values: Student's t. If all n values equal v, at least a share p of new seeds gives
    v again (Clopper-Pearson, n of n), and the other seeds give at worst a bound:
    [p v + (1 - p) low, p v + (1 - p) high]. A single value has no interval.

    >>> answer = effect_interval([1.0] * 10, (-1.0, 1.0))
    >>> round(answer.low, 3), answer.high
    (0.383, 1.0)
    """
    n = len(values)
    if n < 2 or float(np.ptp(values)) > NO_SPREAD:
        return mean_interval(values, level, bounds)
    value, again = float(np.mean(values)), share_interval(n, n, level).low
    low, high = (again * value + (1 - again) * bound for bound in bounds)
    return Estimate(value, low, high, n, "Clopper-Pearson on equal values", "all values are equal")


def bounded_evidence(
    values: Sequence[float], low: float, high: float, smallest: float, note: str = ""
) -> Evidence:
    """Return evidence for a comparative claim from numbers in [low, high].

    The interval is that of `effect_interval`. If all n values are equal, p is chosen so that the
    interval of level 1 - p ends at the value that the verdict denies (``smallest`` or 0):
    p = 2 q^n, where q is the share of equal seeds that gives this end.
    """
    found = effect_interval(values, (low, high))
    if not found.method.startswith("Clopper"):
        return Evidence(list(values), note=note)
    if found.high < smallest:
        share = (high - smallest) / (high - found.value)
    else:
        share = low / (low - found.value) if found.value > max(low, 0.0) else 1.0
    return Evidence(
        list(values),
        value=found.value,
        interval=(found.low, found.high),
        p_value=min(1.0, 2 * share**found.n),
        method=found.method,
        note=note,
    )


# Claims that hold for every one of several effects.
METHOD = "intersection-union over simple effects"


def smallest_effect(
    effects: Mapping[str, Sequence[float]],
    bounds: tuple[float, float],
    smallest: float,
    note: str = "",
) -> Evidence:
    """Return evidence on "all effects lie above 0", each effect with one number per seed.

    The union of the null hypotheses is rejected when each of them is, at the same level (Berger,
    Technometrics 24 (1982) 295-300): the lower end is the least of the lower ends, and p is the
    largest p. That the smallest effect lies below ``smallest`` is shown by any of the m effects,
    so the upper end is the least of the upper ends at level 1 - 0.05 / m, and p is m times the
    least p. ``bounds`` hold every number. Without effects, or with fewer than 2 seeds, the
    evidence is empty.
    """
    if not effects or min(len(values) for values in effects.values()) < 2:
        return Evidence([], note=note)
    m = len(effects)
    means = {name: float(np.mean(values)) for name, values in effects.items()}
    least = min(means, key=lambda name: means[name])
    low = min(effect_interval(values, bounds, LEVEL).low for values in effects.values())
    level = 1 - (1 - LEVEL) / m
    high = min(effect_interval(values, bounds, level).high for values in effects.values())
    if high < smallest:
        p_value = min(1.0, m * min(p_below(v, bounds, smallest) for v in effects.values()))
    else:
        p_value = max(p_above(values, bounds) for values in effects.values())
    named = f"the smallest of {m} effects is {least}" if m > 1 else ""
    return Evidence(
        list(effects[least]),
        value=means[least],
        interval=(low, high),
        p_value=p_value,
        method=METHOD if m > 1 else "Student's t over seeds",
        note="; ".join(part for part in (named, note) if part),
    )


def effects_with_room(
    effects: Mapping[str, Sequence[float]],
    room: Mapping[str, float],
    bounds: tuple[float, float],
    smallest: float,
) -> Evidence:
    """Return `smallest_effect` where controls may lose less than the smallest effect of interest.

    ``room`` is what the control of each effect loses in the mean. An effect with less room than
    ``smallest`` cannot support the claim, and refutes it only if it does harm: if its interval
    lies below 0.
    """
    found = smallest_effect(effects, bounds, smallest)
    idle = [name for name in effects if room[name] < smallest]
    if not idle or found.interval is None:
        return found
    level = 1 - (1 - LEVEL) / len(effects)
    harm = [name for name in idle if effect_interval(effects[name], bounds, level).high < 0]
    deciding = {name: effects[name] for name in effects if name not in idle or name in harm}
    refuting = smallest_effect(deciding, bounds, smallest)
    if refuting.interval is not None and refuting.interval[1] < smallest:
        return refuting
    least = min(idle, key=lambda name: room[name])
    reason = f"in {least} the control itself loses {room[least]:.2g}: there is less to prevent"
    return replace(found, undecided=reason)


def of_all(found: Evidence, absent: int, smallest: float) -> Evidence:
    """Return evidence on all effects when some have no arm: it may refute, it cannot support."""
    if not absent:
        return found
    reason = f"{absent} of the simple effects have no arm"
    refutes = found.interval is not None and found.interval[1] < smallest and not found.undecided
    note = "; ".join(part for part in (found.note, reason) if part)
    return replace(found, note=note, undecided="" if refutes else found.undecided or reason)


def count_evidence(values: Sequence[float], most: float, smallest: float) -> Evidence:
    """Return evidence that a number in [0, most], such as lost modes, reaches ``smallest``.

    Such a number never lies below 0, so an interval above 0 shows nothing: see `Claim.count`. p is
    that of "the mean is ``smallest``". With fewer than 2 seeds the evidence is empty.
    """
    if len(values) < 2:
        return Evidence([])
    found = effect_interval(values, (0.0, most))
    if found.value < smallest:
        p_value = p_below(values, (0.0, most), smallest)
    else:
        p_value = p_above([v - smallest for v in values], (-smallest, most - smallest))
    interval = found.low, found.high
    return Evidence(list(values), found.value, interval, p_value, found.method)


def p_above(values: Sequence[float], bounds: tuple[float, float]) -> float:
    """Return the two-sided p of "the mean is at most 0"; 1 for a mean that is not above 0."""
    mean = float(np.mean(values))
    if mean <= 0:
        return 1.0
    if float(np.ptp(values)) > NO_SPREAD:
        return t_test(values, 0.0)
    low = min(bounds[0], 0.0)
    return min(1.0, 2 * (low / (low - mean)) ** len(values))


def p_below(values: Sequence[float], bounds: tuple[float, float], smallest: float) -> float:
    """Return the two-sided p of "the mean is at least ``smallest``"; 1 for a mean that is."""
    mean, high = float(np.mean(values)), bounds[1]
    if mean >= smallest:
        return 1.0
    if float(np.ptp(values)) > NO_SPREAD:
        return t_test(values, smallest)
    return min(1.0, 2 * ((high - smallest) / (high - mean)) ** len(values))


# What a generator has learnt.
def learnt(distances: Sequence[float]) -> float | None:
    """Return the fall from the first to the last distance, as a share of the first.

    >>> learnt([2.0, 1.0, 0.5])
    0.75
    """
    return 1 - distances[-1] / distances[0] if distances and distances[0] > 0 else None


def stopped_evidence(
    falls: Sequence[float | None], most: float, note: str, undecided: str
) -> Evidence:
    """Return evidence that a generator learns nothing: `learnt` is at most ``most``, by seed.

    One that ends farther away than it began has learnt nothing, so the mean and its Student's
    interval are cut off at 0. p is that of "the mean is ``most``".
    """
    known = [value for value in falls if value is not None]
    if len(known) < 2:
        return Evidence(list(falls), note=note, undecided=undecided)
    found = mean_interval(known, LEVEL)
    value, low, high = (max(0.0, end) for end in (found.value, found.low, found.high))
    return Evidence(
        list(falls),
        value=value,
        interval=(low, high),
        p_value=t_test(known, most),
        method="Student's t over seeds, cut off at 0",
        note=note,
        undecided=undecided,
    )


# Evidence from one rank correlation for each seed.
LARGEST = 0.999
"""A correlation nearer to 1 or -1 counts as this one: Fisher's z of 1 is infinite."""


def rank_evidence(correlations: Sequence[float | None], smallest: float) -> Evidence:
    """Return evidence that a rank correlation is above 0, from Fisher's z = atanh(r) by seed.

    Value and interval are tanh of the mean of z and of its Student's interval. z is nearer to a
    normal distribution than r, which is bounded. None stands for a seed without a correlation,
    which leaves the claim undecided.

    >>> found = rank_evidence([0.5, 0.6, 0.7], 0.3)
    >>> round(found.value, 3), [round(end, 3) for end in found.interval]
    (0.606, [0.298, 0.8])
    """
    known = [fisher(value) for value in correlations if value is not None]
    if len(known) < 2 or not np.ptp(known) > 0:
        return Evidence(list(correlations))
    found = mean_interval(known, LEVEL)
    value, low, high = (float(np.tanh(z)) for z in (found.value, found.low, found.high))
    return Evidence(
        list(correlations),
        value=value,
        interval=(low, high),
        p_value=t_test(known, fisher(smallest) if high < smallest else 0.0),
        method="Student's t over seeds, of Fisher's z",
    )


def fisher(value: float) -> float:
    return float(np.arctanh(np.clip(value, -LARGEST, LARGEST)))


# Values over seeds, some of which are missing.
def mean_of_known(values: Sequence[float | None]) -> float:
    """Return the mean of the values that are not None; nan without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else float("nan")


def paired_differences(a: Sequence[float | None], b: Sequence[float | None]) -> list[float | None]:
    """Return a - b for each seed; None where either is missing. Raises ValueError."""
    pairs = zip(a, b, strict=True)
    return [None if x is None or y is None else x - y for x, y in pairs]
