"""What the study `lipschitz` says in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wganbench.studies.lipschitz_slopes import Row

NAMES = {"gp": "GP, lambda", "lp": "LP, lambda", "clip": "clip, c"}


def paragraphs(rows: Sequence[Row]) -> list[str]:
    """Arm by arm: medians over seeds."""
    lines = [
        "Medians over seeds of the slope at interpolates, at reals, at fakes, half-way between "
        "reals and far outside; then the largest slope found by climbing (a lower bound of the "
        "Lipschitz constant) and the product of the layers' spectral norms (an upper bound)."
    ]
    for loss, name in NAMES.items():
        own = [row for row in rows if row["loss"] == loss]
        for value in dict.fromkeys(row["coefficient"] for row in own):
            group = [row for row in own if row["coefficient"] == value]
            lines.append(f"- {name} = {value:g}: {medians(group)}.")
    lines.append(
        "Lambda = 0 and c = inf are the same: no constraint. Estimate / largest slope is in the "
        "table: roughly a lower bound of the distance. What this does not show: critics that "
        "race with a generator, wider networks, training far longer; and of a claim that names "
        "every critic it can find counterexamples, never a proof."
    )
    return lines


def medians(group: Sequence[Row]) -> str:
    lost = sum(row["status"] != "completed" for row in group)
    places = [
        median(group, key) for key in ("interpolates", "reals", "fakes", "between", "outside")
    ]
    words = f"{', '.join(f'{value:.3g}' for value in places)}; " + (
        f"largest {median(group, 'largest'):.3g}, spectral {median(group, 'spectral_product'):.3g}"
    )
    return words + (f"; {lost} of {len(group)} diverged" if lost else "")


def median(group: Sequence[Row], key: str) -> float:
    """Over the seeds that have a value; nan where none has."""
    values = [row[key] for row in group if row[key] is not None]
    return float(np.median(values)) if values else math.nan
