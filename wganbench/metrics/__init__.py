"""Measurements on samples and critics: modes, transport, gradients, fidelity."""

from wganbench.losses.constraints import input_gradients
from wganbench.metrics import distances, gradients, pictures  # noqa: F401  (they fill the registry)
from wganbench.metrics.classes import ClassCoverage, class_coverage
from wganbench.metrics.evaluation import (
    METRICS,
    Evaluation,
    Metric,
    check_tags,
    measure,
    register_metric,
)
from wganbench.metrics.features import allow_features, check_allowed, load_features
from wganbench.metrics.fidelity import Fidelity, precision_recall_density_coverage
from wganbench.metrics.floors import cached_floor
from wganbench.metrics.frechet import frechet_distance, has_torchmetrics, kernel_distance
from wganbench.metrics.gradients import slopes
from wganbench.metrics.judge import Judge
from wganbench.metrics.judge_cache import judge_for
from wganbench.metrics.modes import ModeCoverage, check_protocol, gaussian_chance, mode_coverage
from wganbench.metrics.nearest import nearest_training_distance, nearest_training_pictures
from wganbench.metrics.reference import PictureReference, picture_reference
from wganbench.metrics.transport import (
    EXACT_POINTS,
    Floor,
    transport_floor,
    transport_partners,
    wasserstein_exact,
    wasserstein_sliced,
)

__all__ = [
    "EXACT_POINTS",
    "METRICS",
    "ClassCoverage",
    "Evaluation",
    "Fidelity",
    "Floor",
    "Judge",
    "Metric",
    "ModeCoverage",
    "PictureReference",
    "allow_features",
    "cached_floor",
    "check_allowed",
    "check_protocol",
    "check_tags",
    "class_coverage",
    "frechet_distance",
    "gaussian_chance",
    "has_torchmetrics",
    "input_gradients",
    "judge_for",
    "kernel_distance",
    "load_features",
    "measure",
    "mode_coverage",
    "nearest_training_distance",
    "nearest_training_pictures",
    "picture_reference",
    "precision_recall_density_coverage",
    "register_metric",
    "slopes",
    "transport_floor",
    "transport_partners",
    "wasserstein_exact",
    "wasserstein_sliced",
]
