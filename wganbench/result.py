"""How a run ended, for the person who started it: figures, verdict, what to type next."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wganbench.training.outcome import RunOutcome

FIGURES = (
    ("modes covered", "modes/covered"),
    ("high quality", "modes/high_quality"),
    ("the judge's ceiling", "modes/ceiling"),
    ("KL of the modes", "modes/kl"),
    ("FID", "fidelity/fid"),
    ("its floor", "fidelity/fid_floor"),
    ("exact W1", "wasserstein/exact"),
    ("its floor", "wasserstein/floor"),
    ("sliced W1", "wasserstein/sliced"),
    ("critic's slope", "critic/slope_mean"),
    ("steps per second", "speed/steps_per_second"),
)
"""What the closing table shows; everything else is in run.json."""


def print_result(outcome: RunOutcome) -> None:
    """Print status, a small table, the verdict in words and the next commands."""
    from rich.table import Table

    from wganbench.terminal import PlainConsole

    console = PlainConsole()
    how = f" ({outcome.executor})" if outcome.executor else ""
    seconds = f"{outcome.seconds:.0f} s of training{how}"
    console.print(f"{outcome.status} at step {outcome.step}, {seconds}")
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, tag in FIGURES:
        value = outcome.metrics.get(tag)
        if value is not None and math.isfinite(value):
            table.add_row(name, f"{value:.4g}")
    if table.row_count:
        console.print(table)
    for line in [*outcome.verdict, "", *next_commands(outcome)]:
        console.print(line, soft_wrap=True)


def next_commands(outcome: RunOutcome) -> list[str]:
    """What can be typed next, one command a line with what it does."""
    path = from_here(outcome.path)
    run, experiment = shlex.quote(str(path)), shlex.quote(str(path.parent))
    look = f"wganbench tensorboard {experiment}"
    if outcome.status == "interrupted":
        return [f"go on:       wganbench resume {run}"]
    if outcome.status != "completed":
        return [f"look at it:  {look}", f"figures:     {run}/metrics.csv"]
    figure = outcome.path / "figure.png"
    return [
        *([f"figure:      {path / figure.name}"] if figure.is_file() else []),
        f"look at it:  {look}",
        f"draw more:   wganbench sample {run} -n 1000",
        f"measure:     wganbench evaluate {run}",
    ]


def from_here(path: Path) -> Path:
    """The path as the current folder sees it, where it lies inside."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
