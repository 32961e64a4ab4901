"""The output of `study`: the list, the verdicts, the scoreboard."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wganbench.cli.console import FAILED, INTERRUPTED, PlainConsole, print_below
from wganbench.cli.run_view import plugins_again
from wganbench.errors import ConfigError, one_line
from wganbench.files import from_here
from wganbench.output import numbered
from wganbench.registry import unknown

if TYPE_CHECKING:
    from wganbench.studies.verdicts import Claim, Verdict

MORE = "more than there are"
COMMON = ("budget", "seeds", "device", "output_dir")
"""The settings that every study has."""
STYLES = {"supported": "green", "refuted": "red", "undecided": "yellow", "not refuted": "cyan"}


def print_studies(arguments: Sequence[str] = ()) -> None:
    """Print each (named) study: its question, its cost, and claims with too few seeds.

    Settings among the arguments apply as in a run of the study. Raises ConfigError.
    """
    from wganbench.studies import STUDIES
    from wganbench.studies.settings import budgets, read_settings
    from wganbench.studies.verdicts import planned_alpha, seeds_needed, underpowered
    from wganbench.tuning.space import FIRST_TUNING_SEED as most

    console = PlainConsole()
    primaries = [claim for study in STUDIES.values() for claim in study.claims if claim.primary]
    overrides = [word for word in arguments if "=" in word]
    named = [word for word in arguments if "=" not in word and word != "all"]
    for name in named or STUDIES:
        known(name)
        study = STUDIES[name]
        own = read_settings(name, study.protects, overrides)
        alphas = {c.name: planned_alpha(c, primaries, study.claims) for c in study.claims}
        weak = [
            f"{claim.name} ({seeds_needed(claim, most, alphas[claim.name]) or MORE})"
            for claim in study.claims
            if underpowered(claim, claim.seeds_of(own.seeds, own.values), alphas[claim.name])
        ]
        costs = {budget: f"{values['minutes']:g} min" for budget, values in budgets(name).items()}
        others = [f"budget={b}: {cost}" for b, cost in costs.items() if b != own.budget]
        claims, seeds = numbered(len(study.claims), "claim"), numbered(len(own.seeds), "seed")
        print(f"{name}: {study.question}")
        beside = f" ({', '.join(others)})" if others else ""
        below = [f"{claims}, {seeds}, about {own.minutes:g} min{beside}"]
        below += [levels_in_words(study.claims, alphas)]
        below += [f"underpowered (seeds that it takes): {', '.join(weak)}"] * bool(weak)
        for line in below:
            print_below(console, line)


def levels_in_words(claims: Sequence[Claim], alphas: Mapping[str, float]) -> str:
    """Return the primary claim and the levels at which the power of the claims is planned."""
    primary = next(claim for claim in claims if claim.primary)
    words = f"primary claim: {primary.name}"
    if primary.tested:
        words += f", planned at p < {alphas[primary.name]:.2g} (Holm's first step)"
    others = [claim for claim in claims if not claim.primary and claim.tested]
    if others:
        words += f"; secondary at p < {alphas[others[0].name]:.2g} (Benjamini-Hochberg's)"
    return words


def known(name: str) -> None:
    """Raise ConfigError, with the nearest name, for an unknown study."""
    from wganbench.studies import STUDIES

    if name not in STUDIES:
        raise ConfigError(unknown("study", name, [*STUDIES, "all"]))


def run_and_print(name: str, overrides: Sequence[str]) -> int:
    """Run one study, print its verdicts and return the exit code. Raises ConfigError."""
    from wganbench.cli.sweep_view import SweepView
    from wganbench.studies import run_study
    from wganbench.studies.settings import numbers_that_fail
    from wganbench.sweeps.launch import Interrupted

    known(name)
    try:
        with numbers_that_fail(name, overrides):
            folder, verdicts = run_study(name, overrides, SweepView())
    except (Interrupted, KeyboardInterrupt):
        words = " ".join([f"wganbench study {name}", *map(shlex.quote, overrides)])
        print(f"\ninterrupted; go on: {words}{plugins_again()}")
        return INTERRUPTED
    print_verdicts(folder, verdicts)
    return 0


def run_all_and_print(_: str, overrides: Sequence[str]) -> int:
    """Run all studies one after the other, print the scoreboard and return the exit code.

    A study that fails, also by a fault of ours, is reported at the end and does not stop the
    others. Raises ConfigError.
    """
    from wganbench.studies import STUDIES
    from wganbench.studies.scoreboard import read_scoreboard, write_scoreboard
    from wganbench.studies.settings import read_settings

    wrong = [text for text in overrides if text.partition("=")[0] not in COMMON]
    if wrong:
        raise ConfigError(f"study all takes {', '.join(COMMON)}; got {wrong[0]!r}")
    settings = {name: read_settings(name, STUDIES[name].protects, overrides) for name in STUDIES}
    failed: dict[str, str] = {}
    for name, own in settings.items():
        print(f"\n== {name}, about {own.minutes:g} min: {STUDIES[name].question}", flush=True)
        try:
            if run_and_print(name, overrides) == INTERRUPTED:
                return INTERRUPTED
        except ConfigError as error:
            failed[name] = str(error)
        except Exception as error:
            traceback.print_exc()
            failed[name] = one_line(f"{type(error).__name__}: {error}")
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}")
    if failed:
        print("no scoreboard: it needs all studies")
        return FAILED
    where = next(iter(settings.values()))
    verdicts = read_scoreboard(where.output_dir, where.budget)
    print_scoreboard(verdicts, write_scoreboard(where.output_dir, where.budget))
    return 0


def print_verdicts(folder: Path, verdicts: Sequence[Verdict]) -> None:
    """Print a study's verdicts and files."""
    console = PlainConsole()
    for verdict in verdicts:
        print_verdict(console, verdict)
    print(f"\nfiles: {from_here(folder.resolve())}/ (figure.png, table.csv, summary.md)")


def print_verdict(console: Console, verdict: Verdict) -> None:
    line = Text(f"{verdict.word:<12}", style=STYLES.get(verdict.word, ""))
    rank = " (primary)" if verdict.claim.primary else ""
    console.print(line.append(Text(verdict.claim.text + rank, style="default")), soft_wrap=True)
    console.print(
        Text(f"            {verdict.claim.statistic}: {verdict.why}{seeds(verdict)}"),
        soft_wrap=True,
    )
    for note in verdict.notes:
        console.print(Text(f"            note: {note}"), soft_wrap=True)


def seeds(verdict: Verdict) -> str:
    """Return the number of seeds behind a verdict as text, if there are any."""
    return "" if verdict.claim.exact else f", n = {verdict.n}"


def print_scoreboard(verdicts: Sequence[Verdict], file: Path) -> None:
    """Print all claims in one table; without a terminal, one line per claim."""
    from wganbench.studies.scoreboard import family, interval, number, summary

    console = PlainConsole()
    if console.is_terminal:
        table = Table("study", "claim", "verdict", "value", "95 %", title_justify="left")
        for verdict in verdicts:
            word = Text(verdict.word, style=STYLES.get(verdict.word, ""))
            claim, value = Text(verdict.claim.text), Text(number(verdict.value))
            table.add_row(verdict.study, claim, word, value, interval(verdict))
        console.print(table)
    else:
        for verdict in verdicts:
            print(
                f"{verdict.study:<22}{verdict.word:<12} {number(verdict.value)} "
                f"({interval(verdict)})  {verdict.claim.text}"
            )
    print(f"\n{summary(verdicts)}\n{family(verdicts)}\nscoreboard: {from_here(file.resolve())}")
