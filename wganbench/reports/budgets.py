"""Comparing at an equal budget: what a run had come to when it had spent so much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wganbench.errors import ConfigError
from wganbench.records.table import Table
from wganbench.records.tags import tag_for
from wganbench.reports.records import RunRecord

BUDGETS = {
    "generator_steps": "step",
    "critic_steps": "budget/critic_steps",
    "examples": "budget/examples",
    "gradient_evaluations": "budget/gradient_evaluations",
    "seconds": "budget/seconds",
}
"""What can be equal, and the column that counts it."""
WORDS = {
    "examples": "real examples shown to the critic",
    "gradient_evaluations": "gradient evaluations (a penalised critic step counts three)",
    "seconds": "seconds of training (runs of one stack share them)",
}


@dataclass(frozen=True)
class At:
    """An amount of a budget at which all runs are compared."""

    budget: str
    amount: float

    def sentence(self) -> str:
        words = WORDS.get(self.budget, self.budget.replace("_", " "))
        return f"at {self.amount:g} {words}, by the last evaluation until then"


def parse_at(text: str, runs: Sequence[RunRecord]) -> At:
    """``critic_steps=5000``, or ``critic_steps``: the most that all completed runs spent.

    Raises ConfigError.
    """
    name, equals, amount = text.partition("=")
    if name not in BUDGETS:
        raise ConfigError(f"--at {text}: say one of {', '.join(BUDGETS)}, and =AMOUNT if wanted")
    if equals:
        try:
            value = float(amount)
        except ValueError:
            value = math.nan
        if not value > 0:
            raise ConfigError(f"--at {text}: the amount must be a number above 0")
        return At(name, value)
    spent = [budget_reached(run, name) for run in runs if run.status == "completed"]
    known = [value for value in spent if value]
    if not known:
        raise ConfigError(f"--at {name}: no completed run has recorded it")
    return At(name, min(known))


def budget_reached(run: RunRecord, budget: str) -> float | None:
    """How much of a budget the run had spent at its end."""
    if budget == "generator_steps":
        return float(run.step)
    return run.final.get(BUDGETS[budget])


def value_at(run: RunRecord, metric: str, at: At | None) -> float | None:
    """A metric at the run's end, or at its last evaluation within a budget.

    None where the run has no such value, or ended before it had spent so much; nan where it is
    undefined, because the tag beside it was measured and this one had no value.
    """
    return values_at(run, (metric,), at)[0][metric]


def values_at(
    run: RunRecord, metrics: Sequence[str], at: At | None
) -> tuple[dict[str, float | None], bool]:
    """Several metrics as in `value_at`, and whether lines of metrics.csv were left out.

    At a budget the file is read once, and not kept.
    """
    beside = {metric: tag_for(metric).beside for metric in metrics}
    if at is None:
        found = {
            metric: run.final.get(metric, math.nan if other in run.final else None)
            for metric, other in beside.items()
        }
        return found, False
    reached = budget_reached(run, at.budget)
    if reached is None or reached < at.amount * (1 - 1e-9):
        return dict.fromkeys(metrics), False
    spent = BUDGETS[at.budget]
    table = run.read([spent, *metrics, *filter(None, beside.values())])
    values = {metric: last_value(table, metric, spent, at, beside[metric]) for metric in metrics}
    return values, bool(table.dropped)


def last_value(table: Table, metric: str, spent: str, at: At, beside: str) -> float | None:
    """The last value of a column within a budget; nan where the tag beside it has one alone."""
    value = None
    columns = (table.get(name, []) for name in (spent, metric, beside or metric))
    for used, found, measured in zip(*columns, strict=False):
        if used is None or float(used) > at.amount * (1 + 1e-9):
            continue
        if found is not None and math.isfinite(float(found)):
            value = float(found)
        elif beside and measured is not None:
            value = math.nan
    return value
