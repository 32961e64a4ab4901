"""What the numbers of a run on pictures say: classes, FID, the nearest training picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wganbench.metrics.frechet import HOW_TO_GET, has_torchmetrics
from wganbench.metrics.reference import PictureReference

REPEATS = 0.5
"""Fakes nearer to training pictures than this part of what new ones are may be copies."""


@dataclass(frozen=True)
class Seen:
    """With which eyes pictures were measured.

    accuracy: the judge's, None without one. own_features: whether features are a user's own.
    measurable: whether FID and KID can be computed here.
    """

    accuracy: float | None
    own_features: bool
    measurable: bool = True


def seen(reference: PictureReference | None) -> Seen | None:
    """How a target's pictures are seen; None for other points."""
    if reference is None:
        return None
    accuracy = None if reference.judge is None else reference.judge.accuracy
    return Seen(accuracy, reference.extract is not None, has_torchmetrics())


def picture_lines(metrics: Mapping[str, float], classes: int, how: Seen) -> list[str]:
    """Sentences on classes, features and nearest pictures; those not measured are empty."""
    return [_classes(metrics, classes, how), _features(metrics, how), _nearest(metrics)]


def _classes(metrics: Mapping[str, float], classes: int, how: Seen) -> str:
    if how.accuracy is None or not {"modes/covered", "modes/ceiling"} <= metrics.keys():
        return ""
    quality, fair = metrics["modes/high_quality"], metrics["modes/coverage"] * classes
    divergence = f"; KL {metrics['modes/kl']:.3g}" if "modes/kl" in metrics else ""
    return (
        f"{metrics['modes/covered']:.4g} of {classes} classes covered, {fair:.4g} of them with at "
        f"least a fifth of their fair share (judge: {100 * how.accuracy:.1f} % accurate; as many "
        f"real pictures give {metrics['modes/ceiling']:.4g}){divergence}; the judge is sure of "
        f"{100 * quality:.1f} % of the fakes."
    )


def _features(metrics: Mapping[str, float], how: Seen) -> str:
    if "fidelity/fid" not in metrics or "fidelity/fid_floor" not in metrics:
        has_features = how.accuracy is not None or how.own_features
        return HOW_TO_GET if has_features and not how.measurable else ""
    whose = "evaluate.features" if how.own_features else "the judge's features"
    line = (
        f"FID {metrics['fidelity/fid']:.3g} in {whose}, against "
        f"{metrics['fidelity/fid_floor']:.3g} between as many real pictures"
    )
    if {"fidelity/precision", "fidelity/recall"} <= metrics.keys():
        line += (
            f"; precision {metrics['fidelity/precision']:.2f}, "
            f"recall {metrics['fidelity/recall']:.2f}"
        )
    return f"{line}."


def _nearest(metrics: Mapping[str, float]) -> str:
    if not {"fidelity/nearest_train", "fidelity/nearest_train_floor"} <= metrics.keys():
        return ""
    fakes, reals = metrics["fidelity/nearest_train"], metrics["fidelity/nearest_train_floor"]
    line = (
        f"Fakes lie {fakes:.3g} from the nearest training picture on average, "
        f"held-out pictures {reals:.3g}"
    )
    return f"{line}: they may be copies." if fakes < REPEATS * reals else f"{line}."
