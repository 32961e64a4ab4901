"""Grouping of runs by the settings that differ between them, without the seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from wganbench.errors import ConfigError, shortened
from wganbench.runs.record import CONTENTS, RunRecord, Value
from wganbench.runs.table import STEP, Table
from wganbench.tags.lookup import tag_for
from wganbench.tags.table import ROWS
from wganbench.typed import nearest_key

FIRST = ("data.name", "loss.name")
"""Choices that decide other settings; they come first in the name of a group."""

TRAINING_SET = ("data.train_points", "data.train_seed")
"""Settings of the data that do not change the target of the measurements.

Where the seed decides which images are held out, it changes their judge: compare says so.
"""
SHOWN_VALUES = 4
KEY_WORDS = {"gp_lambda": "lambda"}


@dataclass(frozen=True)
class Group:
    """Runs with equal values of the grouping keys; usually they differ only in the seed."""

    values: tuple[tuple[str, Value | None], ...]
    runs: tuple[RunRecord, ...]

    number: int = 1
    """1, or 2 and more for groups whose values differ but are written alike."""

    @property
    def label(self) -> str:
        """The values in short, such as ``gp gp_lambda=10``, with the last part of each key."""
        return self._named(last_part, "=", " ")

    @property
    def title(self) -> str:
        """The values for a reader, such as ``gp, lambda = 10``."""
        return self._named(key_word, " = ", ", ")

    @property
    def phrase(self) -> str:
        """The title inside a list of a sentence, such as ``gp (lambda = 10, steps = 500)``."""
        first, *rest = self._parts(key_word, " = ") or [self.title]
        return f"{first} ({', '.join(rest)})" if rest else first

    def _named(self, word: Callable[[str], str], equals: str, between: str) -> str:
        """Return the known values; of runs that have none of the keys, that they lack them."""
        keys = ", ".join(word(key) for key, _ in self.values)
        named = between.join(self._parts(word, equals)) or (f"without {keys}" if keys else "")
        return named if self.number == 1 else f"{named} ({self.number})"

    def _parts(self, word: Callable[[str], str], equals: str) -> list[str]:
        """Return the known values, each with its key unless that says nothing."""
        return [
            text(value) if key in FIRST else f"{word(key)}{equals}{text(value)}"
            for key, value in self.values
            if value is not None
        ]

    @property
    def loss(self) -> str:
        """The loss if all runs have the same, else empty; it decides the colour in figures."""
        names = {str(run.settings.get("loss.name", "")) for run in self.runs}
        return names.pop() if len(names) == 1 else ""

    @cached_property
    def mode_count(self) -> int | None:
        """The number of modes of the data, or of classes of images; None if it is unknown.

        So it is if the runs' data differ, and for runs of an older version.
        """
        data = [
            {k: v for k, v in run.settings.items() if k.startswith("data.")} for run in self.runs
        ]
        same = all(d == data[0] for d in data)
        counts = {run.data_modes for run in self.runs if run.data_modes}
        return counts.pop() if same and len(counts) == 1 else None

    @property
    def finished(self) -> tuple[RunRecord, ...]:
        return tuple(run for run in self.runs if run.finished)

    @property
    def survivors(self) -> tuple[RunRecord, ...]:
        return tuple(run for run in self.runs if run.status == "completed")


def last_part(key: str) -> str:
    """Return the last part of a key; that of a choice by name is its group.

    >>> last_part("loss.gp_lambda"), last_part("network.name")
    ('gp_lambda', 'network')
    """
    group, _, last = key.rpartition(".")
    return group if last == "name" else last


def text(value: Value | None) -> str:
    """Return a value in short, with enough digits to tell different ones apart."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def key_word(key: str) -> str:
    """Return a key's word for a reader: its last part, or the word of the literature.

    >>> key_word("loss.gp_lambda"), key_word("train.critic_lr")
    ('lambda', 'critic_lr')
    """
    last = last_part(key)
    return KEY_WORDS.get(last, last)


def differing(runs: Sequence[RunRecord]) -> list[str]:
    """Return the keys with more than one value; a key that some runs lack differs too."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [key for key in keys if len({run.settings.get(key) for run in runs}) > 1]


def choose_keys(runs: Sequence[RunRecord]) -> list[str]:
    """Return the fewest keys, coarse ones first, that separate all different runs.

    Tuned rates that depend on the loss are not named if the loss is.
    """
    return separating(runs, differing(runs))


def separating(runs: Sequence[RunRecord], keys: Sequence[str]) -> list[str]:
    """Return the fewest of these keys, coarse ones first, that separate runs as all keys do."""
    ranked = sorted(keys, key=lambda key: (rank(key), keys.index(key)))

    def parts(chosen: Sequence[str]) -> int:
        return len({tuple(run.settings.get(key) for key in chosen) for run in runs})

    chosen: list[str] = []
    for key in ranked:
        if parts([*chosen, key]) > parts(chosen):
            chosen.append(key)
    return chosen


def rank(key: str) -> int:
    """Return a key's rank: choices, then coefficients of the loss, data, network, training."""
    if key in FIRST:
        return FIRST.index(key)
    order = ("loss", "data", "network", "train")
    group = key.partition(".")[0]
    return len(FIRST) + (order.index(group) if group in order else len(order))


def group_runs(runs: Sequence[RunRecord], by: Sequence[str] = ()) -> tuple[list[Group], list[str]]:
    """Return the groups and, with ``by``, the keys that still differ inside a group.

    In ``by``, a group of settings such as ``loss`` means its name. Raises ConfigError for a key
    that no run has, and for runs on different data unless ``by`` separates them.
    """
    known = sorted({key for run in runs for key in (*run.settings, *run.measured)})
    by = [f"{key}.name" if f"{key}.name" in known else key for key in by]
    for key in by:
        if key == "seed":
            raise ConfigError(
                "--by seed: runs are grouped over seeds, which tell them apart inside a group; "
                "give a setting, such as --by loss.gp_lambda"
            )
        if key not in known:
            near = nearest_key(key, known)
            raise ConfigError(f"--by {shortened(key, 80)}: no run has it{near}")
    runs = with_one_path(runs)
    check_data(runs, by)
    keys = list(by) or choose_keys(runs) or ["loss.name"]
    members: dict[tuple[Value | None, ...], list[RunRecord]] = {}
    for run in runs:
        members.setdefault(tuple(run.value(key) for key in keys), []).append(run)
    groups = [
        Group(tuple(zip(keys, values, strict=True)), tuple(sorted(own, key=lambda run: run.seed)))
        for values, own in sorted(members.items(), key=lambda item: [order(v) for v in item[0]])
    ]
    seen: Counter[str] = Counter()
    for i, group in enumerate(groups):
        seen[group.label] += 1
        groups[i] = replace(group, number=seen[group.label])
    mixed = {key for group in groups if by for key in differing(group.runs)}
    otherwise = {key for group in groups for key in measured_otherwise(group.runs)}
    return groups, [*sorted(mixed, key=rank), *sorted(otherwise)]


def measured_otherwise(runs: Sequence[RunRecord]) -> list[str]:
    """Return the keys of ``evaluate`` with more than one value; a missing one is no value."""
    keys = dict.fromkeys(key for run in runs for key in run.measured)
    values = {key: {run.measured[key] for run in runs if key in run.measured} for key in keys}
    return [key for key in keys if len(values[key]) > 1]


Repeated = tuple[RunRecord, RunRecord]
"""A run that does not count, and the run that it repeats."""


def counted_once(
    runs: Sequence[RunRecord], by: Sequence[str] = ()
) -> tuple[list[RunRecord], list[Repeated]]:
    """Return the runs that count, and those that repeat one of them.

    Runs with the same seed and settings are one training, in whatever folders they lie, and no
    independent sample. The first that ended counts. A training that was measured in several ways
    counts once, too, unless a key of ``by`` tells these ways apart.
    """
    same: dict[object, list[RunRecord]] = {}
    for run in with_one_path(runs):
        ways = tuple(run.measured.get(key) for key in by)
        same.setdefault((run.seed, frozenset(run.settings.items()), ways), []).append(run)
    counted = [max(own, key=lambda run: (run.status == "completed", run.finished))
               for own in same.values()]  # fmt: skip
    repeated = [
        (run, first)
        for first, own in zip(counted, same.values(), strict=True)
        for run in own
        if run is not first
    ]
    return counted, repeated


def with_one_path(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs with one ``data.path`` for equal contents, so that moved data are equal."""
    first: dict[Value, Value] = {}
    found = []
    for run in runs:
        digest, path = run.settings.get(CONTENTS), run.settings.get("data.path")
        if digest is not None and path is not None and first.setdefault(digest, path) != path:
            config = run.config or {}
            run = replace(run, config=config | {"data": config["data"] | {"path": first[digest]}})
        found.append(run)
    return found


def check_data(runs: Sequence[RunRecord], by: Sequence[str]) -> None:
    """Raise ConfigError for runs on different data, unless ``by`` separates all of them.

    Data are equal if all settings of ``data`` are, except those of the training set, and if their
    contents are, in whatever folder.
    """
    unlike = [
        key
        for key in differing(runs)
        if key.partition(".")[0] == "data" and key not in TRAINING_SET
    ]
    apart = {tuple(run.settings.get(key) for key in by) for run in runs}
    whole = {tuple(run.settings.get(key) for key in (*by, *unlike)) for run in runs}
    if not unlike or (len(whole) == len(apart) and set(by) & set(unlike)):
        return
    keys = separating(runs, unlike)
    names = {"data.name": ""}
    described = "; ".join(names.get(key, f"{key} ") + values_text(runs, key) for key in keys)
    words = " ".join(f"--by {key}" for key in keys)
    raise ConfigError(
        f"these runs are on unlike data ({described}), whose figures cannot be compared; {words} "
        "--by loss.name shows them side by side all the same"
    )


def values_text(runs: Sequence[RunRecord], key: str) -> str:
    """Return the first few values of a key as text."""
    found = sorted({run.settings.get(key) for run in runs}, key=order)
    more = f" and {len(found) - SHOWN_VALUES} more" if len(found) > SHOWN_VALUES else ""
    return ", ".join("none" if v is None else text(v) for v in found[:SHOWN_VALUES]) + more


def order(value: Value | None) -> tuple[int, float, str]:
    """Return a sort key: missing values, then numbers by size, then words."""
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, bool | int | float):
        return 1, float(value), ""
    return 2, 0.0, value


# Comparison at an equal budget: the metrics of a run when it had spent that amount.
BUDGETS = {"generator_steps": STEP} | {
    tag.name.removeprefix("budget/"): tag.name for tag in ROWS if tag.name.startswith("budget/")
}
"""The budgets that can be equal, and the column that counts each.

They are read from the table and not from the registry, whose rows load the user's plugin files:
these may import what is being imported here.
"""
WORDS = {
    "examples": "real examples shown to the critic",
    "gradient_evaluations": "gradient evaluations (1 a step, 2 more for each penalty and each "
    "unrolled step)",
    "passes": "passes of a network over a batch",
    "seconds": "seconds of training (runs of one stack share them)",
}


@dataclass(frozen=True)
class At:
    """An amount of a budget at which all runs are compared."""

    budget: str
    amount: float

    def sentence(self) -> str:
        words = WORDS.get(self.budget, self.budget.replace("_", " "))
        return f"at {self.amount:.12g} {words}, by the last evaluation until then"


def parse_at(text: str, runs: Sequence[RunRecord]) -> At:
    """Return the budget in a text such as ``critic_steps=5000``. Raises ConfigError.

    Without an amount it is the largest that every completed run has spent.
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
        spent = [budget_reached(run, name) or 0.0 for run in runs if run.finished]
        most = max(spent, default=0.0)
        if value > most:
            raise ConfigError(f"--at {text}: no run has spent so much; the most is {most:.12g}")
        return At(name, value)
    reached = [budget_reached(run, name) for run in runs if run.status == "completed"]
    known = [value for value in reached if value]
    if not known:
        raise ConfigError(f"--at {name}: no completed run has recorded it")
    return At(name, min(known))


def budget_reached(run: RunRecord, budget: str) -> float | None:
    """Return the amount of a budget that the run had spent at its end."""
    if budget == "generator_steps":
        return float(run.step)
    return run.final.get(BUDGETS[budget])


def values_at(
    run: RunRecord, metrics: Sequence[str], at: At | None
) -> tuple[dict[str, float | None], bool]:
    """Return metrics at the run's end, or at its last evaluation within a budget.

    A value is None if the run has none, or ended before it had spent the budget. It is nan if it
    is undefined: the tag beside it was measured, but this one had no value. Also returns whether
    lines of metrics.csv were left out. For a budget the file is read once and not cached.
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
    """Return a column's last value within a budget; nan if only the tag beside it has one."""
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
