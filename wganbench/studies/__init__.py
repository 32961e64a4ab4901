"""The literature's claims as measurements, and the law by which they are judged."""

from wganbench.studies import (  # noqa: F401  (they fill the registry)
    clip_capacity,
    critic_strength,
    dirac,
    estimate_vs_distance,
    layer_gradients,
    lipschitz,
    mode_collapse,
    stability,
    two_gaussians,
    value_surfaces,
    vanishing_gradient,
)
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

# Each registers itself.
