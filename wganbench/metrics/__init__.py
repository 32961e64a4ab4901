"""Measurements on samples and critics: modes, transport, gradients, fidelity."""

from wganbench.losses.constraints import input_gradients
from wganbench.metrics import distances, gradients  # noqa: F401  (they fill the registry)
from wganbench.metrics.evaluation import METRICS, Evaluation, Metric, measure, register_metric
from wganbench.metrics.fidelity import Fidelity, precision_recall_density_coverage
from wganbench.metrics.floors import cached_floor
from wganbench.metrics.gradients import slopes
from wganbench.metrics.modes import ModeCoverage, check_protocol, gaussian_chance, mode_coverage
from wganbench.metrics.transport import (
    Floor,
    transport_floor,
    transport_partners,
    wasserstein_exact,
    wasserstein_sliced,
)

__all__ = [
    "METRICS",
    "Evaluation",
    "Fidelity",
    "Floor",
    "Metric",
    "ModeCoverage",
    "cached_floor",
    "check_protocol",
    "gaussian_chance",
    "input_gradients",
    "measure",
    "mode_coverage",
    "precision_recall_density_coverage",
    "register_metric",
    "slopes",
    "transport_floor",
    "transport_partners",
    "wasserstein_exact",
    "wasserstein_sliced",
]
