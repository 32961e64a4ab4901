"""Which runs belong together: by what differs between them, the seed apart."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from wganbench.errors import ConfigError
from wganbench.reports.records import RunRecord, Value, count_modes

FIRST = ("data.name", "loss.name")
"""Choices that bring other settings with them: they name a group before anything else does."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but what is not asked about: mostly the seed."""

    values: tuple[tuple[str, Value | None], ...]
    runs: tuple[RunRecord, ...]

    @property
    def label(self) -> str:
        """Legible, such as ``gp gp_lambda=10``; the last part of a key is enough."""
        return " ".join(
            text(value) if key in FIRST else f"{key.rpartition('.')[2]}={text(value)}"
            for key, value in self.values
            if value is not None
        )

    @property
    def loss(self) -> str:
        """The loss, where all runs have the same: what a figure's colour follows."""
        names = {str(run.settings.get("loss.name", "")) for run in self.runs}
        return names.pop() if len(names) == 1 else ""

    @cached_property
    def mode_count(self) -> int | None:
        """How many modes the data has, where all runs have the same and that can be told."""
        data = [
            {k: v for k, v in run.settings.items() if k.startswith("data.")} for run in self.runs
        ]
        return count_modes(self.runs[0].path) if all(d == data[0] for d in data) else None

    @property
    def finished(self) -> tuple[RunRecord, ...]:
        return tuple(run for run in self.runs if run.finished)

    @property
    def survivors(self) -> tuple[RunRecord, ...]:
        return tuple(run for run in self.runs if run.status == "completed")


def text(value: Value | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def differing(runs: Sequence[RunRecord]) -> list[str]:
    """Keys of which the runs have more than one value; a key that some lack differs too."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [key for key in keys if len({run.settings.get(key) for run in runs}) > 1]


def choose_keys(runs: Sequence[RunRecord]) -> list[str]:
    """The fewest keys, coarse ones first, that tell all unlike runs apart.

    Tuned rates that go with a loss are not named when the loss is.
    """
    keys = differing(runs)
    ranked = sorted(keys, key=lambda key: (rank(key), keys.index(key)))

    def parts(chosen: Sequence[str]) -> int:
        return len({tuple(run.settings.get(key) for key in chosen) for run in runs})

    chosen: list[str] = []
    for key in ranked:
        if parts([*chosen, key]) > parts(chosen):
            chosen.append(key)
    return chosen


def rank(key: str) -> int:
    """Choices first, then a loss's knobs, then data and networks, then training."""
    if key in FIRST:
        return FIRST.index(key)
    order = ("loss", "data", "network", "train")
    group = key.partition(".")[0]
    return len(FIRST) + (order.index(group) if group in order else len(order))


def group_runs(runs: Sequence[RunRecord], by: Sequence[str] = ()) -> tuple[list[Group], list[str]]:
    """Groups, and the keys that differ inside them all the same, when ``by`` says how to group.

    A group such as ``loss`` stands for its name. Raises ConfigError for a key that no run has,
    and for runs on unlike data, unless ``by`` names it.
    """
    known = sorted({key for run in runs for key in run.settings})
    by = [f"{key}.name" if f"{key}.name" in known else key for key in by]
    for key in by:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            raise ConfigError(
                f"--by {key}: no run has it" + (f"; did you mean {near[0]}?" if near else "")
            )
    data = {str(run.settings.get("data.name")) for run in runs}
    if len(data) > 1 and "data.name" not in by:
        raise ConfigError(
            f"these runs are on unlike data ({', '.join(sorted(data))}), whose figures cannot be "
            "compared; --by data.name --by loss.name shows them side by side all the same"
        )
    keys = list(by) or choose_keys(runs) or ["loss.name"]
    members: dict[tuple[Value | None, ...], list[RunRecord]] = {}
    for run in runs:
        members.setdefault(tuple(run.settings.get(key) for key in keys), []).append(run)
    groups = [
        Group(tuple(zip(keys, values, strict=True)), tuple(sorted(own, key=lambda run: run.seed)))
        for values, own in sorted(members.items(), key=lambda item: [order(v) for v in item[0]])
    ]
    mixed = {key for group in groups for key in differing(group.runs)}
    return groups, [key for key in sorted(mixed, key=rank) if by]


def order(value: Value | None) -> tuple[int, float, str]:
    """Numbers by size, then words; what is absent first."""
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, bool | int | float):
        return 1, float(value), ""
    return 2, 0.0, value
