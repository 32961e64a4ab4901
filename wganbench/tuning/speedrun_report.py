"""The files of a speedrun: a table in Markdown with its machine, all arrivals, the curves."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from wganbench.drawing.canvas import save_png
from wganbench.files import write_atomic, write_json
from wganbench.output import markdown_table
from wganbench.presets import conf_directory
from wganbench.reports.drawing import loss_styles
from wganbench.reports.significance import SIGNIFICANT
from wganbench.reports.statistics import FEW_SEEDS
from wganbench.reports.wording import p_text
from wganbench.tuning.speedrun import HIGH_QUALITY, LossResult, Median, Speedrun

THOUSAND = 1e3
HEADS = ("loss", "settings", "arrived", "thousand passes", "seconds")


def write_speedrun(found: Speedrun, folder: Path, command: str) -> dict[str, Path]:
    """Write speedrun.md, speedrun.json and speedrun.png; return them. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"speedrun.{name}" for name in ("md", "json", "png")}
    write_atomic(files["md"], markdown(found, command).encode())
    write_json(files["json"], plain(found, command))
    save_png(curves(found), files["png"])
    return files


def table_rows(found: Speedrun) -> list[tuple[str, ...]]:
    """Return the cells of each loss, the fastest first; a loss that never arrives comes last."""
    ranked = sorted(
        found.results, key=lambda one: (one.passes.value is None, one.passes.value or 0)
    )
    return [
        (
            one.loss,
            one.settings,
            f"{one.arrived} of {len(one.arrivals)}",
            median_text(one.passes, THOUSAND),
            median_text(one.seconds),
        )
        for one in ranked
    ]


def median_text(found: Median, unit: float = 1.0) -> str:
    """Return a median with its interval; a bound that half of the runs never reach is "never"."""

    def text(value: float | None) -> str:
        return "never" if value is None else f"{value / unit:.3g}"

    if found.value is None and found.low is None:
        return "never"
    return f"{text(found.value)} [{text(found.low)}, {text(found.high)}]"


def pair_text(found: Speedrun) -> str:
    """Return which losses differ in passes, in a sentence."""
    differing = [
        f"{a} and {b} ({p_text(p)})" for (a, b), p in found.pairs.items() if p < SIGNIFICANT
    ]
    shown = ", ".join(differing) if differing else "none"
    text = (
        f"Pairs that differ in passes (log-rank test, after Holm for {len(found.pairs)}): {shown}."
    )
    if not found.pairs:
        text = "There is one loss, and no pair to compare."
    if min(len(one.arrivals) for one in found.results) < FEW_SEEDS:
        text += (
            f" Fewer than {FEW_SEEDS} seeds are weak evidence: "
            "these intervals hold the median less often than 95 % say."
        )
    return text


def markdown(found: Speedrun, command: str) -> str:
    """Return the table with the command, the target and the machine."""
    return "\n".join(
        [
            f"`{command}`",
            "",
            *markdown_table(HEADS, table_rows(found)),
            "",
            f"A run has arrived when all modes of {found.data} have a fifth of their fair share, "
            f"{100 * HIGH_QUALITY:g} % of the samples are of high quality and {found.near}, at "
            "two evaluations in a row. The table gives Kaplan-Meier medians "
            "with 95 % intervals; runs that never arrive count. "
            "A pass is one network over one batch; seconds are of training alone, one run at a "
            "time in each process.",
            "",
            pair_text(found),
            "",
            f"{machine()}.",
            "",
        ]
    )


def machine() -> str:
    """Return processor, cores, versions and, in a checkout, the commit."""
    words = [processor(), f"{os.cpu_count()} cores", f"torch {version('torch')}"]
    return ", ".join([*words, f"wganbench {version('wganbench')}{commit()}"])


def processor() -> str:
    """Return the processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit() -> str:
    """Return the commit of the project's checkout as text; empty outside of one."""
    folder = conf_directory().parent
    if not (folder / ".git").exists():
        return ""
    words = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return f", commit {found.stdout.strip()}" if found.returncode == 0 else ""


def plain(found: Speedrun, command: str) -> dict[str, object]:
    """Return the result as plain values."""
    return {
        "command": command,
        "data": found.data,
        "machine": machine(),
        "losses": [asdict(one) for one in found.results],
        "pairs": [{"losses": list(pair), "p_value": p} for pair, p in found.pairs.items()],
    }


def curves(found: Speedrun) -> Figure:
    """Return the share of runs that have arrived, against passes, one line a loss."""
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    styles = loss_styles(one.loss for one in found.results)
    end = max(arrival.passes for one in found.results for arrival in one.arrivals) / THOUSAND
    for one in found.results:
        (times, share), (colour, line) = steps_of(one), styles[one.loss]
        x, y = [*times, seen_to(one, end)], [*share, share[-1]]
        axes.step(x, y, where="post", color=colour, linestyle=line,
                  label=f"{one.loss} ({one.arrived} of {len(one.arrivals)})")  # fmt: skip
    axes.set(xlabel="thousand passes of a network over a batch", ylabel="share of runs arrived",
             ylim=(0, 1.02), xlim=(0, end), title=f"Speedrun on {found.data}")  # fmt: skip
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def seen_to(one: LossResult, end: float) -> float:
    """Return where a loss's curve ends: at the end of its training, unless all have arrived."""
    trained = [arrival.passes / THOUSAND for arrival in one.arrivals if not arrival.arrived]
    return max(trained, default=end)


def steps_of(one: LossResult) -> tuple[Sequence[float], Sequence[float]]:
    """Return the times at which the share of arrived runs rises, and the share from there on."""
    times = np.sort([arrival.passes for arrival in one.arrivals if arrival.arrived]) / THOUSAND
    share = np.arange(1, len(times) + 1) / len(one.arrivals)
    return [0.0, *times.tolist()], [0.0, *share.tolist()]
