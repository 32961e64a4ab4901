"""The input of the metrics of one run, their registry, and the function that computes all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.bounds import ModeProtocol
from wganbench.errors import ConfigError, short_repr
from wganbench.metrics.distances import Paired, paired
from wganbench.metrics.floors import Floor, distinct
from wganbench.metrics.reference import ImageReference
from wganbench.metrics.transport import EXACT_POINTS, Transport, evenly, exact_transport
from wganbench.registry import Registry
from wganbench.tags.lookup import TAGS, is_pattern
from wganbench.tags.tag import Tag


@dataclass(frozen=True)
class Evaluation:
    """The input of all metrics for one run at one step: n reals, n fakes, and D's values there.

    target: the distribution; mixtures carry ``modes``, ``weights`` and ``sigma``.
    reals, fakes: held-out reals and fresh fakes.
    score_real, score_fake: D at them, raw.
    slopes_hat, slopes_real, slopes_fake: ||grad_x D|| at interpolates, reals and fakes.
    fake_gradients: dL_G/dx_i, of the generator's loss averaged over the n fakes.
    feedback: |dL_G/dscore_i| times n.
    bce: whether the objective is a BCE.
    packing: how many points the critic scores together; each point has its pack's score.
    weights_at_clip: share of the critic's weights at the clip value; None without clipping.
    protocol: the definition of high-quality samples, see `wganbench.metrics.mode_coverage`.
    projections: number of lines of the sliced distance.
    floor: the distance of a perfect generator at ``exact_n``; None when it is not known.
    images: the reference for images; None for other points.
    final: whether costly metrics are computed too.
    source_gradients: grad_x D at the fakes, where these are draws from the source distribution of
    the target's ``pair``; else None.
    unit: the data's scale when they were scaled; distances are reported in the data's own unit.

    Transport uses ``exact_n`` points of each side: with more than `EXACT_POINTS` points the
    first fakes, and as many reals in even proportions, see `evenly`.

    Raises ValueError when the tensors do not all hold n rows or the floor is for another n.
    """

    target: Any
    reals: Float[Tensor, " n *d"]
    fakes: Float[Tensor, " n *d"]
    score_real: Float[Tensor, " n"]
    score_fake: Float[Tensor, " n"]
    slopes_hat: Float[Tensor, " n"]
    slopes_real: Float[Tensor, " n"]
    slopes_fake: Float[Tensor, " n"]
    fake_gradients: Float[Tensor, " n *d"]
    feedback: Float[Tensor, " n"]
    bce: bool
    weights_at_clip: float | None
    protocol: ModeProtocol
    projections: int
    floor: Floor | None
    images: ImageReference | None = None
    final: bool = True
    unit: float = 1.0
    source_gradients: Float[Tensor, " n *d"] | None = None
    packing: int = 1

    def __post_init__(self) -> None:
        n = len(self.fakes)
        rows = {name: len(part) for name, part in vars(self).items() if isinstance(part, Tensor)}
        if n == 0 or set(rows.values()) != {n}:
            raise ValueError(f"an evaluation needs the same number of rows in all, got {rows}")
        if self.floor is not None and self.floor.n != self.exact_n:
            raise ValueError(
                f"the floor is for n = {self.floor.n}, the evaluation has n = {self.exact_n}"
            )

    @property
    def exact_n(self) -> int:
        """The number of points of the exact plan."""
        return min(len(self.fakes), EXACT_POINTS)

    @cached_property
    def clouds(self) -> bool:
        """Whether reals and fakes are finite points of shape (d,), which transport needs."""
        finite = torch.isfinite(self.fakes).all() and torch.isfinite(self.reals).all()
        return self.fakes.ndim == 2 and bool(finite)

    @property
    def pairs(self) -> bool:
        """Whether reals and fakes are clouds of two points or more."""
        return self.clouds and len(self.fakes) > 1

    @cached_property
    def featured(self) -> bool:
        """Whether features of reals and fakes can be compared at this evaluation."""
        reference = self.images
        if reference is None or not reference.has_features:
            return False
        due = self.final or reference.quick
        return due and bool(
            torch.isfinite(self.fakes).all() and self.fake_features.isfinite().all()
        )

    @cached_property
    def fake_features(self) -> Float[Tensor, "n f"]:
        """The fakes' features, computed once for all metrics."""
        return self._features(self.fakes)

    @cached_property
    def real_features(self) -> Float[Tensor, "n f"]:
        """The held-out reals' features."""
        return self._features(self.reals)

    def _features(self, points: Tensor) -> Tensor:
        if self.images is None:
            raise ValueError("only images have features")
        return self.images.features(points)

    @cached_property
    def transport(self) -> Transport:
        """The exact plan from the first ``exact_n`` fakes to as many reals, computed once."""
        return exact_transport(self.fakes[: self.exact_n], self.exact_reals)

    @cached_property
    def exact_reals(self) -> Float[Tensor, "m d"]:
        """The ``exact_n`` reals of the exact plan."""
        return evenly(self.reals, self.exact_n, self.target.modes)

    @cached_property
    def paired(self) -> Paired:
        """Halves of the different reals and of the fakes with their plans, computed once."""
        return paired(self.different_reals, self.fakes[: self.exact_n])

    @property
    def different_reals(self) -> Float[Tensor, "m d"]:
        """Those of the exact plan's reals that are surely not repeated."""
        return self.exact_reals[: distinct(self.target, self.exact_n)]


Compute = Callable[[Evaluation], dict[str, float]]


@dataclass(frozen=True)
class Metric:
    """A row of the registry: the tags it may give, its function, and when it applies."""

    name: str
    tags: tuple[str, ...]
    compute: Compute
    applies: Callable[[Evaluation], bool]
    source: str


METRICS: Registry[Metric] = Registry("metrics")


def register_metric(
    name: str,
    tags: Sequence[str | Tag],
    source: str,
    applies: Callable[[Evaluation], bool] = lambda _: True,
) -> Callable[[Compute], Compute]:
    """Return a decorator that registers a metric; raises ValueError for a taken name.

    A `Tag` among the tags becomes a row of the table of tags, with a column in metrics.csv. A
    name refers to an existing row.
    """
    names = tuple(tag.name if isinstance(tag, Tag) else tag for tag in tags)

    def add(compute: Compute) -> Compute:
        METRICS.register(name, Metric(name, names, compute, applies, source))
        for tag in tags:
            if isinstance(tag, Tag):
                TAGS.register(tag.name, tag)
        return compute

    return add


def check_tags() -> None:
    """Check that all tags of all metrics have a column, installed packages' metrics included.

    Raises ConfigError for a tag without a row in the table of tags.
    """
    for metric in METRICS.values():
        for tag in metric.tags:
            if tag not in TAGS or is_pattern(tag):
                raise ConfigError(
                    f"the metric {metric.name!r} gives {tag!r}, which has no column: describe it "
                    f"with register_metric({metric.name!r}, tags=[Tag({tag!r}, ...)], ...)"
                )


def measure(evaluation: Evaluation) -> dict[str, float]:
    """Return all values by tag. A tag that does not apply is absent, not 0.

    For a diverged run means are nan. Distances between clouds have no value then and are
    absent. Raises ConfigError as `numbers_by_tag` does.
    """
    values: dict[str, float] = {}
    for metric in METRICS.values():
        if metric.applies(evaluation):
            values |= numbers_by_tag(metric, metric.compute(evaluation))
    return values


def numbers_by_tag(metric: Metric, found: object) -> dict[str, float]:
    """Return what a metric has computed as numbers by tag.

    Raises ConfigError for anything else, and for a tag that it was not registered with.
    """
    if not isinstance(found, Mapping):
        raise ConfigError(
            f"the metric {metric.name!r} must return numbers by tag, such as "
            f"{{{next(iter(metric.tags), 'tag')!r}: 1.0}}; it returned {short_repr(found)}"
        )
    if unnamed := sorted(set(found) - set(metric.tags)):
        raise ConfigError(
            f"the metric {metric.name!r} gave {unnamed[0]!r}, which is not among the tags "
            f"that it was registered with: {', '.join(metric.tags)}"
        )
    numbers = {}
    for tag, value in found.items():
        try:
            numbers[tag] = float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"the metric {metric.name!r} must give one number for {tag!r}; it gave "
                f"{short_repr(value)}"
            ) from error
    return numbers
