"""The space of a search: settings drawn by rule, the same for every loss; arms of studies in it.

A space is a YAML file, the project's in ``conf/tune/space.yaml``. Each key of a trial is drawn
by itself from (seed, key, trial). Trial k therefore has the same rates under every loss, and
a loss's own coefficients do not disturb the others'.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
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
from wganbench.typed import check_range, convert, convert_fields, nearest_key

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


MOST_SEEDS = 100
"""Seeds of a rung, and fresh seeds of a winner."""


@dataclass(frozen=True)
class Rung:
    """A round of successive halving: shares of the trials and of the compute, and its seeds."""

    trials: float = field(metadata={"above": 0, "most": 1})
    seeds: int = field(metadata={"least": 1, "most": MOST_SEEDS})
    compute: float = field(metadata={"above": 0, "most": 1})


@dataclass(frozen=True)
class SpaceFile:
    """What a YAML file of a space holds."""

    seed: int = field(metadata={"least": 0, "most": bounds.SEEDS})
    draw: dict[str, Any]
    rungs: list[Rung]
    compute: dict[str, float]
    fixed: dict[str, Any] = field(default_factory=dict)
    known: list[dict[str, Any]] = field(default_factory=list)
    name: str = ""


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
    return not key.startswith("loss.") or key == N_CRITIC or key in own


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
        return checked(as_space(values, path.stem))
    except ValueError as error:
        raise ConfigError(
            f"space={short_repr(name)}: {first_line(error)}; conf/tune/space.yaml shows the form"
        ) from error


def as_space(values: Mapping[str, Any], name: str) -> Space:
    """Return the space that a file holds; ``name`` is that of one without. Raises ValueError."""
    refuse_other_keys(values, SpaceFile)
    for rung in values["rungs"] if isinstance(values.get("rungs"), list) else ():
        refuse_other_keys(rung if isinstance(rung, Mapping) else {}, Rung, "rungs: ")
    given = {key: value for key, value in values.items() if value is not None}
    file = SpaceFile(**convert_fields(SpaceFile, given))
    return Space(
        name=file.name or name,
        seed=file.seed,
        draw={str(key): as_draw(str(key), value) for key, value in file.draw.items()},
        fixed=file.fixed,
        known=tuple(file.known),
        rungs=as_rungs(file.rungs),
        compute=as_compute(file.compute),
    )


def refuse_other_keys(values: Mapping[str, Any], form: type, where: str = "") -> None:
    """Raise ValueError for a key that a dataclass lacks: it would be passed over."""
    known = [one.name for one in fields(form)]
    for key in values:
        if key not in known:
            hint = nearest_key(str(key), known) or f" (there are: {', '.join(known)})"
            raise ValueError(f"{where}unknown key {short_repr(key)}{hint}")


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
        group, _, name = str(key).partition(".")
        if group not in GROUPS and group != "evaluate":
            raise ValueError(f"{key} is no key of loss or train: give it as an override of tune")
        if key == STEPS:
            raise ValueError(f"{key} follows from compute, which is equal for all trials")
        if group == "loss" and name not in loss_keys():
            if name in OF_EVERY_LOSS and key in space.fixed:
                continue
            hint = nearest_key(key, loss_keys().values())
            reason = "it is no number to draw" if name in OF_EVERY_LOSS else f"no loss has it{hint}"
            raise ValueError(f"{key}: {reason}")
    before: set[str] = set()
    for key, draw in space.draw.items():
        if key in space.fixed:
            raise ValueError(f"{key} is both in draw and in fixed")
        if isinstance(draw, Interval) and draw.times and draw.times not in before:
            raise ValueError(f"{key}.times needs a number drawn before it; got {draw.times}")
        if isinstance(draw, Interval) or all(isinstance(one, int | float) for one in draw.among):
            before.add(key)
    if N_CRITIC not in {*space.draw, *space.fixed}:
        raise ValueError(f"{N_CRITIC} is missing in draw and in fixed")
    check_n_critic(space)
    return space


def check_n_critic(space: Space) -> None:
    """Raise ValueError unless every value of n_critic, from which steps follow, can be one."""
    draw = space.draw.get(N_CRITIC)
    if isinstance(draw, Interval):
        raise ValueError(f"{N_CRITIC} is a whole number: give among, such as [1, 2, 5]")
    given = [own[N_CRITIC] for own in (space.fixed, *space.known) if N_CRITIC in own]
    for value in (*(draw.among if draw else ()), *given):
        number = convert(value, int, N_CRITIC)
        check_range(number, {"least": 1, "most": bounds.CRITIC_STEPS}, N_CRITIC)


STEPS, N_CRITIC = "train.steps", "loss.n_critic"

OF_EVERY_LOSS = ("packing", "unrolled")
"""Keys of every loss that a search may fix."""


def loss_keys() -> dict[str, str]:
    """Return the keys of all losses and further penalties, without ``loss.``, by name."""
    names = ["n_critic", *(name for row in RECIPES.values() for name in row.coefficients)]
    names += [name for term in TERMS.values() for name in term.names]
    return {name: f"loss.{name}" for name in names}


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
    low, high = (convert(given[name], float, f"{key}.{name}") for name in ("low", "high"))
    if not (0 < low < high and high / low < math.inf):
        raise ValueError(f"{key} needs 0 < low < high, both finite")
    return Interval(low, high, str(given.get("times", "")))


def as_rungs(rungs: Sequence[Rung]) -> tuple[Rung, ...]:
    """Return the rungs: fewer trials and no less compute from one to the next."""
    shares = [rung.trials for rung in rungs]
    compute = [rung.compute for rung in rungs]
    if not rungs or shares[0] != 1 or sorted(shares, reverse=True) != shares:
        raise ValueError("rungs need trials from 1.0 downwards")
    if sorted(compute) != compute or compute[-1] != 1:
        raise ValueError("rungs need compute that rises to 1.0")
    return tuple(rungs)


def as_compute(given: Mapping[str, float]) -> dict[str, float]:
    """Return the passes by the data's name, from millions of them."""
    found = {str(name): 1e6 * value for name, value in given.items()}
    if "default" not in found or any(not 0 < value < math.inf for value in found.values()):
        raise ValueError("compute needs finite numbers above 0 and one for default")
    return found


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
    steps = generator_steps(arm, values[N_CRITIC], passes, smooth)
    pairs = [f"{key}={str(value).replace(' ', '')}" for key, value in values.items()]
    return [*arm.words(), "tuned=none", *pairs, f"train.steps={steps}"]


def generator_steps(arm: Arm, n_critic: int, passes: float, smooth: bool = False) -> int:
    """Return the number of generator steps that costs at most ``passes``, at least 1."""
    return max(1, int(passes / StepCost(arm.recipe, smooth=smooth).of_run(n_critic, 1)))
