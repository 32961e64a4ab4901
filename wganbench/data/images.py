"""Pictures as a target: kept whole in memory, some held out, with classes where known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, UInt8
from torch import Generator, Tensor


class Images:
    """Pictures of one size, some of them held out for evaluation.

    ``images`` (m, c, h, w) are trained on, ``held_out_images`` (k, c, h, w) are not. Values
    run from 0 to ``top`` and reach the networks as x / (top / 2) - 1, in [-1, 1]. ``labels``
    (m,) and ``held_out_labels`` (k,) number the ``class_names``; both are None, and the names
    empty, where the pictures have no classes.
    """

    stacked = 1
    """How many pictures of `base` one point is made of."""

    told: tuple[str, ...] = ()
    """Lines about the reading that a person should see."""

    def __init__(
        self,
        images: UInt8[Tensor, "m c h w"],
        held_out_images: UInt8[Tensor, "k c h w"],
        labels: Int[Tensor, " m"] | None = None,
        held_out_labels: Int[Tensor, " k"] | None = None,
        class_names: Sequence[str] = (),
        top: int = 255,
    ) -> None:
        """Raises ValueError when a part is empty or the parts do not fit each other."""
        if min(len(images), len(held_out_images)) < 2:
            raise ValueError("at least 2 pictures to train on and 2 held out are needed")
        if images.shape[1:] != held_out_images.shape[1:]:
            raise ValueError("training and held-out pictures differ in size")
        self.images, self.held_out_images = images, held_out_images
        self.labels, self.held_out_labels = labels, held_out_labels
        self.class_names = tuple(class_names)
        self.top = top
        self._on_device: dict[torch.device, Tensor] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:])

    @property
    def points(self) -> Tensor:
        """The training set, as every finite target calls it."""
        return self.images

    @property
    def base(self) -> Images:
        """The pictures whose classes a judge can learn."""
        return self

    @property
    def class_count(self) -> int:
        """Classes a point can have: the modes that a judge counts; 0 where there are none."""
        return len(self.class_names)

    def sample(self, n: int, generator: Generator) -> Float[Tensor, "n c h w"]:
        """``n`` training pictures, drawn with replacement, on the generator's device."""
        device = generator.device
        rows = torch.randint(len(self.images), (n,), generator=generator, device=device)
        return self.scaled(self.on_device(device)[rows])

    def on_device(self, device: torch.device) -> UInt8[Tensor, "m c h w"]:
        """The training pictures on a device, copied there once."""
        if device not in self._on_device:
            self._on_device[device] = self.images.to(device)
        return self._on_device[device]

    def held_out(self, n: int, generator: Generator) -> Float[Tensor, "n c h w"]:
        """``n`` held-out pictures in random order, none twice before each has come once."""
        rows = each_once(len(self.held_out_images), n, generator).to(self.held_out_images.device)
        return self.scaled(self.held_out_images[rows].to(generator.device))

    def scaled(self, pictures: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Pictures in the generator's range [-1, 1]."""
        return pictures.float().div_(self.top / 2).sub_(1)


def each_once(rows: int, n: int, generator: Generator) -> Int[Tensor, " n"]:
    """``n`` row numbers in random order; all come once before one comes twice."""
    device = generator.device
    rounds = -(-n // rows)
    orders = [torch.randperm(rows, generator=generator, device=device) for _ in range(rounds)]
    return torch.cat(orders)[:n]
