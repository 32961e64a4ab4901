"""The literature's claims as measurements, and the law by which they are judged."""

from wganbench.studies import dirac, two_gaussians, value_surfaces  # noqa: F401
from wganbench.studies.claim import Claim, Evidence, Verdict
from wganbench.studies.law import corrected, judge
from wganbench.studies.run import run_study
from wganbench.studies.study import STUDIES, Findings, Study, register_study

__all__ = [
    "STUDIES",
    "Claim",
    "Evidence",
    "Findings",
    "Study",
    "Verdict",
    "corrected",
    "judge",
    "register_study",
    "run_study",
]
