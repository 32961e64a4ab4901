"""What one run hands to its metrics, and the walk over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.errors import ConfigError
from wganbench.metrics.reference import PictureReference
from wganbench.metrics.transport import EXACT_POINTS, Floor, Transport, evenly, exact_transport
from wganbench.registry import Registry
from wganbench.tags.lookup import TAGS, is_pattern
from wganbench.tags.tag import Tag


@dataclass(frozen=True)
class Evaluation:
    """Everything measured on one run at one moment: n reals, n fakes, and what D says of them.

    target: the distribution; mixtures carry ``modes``, ``weights`` and ``sigma``.
    reals, fakes: held-out reals and fresh fakes.
    score_real, score_fake: D at them, raw.
    slopes_hat, slopes_real, slopes_fake: ||grad_x D|| at interpolates, reals and fakes.
    fake_gradients: dL_G/dx_i, of the generator's loss averaged over the n fakes.
    feedback: |dL_G/dscore_i| times n.
    bce: whether the objective is a BCE.
    weights_at_clip: share of the critic's weights at the clip value; None without clipping.
    protocol: how high-quality samples are told, see `wganbench.metrics.mode_coverage`.
    projections: lines of the sliced distance.
    floor: what a perfect generator scores at ``exact_n``; None when it is not known.
    images: what images are measured against; None for other points.
    final: whether what is costly is measured too.
    unit: length of the points' unit in that of the data, where these were scaled; distances
    are told in the latter.

    Of more than `EXACT_POINTS` points the first fakes and as many reals, drawn evenly, are
    what transport sees: ``exact_n`` of each.

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
    protocol: str
    projections: int
    floor: Floor | None
    pictures: PictureReference | None = None
    final: bool = True
    unit: float = 1.0

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
        """How many points the exact plan is solved on."""
        return min(len(self.fakes), EXACT_POINTS)

    @cached_property
    def clouds(self) -> bool:
        """Whether reals and fakes are finite points of shape (d,), which transport needs."""
        finite = torch.isfinite(self.fakes).all() and torch.isfinite(self.reals).all()
        return self.fakes.ndim == 2 and bool(finite)

    @cached_property
    def featured(self) -> bool:
        """Whether features of reals and fakes can be compared at this evaluation."""
        reference = self.pictures
        if reference is None or not reference.has_features:
            return False
        due = self.final or reference.quick
        return due and bool(
            torch.isfinite(self.fakes).all() and self.fake_features.isfinite().all()
        )

    @cached_property
    def fake_features(self) -> Float[Tensor, "n f"]:
        """The fakes' features, read once for all who compare them."""
        return self._features(self.fakes)

    @cached_property
    def real_features(self) -> Float[Tensor, "n f"]:
        """The held-out reals' features."""
        return self._features(self.reals)

    def _features(self, points: Tensor) -> Tensor:
        if self.pictures is None:
            raise ValueError("only images have features")
        return self.pictures.features(points)

    @cached_property
    def transport(self) -> Transport:
        """The exact plan from the first ``exact_n`` fakes to as many reals, solved once."""
        reals = evenly(self.reals, self.exact_n, self.target.modes)
        return exact_transport(self.fakes[: self.exact_n], reals)


Compute = Callable[[Evaluation], dict[str, float]]


@dataclass(frozen=True)
class Metric:
    """A row in the registry: the tags it may give, how, and on which evaluations."""

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
    """Decorator: the function becomes a metric's row; raises ValueError for a taken name.

    A `Tag` among the tags becomes a row of the table of tags, with a column in metrics.csv; a
    name stands for a row that is there.
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
    """Every metric, those of installed packages too, has a column for each of its tags.

    Raises ConfigError for one without a row in the table of tags.
    """
    for metric in METRICS.values():
        for tag in metric.tags:
            if tag not in TAGS or is_pattern(tag):
                raise ConfigError(
                    f"the metric {metric.name!r} gives {tag!r}, which has no column: describe it "
                    f"with register_metric({metric.name!r}, tags=[Tag({tag!r}, ...)], ...)"
                )


def measure(evaluation: Evaluation) -> dict[str, float]:
    """All values by tag. A tag that does not apply is absent, never 0.

    A diverged run keeps its nan where a mean exists; distances between clouds, which
    have no value there, are absent. Raises ConfigError for a tag that a metric does not name.
    """
    values: dict[str, float] = {}
    for metric in METRICS.values():
        if metric.applies(evaluation):
            found = metric.compute(evaluation)
            if unnamed := sorted(set(found) - set(metric.tags)):
                raise ConfigError(
                    f"the metric {metric.name!r} gave {unnamed[0]!r}, which is not among the tags "
                    f"that it was registered with: {', '.join(metric.tags)}"
                )
            values.update(found)
    return values
