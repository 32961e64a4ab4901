"""Metrics of samples and critics: modes, transport, gradients, fidelity."""

from wganbench.metrics import rows  # noqa: F401  (fills the registry, and comes first there)

# isort: split
from wganbench.metrics import gradients  # noqa: F401  (fills the registry)
from wganbench.metrics.cache import cached_floor, draws_digest, judge_for
from wganbench.metrics.distances import energy_distance, wasserstein_symmetric
from wganbench.metrics.evaluation import (
    METRICS,
    Evaluation,
    check_tags,
    measure,
    register_metric,
)
from wganbench.metrics.fidelity import (
    frechet_distance,
    kernel_distance,
    nearest_training_distance,
    nearest_training_images,
    precision_recall_density_coverage,
)
from wganbench.metrics.floors import Floor, Spread, transport_floor
from wganbench.metrics.gradients import slopes
from wganbench.metrics.judge import Judge
from wganbench.metrics.modes import (
    check_protocol,
    class_coverage,
    gaussian_chance,
    mode_coverage,
)
from wganbench.metrics.reference import (
    ImageReference,
    allow_features,
    check_allowed,
    image_reference,
    load_features,
)
from wganbench.metrics.transport import (
    EXACT_POINTS,
    wasserstein_exact,
    wasserstein_sliced,
)

__all__ = [
    "EXACT_POINTS",
    "METRICS",
    "Evaluation",
    "Floor",
    "Judge",
    "ImageReference",
    "Spread",
    "allow_features",
    "cached_floor",
    "check_allowed",
    "check_protocol",
    "check_tags",
    "class_coverage",
    "draws_digest",
    "energy_distance",
    "frechet_distance",
    "gaussian_chance",
    "judge_for",
    "kernel_distance",
    "load_features",
    "measure",
    "mode_coverage",
    "nearest_training_distance",
    "nearest_training_images",
    "image_reference",
    "precision_recall_density_coverage",
    "register_metric",
    "slopes",
    "transport_floor",
    "wasserstein_exact",
    "wasserstein_sliced",
    "wasserstein_symmetric",
]
