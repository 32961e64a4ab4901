"""The output of `tune` and of `speedrun`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from wganbench.cli.console import INTERRUPTED, PlainConsole
from wganbench.cli.run_view import plugins_again
from wganbench.cli.sweep_view import SweepView
from wganbench.files import from_here
from wganbench.sweeps.launch import Interrupted
from wganbench.tuning.command import Tuned, speedrun, tune
from wganbench.tuning.report import SCORE, settings_text, value_entry
from wganbench.tuning.search import elsewhere, notes_on
from wganbench.tuning.speedrun_report import HEADS, machine, pair_text, table_rows


def print_again(verb: str, arguments: Sequence[str], options: Mapping[str, Path | None]) -> None:
    """Print the command that goes on with an interrupted one."""
    given = [word for name, path in options.items() if path for word in (name, str(path))]
    command = shlex.join(["wganbench", verb, *arguments, *given])
    print(f"\ninterrupted; go on: {command}{plugins_again()}")


def tune_and_print(
    arguments: Sequence[str], config_dir: Path | None = None, into: Path | None = None
) -> int:
    """Run a search, print its winners and return the exit code. Raises ConfigError."""
    try:
        tuned = tune(arguments, SweepView(), config_dir, into)
    except (Interrupted, KeyboardInterrupt):
        print_again("tune", arguments, {"--config-dir": config_dir, "--into": into})
        return INTERRUPTED
    print_tuned(tuned)
    return 0


def print_tuned(tuned: Tuned) -> None:
    """Print each loss's best settings with the scores on tuning seeds and on fresh ones."""
    console = PlainConsole()
    for data in tuned.search.data:
        table = Table("loss", "tuning", "fresh seeds", "settings", title=data, title_justify="left")
        for loss in tuned.search.losses:
            best = tuned.arms[loss, data][0]
            fresh = value_entry(SCORE, tuned.fresh.get((loss, data), ()))
            settings = Text(settings_text(tuned.search, loss, best))
            table.add_row(loss, f"{best.last:.3f}", Text(fresh.text), settings)
        console.print(table)
    console.print("score: modes/coverage x modes/high_quality x min(1, floor / distance)")
    for arm, trials in tuned.arms.items():
        for note in notes_on(arm, trials[0]):
            console.print(note, soft_wrap=True)
    files = list(tuned.files.values())
    folder = from_here(files[0].parent.parent.resolve())
    console.print(f"settings: {folder}/tuned/*.yaml", soft_wrap=True)
    console.print(f"report:   {from_here(tuned.report.resolve())}", soft_wrap=True)
    (loss, data), file = next(iter(tuned.files.items()))
    named = [f"tuned={file.stem}"] if tuned.search.space.penalties else []
    words = shlex.join([*named, *elsewhere(tuned.search), "--config-dir", str(folder)])
    console.print(
        f"use them: wganbench train loss={loss} data={data} {words}{plugins_again()}",
        soft_wrap=True,
    )


def speedrun_and_print(arguments: Sequence[str], config_dir: Path | None = None) -> int:
    """Run a speedrun, print its table and return the exit code. Raises ConfigError."""
    try:
        found, files = speedrun(arguments, SweepView(), config_dir)
    except (Interrupted, KeyboardInterrupt):
        print_again("speedrun", arguments, {"--config-dir": config_dir})
        return INTERRUPTED
    console = PlainConsole()
    table = Table(*HEADS, title=f"speedrun on {found.data}", title_justify="left")
    for row in table_rows(found):
        table.add_row(*map(Text, row))
    console.print(table)
    console.print(f"{pair_text(found)}\n{machine()}", soft_wrap=True)
    for file in files.values():
        console.print(f"file: {from_here(file.resolve())}", soft_wrap=True)
    return 0
