"""Studies: measurements of the literature's claims, and the rule that judges them."""

import wganbench.studies.clip_capacity  # noqa: F401
import wganbench.studies.critic_strength  # noqa: F401
import wganbench.studies.digit_classes  # noqa: F401
import wganbench.studies.dirac  # noqa: F401
import wganbench.studies.estimate_quality  # noqa: F401
import wganbench.studies.estimate_vs_distance.study  # noqa: F401
import wganbench.studies.layer_gradients.study  # noqa: F401
import wganbench.studies.lipschitz.study  # noqa: F401
import wganbench.studies.mode_collapse.study  # noqa: F401
import wganbench.studies.realness  # noqa: F401
import wganbench.studies.stability.study  # noqa: F401
import wganbench.studies.two_gaussians.study  # noqa: F401
import wganbench.studies.value_surfaces.study  # noqa: F401
import wganbench.studies.vanishing_gradient.study  # noqa: F401
from wganbench.studies.record import run_study
from wganbench.studies.study import STUDIES, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, Verdict, corrected, judge

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
