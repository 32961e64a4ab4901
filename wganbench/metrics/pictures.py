"""Rows of the registry for pictures: FID, KID, and the nearest picture trained on."""

from __future__ import annotations

import torch

from wganbench.metrics.evaluation import Evaluation, register_metric
from wganbench.metrics.frechet import frechet_distance, has_torchmetrics, kernel_distance


@register_metric(
    "fid",
    ("fidelity/fid", "fidelity/fid_floor"),
    "arXiv:1706.08500, by torchmetrics",
    applies=lambda evaluation: has_torchmetrics() and evaluation.featured,
)
def measure_fid(evaluation: Evaluation) -> dict[str, float]:
    """`frechet_distance` of n fakes, and of n training pictures, to n held-out reals."""
    reference = evaluation.pictures
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
    """`kernel_distance` of the fakes to those reals that are not repeated."""
    reference = evaluation.pictures
    if reference is None or len(evaluation.fakes) < 2:
        return {}
    reals = evaluation.real_features[: reference.distinct(len(evaluation.reals))]
    return {"fidelity/kid": kernel_distance(reals, evaluation.fake_features)}


def _final_pictures(evaluation: Evaluation) -> bool:
    there = evaluation.pictures is not None and evaluation.final
    return there and bool(torch.isfinite(evaluation.fakes).all())


@register_metric(
    "nearest",
    ("fidelity/nearest_train", "fidelity/nearest_train_floor"),
    "wganbench",
    applies=_final_pictures,
)
def measure_nearest(evaluation: Evaluation) -> dict[str, float]:
    """Mean distance to the nearest training picture: of the fakes, and of held-out reals."""
    reference = evaluation.pictures
    if reference is None:
        return {}
    return {
        "fidelity/nearest_train": reference.nearest_training(evaluation.fakes),
        "fidelity/nearest_train_floor": reference.nearest_floor,
    }
