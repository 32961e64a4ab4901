"""What the study `estimate_vs_distance` says in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wganbench.studies.estimate_courses import Row, change_correlation, level_correlation
from wganbench.studies.known_distances import optimal_gp_estimate

ESTIMATES = (("gp", "raw"), ("gp", "normalised"), ("clip", "raw"), ("clip", "normalised"),
             ("bce", "js"), ("bce_saturating", "js"))  # fmt: skip


def paragraphs(rows: Sequence[Row]) -> list[str]:
    """Correlations in training, then the estimates of known distances."""
    training = [row for row in rows if row["part"] == "training"]
    lines = ["Through training on ring8: Spearman's correlation with the exact W1, mean over runs, "
             "of changes between evaluations, of levels within a run (any two falling curves "
             "correlate), and of all runs' ends."]  # fmt: skip
    for loss, key in ESTIMATES:
        own = [row for row in training if row["loss"] == loss]
        runs = [
            [row for row in own if (row["seed"], row["generator_lr"]) == which]
            for which in dict.fromkeys((row["seed"], row["generator_lr"]) for row in own)
        ]
        ends = level_correlation([run[-1] for run in runs], key)
        lines.append(
            f"- {loss}, {key} estimate: {mean([change_correlation(r, key) for r in runs]):+.2f}, "
            f"{mean([level_correlation(r, key) for r in runs]):+.2f}, "
            f"{float('nan') if ends is None else ends:+.2f}."
        )
    lines.append("Against known distances, means over seeds: exact W1, then each critic's raw "
                 "estimate and, in brackets, that divided by the largest slope seen.")  # fmt: skip
    lines += known_lines([row for row in rows if row["part"] == "known"])
    lines.append(
        "What it does not show: other data, networks that are deeper or wider, clipping at the "
        "paper's rate. Measured distances are those of finite samples, which lie a little above "
        "the distributions' own; the largest slope is the largest of the points seen."
    )
    return lines


def known_lines(rows: Sequence[Row]) -> list[str]:
    lines = []
    for law, size in dict.fromkeys((row["law"], row["size"]) for row in rows):
        own = [row for row in rows if (row["law"], row["size"]) == (law, size)]
        exact = mean([row["exact"] for row in own])
        line = f"- {law} {size:g}: {exact:.3g}"
        for loss, value in dict.fromkeys((row["loss"], row["coefficient"]) for row in own):
            group = [r for r in own if (r["loss"], r["coefficient"]) == (loss, value)]
            if loss == "bce":
                line += f"; bce JS {mean([row['js'] for row in group]):.3g} of at most 0.693"
                continue
            raw, normal = (mean([row[key] for row in group]) for key in ("raw", "normalised"))
            line += f"; {loss} {value:g}: {raw:.3g} ({normal:.3g})"
            if law == "points" and loss == "gp":
                line += f", optimum {optimal_gp_estimate(exact, value):.3g}"
        lines.append(line + ".")
    return lines


def mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")
