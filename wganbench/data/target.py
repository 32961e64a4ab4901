"""The interface of data sets for training and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from wganbench.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Generator, Tensor

    from wganbench.data.images import Images
    from wganbench.data.points import Units


class Distance(NamedTuple):
    """A known distance between two distributions, and its standard error; 0 if it is exact."""

    value: float
    standard_error: float = 0.0


class KnownPair(Protocol):
    """A source distribution at a known W1 distance from the target, and a potential of the two.

    The potential has our sign: it is high on the reals, it is 1-Lipschitz, and
    E potential(reals) - E potential(source) is the distance. A perfect critic against fakes of
    the source distribution equals it up to a constant.
    """

    @property
    def distance(self) -> Distance:
        """W1 between source and target, in data units."""
        ...

    def source(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """Return ``n`` independent points of the source distribution."""
        ...

    def potential(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n"]:
        """Return the potential at points."""
        ...

    def potential_gradient(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n d"]:
        """Return the gradient of the potential at points, of length 1 almost everywhere."""
        ...


class Density(Protocol):
    """The exact density p of a target distribution, in nats per unit of the data."""

    def log_density(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n"]:
        """Return log p(x)."""
        ...

    def log_density_gradient(self, x: Float[Tensor, "*lead n d"]) -> Float[Tensor, "*lead n d"]:
        """Return grad log p(x), which others call the score of p."""
        ...


class Target(Protocol):
    """A distribution P_r over points, with the draws for training and evaluation.

    Every draw uses the given generator and returns float32 on the generator's device. Nothing
    reads or advances the global random state. A class that derives from `DrawnTarget` is drawn for
    all runs of a stack in one call, any other class for each run in turn.

    A user's class defines ``shape``, ``sample`` and ``held_out``, and other members if they
    apply. ``modes``, ``weights`` and ``sigma`` describe a mixture. ``points`` is a fixed training
    set. ``held_out_points`` are the rows that ``held_out`` returns, each once before one occurs
    twice. ``base`` holds the single images of a target of images, and ``class_count`` is its
    number of classes. ``notes`` are lines to show before training. ``units`` belong to data that
    were centred and scaled. ``pair`` is a source distribution at a known distance from the target.
    ``density`` is the density of the distribution that ``held_out`` draws from.
    """

    modes: Float[Tensor, "k d"] | None = None
    weights: Float[Tensor, " k"] | None = None
    sigma: float | None = None
    points: Tensor | None = None
    held_out_points: Tensor | None = None
    base: Images | None = None
    class_count: int = 0
    notes: tuple[str, ...] = ()
    units: Units | None = None
    pair: KnownPair | None = None
    density: Density | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one point: ``(d,)``, or ``(c, h, w)`` for an image."""
        ...

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """Return ``n`` independent points of the training distribution."""
        ...

    def held_out(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """Return ``n`` points for evaluation, which training does not use."""
        ...


class KnownShape(Target):
    """A target without data, for a trained generator: the shape of a point, and the units."""

    def __init__(self, shape: tuple[int, ...], units: Units | None = None) -> None:
        self._shape, self.units = shape, units

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """Raise ValueError, because there are no data."""
        raise ValueError("only the shape of the data is known here, not the data")

    held_out = sample


OPTIONAL = tuple(Target.__annotations__)
"""The members that a user's class may lack."""

NEEDED = ("shape", "sample", "held_out")
"""The members that it must have."""


class Adapted(Target):
    """A user's target of another class, with all members of a `Target`."""

    def __init__(self, target: Any) -> None:
        self._target = target
        for name in OPTIONAL:
            if hasattr(target, name):
                setattr(self, name, getattr(target, name))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._target.shape)

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        points: Tensor = self._target.sample(n, generator)
        return points

    def held_out(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        points: Tensor = self._target.held_out(n, generator)
        return points


def adapted(target: Any) -> Target:
    """Return the target itself if its class derives from `Target`, else an `Adapted` one.

    Draws two points of either kind. Raises ConfigError when they are not as `checked_points`
    wants them, or not finite, for a member that is missing, and for modes without their standard
    deviation.
    """
    from torch import Generator

    if missing := [name for name in NEEDED if not hasattr(target, name)]:
        raise ConfigError(
            f"{type(target).__name__} has no {' and no '.join(missing)}: a data set has a shape, "
            "sample(n, generator) and held_out(n, generator)"
        )
    own: Target = target if Target in type(target).__mro__ else Adapted(target)
    if own.modes is not None and own.sigma is None:
        raise ConfigError(
            f"{type(target).__name__}: modes are counted with sigma, their standard deviation; "
            "give it as well"
        )
    for method in ("sample", "held_out"):
        drawn = getattr(own, method)(2, Generator().manual_seed(0))
        if not checked_points(drawn, own, method, 2).isfinite().all():
            name = type(target).__name__
            raise ConfigError(
                f"{name}.{method}(2, generator) returned coordinates that are not finite"
            )
    return own


def checked_points(
    points: Any, target: Target, method: str, n: int, device: torch.device | None = None
) -> Tensor:
    """Return the ``n`` points that a target's ``method`` gave: float32, (n, *shape).

    With a ``device`` they must be on one of its kind. Raises ConfigError for others: our C++ and
    our kernel read their memory as such points.
    """
    from torch import Tensor, float32

    right = (n, *target.shape)
    own = target._target if isinstance(target, Adapted) else target
    if isinstance(points, Tensor) and points.dtype == float32 and points.shape == right:
        if device is None or points.device.type == device.type:
            return points
        raise ConfigError(
            f"{type(own).__name__}.{method}({n}, generator) must return points on the generator's "
            f"device, {device}: pass device=generator.device to torch; they are on {points.device}"
        )
    found = type(points).__name__
    if isinstance(points, Tensor):
        found = f"{str(points.dtype).removeprefix('torch.')} of shape {tuple(points.shape)}"
    raise ConfigError(
        f"{type(own).__name__}.{method}({n}, generator) must return a tensor of float32 of shape "
        f"(n, *shape), here {right}; it returned {found}"
    )
