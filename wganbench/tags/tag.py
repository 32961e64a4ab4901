"""A row of the table of tags: what is measured, how to read it, where it is shown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Direction = Literal["up", "down", "target", "none"]
Cadence = Literal["log", "evaluate", "final"]
View = Literal["live", "result", "headline", "hparams", "curves"]

EVERYWHERE = get_args(View)

AT_LEAST_0 = (0.0, math.inf)
SHARE = (0.0, 1.0)
"""Bounds that many tags share."""


AVERAGED = "averaged/"
"""Begins the columns of a generator with averaged weights: ``averaged/modes/covered``."""


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
    ``floor`` names the tag that holds what a perfect generator would score. ``of_generator``:
    it depends on the generator alone, so that it is measured of averaged weights too.
    The name is ``group/quantity``; one that ends in ``_<i>`` stands for one tag per layer,
    i = 0, 1, ...

    Where it is shown: ``label`` is its name in tables and figures; ``chart`` its place on
    TensorBoard's Custom Scalars page, as "section: chart"; ``views`` the other places: "live"
    while runs train, "result" at the end of a run, "headline" in comparisons unless others are
    asked for, "hparams" among the first columns of TensorBoard's HParams page, "curves" in the
    figure of curves of a comparison. ``rank`` is its place among those, 1 the first, 0 last.
    ``live`` holds the words of the live view, with a place for the number. ``log_scale``: its
    axis is logarithmic.

    Raises ValueError for another name, direction, cadence or view, an empty field, or bounds
    out of order.
    """

    name: str
    meaning: str
    unit: str
    formula: str
    direction: Direction
    cadence: Cadence
    source: str
    caveat: str = ""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    beside: str = ""
    floor: str = ""
    of_generator: bool = False
    label: str = ""
    chart: str = ""
    rank: int = 0
    views: tuple[View, ...] = ()
    live: str = ""
    log_scale: bool = False

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction) or self.cadence not in get_args(Cadence):
            raise ValueError(
                f"tag {self.name!r}: direction is one of {', '.join(get_args(Direction))} and "
                f"cadence one of {', '.join(get_args(Cadence))}"
            )
        if not re.fullmatch(rf"({AVERAGED})?[\w.-]+/[\w.-]+(_<i>)?", self.name):
            raise ValueError(
                f"tag {self.name!r}: a name is group/quantity, of letters, digits and _-."
            )
        fields = (self.name, self.meaning, self.unit, self.formula, self.source)
        if not all(text.strip() for text in fields):
            raise ValueError(f"tag {self.name!r} has an empty field")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"tag {self.name!r}: the lower bound comes first, got {self.bounds}")
        if not set(self.views) <= set(get_args(View)):
            raise ValueError(f"tag {self.name!r}: views are among {', '.join(get_args(View))}")
        if "live" in self.views and not re.fullmatch(r"[^{}]*\{:[^{}]*\}[^{}]*", self.live):
            raise ValueError(f"tag {self.name!r}: live words have one place, such as 'W1 {{:.3g}}'")

    @property
    def title(self) -> str:
        """The label; the name where a row has none."""
        return self.label or self.name

    @property
    def heading(self) -> str:
        """The live words without the number, for the head of a column."""
        return re.sub(r"\{.*\}", "", self.live).strip()

    def number(self, value: float) -> str:
        """The number as the live view writes it.

        >>> from wganbench.tags import TAGS
        >>> TAGS["wasserstein/exact"].number(0.12345)
        '0.123'
        """
        return re.sub(r"^.*(\{.*\}).*$", r"\1", self.live).format(value)

    def worst(self, runs: Iterable[Mapping[str, float]]) -> float | None:
        """The worst value of any run; None where none has one."""
        found = [run[self.name] for run in runs if self.name in run]
        if not found:
            return None
        return min(found) if self.direction == "up" else max(found)


# Where the quantities of the table come from.
GAN = "arXiv:1406.2661"
WGAN = "arXiv:1701.07875"
GP = "arXiv:1704.00028"
PRINCIPLED = "arXiv:1701.04862"
VEEGAN = "VEEGAN, arXiv:1705.07761"
PACGAN = "PacGAN, arXiv:1712.04086"
SELF_COND = "self-conditioned GAN, arXiv:2006.10728"
PR = "arXiv:1904.06991"
DC = "arXiv:2002.09797"
FID = "arXiv:1706.08500, eq. 6, computed by torchmetrics"
KID = "arXiv:1801.01401, computed by torchmetrics"
ENERGY_OF = "Szekely & Rizzo 2013; the Cramer GAN, arXiv:1705.10743"
OURS = "wganbench"
