"""The scoreboard: every claim of every finished study, corrected for the number of claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wganbench.errors import ConfigError
from wganbench.files import write_atomic
from wganbench.output import markdown_table, numbered
from wganbench.reports.page import Column, Entry, Line, Table, count, embedded, render
from wganbench.studies.record import (
    FOLDER,
    departs,
    is_current,
    read_record,
    read_verdicts,
    study_folder,
)
from wganbench.studies.rest import NOT_TRAINED
from wganbench.studies.settings import QUICK
from wganbench.studies.study import STUDIES
from wganbench.studies.verdicts import MOST_COUNTED, Verdict, corrected

FILE = "scoreboard.html"
COLUMNS = (
    Column("Claim"),
    Column("Verdict"),
    Column("Value", number=True),
    Column("95 % interval"),
    Column("Needed"),
    Column("n", number=True),
    Column("p, corrected", number=True),
    Column("Rank"),
    Column("Study"),
    Column("Source"),
)


def read_scoreboard(output_dir: Path, budget: str = QUICK) -> list[Verdict]:
    """Return the verdicts of all studies run with a budget, with corrected p-values.

    Raises ConfigError, which names what is missing, unless every study of the registry has
    finished: a part of the studies would have a smaller family of tests.
    """
    folders = study_folders(output_dir, budget)
    missing = [name for name, folder in folders.items() if not is_current(folder, STUDIES[name])]
    if missing:
        raise ConfigError(
            f"a scoreboard needs all studies; missing or of another version: {', '.join(missing)}; "
            f"run {command('all', budget)}"
        )
    return corrected([verdict for folder in folders.values() for verdict in read_verdicts(folder)])


def study_folders(output_dir: Path, budget: str) -> dict[str, Path]:
    """Return the folder of each study, in the registry's order."""
    return {name: study_folder(output_dir, name, budget) for name in STUDIES}


def write_scoreboard(output_dir: Path, budget: str = QUICK) -> Path:
    """Write one self-contained page: the table, then each study's text and figures.

    The table alone is written beside it as Markdown. Raises ConfigError as `read_scoreboard` does.
    """
    verdicts, other = read_scoreboard(output_dir, budget), departures(output_dir, budget)
    page = render(
        "scoreboard.html.j2",
        summary=" ".join([f"Budget {budget}. {summary(verdicts)}", *other]),
        family=family(verdicts),
        claims=Table("All claims", COLUMNS, [line(verdict) for verdict in verdicts]),
        studies=[study_view(folder) for folder in study_folders(output_dir, budget).values()],
    )
    file = output_dir / FOLDER / (FILE if budget == QUICK else f"scoreboard-{budget}.html")
    write_atomic(file, page.encode())
    write_atomic(file.with_suffix(".md"), markdown(verdicts, other).encode())
    return file


def departures(output_dir: Path, budget: str) -> list[str]:
    """Return a sentence on the studies that were run with other settings than the budget's."""
    folders = study_folders(output_dir, budget)
    found = {name: departs(folder, STUDIES[name], budget) for name, folder in folders.items()}
    parts = [f"{name} ({keys})" for name, keys in found.items() if keys]
    return [f"Run with other settings than this budget's: {'; '.join(parts)}."] if parts else []


def markdown(verdicts: Sequence[Verdict], more: Sequence[str] = ()) -> str:
    """Return all claims as a table in Markdown; the primary claim of each study is in bold.

    ``more`` holds sentences that follow the summary.
    """
    head = ("study", "claim, and what it was measured by", "value [95 %]", "verdict")
    cells = []
    for verdict in verdicts:
        claim = verdict.claim
        text = f"**{claim.text}**" if claim.primary else claim.text
        cells.append((verdict.study, f"{text}: {claim.statistic}", value_text(verdict),
                      word_text(verdict)))  # fmt: skip
    rows = markdown_table(head, cells)
    said = " ".join([summary(verdicts), *more])
    return "\n".join([said, "", family(verdicts), "", *rows, ""])


def word_text(verdict: Verdict) -> str:
    """Return a verdict's word; with what it is alone, and whether its critics were not trained."""
    text = f"{verdict.word}: {NOT_TRAINED}" if NOT_TRAINED in verdict.why else verdict.word
    return f"{text} (alone: {verdict.alone})" if verdict.alone else text


def value_text(verdict: Verdict) -> str:
    """Return a value with its unit and interval as text."""
    if verdict.value is None:
        return "-"
    ends = interval(verdict).replace(" to ", ", ")
    bounds = "" if ends in ("-", "exact") else f" [{ends}]"
    text = f"{number(verdict.value)}{bounds} {verdict.claim.unit}".rstrip()
    return f"{text}, exact" if ends == "exact" else text


def command(study: str, budget: str) -> str:
    return f"wganbench study {study}" + ("" if budget == QUICK else f" budget={budget}")


def family(verdicts: Sequence[Verdict]) -> str:
    """Return sentences on the families of tests over which the p-values are corrected."""
    primary = [verdict for verdict in verdicts if verdict.claim.primary]
    tested = [f"{v.study}.{v.claim.name}" for v in primary if v.p_value is not None]
    others = [f"{v.study}.{v.claim.name}" for v in primary if v.p_value is None]
    untested = f" Primary claims without a p-value: {', '.join(others)}." if others else ""
    return (
        f"Family: Holm's correction runs over {numbered(len(tested), 'primary claim')}: "
        f"{', '.join(tested) or 'none'}.{untested} The other claims are secondary; their p-values "
        "are Benjamini and Hochberg's within their study."
    )


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return a sentence with the number of claims by verdict."""
    words = [verdict.word for verdict in verdicts]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(sorted(words)))
    studies = len({verdict.study for verdict in verdicts})
    return f"{len(words)} claims in {studies} studies: {counts or 'none yet'}."


def line(verdict: Verdict) -> Line:
    claim = verdict.claim
    needed = {
        "universal": f"at most {claim.smallest:g}",
        "comparative": f"at least {claim.smallest:g}",
        "quantitative": f"{claim.stated or 0:g} ± {claim.smallest:g}",
    }[claim.kind]
    return Line(
        claim.text,
        (
            Entry(word_text(verdict)),
            Entry(f"{number(verdict.value)} {claim.unit}", verdict.value),
            Entry(interval(verdict)),
            Entry(needed),
            count(verdict.n),
            Entry(number(verdict.p_value), verdict.p_value),
            Entry(claim.rank),
            Entry(verdict.study),
            Entry(claim.source),
        ),
        f"{verdict.study}-{claim.name}",
    )


def number(value: float | None) -> str:
    """Return a number as text; one that stands for an infinity, which JSON cannot hold, says so.

    >>> number(0.25), number(1e300), number(-1e300), number(None)
    ('0.25', 'infinite', '-infinite', '-')
    """
    if value is None:
        return "-"
    if abs(value) >= MOST_COUNTED:
        return "infinite" if value > 0 else "-infinite"
    return f"{value:.3g}"


def interval(verdict: Verdict) -> str:
    """Return the interval as text; exact results have none."""
    if verdict.method == "exact":
        return "exact"
    if verdict.low is None or verdict.high is None:
        return "-"
    return f"{number(verdict.low)} to {number(verdict.high)}"


def study_view(folder: Path) -> dict[str, Any]:
    """Return a study for the page: question, text, figures, verdicts, difference to its source."""
    record = read_record(folder) or {}
    name, budget = record["study"], record["budget"]
    # A figure that could not be drawn is named in the record, and has no file.
    files = {figure: folder / f"{figure}.png" for figure in record["figures"]}
    return {
        **record,
        "name": name,
        "figures": {own: embedded(file) for own, file in files.items() if file.is_file()},
        "settings": [f"{key}={value}" for key, value in record["settings"].items()],
        "command": command(name, budget),
    }
