"""The output of `compare` in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wganbench.cli.console import PlainConsole, print_sentence
from wganbench.errors import ConfigError, shortened
from wganbench.files import from_here
from wganbench.reports.wording import estimate_text, p_text, share_text

if TYPE_CHECKING:
    from wganbench.reports.comparison import Comparison
    from wganbench.reports.pairwise import Contrast
    from wganbench.reports.rows import Cell

SHOWN_CONTRASTS = 12
"""The most pairs in the terminal; further ones are only in comparison.csv."""


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print the answer, the groups with their intervals, the pairwise comparison, and notes."""
    from wganbench.reports.answer import answer
    from wganbench.reports.matrix import letters_of
    from wganbench.tags.lookup import which_is_better

    console = console or PlainConsole()
    for place, sentence in enumerate(answer(comparison)):
        console.print(Text(sentence, style="" if place else "bold"))
    for metric in comparison.metrics:
        heading(console, metric + which_is_better(metric))
        console.print(metric_table(comparison, metric))
        if any(metric in row.best for row in comparison.rows):
            console.print("* its interval lies beyond all others'", style="dim")
        if metric == comparison.primary and letters_of(comparison, metric):
            console.print("no difference was shown between groups that share a letter", style="dim")
    if any(row.all_modes for row in comparison.rows):
        heading(console, "runs with every mode covered")
        console.print(modes_table(comparison))
    print_contrasts([contrast for contrast in comparison.contrasts if contrast.primary], console)
    console.print()
    for note in comparison.notes:
        print_sentence(console, note)


def print_contrasts(contrasts: list[Contrast], console: Console) -> None:
    """Print the first pairs of the primary metric, and the pairs with too few seeds."""
    from wganbench.reports.pairwise import out_of_reach

    if contrasts and len(contrasts) <= SHOWN_CONTRASTS:
        heading(console, f"how probable it is that the first is better in {contrasts[0].metric}")
        console.print(contrast_table(contrasts))
    for text, _ in out_of_reach(contrasts):
        print_sentence(console, f"{text}.")


def metric_table(comparison: Comparison, metric: str) -> Table:
    """Return a metric's table: one line per group, mean and IQM with 95 % intervals.

    The table of the first metric that ranks has letters, too.
    """
    from wganbench.reports.matrix import letters_of

    letters = letters_of(comparison, metric) if metric == comparison.primary else {}
    table = plain_table(
        *("group", *["letters"] * bool(letters), "runs", "diverged", "mean [95 %]", "IQM [95 %]")
    )
    for row in comparison.rows:
        cell = row.cells[metric]
        best = metric in row.best
        table.add_row(
            Text(row.group.title + (" *" if best else ""), style="bold" if best else ""),
            *[letters.get(row.group.label, "-")] * bool(letters),
            str(len(row.group.finished)),
            str(row.diverged),
            mean_text(cell),
            estimate_text(cell.iqm),
        )
    return table


def mean_text(cell: Cell) -> str:
    """Return the mean with its interval, and its number of runs if some have no value."""
    share = share_text(cell)
    return estimate_text(cell.mean) + (f", {share}" if share else "")


def modes_table(comparison: Comparison) -> Table:
    """Return the table of the shares of runs with every mode covered."""
    table = plain_table("group", "runs", "share [95 %]")
    for row in comparison.rows:
        if row.all_modes is not None:
            table.add_row(Text(row.group.title), str(row.all_modes.n), estimate_text(row.all_modes))
    return table


def contrast_table(contrasts: list[Contrast]) -> Table:
    """Return the table of probabilities that one group is better than another."""
    from wganbench.reports.pairwise import seeds_text

    table = plain_table("first | second", "P [95 %]", "p (Holm)", "seeds")
    for contrast in contrasts:
        table.add_row(
            Text(" | ".join(contrast.names)),
            estimate_text(contrast.estimate),
            p_text(contrast.p),
            seeds_text(contrast),
        )
    return table


def plain_table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def heading(console: Console, text: str) -> None:
    console.print()
    console.print(text, style="bold")


def check_form(form: str | None, files: Mapping[str, object]) -> None:
    """Raise ConfigError for an unknown form, or one with options of the files that are set."""
    from wganbench.reports.plain_tables import FORMATS

    if form is None:
        return
    if form not in FORMATS:
        raise ConfigError(f"--format {shortened(form, 80)}: give one of {', '.join(FORMATS)}")
    given = [name for name, value in files.items() if value]
    if given:
        raise ConfigError(
            f"--format {form} prints a table and writes no files: leave out {given[0]}, or --format"
        )


def print_as(form: str, comparison: Comparison) -> None:
    """Print the table of a comparison as Markdown or LaTeX, with the notes below it."""
    from wganbench.reports.plain_tables import as_text, notes_text

    print(as_text(comparison, form))
    print(notes_text(comparison.notes, form))


def print_files(
    files: Mapping[str, Path], notes: Sequence[str] = (), console: Console | None = None
) -> None:
    """Print the paths of the comparison's files, and which are missing."""
    console = console or PlainConsole()
    for note in notes:
        print_sentence(console, f"note: {note}")
    for name, path in files.items():
        console.print(f"{name + ':':12} {from_here(path)}", soft_wrap=True)
