"""The metrics that compare fakes with the target: modes, transport, fidelity, images."""

from __future__ import annotations

from typing import Any

import torch

from wganbench.bounds import ModeProtocol
from wganbench.metrics.distances import energy_distance, symmetric_of
from wganbench.metrics.evaluation import Evaluation, register_metric
from wganbench.metrics.fidelity import (
    frechet_distance,
    has_torchmetrics,
    kernel_distance,
    precision_recall_density_coverage,
)
from wganbench.metrics.floors import Spread
from wganbench.metrics.modes import ModeCoverage, class_coverage, mode_coverage
from wganbench.metrics.transport import wasserstein_sliced
from wganbench.tags.lookup import EXACT, right_distance

LINES_SEED = 20150101
"""Seed of the sliced distance's lines, which are the same at all evaluations of all runs."""

NEIGHBOURS = 5
"""k of precision, recall, density and coverage, as in arXiv:2002.09797."""

NEIGHBOUR_POINTS = 5000
"""Most points whose neighbours are searched; the cost grows with their square."""


def _has_modes(evaluation: Evaluation) -> bool:
    judged = evaluation.images is not None and evaluation.images.judge is not None
    return judged or evaluation.target.modes is not None


@register_metric(
    "modes",
    (
        "modes/covered",
        "modes/coverage",
        "modes/high_quality",
        "modes/kl",
        "modes/entropy",
        "modes/ceiling",
    ),
    "arXiv:1705.07761, arXiv:1712.04086",
    applies=_has_modes,
)
def measure_modes(evaluation: Evaluation) -> dict[str, float]:
    """Return `mode_coverage` of the fakes, or `class_coverage` of images, where defined."""
    if evaluation.images is not None:
        return _judged_modes(evaluation)
    result = covered_modes(evaluation.target, evaluation.fakes, evaluation.protocol)
    values = {
        "modes/covered": float(result.covered),
        "modes/coverage": result.coverage,
        "modes/high_quality": result.high_quality,
    }
    return values if result.kl is None else values | {"modes/kl": result.kl}


def covered_modes(target: Any, fakes: Any, protocol: ModeProtocol) -> ModeCoverage:
    """Return `mode_coverage` of points over the modes of a mixture."""
    return mode_coverage(fakes, target.modes, float(target.sigma), target.weights, protocol)


def _judged_modes(evaluation: Evaluation) -> dict[str, float]:
    """Return the judged classes of the fakes, and those of the reals as the ceiling."""
    reference = evaluation.images
    if reference is None or reference.judge is None:
        return {}
    fakes = reference.judge.judge(evaluation.fakes)
    result = class_coverage(fakes.classes, fakes.sure, reference.class_shares)
    seen = torch.unique(reference.judge.predict(evaluation.reals))
    values = {
        "modes/covered": float(result.covered),
        "modes/coverage": result.coverage,
        "modes/high_quality": result.high_quality,
        "modes/ceiling": float((seen >= 0).sum()),
        "modes/kl": result.kl,
        "modes/entropy": result.entropy,
    }
    return {tag: value for tag, value in values.items() if value is not None}


@register_metric(
    "transport",
    ("wasserstein/exact", "wasserstein/floor", "wasserstein/excess"),
    "arXiv:1701.07875, equation 1",
    applies=lambda evaluation: evaluation.clouds,
)
def measure_transport(evaluation: Evaluation) -> dict[str, float]:
    """Return exact W1 between fakes and reals, its floor, and below dimension 4 the difference."""
    exact = evaluation.unit * evaluation.transport.distance
    if evaluation.floor is None:
        return {"wasserstein/exact": exact}
    floor = evaluation.unit * evaluation.floor.mean
    values = {"wasserstein/exact": exact, "wasserstein/floor": floor}
    if right_distance(evaluation.fakes.shape[1:]) == EXACT:
        values["wasserstein/excess"] = exact - floor
    return values


def _with_floor(
    evaluation: Evaluation, tag: str, prefix: str, distance: float, floor: Spread | None
) -> dict[str, float]:
    """Return a distance and its floor by tag, in the data's own unit."""
    values = {tag: distance}
    if floor is not None:
        values |= {f"{prefix}floor": floor.mean, f"{prefix}spread": floor.sd}
    return {name: evaluation.unit * value for name, value in values.items()}


@register_metric(
    "symmetric",
    ("wasserstein/symmetric", "wasserstein/symmetric_floor", "wasserstein/symmetric_spread"),
    "wganbench; cf. arXiv:1706.00292",
    applies=lambda evaluation: evaluation.final and evaluation.pairs,
)
def measure_symmetric(evaluation: Evaluation) -> dict[str, float]:
    """Return the symmetric distance between reals and fakes; mean and spread of its floor.

    At the end only: it costs as much as the exact distance, and the energy distance shows the
    course.
    """
    distance = symmetric_of(evaluation.paired)
    floor = evaluation.floor.symmetric if evaluation.floor else None
    tag = "wasserstein/symmetric"
    return _with_floor(evaluation, tag, f"{tag}_", distance, floor)


@register_metric(
    "energy",
    ("energy/distance", "energy/floor", "energy/spread"),
    "Szekely & Rizzo 2013; arXiv:1705.10743",
    applies=lambda evaluation: evaluation.pairs,
)
def measure_energy(evaluation: Evaluation) -> dict[str, float]:
    """Return `energy_distance` between reals and fakes; mean and spread of its floor."""
    fakes = evaluation.fakes[: evaluation.exact_n]
    distance = energy_distance(evaluation.different_reals, fakes)
    floor = evaluation.floor.energy if evaluation.floor else None
    return _with_floor(evaluation, "energy/distance", "energy/", distance, floor)


@register_metric(
    "sliced",
    ("wasserstein/sliced",),
    "Bonneel et al. 2015, p = 1",
    applies=lambda evaluation: evaluation.clouds,
)
def measure_sliced(evaluation: Evaluation) -> dict[str, float]:
    """Return `wasserstein_sliced` between fakes and reals."""
    generator = torch.Generator().manual_seed(LINES_SEED)
    distance = wasserstein_sliced(
        evaluation.fakes, evaluation.reals, evaluation.projections, generator
    )
    return {"wasserstein/sliced": evaluation.unit * distance}


@register_metric(
    "fidelity",
    ("fidelity/precision", "fidelity/recall", "fidelity/density", "fidelity/coverage"),
    "arXiv:2002.09797",
    applies=lambda evaluation: evaluation.clouds or evaluation.featured,
)
def measure_fidelity(evaluation: Evaluation) -> dict[str, float]:
    """Return `precision_recall_density_coverage` of the fakes against the reals.

    Images are compared by their features. Both sides have as many points as are held out, at
    most 5 000: a point that is drawn twice would be its own neighbour.
    """
    reals, fakes = evaluation.reals[:NEIGHBOUR_POINTS], evaluation.fakes[:NEIGHBOUR_POINTS]
    if evaluation.images is not None:
        m = min(evaluation.images.distinct(len(fakes)), NEIGHBOUR_POINTS)
        reals, fakes = evaluation.real_features, evaluation.fake_features
    else:
        # Held-out rows come in random order; all occur once before one occurs twice.
        rows = evaluation.target.held_out_points
        m = len(reals) if rows is None else len(rows)
    m = min(m, len(fakes))
    if m <= NEIGHBOURS:
        return {}
    result = precision_recall_density_coverage(reals[:m], fakes[:m], NEIGHBOURS)
    return {
        "fidelity/precision": result.precision,
        "fidelity/recall": result.recall,
        "fidelity/density": result.density,
        "fidelity/coverage": result.coverage,
    }


# Metrics of images: FID, KID, and the distance to the nearest training image.
@register_metric(
    "fid",
    ("fidelity/fid", "fidelity/fid_floor"),
    "arXiv:1706.08500, by torchmetrics",
    applies=lambda evaluation: has_torchmetrics() and evaluation.featured,
)
def measure_fid(evaluation: Evaluation) -> dict[str, float]:
    """Return `frechet_distance` of n fakes, and of n training images, to n held-out reals."""
    reference = evaluation.images
    if reference is None or len(evaluation.fakes) < 2:
        return {}
    reals = evaluation.real_features
    training = reference.training_features(len(reals))
    return {
        "fidelity/fid": frechet_distance(reals, evaluation.fake_features),
        "fidelity/fid_floor": frechet_distance(reals, training),
    }


@register_metric(
    "kid",
    ("fidelity/kid",),
    "arXiv:1801.01401, by torchmetrics",
    applies=lambda evaluation: has_torchmetrics() and evaluation.final and evaluation.featured,
)
def measure_kid(evaluation: Evaluation) -> dict[str, float]:
    """Return `kernel_distance` of the fakes to the reals that are not repeated."""
    reference = evaluation.images
    if reference is None or len(evaluation.fakes) < 2:
        return {}
    reals = evaluation.real_features[: reference.distinct(len(evaluation.reals))]
    return {"fidelity/kid": kernel_distance(reals, evaluation.fake_features)}


def _on_final_images(evaluation: Evaluation) -> bool:
    there = evaluation.images is not None and evaluation.final
    return there and bool(torch.isfinite(evaluation.fakes).all())


@register_metric(
    "nearest",
    ("fidelity/nearest_train", "fidelity/nearest_train_floor"),
    "wganbench",
    applies=_on_final_images,
)
def measure_nearest(evaluation: Evaluation) -> dict[str, float]:
    """Return mean distances to the nearest training image, of fakes and held-out reals."""
    reference = evaluation.images
    if reference is None:
        return {}
    return {
        "fidelity/nearest_train": reference.nearest_training(evaluation.fakes),
        "fidelity/nearest_train_floor": reference.nearest_floor,
    }
