"""What is shown of runs while they train: one table, for a run's line and a sweep's table.

Workers tell these tags and no others; views show these and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wganbench.records.tags import TAGS


@dataclass(frozen=True)
class Shown:
    """A figure: its tag, words with a place for the number, and how many digits that has."""

    tag: str
    words: str
    form: str

    @property
    def heading(self) -> str:
        """The words without the number, for the head of a column."""
        return self.words.replace("{}", "").strip()

    def number(self, value: float) -> str:
        return format(value, self.form)

    def sentence(self, value: float) -> str:
        """
        >>> LIVE[0].sentence(8)
        'modes 8'
        """
        return self.words.format(self.number(value))

    def best(self, runs: Iterable[Mapping[str, float]]) -> float | None:
        """The best value of any run; None where none has one."""
        return self._extreme(runs, largest=self._up)

    def worst(self, runs: Iterable[Mapping[str, float]]) -> float | None:
        """The worst value of any run; None where none has one."""
        return self._extreme(runs, largest=not self._up)

    @property
    def _up(self) -> bool:
        return TAGS[self.tag].direction == "up"

    def _extreme(self, runs: Iterable[Mapping[str, float]], largest: bool) -> float | None:
        found = [run[self.tag] for run in runs if self.tag in run]
        return (max(found) if largest else min(found)) if found else None


LIVE = (
    Shown("modes/covered", "modes {}", ".0f"),
    Shown("wasserstein/exact", "W1 {}", ".3g"),
    Shown("fidelity/fid", "FID {}", ".2f"),
    Shown("speed/steps_per_second", "{} steps/s", ".4g"),
)


def told(values: Mapping[str, float]) -> dict[str, float]:
    """Of a run's values those that a view shows."""
    return {shown.tag: values[shown.tag] for shown in LIVE if shown.tag in values}
