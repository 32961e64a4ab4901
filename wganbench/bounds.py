"""The values that settings may have: upper bounds of sizes, and choices that several parts share.

Larger values are refused before they cost time or memory. No real use reaches a bound. Each is
``most`` in the metadata of the fields that it bounds.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal

from wganbench.errors import short_repr

Precision = Literal["fp32", "tf32", "bf16"]
"""The precision of products in training, see `RunConfig`."""

ModeProtocol = Literal["veegan", "box", "chi2"]
"""The definitions of high-quality samples, see `wganbench.metrics.mode_coverage`."""

STEPS = 16_000_000
"""Steps of training: they are counted in float32, which adds 1 exactly up to 2^24."""

EVERY_STEPS = 10**9
"""Every interval in steps; one longer than the training means never."""

CRITIC_STEPS = 10_000
"""Critic steps per generator step."""

PACKING = 64
"""Points that a critic sees at a time."""

UNROLLED = 10
"""Critic steps through which the generator's gradient passes; arXiv:1611.02163 has up to 10."""

BATCH = 10**6
SAMPLES = 10**6
"""Points of one batch, and of one evaluation."""

DRAWN = 10**8
"""Points of one draw, which `sample` writes into a file and `Run.sample` returns."""

REPEATS = 10_000
"""Draws of the final evaluation, pairs for a floor, runs in a stack, stacks on a device."""

LINES = 100_000
"""Directions of a sliced distance."""

AHEAD_STEPS, AHEAD_NUMBERS = 64, 2**21
"""Steps whose batches are drawn in one call, and the most numbers in these batches."""

RUNS = 10**6
"""Runs of one sweep, even with ``--yes``."""

SEEDS = 2**63 - 1
RATE = 1e30
"""Learning rates, which are float32. A rate that makes the run diverge is a valid result."""

MODES, DIMENSIONS, PIXELS = 10_000, 100_000, 4096
TRAINING_POINTS = 10**8
DECADES, TURNS = 30, 1000
SOBOL, FUNNELS = 20_000, 1000
"""Dimension and number of funnels: a Sobol set has 21 201 dimensions at most."""

FUNNELS_BOX, FUNNELS_OFFSET = 2.5, 100.0
"""Largest coordinate of a funnel's centre (half the width of the source's box), largest offset."""

SMALLEST, LARGEST = 1e-18, 1e18
"""Numbers of the data's geometry; their squares fit float32 too."""

COEFFICIENT = 1e30
"""Coefficients of losses, which are float32."""

NETWORK = {
    "width": 65_536,
    "depth": 200,
    "pieces": 1000,
    "latent_dim": 10**6,
}
"""Options of networks, by name or last word of the name: ``critic_width`` is a width."""


def network_most(option: str) -> int | None:
    """Return the largest value of a network's option; None for an option that is not a size.

    >>> network_most("critic_width"), network_most("latent_dim"), network_most("latent")
    (65536, 1000000, None)
    """
    return NETWORK.get(option, NETWORK.get(option.rpartition("_")[2]))


RANGES: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "above": ("above", operator.gt),
    "least": ("at least", operator.ge),
    "below": ("below", operator.lt),
    "most": ("at most", operator.le),
}
"""The words of each bound, and its check."""


def outside(value: Any, metadata: Mapping[str, Any]) -> str | None:
    """Return in words the bound of a field's metadata that a number breaks; None if it is valid.

    >>> outside(11, {"least": 1, "most": 10}), outside(1, {"above": 0})
    ('at most 10', None)
    """
    for name, (words, keeps) in RANGES.items():
        bound = metadata.get(name)
        if bound is not None and not keeps(value, bound):
            return f"{words} {short_repr(bound)}"
    return None
