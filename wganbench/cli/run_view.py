"""The display of a run in training: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from wganbench.cli.console import PlainConsole, print_sentence
from wganbench.config.schema import RunConfig, to_dict
from wganbench.files import from_here
from wganbench.plugin_files import WORD, plugin_files
from wganbench.presets import preset_values, readable_values
from wganbench.runs.record import METRICS_CSV
from wganbench.tags.lookup import shown_in, shown_of
from wganbench.training.process import SAVING
from wganbench.typed import flatten

if TYPE_CHECKING:
    from wganbench.runs.folder import RunOutcome

PLAIN_EVERY_SECONDS = 5.0
"""Time between two lines without a terminal."""


def say_loading() -> None:
    """Print the first line of a command that trains, because importing torch takes seconds."""
    if "torch" not in sys.modules:
        PlainConsole().print("loading torch ...")


class RunView:
    """Live progress of one stack of runs on a console.

    A terminal shows a bar with step, modes, W1 (FID for images), steps per second and time left.
    Elsewhere a line is printed every few seconds and at the end.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or PlainConsole()
        self._bar: Progress | None = None
        self._steps = 0
        self._printed = 0.0
        self._figures = ""

    def start(self, steps: int, done: int) -> None:
        """Training begins at step ``done`` of ``steps``."""
        self._steps = steps
        self._printed = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(*_columns(), console=self.console)
            self._task = self._bar.add_task("", total=steps, completed=done, figures="preparing")
            self._bar.start()

    def progress(self, step: int, values: Sequence[Mapping[str, float]]) -> None:
        """The stack is at ``step``; ``values`` are each run's latest by tag."""
        self._figures = figures = summary(values)
        if self._bar:
            self._bar.update(self._task, completed=step, figures=figures)
        elif step == self._steps or time.monotonic() - self._printed > PLAIN_EVERY_SECONDS:
            self._printed = time.monotonic()
            self.console.print(f"step {step}/{self._steps}  {figures}")

    def phase(self, words: str) -> None:
        """Show a long task beside training; empty text ends it."""
        if self._bar:
            self._bar.update(self._task, figures=f"{self._figures}  {words}".strip())
        elif words:
            self.say(words)

    def say(self, line: str) -> None:
        """Print one line for the user, above the bar."""
        print_sentence(self.console, line)

    def stopping(self) -> None:
        """Show that a signal has requested to save and end."""
        self.say(SAVING)

    def stop(self) -> None:
        """Remove the bar, if there is one."""
        if self._bar:
            self._bar.stop()
            self._bar = None


def summary(values: Sequence[Mapping[str, float]]) -> str:
    """Return the latest values in a few words; for several runs those of the worst.

    >>> summary([{"modes/covered": 8, "fidelity/fid": 1.5}, {"modes/covered": 7}])
    'worst of 2 runs: modes 7  FID 1.50'
    """
    worst = [(tag, tag.worst(values)) for tag in shown_in("live")]
    figures = [tag.live.format(value) for tag, value in worst if value is not None]
    several = f"worst of {len(values)} runs: " if len(values) > 1 and figures else ""
    return several + "  ".join(figures)


def _columns() -> list[ProgressColumn]:
    return [
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        TimeRemainingColumn(compact=True),
    ]


# The outcome of a run for the user: values, verdict, next commands.


def print_result(outcome: RunOutcome) -> None:
    """Print status, a small table, the verdict in words and the next commands."""
    from rich.table import Table

    console = PlainConsole()
    how = f" ({outcome.executor})" if outcome.executor else ""
    seconds = f"{outcome.seconds:.0f} s of training{how}"
    console.print(f"{outcome.status} at step {outcome.step}, {seconds}")
    table = Table(show_header=False, box=None, pad_edge=False)
    # Everything else is in run.json.
    for tag in shown_of("result", outcome.shape, outcome.metrics):
        value = outcome.metrics[tag.name]
        if math.isfinite(value):
            table.add_row(tag.title, f"{value:.4g}")
    if table.row_count:
        console.print(table)
    for line in outcome.verdict:
        print_sentence(console, line)
    for line in ["", *next_commands(outcome)]:
        console.print(line, soft_wrap=True)


def next_commands(outcome: RunOutcome) -> list[str]:
    """Return the next useful commands, one per line, each with its purpose."""
    path = from_here(outcome.path)
    run, experiment = shlex.quote(str(path)), shlex.quote(str(path.parent))
    again = plugins_again()
    look = f"wganbench tensorboard {experiment}"
    if outcome.status == "interrupted":
        return [f"go on:       wganbench resume {run}{again}"]
    if outcome.status != "completed":
        values = shlex.quote(str(path / METRICS_CSV))
        return [f"look at it:  {look}", f"values:      {values}"]
    figure = outcome.path / "figure.png"
    return [
        *([f"figure:      {path / figure.name}"] if figure.is_file() else []),
        f"look at it:  {look}",
        f"draw more:   wganbench sample {run} -n 1000{again}",
        f"measure:     wganbench evaluate {run}{again}",
    ]


def plugins_again() -> str:
    """Return `` plugins=FILE`` for a further command on the same runs; empty without plugins."""
    files = ",".join(str(from_here(file)) for file in plugin_files())
    return f" {shlex.quote(WORD + files)}" if files else ""


# Which file a run's settings come from: those that were tuned, or the paper's.
def settings_line(config: RunConfig, where: Sequence[Path], chosen: str | None = None) -> str:
    """Return one line: tuned settings, with what the paper has instead, or the paper's own.

    Settings that are neither are named. ``where`` are the searched folders of YAML files, and
    ``chosen`` is the NAME of ``tuned=NAME`` if it was given.
    """
    own_name = f"{config.loss.name}-{config.data.name}"
    name = own_name if chosen in (None, "none") else str(chosen)
    tuned = readable_values("tuned", name, where)
    of_loss = readable_values("loss", config.loss.name, where)
    paper = preset_values("train", "default", where) | of_loss
    own = dict(flatten(to_dict(config)))
    kept = {key for key, value in tuned.items() if own.get(key) == value}
    if not any(tuned[key] != paper.get(key) for key in kept):
        whose = "the paper's" if of_loss else "those"
        return f"settings: {whose} of loss={config.loss.name}{_but_for(own, of_loss)}"
    but = _but_for(own, tuned)
    return f"settings: tuned/{name}{but} ({_against(kept, own, paper)}tuned=none: the paper's)"


def _but_for(own: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    """Return in words which settings of a file the run does not have."""
    changed = sorted(key for key, value in named.items() if own.get(key) != value)
    return f", but for {', '.join(changed)}" if changed else ""


def _against(kept: set[str], own: Mapping[str, Any], paper: Mapping[str, Any]) -> str:
    """Return the coefficients of the loss that differ from the paper's, each with the paper's."""
    differing = [
        f"{key.removeprefix('loss.')} {own[key]:g}, the paper's {paper[key]:g}; "
        for key in sorted(kept)
        if key.startswith("loss.") and key in paper and own[key] != paper[key]
    ]
    return "".join(differing)
