"""The scoreboard: every claim of every finished study, corrected for the number of claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wganbench.files import write_atomic
from wganbench.reports.page import Column, Entry, Line, Table, count, embedded, render
from wganbench.studies.record import FOLDER, read_record, read_verdicts
from wganbench.studies.settings import QUICK
from wganbench.studies.study import STUDIES
from wganbench.studies.verdicts import Verdict, corrected

FILE = "scoreboard.html"
COLUMNS = (
    Column("Claim"),
    Column("Verdict"),
    Column("Value", number=True),
    Column("95 % interval"),
    Column("Needed"),
    Column("n", number=True),
    Column("p, Holm", number=True),
    Column("Study"),
    Column("Source"),
)


def read_scoreboard(output_dir: Path, budget: str = QUICK) -> list[Verdict]:
    """Return the verdicts of all studies run with a budget, Holm-corrected over all of them."""
    return corrected(
        [
            verdict
            for folder in finished_folders(output_dir, budget)
            for verdict in read_verdicts(folder)
        ]
    )


def finished_folders(output_dir: Path, budget: str) -> list[Path]:
    """Return the folders of the finished studies, in the registry's order."""
    ending = "" if budget == QUICK else f"-{budget}"
    folders = [output_dir / FOLDER / f"{name}{ending}" for name in STUDIES]
    return [folder for folder in folders if read_record(folder) is not None]


def write_scoreboard(output_dir: Path, budget: str = QUICK) -> Path:
    """Write one self-contained page: the table, then each study's text and figures."""
    verdicts = read_scoreboard(output_dir, budget)
    page = render(
        "scoreboard.html.j2",
        summary=summary(verdicts),
        claims=Table("All claims", COLUMNS, [line(verdict) for verdict in verdicts]),
        studies=[study_view(folder) for folder in finished_folders(output_dir, budget)],
    )
    file = output_dir / FOLDER / (FILE if budget == QUICK else f"scoreboard-{budget}.html")
    write_atomic(file, page.encode())
    return file


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
            Entry(verdict.word + (f" (alone: {verdict.alone})" if verdict.alone else "")),
            Entry(f"{number(verdict.value)} {claim.unit}", verdict.value),
            Entry(interval(verdict)),
            Entry(needed),
            count(verdict.n),
            Entry(number(verdict.p_value), verdict.p_value),
            Entry(verdict.study),
            Entry(claim.source),
        ),
        f"{verdict.study}-{claim.name}",
    )


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def interval(verdict: Verdict) -> str:
    """Return the interval as text; exact results have none."""
    if verdict.method == "exact":
        return "exact"
    if verdict.low is None or verdict.high is None:
        return "-"
    return f"{verdict.low:.3g} to {verdict.high:.3g}"


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
        "command": f"wganbench study {name}" + ("" if budget == QUICK else f" budget={budget}"),
    }
