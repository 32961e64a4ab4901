"""Running a study: settings, measurement, verdicts, files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wganbench.errors import ConfigError
from wganbench.files import RunBusy, RunLock
from wganbench.output import guarded
from wganbench.studies.claim import Verdict
from wganbench.studies.context import Context
from wganbench.studies.folder import study_folder, write_findings
from wganbench.studies.law import judge
from wganbench.studies.settings import read_settings
from wganbench.studies.study import STUDIES, Findings, Study
from wganbench.sweeps.watcher import Watcher


def run_study(name: str, overrides: Sequence[str], watcher: Watcher) -> tuple[Path, list[Verdict]]:
    """Measure a study and judge its claims; what was measured before is not measured again.

    Raises ConfigError for an unknown study, a wrong setting, or a folder in use.
    """
    study = STUDIES[name]
    settings = read_settings(name, study.protects, overrides)
    folder = study_folder(name, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with RunLock(folder / ".lock"):
            context = Context(name, study.version, folder, settings, guarded(watcher))
            findings = study.measure(context)
            verdicts = judge_all(study, findings)
            write_findings(folder, study, settings, findings, verdicts)
    except (RunBusy, OSError) as error:
        raise ConfigError(str(error)) from error
    return folder, verdicts


def judge_all(study: Study, findings: Findings) -> list[Verdict]:
    """One verdict for each claim. Raises ValueError for evidence that is missing or foreign."""
    names = [claim.name for claim in study.claims]
    if set(names) != set(findings.evidence):
        raise ValueError(f"study {study.name}: claims {names}, evidence {list(findings.evidence)}")
    return [judge(study.name, claim, findings.evidence[claim.name]) for claim in study.claims]
