"""The space of a search: settings drawn by rule, the same for every loss; arms of studies in it.

A space is a YAML file, the project's in ``conf/tune/space.yaml``. Each key of a trial is drawn
by itself from (seed, key, trial). Trial k therefore has the same rates under every loss, and
a loss's own coefficients do not disturb the others'.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from wganbench import bounds
from wganbench.errors import ConfigError, first_line, short_repr
from wganbench.losses import Recipe
from wganbench.losses.constraints import TERMS
from wganbench.losses.recipes import RECIPES, composed
from wganbench.presets import preset_names, read_again, read_preset
from wganbench.registry import unknown
from wganbench.training.passes import StepCost
from wganbench.typed import nearest_key

DEFAULT = "space"
DIGITS = 3
"""Significant digits of a drawn number, so that a table shows exactly what was trained."""

FIRST_TUNING_SEED = 100
"""Seeds from here on tune settings; no reported figure uses them, and they decide no claim."""


@dataclass(frozen=True)
class Interval:
    """A log-uniform draw in [low, high]; ``times`` names the key that it is a multiple of."""

    low: float
    high: float
    times: str = ""

    def at(self, u: float) -> float:
        """Return the value at the share u in [0, 1) of the interval."""
        return float(self.low * (self.high / self.low) ** u)


@dataclass(frozen=True)
class Choice:
    """A draw of one of several values, each with the same chance."""

    among: tuple[Any, ...]

    def at(self, u: float) -> Any:
        return self.among[int(u * len(self.among))]


Draw = Interval | Choice


@dataclass(frozen=True)
class Rung:
    """A round of successive halving: shares of the trials and of the compute, and its seeds."""

    trials: float
    seeds: int
    compute: float


@dataclass(frozen=True)
class Space:
    """What a search draws, what it keeps fixed, and its rungs.

    ``known`` are settings from elsewhere. They are further trials of every loss; a key that one of
    them lacks is drawn.

    ``compute`` is the compute of the last rung's runs in passes of a network over a batch, by
    the data's name (``training/passes.py`` counts them); ``default`` stands for all others.
    ``penalties`` are added to every loss of the search.
    """

    name: str
    seed: int
    draw: Mapping[str, Draw]
    fixed: Mapping[str, Any]
    known: tuple[Mapping[str, Any], ...]
    rungs: tuple[Rung, ...]
    compute: Mapping[str, float]
    penalties: tuple[str, ...] = ()

    def point(self, trial: int) -> dict[str, Any]:
        """Return the settings of a trial by key, those of other losses' coefficients included."""
        found: dict[str, Any] = {}
        for key, draw in self.draw.items():
            value = draw.at(uniform(self.seed, key, trial))
            if isinstance(draw, Interval):
                value = rounded(value * (found[draw.times] if draw.times else 1.0))
            found[key] = value
        return found

    def trial(self, loss: str, number: int) -> dict[str, Any]:
        """Return the settings of a trial for a loss: only the coefficients that it has."""
        return self._of_loss(loss, self.point(number))

    def trials(self, loss: str, count: int) -> list[dict[str, Any]]:
        """Return the settings of ``count`` drawn trials, then those of the known ones."""
        drawn = [self.trial(loss, number) for number in range(count)]
        known = [
            self._of_loss(loss, {**self.point(count + number), **point})
            for number, point in enumerate(self.known)
        ]
        return drawn + known

    def _of_loss(self, loss: str, point: Mapping[str, Any]) -> dict[str, Any]:
        own = self.own_keys(loss)
        return {**self.fixed, **{k: value for k, value in point.items() if belongs(k, own)}}

    def own_keys(self, loss: str) -> set[str]:
        """Return the keys of the coefficients of a loss with the search's further penalties."""
        return {f"loss.{name}" for name in composed(loss, self.penalties).coefficients}

    def keys_of(self, loss: str) -> list[str]:
        """Return the keys that are drawn for a loss."""
        own = self.own_keys(loss)
        return [key for key in self.draw if belongs(key, own)]

    def passes(self, data: str) -> float:
        """Return the compute of a run of the last rung, in passes."""
        return self.compute.get(data, self.compute["default"])


def belongs(key: str, own: set[str]) -> bool:
    """Return whether a key exists under a loss whose coefficients have these keys."""
    return not key.startswith("loss.") or key == "loss.n_critic" or key in own


def uniform(seed: int, key: str, trial: int) -> float:
    """Return a number in [0, 1) that depends on nothing but the arguments."""
    word = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    random = np.random.default_rng([seed, word, trial])
    return float(random.random())


def rounded(value: float) -> float:
    """Return a number with `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")


def read_space(name: str = DEFAULT) -> Space:
    """Return a space by the name of a file in ``conf/tune``, or by a path to a YAML file.

    Raises ConfigError, one line that names the key and what would be right.
    """
    path = Path(name)
    try:
        if path.suffix in (".yaml", ".yml"):
            values = read_again(path)
        elif name in preset_names("tune"):
            values = read_preset("tune", name)
        else:
            raise ConfigError(unknown("space", name, preset_names("tune")))
    except ValueError as error:
        raise ConfigError(f"space={name}: {error}") from error
    try:
        return checked(
            Space(
                name=str(values.get("name", path.stem)),
                seed=as_seed(values["seed"]),
                draw={str(key): as_draw(str(key), value) for key, value in values["draw"].items()},
                fixed=dict(values.get("fixed") or {}),
                known=tuple(dict(point) for point in values.get("known") or ()),
                rungs=as_rungs(values["rungs"]),
                compute=as_compute(values["compute"]),
            )
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"space={short_repr(name)}: {described(error)}; conf/tune/space.yaml shows the form"
        ) from error


def composed_name(loss: str, penalties: Sequence[str]) -> str:
    """Return the name under which settings of a loss with further penalties are kept.

    It is no loss's own name: who trains the loss alone gets no penalty unasked.

    >>> composed_name("hinge", ["r1"]), composed_name("gp", [])
    ('hinge+r1', 'gp')
    """
    return "+".join([loss, *penalties])


GROUPS = ("loss", "train")
"""Groups of keys that a file of tuned settings holds."""


def checked(space: Space) -> Space:
    """Return the space itself; raises ValueError for keys that cannot stand where they do."""
    known = [key for point in space.known for key in point]
    for key in (*space.draw, *space.fixed, *known):
        group, _, name = key.partition(".")
        if group not in GROUPS and group != "evaluate":
            raise ValueError(f"{key} is no key of loss or train: give it as an override of tune")
        if group == "loss" and name not in loss_keys():
            if name in OF_EVERY_LOSS and key in space.fixed:
                continue
            hint = nearest_key(key, loss_keys().values())
            reason = "it is no number to draw" if name in OF_EVERY_LOSS else f"no loss has it{hint}"
            raise ValueError(f"{key}: {reason}")
    before: set[str] = set()
    for key, draw in space.draw.items():
        if isinstance(draw, Interval) and draw.times and draw.times not in before:
            raise ValueError(f"{key}.times needs a key that is drawn before it; got {draw.times}")
        before.add(key)
    if "loss.n_critic" not in {*space.draw, *space.fixed}:
        raise ValueError("loss.n_critic is missing in draw and in fixed")
    return space


OF_EVERY_LOSS = ("packing", "unrolled")
"""Keys of every loss that a search may fix."""


def loss_keys() -> dict[str, str]:
    """Return the keys of all losses and further penalties, without ``loss.``, by name."""
    names = ["n_critic", *(name for row in RECIPES.values() for name in row.coefficients)]
    names += [name for term in TERMS.values() for name in term.names]
    return {name: f"loss.{name}" for name in names}


def as_seed(given: Any) -> int:
    """Return the seed of the draws; raises ValueError unless it is a whole number from 0 on."""
    if isinstance(given, bool) or int(given) != given or not 0 <= given <= bounds.SEEDS:
        raise ValueError(f"seed must be a whole number from 0 on; got {given!r:.40}")
    return int(given)


def as_draw(key: str, given: Any) -> Draw:
    """Return the draw of a key; raises ValueError."""
    if isinstance(given, Mapping) and set(given) == {"among"}:
        if not isinstance(given["among"], list) or not given["among"]:
            raise ValueError(f"{key}.among needs a list of values")
        return Choice(tuple(given["among"]))
    if not isinstance(given, Mapping) or not {"low", "high"} <= set(given) <= {
        "low", "high", "times",
    }:  # fmt: skip
        raise ValueError(f"{key} needs low and high, or among")
    low, high = float(given["low"]), float(given["high"])
    if not (0 < low < high and high / low < math.inf):
        raise ValueError(f"{key} needs 0 < low < high, both finite")
    return Interval(low, high, str(given.get("times", "")))


def as_rungs(given: Any) -> tuple[Rung, ...]:
    """Return the rungs: fewer trials and no less compute from one to the next."""
    rungs = tuple(Rung(float(r["trials"]), int(r["seeds"]), float(r["compute"])) for r in given)
    shares = [rung.trials for rung in rungs]
    compute = [rung.compute for rung in rungs]
    if not rungs or shares[0] != 1 or sorted(shares, reverse=True) != shares:
        raise ValueError("rungs need trials from 1.0 downwards")
    if sorted(compute) != compute or not all(0 < c <= 1 for c in compute) or compute[-1] != 1:
        raise ValueError("rungs need compute that rises to 1.0")
    if any(rung.seeds < 1 or not rung.trials > 0 for rung in rungs):
        raise ValueError("rungs need at least one seed and a share of the trials above 0")
    return rungs


def as_compute(given: Mapping[str, Any]) -> dict[str, float]:
    """Return the passes by the data's name, from millions of them."""
    found = {str(name): 1e6 * float(value) for name, value in given.items()}
    if "default" not in found or any(not 0 < value < math.inf for value in found.values()):
        raise ValueError("compute needs finite numbers above 0 and one for default")
    return found


def described(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else first_line(error)


# Arms of a study at settings of the neutral space: equal rates and equal compute for all.
@dataclass(frozen=True)
class Arm:
    """A loss, perhaps with further penalties, under the name that a study gives it."""

    name: str
    loss: str
    penalties: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The recipe of the loss with its further penalties."""
        return composed(self.loss, self.penalties)

    def words(self) -> list[str]:
        """Return the overrides that choose the loss and its penalties."""
        added = [f"loss.penalties=[{','.join(self.penalties)}]"] if self.penalties else []
        return [f"loss={self.loss}", *added]


def arms_of(losses: Sequence[str]) -> dict[str, Arm]:
    """Return an arm for each loss, by its name."""
    return {loss: Arm(loss, loss) for loss in losses}


@cache
def space() -> Space:
    return read_space()


@cache
def point(trial: int) -> Mapping[str, Any]:
    """Return the settings of a trial by key, the coefficients of all losses included."""
    return space().point(trial)


def settings_of(arm: Arm, trial: int) -> dict[str, Any]:
    """Return the settings of a trial of the neutral space that exist under an arm.

    Two arms have the same value of each key that both have.
    """
    return replace(space(), penalties=arm.penalties).trial(arm.loss, trial)


def overrides(arm: Arm, trial: int, passes: float, smooth: bool = False) -> list[str]:
    """Return the overrides of an arm at a trial, for about so many passes of training.

    ``smooth``: the networks' activations are not piecewise linear, see `StepCost`.
    """
    values = settings_of(arm, trial)
    steps = generator_steps(arm, values["loss.n_critic"], passes, smooth)
    pairs = [f"{key}={str(value).replace(' ', '')}" for key, value in values.items()]
    return [*arm.words(), "tuned=none", *pairs, f"train.steps={steps}"]


def generator_steps(arm: Arm, n_critic: int, passes: float, smooth: bool = False) -> int:
    """Return the number of generator steps that costs at most ``passes``, at least 1."""
    return max(1, int(passes / StepCost(arm.recipe, smooth=smooth).of_run(n_critic, 1)))
