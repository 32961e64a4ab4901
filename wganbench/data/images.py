"""Pictures as a target: kept whole in memory, some held out, with classes where known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from wganbench.data.drawn import Drawn
from wganbench.draws import Draws, Resident


class Images(Drawn):
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
        self._resident, self._held_out = Resident(images), Resident(held_out_images)

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

    def draw(self, draws: Draws, n: int) -> Float[Tensor, "*lead n c h w"]:
        """``n`` training pictures, drawn with replacement, on the draws' device."""
        images = self.on_device(draws.device)
        return self.scaled(images[draws.below(len(images), n)])

    def on_device(self, device: torch.device) -> UInt8[Tensor, "m c h w"]:
        """The training pictures on a device, copied there once."""
        return self._resident.on(device)

    def draw_held_out(self, draws: Draws, n: int) -> Float[Tensor, "*lead n c h w"]:
        """``n`` held-out pictures in random order, none twice before each has come once."""
        images = self.held_out_on_device(draws.device)
        return self.scaled(images[draws.each_once(len(images), n)])

    def held_out_on_device(self, device: torch.device) -> UInt8[Tensor, "k c h w"]:
        """The held-out pictures on a device, copied there once."""
        return self._held_out.on(device)

    def scaled(self, pictures: UInt8[Tensor, "*lead c h w"]) -> Float[Tensor, "*lead c h w"]:
        """Pictures in the generator's range [-1, 1]."""
        return pictures.float().div_(self.top / 2).sub_(1)
