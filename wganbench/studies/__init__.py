"""The literature's claims as measurements, and the law by which they are judged."""

from wganbench.studies import (  # noqa: F401  (they fill the registry, in this order)
    dirac,
    vanishing_gradient,
    critic_strength,
    mode_collapse,
    layer_gradients,
    clip_capacity,
    stability,
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
from wganbench.studies import critic_strength  # noqa: E402, F401, I001, isort:skip
from wganbench.studies import layer_gradients  # noqa: E402, F401, isort:skip
from wganbench.studies import vanishing_gradient  # noqa: E402, F401, isort:skip
