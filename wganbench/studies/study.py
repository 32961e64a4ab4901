"""A study: what it claims, how it is measured, and the registry of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from wganbench.registry import Registry
from wganbench.studies.claim import Claim, Evidence
from wganbench.studies.context import Context

Cell = str | float | int | None


@dataclass(frozen=True)
class Findings:
    """What a study measured: evidence by the claim's name, a table, figures, paragraphs.

    ``rows`` all have the same keys, the columns of table.csv. ``figures`` by file name
    without ending; the first is called ``figure``. ``text`` says in sentences what was seen,
    with its numbers, and what was not.
    """

    evidence: Mapping[str, Evidence]
    rows: Sequence[Mapping[str, Cell]]
    figures: Mapping[str, Figure]
    text: Sequence[str]


@dataclass(frozen=True)
class Study:
    """A row of the registry.

    ``differs`` says what is as in the source and what is not. ``protects``: keys of a run's
    configuration that somebody may want to change and that would void the study's meaning,
    with the reason. Settings stand in conf/study/<name>.yaml. Raise ``version`` when the
    measurement changes: what was remembered is then computed anew.
    """

    name: str
    question: str
    claims: Sequence[Claim]
    measure: Callable[[Context], Findings]
    differs: str
    protects: Mapping[str, str] = field(default_factory=dict)
    version: int = 1


STUDIES: Registry[Study] = Registry("studies")


def register_study(study: Study) -> Study:
    """Enter a study; raises ValueError for a taken name or claims with equal names."""
    names = [claim.name for claim in study.claims]
    if len(set(names)) < len(names):
        raise ValueError(f"study {study.name!r} has two claims of one name")
    STUDIES.register(study.name, study)
    return study
