"""What every data set offers to training and to evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Generator, Tensor

    from wganbench.data.images import Images
    from wganbench.data.points import Units


class Target(Protocol):
    """A distribution P_r over points, and the draws that training and evaluation take from it.

    Every draw comes from the generator that is passed in, on that generator's device,
    in float32. Nothing reads or advances the global random state. A class that derives from
    `Drawn` is drawn for all runs of a stack in one call, any other run by run.

    A class of a user's own gives ``shape``, ``sample`` and ``held_out``; the rest where it
    applies. ``modes`` and ``weights`` are those of a mixture. ``points`` is a fixed training
    set. ``held_out_points``: ``held_out`` deals out these rows, each once before one comes
    twice. ``base`` are the images behind images, and ``class_count`` how many classes they
    have. ``told`` are lines that a person should see before training. ``units`` are those of
    data that were centred and scaled.
    """

    modes: Float[Tensor, "k d"] | None = None
    weights: Float[Tensor, " k"] | None = None
    points: Tensor | None = None
    held_out_points: Tensor | None = None
    base: Images | None = None
    class_count: int = 0
    told: tuple[str, ...] = ()
    units: Units | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point: ``(d,)``, or ``(c, h, w)`` of an image."""
        ...

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """``n`` independent points of the training distribution."""
        ...

    def held_out(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """``n`` points to evaluate on, which training never sees."""
        ...


class KnownShape(Target):
    """What a trained generator needs of its data: the shape of a point, and the units."""

    def __init__(self, shape: tuple[int, ...], units: Units | None = None) -> None:
        self._shape, self.units = shape, units

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n d"]:
        """Nothing can be drawn: raises ValueError."""
        raise ValueError("only the shape of the data is known here, not the data")

    held_out = sample


OPTIONAL = (
    "modes", "weights", "points", "held_out_points", "base", "class_count", "told", "units",
)  # fmt: skip


class Adapted(Target):
    """A user's own target, of whatever class, with all that a `Target` has."""

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
    """The target itself where its class derives from `Target`, else `Adapted`."""
    return target if Target in type(target).__mro__ else Adapted(target)
