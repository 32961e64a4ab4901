"""The verdict on a run: sentences that claim no more than was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wganbench.config.schema import RunConfig
from wganbench.losses import Recipe
from wganbench.losses.recipes import Wrapper
from wganbench.metrics import EXACT_POINTS
from wganbench.metrics.fidelity import HOW_TO_GET, has_torchmetrics
from wganbench.metrics.reference import ImageReference
from wganbench.networks.layers import SMOOTH
from wganbench.runs.table import Cell, series
from wganbench.tags.lookup import (
    ENERGY,
    EXACT,
    FAR_FROM_FLOOR,
    SPREADS_FROM_FLOOR,
    Shape,
    right_distance,
)

# Sentences on a run on images: classes, FID, the nearest training image.
REPEATS = 0.5
"""Fakes may be copies when their distance to training images is below this share of that of
held-out images."""


@dataclass(frozen=True)
class Seen:
    """The judge and the features that images were measured with.

    accuracy: that of the judge, None without one. own_features: whether the user gave the
    features. measurable: whether FID and KID can be computed here.
    """

    accuracy: float | None
    own_features: bool
    measurable: bool = True


def seen(reference: ImageReference | None) -> Seen | None:
    """Return how a target's images are measured; None for points that are not images."""
    if reference is None:
        return None
    accuracy = None if reference.judge is None else reference.judge.accuracy
    return Seen(accuracy, reference.extract is not None, has_torchmetrics())


def image_lines(metrics: Mapping[str, float], classes: int, how: Seen) -> list[str]:
    """Return sentences on classes, features and nearest images; "" for each not measured."""
    return [_classes(metrics, classes, how), _features(metrics, how), _nearest(metrics)]


def _classes(metrics: Mapping[str, float], classes: int, how: Seen) -> str:
    if how.accuracy is None or not {"modes/covered", "modes/ceiling"} <= metrics.keys():
        return ""
    quality, fair = metrics["modes/high_quality"], metrics["modes/coverage"] * classes
    divergence = f"; KL {metrics['modes/kl']:.3g}" if "modes/kl" in metrics else ""
    return (
        f"{metrics['modes/covered']:.4g} of {classes} classes covered, {fair:.4g} of them with at "
        f"least a fifth of their fair share (judge: {100 * how.accuracy:.1f} % accurate; as many "
        f"real images give {metrics['modes/ceiling']:.4g}){divergence}; the judge is sure of "
        f"{100 * quality:.1f} % of the fakes."
    )


def _features(metrics: Mapping[str, float], how: Seen) -> str:
    if "fidelity/fid" not in metrics or "fidelity/fid_floor" not in metrics:
        has_features = how.accuracy is not None or how.own_features
        return HOW_TO_GET if has_features and not how.measurable else ""
    whose = "evaluate.features" if how.own_features else "the judge's features"
    line = (
        f"FID {metrics['fidelity/fid']:.3g} in {whose}, against "
        f"{metrics['fidelity/fid_floor']:.3g} between as many real images"
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
        f"Fakes lie {fakes:.3g} from the nearest training image on average, "
        f"held-out images {reals:.3g}"
    )
    return f"{line}: they may be copies." if fakes < REPEATS * reals else f"{line}."


VANISHED_SHARE = 0.01
"""A gradient under this share of the run's own maximum is small."""


def _norms_and_distance(
    table: Mapping[str, Sequence[Cell]], distance: str, clips: bool
) -> tuple[list[float], bool]:
    """Return grad_norm/sample at the evaluations that count, and whether the last is far off.

    It is far off when exact W1 exceeds twice its floor, or the energy distance its floor by two
    spreads. With clipping the evaluation at step 0 does not count: its critic has not been clipped
    yet, and its gradient may be larger than that of any clipped critic by orders of magnitude.
    """
    beside = ("energy/floor", "energy/spread") if distance == ENERGY else ("wasserstein/floor",)
    norms, distances, *floors = (
        dict(zip(*series(table, tag), strict=True))
        for tag in ("grad_norm/sample", distance, *beside)
    )
    both = [s for s in norms if all(s in values for values in (distances, *floors))]
    steps = [s for s in both if math.isfinite(norms[s]) and (s > 0 or not clips)]
    if not steps:
        return [], False
    floor = [values[steps[-1]] for values in floors]
    by_energy = distance == ENERGY
    far = floor[0] + SPREADS_FROM_FLOOR * floor[1] if by_energy else FAR_FROM_FLOOR * floor[0]
    return [norms[s] for s in steps], distances[steps[-1]] > far


def verdict(
    metrics: Mapping[str, float],
    table: Mapping[str, Sequence[Cell]],
    recipe: Recipe,
    modes: int,
    how: Seen | None = None,
    shape: Shape = None,
    bounded: bool = True,
) -> list[str]:
    """Return sentences on coverage, distance, gradient and slope, as far as measured.

    ``metrics`` holds the final values by tag, ``table`` the course of training, ``modes``
    the number of modes of the target (0 when it has none), ``how`` the measuring of images,
    ``shape`` that of a point of the data: from dimension 4 on the energy distance decides.
    ``bounded``: whether the recipe's wrapper bounds the slope of this network by 1.
    """
    many = right_distance(shape) == ENERGY
    lines = [
        *(image_lines(metrics, modes, how) if how else [_coverage(metrics, modes)]),
        _energy(metrics) if many else _distance(metrics),
        _gradient(table, ENERGY if many else EXACT, recipe.clips),
        _slope(metrics, recipe, bounded),
    ]
    return [line for line in lines if line]


def on_fewer_points(metrics: Mapping[str, float], n: int) -> list[str]:
    """Return a sentence on exact W1 when it was not measured on all ``n`` points."""
    if n <= EXACT_POINTS or "wasserstein/exact" not in metrics:
        return []
    return [
        f"Exact W1, its floor and the direction are those of {EXACT_POINTS} of the {n} points, "
        "drawn evenly."
    ]


MOST_FLOOR = 0.15
"""Above this share of the data's spread a floor says that n points are too few for exact W1.

Of N(0, I) a generator that draws 0.95 times as widely scores lower than a perfect one where the
floor is 0.20 of the spread (250 points in the plane), equal at 0.19 (1 000 in dimension 3), and
higher at 0.14 (2 500 there) and at 0.10 (1 000 in the plane).
"""


def on_too_few_points(metrics: Mapping[str, float], spread: float, n: int) -> list[str]:
    """Return a sentence when ``n`` points are too few for exact W1, see `MOST_FLOOR`.

    ``spread`` is the root of the data's mean squared distance to their mean, in their own unit.
    """
    floor = metrics.get("wasserstein/floor", 0.0)
    if not 0 < MOST_FLOOR * spread < floor:
        return []
    more = "" if n > EXACT_POINTS else "Give more (evaluate.final_n), or read"
    return [
        f"The floor of exact W1 is {100 * floor / spread:.0f} % of the data's spread: on "
        f"{min(n, EXACT_POINTS)} points it prefers samples that are too narrow. "
        f"{more or 'Read'} energy/distance."
    ]


def _coverage(metrics: Mapping[str, float], modes: int) -> str:
    if "modes/covered" not in metrics:
        return ""
    covered, quality = metrics["modes/covered"], metrics["modes/high_quality"]
    fair = metrics["modes/coverage"] * modes
    return (
        f"{covered:.4g} of {modes} modes covered, {fair:.4g} of them with at least a fifth of "
        f"their fair share; {100 * quality:.1f} % of the samples are high quality."
    )


def _distance(metrics: Mapping[str, float]) -> str:
    if not {"wasserstein/exact", "wasserstein/floor"} <= metrics.keys():
        return ""
    exact, floor = metrics["wasserstein/exact"], metrics["wasserstein/floor"]
    if floor == 0:
        return f"Exact W1 {exact:.3g}; a perfect generator scores 0."
    return (
        f"Exact W1 {exact:.3g}, {_times(exact / floor)} times the {floor:.3g} "
        "that a perfect generator scores."
    )


def _energy(metrics: Mapping[str, float]) -> str:
    if not {ENERGY, "energy/floor", "energy/spread"} <= metrics.keys():
        return ""
    line = (
        f"Energy distance {metrics[ENERGY]:.3g}, where a perfect generator scores "
        f"{metrics['energy/floor']:.2g} ± {metrics['energy/spread']:.2g}"
    )
    tag = "wasserstein/symmetric"
    if not {tag, f"{tag}_floor", f"{tag}_spread"} <= metrics.keys():
        return f"{line}."
    floor, spread = metrics[f"{tag}_floor"], metrics[f"{tag}_spread"]
    return f"{line}; symmetric W1 {metrics[tag]:.3g}, there {floor:.2g} ± {spread:.2g}."


def _gradient(table: Mapping[str, Sequence[Cell]], distance: str, clips: bool) -> str:
    """Return a sentence on whether the gradient vanished; empty when it was not measured.

    It did when grad_norm/sample is under 1 % of the run's own maximum **while** the samples are
    far off. A small gradient near the floor means converged.
    """
    norms, far = _norms_and_distance(table, distance, clips)
    if not norms or max(norms) == 0:
        return ""
    share = f"{_percent(norms[-1] / max(norms))} of its largest"
    by_energy = distance == ENERGY
    if norms[-1] < VANISHED_SHARE * max(norms):
        if far:
            still = "can still be told from the data" if by_energy else "are still far off"
            return f"The generator's gradient vanished: {share} while the samples {still}."
        if by_energy:
            return (
                f"The generator's gradient is small ({share}), and the energy distance cannot tell "
                "the samples from the data."
            )
        return (
            f"The generator's gradient is small ({share}) while the samples are near the data: "
            "this is not vanishing."
        )
    return f"The generator's gradient did not vanish: {share}."


def bounds_slope(config: RunConfig, recipe: Recipe) -> bool:
    """Return whether the recipe's wrapper bounds this network's slope by 1.

    A spectral norm bounds that of an MLP: a convolution is larger than the matrix of its weight,
    and a norm's factor has any size. A division by the gradient bounds that of a piecewise linear
    network, which has the same gradient nearby.
    """
    options = config.network.options
    if config.network.kind != "mlp" or options.get("critic_normalization", "none") != "none":
        return False
    return recipe.wrapper is Wrapper.SPECTRAL or options.get("activation") not in SMOOTH


def _slope(metrics: Mapping[str, float], recipe: Recipe, bounded: bool) -> str:
    if "critic/slope_mean" not in metrics:
        return ""
    mean, deviation = metrics["critic/slope_mean"], metrics["critic/slope_std"]
    largest = metrics["critic/lipschitz"]
    where = f" {recipe.slope_elsewhere}" if recipe.slope_elsewhere else ""
    wanted = {
        "some K": "clipping asks only for some bound",
        "several": "its terms ask for different slopes",
        "none": "unconstrained",
    }.get(recipe.slope_target, f"the penalty asks for {recipe.slope_target}{where}")
    if recipe.wrapper is not Wrapper.NONE:
        wanted = (
            "the normalised critic has at most 1"
            if bounded
            else "normalised, which does not bound this network's slope by 1"
        )
    return (
        f"Critic's slope at interpolates {mean:.2g} ± {deviation:.2g}, "
        f"largest seen {largest:.3g}: {wanted}."
    )


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 1e4 else f"{ratio:.2g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "under 0.1 %"
