"""A study's folder: writing and reading its figures, table, verdict.json and short text."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wganbench.drawing.canvas import optional, save_png, save_svg
from wganbench.errors import ConfigError, UnwritableFolder, of_the_system
from wganbench.files import RunLock, read_regular, write_atomic
from wganbench.output import guarded
from wganbench.studies.settings import QUICK, Settings, read_settings
from wganbench.studies.study import STUDIES, Context, Findings, Study
from wganbench.studies.verdicts import WORDS, Claim, Verdict, judge
from wganbench.sweeps.backend import Watcher

VERDICTS, TABLE, TEXT = "verdict.json", "table.csv", "summary.md"
FOLDER = "studies"


def study_folder(output_dir: Path, study: str, budget: str) -> Path:
    """Return ``output_dir/studies/<study>``, with ``-<budget>`` unless the budget is quick."""
    return output_dir / FOLDER / (study if budget == QUICK else f"{study}-{budget}")


def write_findings(
    folder: Path, study: Study, settings: Settings, findings: Findings, verdicts: Sequence[Verdict]
) -> None:
    """Write all files of a finished study; verdict.json comes last and marks it as complete.

    If a figure cannot be drawn, the findings get a note about it.
    """
    notes: list[str] = []
    for name, figure in findings.figures.items():
        with optional(f"The figure {name!r}", notes.append):
            save_png(figure, folder / f"{name}.png")
            save_svg(figure, folder / f"{name}.svg")
    findings = dataclasses.replace(findings, text=[*findings.text, *notes])
    write_atomic(folder / TABLE, as_csv(findings.rows).encode())
    write_atomic(folder / TEXT, as_text(study, settings, findings, verdicts).encode())
    record = {
        "study": study.name,
        "question": study.question,
        "budget": settings.budget,
        "version": study.version,
        "rule": study.rule,
        "seeds": list(settings.seeds),
        "settings": dict(settings.values),
        "figures": list(findings.figures),
        "text": list(findings.text),
        "differs": study.differs,
        "verdicts": [as_entry(verdict) for verdict in verdicts],
    }
    write_atomic(folder / VERDICTS, (json.dumps(record, indent=1) + "\n").encode())


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    columns = list(rows[0]) if rows else []
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def as_text(
    study: Study, settings: Settings, findings: Findings, verdicts: Sequence[Verdict]
) -> str:
    """Return the study in words, as Markdown."""
    seeds = ", ".join(map(str, settings.seeds))
    lines = [f"# {study.name}: {study.question}", ""]
    for paragraph in findings.text:
        lines += [paragraph, ""]
    lines += ["## Verdicts", ""]
    for verdict in verdicts:
        rank = verdict.claim.rank
        lines.append(
            f"- **{verdict.word}** ({rank}): {verdict.claim.text} ({verdict.claim.source})"
        )
        lines.append(f"  {verdict.claim.statistic}: {verdict.why}. Rule: {verdict.claim.rule}.")
        lines += [f"  Note: {note}." for note in verdict.notes]
    values = ", ".join(f"{key}={value}" for key, value in settings.values.items())
    lines += ["", f"Budget {settings.budget}: seeds {seeds}; {values}.", "", study.differs]
    return "\n".join(lines) + "\n"


def as_entry(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as an entry of verdict.json."""
    return {
        "claim": dataclasses.asdict(verdict.claim),
        "rule": verdict.claim.rule,
        "verdict": verdict.word,
        "value": verdict.value,
        "interval": None if verdict.low is None else [verdict.low, verdict.high],
        "n": verdict.n,
        "p_value": verdict.p_value,
        "method": verdict.method,
        "why": verdict.why,
        "notes": list(verdict.notes),
    }


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return verdict.json of a study; None if it is missing. Raises ConfigError."""
    file = folder / VERDICTS
    try:
        found = json.loads(read_regular(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{file} cannot be read: expected an object at the top")
    return found


def is_current(folder: Path, study: Study) -> bool:
    """Return whether a folder holds verdicts on all of a study's claims as they are now, by the
    measurement and the rule as they are now."""
    record = read_record(folder) or {}
    try:
        claims = [verdict.claim for verdict in read_verdicts(folder)]
    except ConfigError:
        return False
    as_now = record.get("version"), record.get("rule", 1)
    return claims == list(study.claims) and as_now == (study.version, study.rule)


def departs(folder: Path, study: Study, budget: str) -> str:
    """Return which settings of a folder's study are not those of its budget; empty if all are."""
    record, planned = read_record(folder) or {}, read_settings(study.name, {}, [f"budget={budget}"])
    values = {**planned.values, "seeds": list(planned.seeds)}
    own = {**record.get("settings", {}), "seeds": record.get("seeds")}
    return ", ".join(key for key in values if own.get(key) != values[key])


def read_verdicts(folder: Path) -> list[Verdict]:
    """Return the verdicts in a study's folder; empty if unfinished. Raises ConfigError."""
    record = read_record(folder)
    if record is None:
        return []
    try:
        return [as_verdict(record["study"], entry) for entry in record["verdicts"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{folder / VERDICTS} is not what a study writes: {error}") from error


def as_verdict(study: str, entry: Mapping[str, Any]) -> Verdict:
    """Return the verdict of an entry in verdict.json. Raises KeyError, TypeError or ValueError."""
    if entry["verdict"] not in WORDS:
        raise ValueError(f"verdict is one of {', '.join(WORDS)}")
    low, high = entry["interval"] or (None, None)
    return Verdict(
        claim=Claim(**entry["claim"]),
        study=study,
        word=entry["verdict"],
        value=entry["value"],
        low=low,
        high=high,
        n=entry["n"],
        p_value=entry["p_value"],
        method=entry["method"],
        why=entry["why"],
        notes=tuple(entry["notes"]),
    )


# Running a study: settings, measurement, verdicts, files.
def run_study(name: str, overrides: Sequence[str], watcher: Watcher) -> tuple[Path, list[Verdict]]:
    """Measure a study and judge its claims; return its folder and the verdicts.

    Parts that were measured before are not measured again. Raises ConfigError for an unknown
    study, a wrong setting, or a locked folder.
    """
    study = STUDIES[name]
    settings = read_settings(name, study.protects, overrides)
    folder = study_folder(settings.output_dir, name, settings.budget)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with RunLock(folder / ".lock"):
            context = Context(name, study.version, folder, settings, guarded(watcher))
            findings = study.measure(context)
            verdicts = judge_all(study, findings)
            write_findings(folder, study, settings, findings, verdicts)
    except OSError as error:
        raise UnwritableFolder(of_the_system(error)) from error
    return folder, verdicts


def judge_all(study: Study, findings: Findings) -> list[Verdict]:
    """Return one verdict per claim. Raises ValueError for missing or unknown evidence."""
    names = [claim.name for claim in study.claims]
    if set(names) != set(findings.evidence):
        raise ValueError(f"study {study.name}: claims {names}, evidence {list(findings.evidence)}")
    return [judge(study.name, claim, findings.evidence[claim.name]) for claim in study.claims]
