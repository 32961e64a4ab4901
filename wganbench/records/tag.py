"""What one row of the table of tags says."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

DIRECTIONS = ("up", "down", "target", "none")
CADENCES = ("log", "evaluate", "final")
AT_LEAST_0 = (0.0, math.inf)
SHARE = (0.0, 1.0)
"""Bounds that many tags share."""


@dataclass(frozen=True)
class Tag:
    """One measured quantity, named alike in metrics.csv, TensorBoard and run.json.

    ``direction`` is where better lies: "up", "down", "target" (a value that the loss
    asks for) or "none" (it describes, it does not rank). ``cadence`` is when it is
    measured: "log" at every logged step on the training batch, "evaluate" on held-out
    reals and fresh fakes, "final" at the end only. ``caveat`` says how not to misread it.
    ``bounds`` are the least and the largest value that the quantity can have; of a count of
    modes the data set the upper one. ``beside`` names a tag that is measured wherever this one
    is looked for: a run that has that one and not this one shows that it is undefined there.
    The name is ``group/quantity``; one that ends in ``_<i>`` stands for one tag per layer,
    i = 0, 1, ...

    Raises ValueError for another name, direction or cadence, an empty field, or bounds out of
    order.
    """

    name: str
    meaning: str
    unit: str
    formula: str
    direction: str
    cadence: str
    source: str
    caveat: str = ""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    beside: str = ""

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS or self.cadence not in CADENCES:
            raise ValueError(
                f"tag {self.name!r}: direction is one of {', '.join(DIRECTIONS)} and "
                f"cadence one of {', '.join(CADENCES)}"
            )
        if not re.fullmatch(r"[\w.-]+/[\w.-]+(_<i>)?", self.name):
            raise ValueError(
                f"tag {self.name!r}: a name is group/quantity, of letters, digits and _-."
            )
        fields = (self.name, self.meaning, self.unit, self.formula, self.source)
        if not all(text.strip() for text in fields):
            raise ValueError(f"tag {self.name!r} has an empty field")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"tag {self.name!r}: the lower bound comes first, got {self.bounds}")
