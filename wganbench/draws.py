"""Random numbers as pure functions of (key, step, element), by Philox4x32-10.

The words are the same on every device; float32 values computed from them agree to 1e-6.
There is no state: key and step determine the draws, for any number of runs and steps at once.
Draws have the leading axes of the keys and steps, so a sampler written for one run draws for
all runs.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
MASK = 0xFFFFFFFF

AT_ONCE = 2**16
"""Number of counters turned into words in one pass, which limits the memory of many."""


def stream_key(seed: int, stream: str) -> int:
    """Return the key of a run's stream, a 64-bit hash of (seed, stream)."""
    digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Return the four words of each counter by Philox4x32-10; 32-bit words are held in int64.

    All six arguments broadcast. An int64 product has the low 64 bits of the unsigned product.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        a, b = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (b >> 32 & MASK) ^ c1 ^ k0, b & MASK, (a >> 32 & MASK) ^ c3 ^ k1, a & MASK
        k0, k1 = k0 + WEYL[0] & MASK, k1 + WEYL[1] & MASK
    return [c0, c1, c2, c3]


class Draws(ABC):
    """A source of 32-bit words, with the draws that samplers use.

    Each call takes new words. ``lead`` is the shape of the leading axes of all draws.
    """

    lead: tuple[int, ...]
    device: torch.device

    @abstractmethod
    def words(self, n: int) -> Int[Tensor, "*lead n"]:
        """Return the next ``n`` words, in [0, 2^32), as int64."""

    def uniform(self, *shape: int) -> Float[Tensor, ...]:
        """Return (*lead, *shape) numbers in [0, 1), multiples of 2^-24."""
        fractions = (self.words(math.prod(shape)) >> 8).float() * 2.0**-24
        return fractions.reshape(*self.lead, *shape)

    def normal(self, *shape: int) -> Float[Tensor, ...]:
        """Return (*lead, *shape) normal numbers, two from two words (Box and Muller, 1958)."""
        n = math.prod(shape)
        pairs = self.words(n + n % 2).reshape(*self.lead, -1, 2).float()
        radius = (-2 * ((pairs[..., 0] + 0.5) * 2.0**-32).log()).sqrt()
        angle = pairs[..., 1] * (2 * math.pi * 2.0**-32)
        both = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)
        return both.flatten(-2)[..., :n].reshape(*self.lead, *shape)

    def below(self, m: int, *shape: int) -> Int[Tensor, ...]:
        """Return (*lead, *shape) whole numbers from 0 to m - 1, equally likely to 2^-32 m."""
        return (self.words(math.prod(shape)) * m >> 32).reshape(*self.lead, *shape)

    def order(self, n: int) -> Int[Tensor, "*lead n"]:
        """Return the numbers 0 .. n - 1 in random order."""
        return self.words(n).argsort(dim=-1, stable=True)

    def each_once(self, rows: int, n: int) -> Int[Tensor, "*lead n"]:
        """Return ``n`` of ``rows`` row numbers in random order, each once before one repeats."""
        orders = [self.order(rows) for _ in range(-(-n // rows))]
        return torch.cat(orders, dim=-1)[..., :n]


class Keyed(Draws):
    """Words of (key, step, element), equal on all devices: counter (element, 0, step, step >> 32).

    ``keys`` are 64-bit keys as two words, int64 of shape (..., 2); ``steps`` are whole numbers.
    Both are on the device; ``lead`` is the shape to which their leading axes broadcast.
    ``elements`` optionally holds the numbers from 0 on. Code compiled for a GPU needs it: numbers
    made there would have 32 bits, which are too few for the multipliers.
    """

    def __init__(
        self,
        keys: Int[Tensor, "*k 2"],
        steps: Int[Tensor, "*s"],
        elements: Int[Tensor, " e"] | None = None,
    ) -> None:
        self.keys, self.steps, self.device = keys, steps, keys.device
        self._elements = elements
        self.lead = tuple((keys[..., 0] + steps).shape)
        self._taken = 0

    @property
    def taken(self) -> int:
        """The number of words taken so far, in whole counters of four."""
        return 4 * self._taken

    def words(self, n: int) -> Int[Tensor, "*lead n"]:
        counters = -(-n // 4)
        most = max(1, AT_ONCE // max(1, math.prod(self.lead)))
        parts = []
        for first in range(0, counters, most):
            count = min(most, counters - first)
            parts.append(self._words(self._taken + first, count))
        self._taken += counters
        return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1))[..., :n]

    def _words(self, first: int, count: int) -> Int[Tensor, "*lead m"]:
        if self._elements is None:
            elements = torch.arange(first, first + count, device=self.device)
        else:
            elements = self._elements[first : first + count]
        steps = self.steps.unsqueeze(-1)
        counter = (elements, torch.zeros_like(elements), steps & MASK, steps >> 32 & MASK)
        words = philox(counter, (self.keys[..., :1], self.keys[..., 1:]))
        return torch.stack(words, dim=-1).expand(*self.lead, count, 4).flatten(-2)


class GivenWords(Draws):
    """A source that returns words (*lead, n) from one call of `Keyed`, in the same order."""

    def __init__(self, words: Int[Tensor, "*lead n"]) -> None:
        self.lead, self.device = tuple(words.shape[:-1]), words.device
        self._words, self._taken = words, 0

    def words(self, n: int) -> Int[Tensor, "*lead n"]:
        first = self._taken
        self._taken += -(-n // 4) * 4
        return self._words[..., first : first + n]


def keys_of(numbers: list[int], device: torch.device | str = "cpu") -> Int[Tensor, "k 2"]:
    """Return 64-bit keys in the form that `Keyed` takes."""
    return torch.tensor([[key & MASK, key >> 32] for key in numbers], device=device)


def keyed(seed: int, stream: str, step: int = 0, device: torch.device | str = "cpu") -> Keyed:
    """Return the draws of one run's stream at one step, without leading axes."""
    keys = keys_of([stream_key(seed, stream)], device)[0]
    return Keyed(keys, torch.tensor(step, device=device))


class Generated(Draws):
    """Words from a torch generator, on its device, without leading axes."""

    lead = ()

    def __init__(self, generator: Generator) -> None:
        self.generator, self.device = generator, generator.device

    def words(self, n: int) -> Int[Tensor, " n"]:
        return torch.randint(2**32, (n,), generator=self.generator, device=self.device)


class Resident:
    """A tensor of a data set that is copied to each device once."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._copies: dict[torch.device, Tensor] = {tensor.device: tensor}

    def on(self, device: torch.device) -> Tensor:
        """Return the tensor on a device."""
        if device not in self._copies:
            self._copies[device] = self.tensor.to(device)
        return self._copies[device]
