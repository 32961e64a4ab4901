"""Writing a comparison: comparison.csv for spreadsheets, comparison.json for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from wganbench.drawing.canvas import optional
from wganbench.errors import ConfigError, of_the_system
from wganbench.files import write_atomic, write_json
from wganbench.reports.comparison import Comparison
from wganbench.reports.figures import draw_animation, draw_figures
from wganbench.reports.pairwise import Contrast, seeds_text
from wganbench.reports.report import write_report
from wganbench.reports.statistics import Estimate
from wganbench.runs.table import plain_cell

COLUMNS = (
    "group", "metric", "runs", "completed", "diverged", "unfinished", "statistic", "value", "low",
    "high", "n", "method", "note", "best", "against", "p", "p_holm", "family", "tests", "seeds",
    "enough_seeds",
)  # fmt: skip


def write_files(comparison: Comparison, folder: Path) -> None:
    """Write both files, each atomically. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "comparison.csv", as_csv(comparison).encode())
    write_json(folder / "comparison.json", as_dict(comparison))


def as_csv(comparison: Comparison) -> str:
    """Return a CSV line for each group, metric and statistic, then one for each pair of groups."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    width = len(COLUMNS)
    for row in csv_rows(comparison):
        writer.writerow([*map(plain_cell, row), *[""] * (width - len(row))])
    return text.getvalue()


def csv_rows(comparison: Comparison) -> Iterator[list[object]]:
    for row in comparison.rows:
        runs = [
            len(row.group.runs), len(row.group.survivors), row.diverged, row.unfinished,
        ]  # fmt: skip
        for metric, cell in row.cells.items():
            for name, estimate in (("mean", cell.mean), ("interquartile mean", cell.iqm)):
                yield [row.group.label, metric, *runs, name, *figures(estimate), metric in row.best]
        if row.all_modes is not None:
            share = figures(row.all_modes)
            yield [row.group.label, "every mode covered", *runs, "share", *share, False]
    yield from map(contrast_row, comparison.contrasts)


def contrast_row(contrast: Contrast) -> list[object]:
    """Return the cells of a pair of groups: probability of improvement, p-values, family."""
    return [
        *(contrast.first, contrast.metric, "", "", "", "", "probability of improvement"),
        *(*figures(contrast.estimate), "", contrast.second, contrast.raw_p, contrast.p),
        *("primary" if contrast.primary else "secondary", contrast.tests, seeds_text(contrast)),
        contrast.enough or "",
    ]


def figures(estimate: Estimate) -> list[object]:
    """Return the cells of an estimate: value, low, high (empty if nan), n, method, note."""
    bounds = (estimate.value, estimate.low, estimate.high)
    return [
        *("" if bound != bound else bound for bound in bounds),
        *(estimate.n, estimate.method, estimate.note),
    ]


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Return the whole comparison as plain data, with every run's value by seed."""
    return {
        "paths": list(comparison.paths),
        "metrics": list(comparison.metrics),
        "baseline": comparison.baseline,
        "at": asdict(comparison.at) if comparison.at else None,
        "notes": list(comparison.notes),
        "groups": [
            {
                "label": row.group.label,
                "settings": dict(row.group.values),
                "runs": [str(run.path) for run in row.group.runs],
                "completed": len(row.group.survivors),
                "diverged": row.diverged,
                "unfinished": row.unfinished,
                "best_in": sorted(row.best),
                "every_mode_covered": asdict(row.all_modes) if row.all_modes else None,
                "metrics": {
                    metric: {
                        "seeds": list(cell.seeds),
                        "values": list(cell.values),
                        "mean": asdict(cell.mean),
                        "interquartile_mean": asdict(cell.iqm),
                    }
                    for metric, cell in row.cells.items()
                },
            }
            for row in comparison.rows
        ],
        "contrasts": [asdict(contrast) for contrast in comparison.contrasts],
    }


# All files of a comparison: tables, figures, the report.
class Written(NamedTuple):
    """The written files by name, and notes on missing ones."""

    files: dict[str, Path]
    notes: list[str]


def write_all(comparison: Comparison, folder: Path, animate: bool = False) -> Written:
    """Write all files of a comparison.

    Raises ConfigError if the folder cannot be written, or if an animation is requested and no
    run has frames.
    """
    try:
        write_files(comparison, folder)
        drawn, notes = draw_figures(comparison, folder)
        found = {"report": write_report(comparison, drawn, folder, notes)}
        if animate:
            with optional("The animation", notes.append):
                found |= animated(comparison, folder)
    except OSError as error:
        raise ConfigError(
            f"the comparison cannot be written: {of_the_system(error)}; give another --out"
        ) from error
    places = {"figures": folder / "figures", "tables": folder / "comparison.csv"}
    return Written(found | places, notes)


def animated(comparison: Comparison, folder: Path) -> dict[str, Path]:
    moving = draw_animation(comparison, folder)
    if moving is None:
        raise ConfigError("--animate: no run has frames; train with log.animation=true")
    return {"animation": moving.path(folder, "gif")}
