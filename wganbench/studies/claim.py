"""What a study says: a claim from the literature, what was measured, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

KINDS = ("universal", "comparative", "quantitative")
SUPPORTED, REFUTED, UNDECIDED, NOT_REFUTED = "supported", "refuted", "undecided", "not refuted"


@dataclass(frozen=True)
class Claim:
    """A statement and all that decides it, written down before there are data.

    ``smallest`` is, of a universal claim, the tolerance that a counterexample must exceed;
    of a comparative one the smallest effect of interest; of a quantitative one how far from
    ``stated`` still agrees. ``spread`` is the standard deviation between seeds that the plan
    expects of a comparative claim (from seeds 100 and up, which decide nothing). ``exact``:
    computed from a formula, without seeds; then there is no spread and no interval's doubt.

    Raises ValueError for another kind, an empty field, or numbers that do not fit the kind.
    """

    name: str
    text: str
    source: str
    kind: str
    statistic: str
    unit: str
    smallest: float
    stated: float | None = None
    spread: float | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"claim {self.name!r}: kind is one of {', '.join(KINDS)}")
        if not all((self.name, self.text, self.source, self.statistic, self.unit)):
            raise ValueError(f"claim {self.name!r} has an empty field")
        if (self.stated is None) == (self.kind == "quantitative"):
            raise ValueError(f"claim {self.name!r}: a quantitative claim, and no other, states")
        if self.smallest < 0 or (self.smallest == 0 and self.kind != "universal"):
            raise ValueError(f"claim {self.name!r}: smallest must be above 0")
        if self.kind == "comparative" and not self.exact and self.spread is None:
            raise ValueError(f"claim {self.name!r}: a plan needs the expected spread")

    @property
    def rule(self) -> str:
        """How the verdict follows from the measurement, in words."""
        size = f"{self.smallest:g} {self.unit}"
        if self.kind == "universal":
            return (
                f"refuted by at least {COUNTEREXAMPLES} seeds beyond {size}, else not refuted; "
                "sampling never supports it"
            )
        if self.kind == "comparative":
            return (
                f"supported if the 95 % interval lies above 0 and the estimate reaches {size}; "
                f"refuted if the whole interval lies below {size}; else undecided"
            )
        return (
            f"supported if the 95 % interval lies within {size} of {self.stated:g}; refuted if "
            "it lies wholly outside; else undecided"
        )


COUNTEREXAMPLES = 3
"""Seeds that must exceed the tolerance before a universal claim is refuted."""


@dataclass(frozen=True)
class Evidence:
    """What was measured for one claim.

    ``values``: one number a seed, in the claim's unit: of a universal claim by how much it
    is violated, of a comparative one the effect (above 0 speaks for the claim), of a
    quantitative one the quantity. None where a seed gave no number, because a run diverged:
    it is never dropped. Of an exact claim: the cases computed. ``value``, ``interval`` and
    ``p_value`` replace Student's t where another statistic is the right one; the p-value is
    that of what the verdict denies. ``note``: what a reader must know.
    """

    values: Sequence[float | None]
    value: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    method: str = "Student's t over seeds"
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict with the figures behind it; nan-free: what does not exist is None."""

    claim: Claim
    study: str
    word: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    p_value: float | None
    method: str
    why: str
    notes: tuple[str, ...] = field(default=())
    alone: str = ""
    """What the word was before a scoreboard's correction, where that changed it."""
