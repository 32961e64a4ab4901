"""The commands tune and speedrun: their arguments, their runs, their files."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wganbench.config.check import check_name, check_output_dir
from wganbench.config.composition import compose_launcher
from wganbench.config.from_python import unquoted
from wganbench.config.jobs import Choice
from wganbench.config.overrides import parse_overrides, read_override, replacing
from wganbench.config.settings import LAUNCHER, Setting
from wganbench.config.synonyms import canonical
from wganbench.errors import ConfigError, UnwritableFolder, of_the_system, short_repr
from wganbench.losses import RECIPES
from wganbench.losses.recipes import composed
from wganbench.presets import all_keys, choices, directories, user_files_first, user_folder
from wganbench.registry import unknown
from wganbench.runs.record import read_record
from wganbench.runs.stored import check_writable
from wganbench.sweeps.backend import Watcher
from wganbench.tuning.report import Fresh, write_report
from wganbench.tuning.search import Arm, Search, Trial, run_search, train_winners, write_winners
from wganbench.tuning.space import MOST_SEEDS, STEPS, Space, read_space
from wganbench.tuning.speedrun import Speedrun, refuse_set, run_speedrun
from wganbench.tuning.speedrun_report import write_speedrun
from wganbench.typed import nearest_key

MOST_TRIALS = 4096
NAMES = "names with commas between them"
LISTS = ("loss", "data")
"""Keys that hold such names; each may be in quotes."""

TUNE = (
    Setting("loss", "the losses to search for", "bce,clip,gp", NAMES),
    Setting("data", "the data to search on", "ring8", NAMES),
    Setting("trials", "settings drawn for each loss", "64", f"whole number, 2 to {MOST_TRIALS}"),
    Setting("budget", "share of the space's compute that a run gets", "1", "number, above 0"),
    Setting(
        "seeds", "fresh seeds on which the winners train", "5", f"whole number, 0 to {MOST_SEEDS}"
    ),
    Setting("space", "what is drawn: a file in conf/tune, or a path", "space", "name or path"),
    Setting("name", "folder in output_dir", "tune-DATA", "text"),
    Setting("output_dir", "folder of all results", "outputs", "text"),
)
"""Keys of a search itself; all others are settings of every run."""

SPEEDRUN = (
    Setting("loss", "the losses to time", "bce,clip,gp", NAMES),
    Setting("data", "the data to learn", "ring8", "one name"),
    Setting("seeds", "runs of each loss", "20", f"whole number, 2 to {MOST_SEEDS}"),
    Setting("name", "folder in output_dir", "speedrun-DATA", "text"),
    Setting("output_dir", "folder of all results", "outputs", "text"),
)
"""Keys of a speedrun itself; all others are settings of every run."""


@dataclass(frozen=True)
class Tuned:
    """The result: the trials of each arm, the best first; the files of the winners; the page."""

    search: Search
    arms: Mapping[Arm, Sequence[Trial]]
    files: Mapping[Arm, Path]
    report: Path
    fresh: Fresh


def tune(
    arguments: Sequence[str],
    watcher: Watcher,
    config_dir: str | Path | None = None,
    into: Path | None = None,
) -> Tuned:
    """Search for the settings of each loss, as ``wganbench tune`` does, and return the result.

    The winners' YAML files go to ``into/tuned``: by default the user's ``config_dir``, else the
    folder of the search. A folder that does not exist is made. Raises ConfigError, and
    `Interrupted` if a signal stopped it; the same arguments then go on.
    """
    own = user_folder(config_dir, new=True) if config_dir else None
    search = parse(arguments, own if own and own.is_dir() else None)
    place = user_folder(into, new=True) if into else own or search.folder
    option = "--into" if into else "--config-dir" if own else "output_dir"
    try:
        check_writable(place / "tuned")
    except UnwritableFolder as error:
        reason = str(error).replace("set output_dir", f"give another {option}")
        raise ConfigError(reason) from error
    command = " ".join(["wganbench tune", *map(shlex.quote, arguments)])
    arms = run_search(search, watcher)
    winners = {arm: trials[0] for arm, trials in arms.items()}
    folders = train_winners(search, winners, watcher)
    fresh = {arm: [read_record(folder) for folder in own] for arm, own in folders.items()}
    try:
        files = write_winners(search, winners, place, command)
        report = write_report(search, arms, fresh, command)
    except OSError as error:
        raise ConfigError(f"the results cannot be written: {of_the_system(error)}") from error
    return Tuned(search, arms, files, report, fresh)


def speedrun(
    arguments: Sequence[str], watcher: Watcher, config_dir: str | Path | None = None
) -> tuple[Speedrun, dict[str, Path]]:
    """Time every loss to the target, as ``wganbench speedrun`` does; return result and files.

    Raises ConfigError, and `Interrupted` if a signal stopped it; the same arguments then go on.
    """
    own, launcher, rest = split(arguments, SPEEDRUN)
    refuse_unknown(rest, "speedrun", SPEEDRUN, config_dir)
    place = user_folder(config_dir) if config_dir else None
    losses = named("loss", own["loss"], config_dir)
    data = named("data", own["data"], config_dir)
    if len(data) > 1:
        raise ConfigError("a speedrun takes place on one data set: give one, such as data=ring8")
    refuse_set(rest)
    refuse_several(rest, config_dir)
    seeds = whole("seeds", own["seeds"], 2, MOST_SEEDS)
    folder = folder_of(own, f"speedrun-{data[0]}")
    choice = launcher_choice(launcher, config_dir)
    found = run_speedrun(losses, data[0], seeds, rest, folder, watcher, choice, place)
    command = " ".join(["wganbench speedrun", *map(shlex.quote, arguments)])
    try:
        return found, write_speedrun(found, folder, command)
    except OSError as error:
        raise ConfigError(f"the results cannot be written: {of_the_system(error)}") from error


def parse(arguments: Sequence[str], config_dir: str | Path | None = None) -> Search:
    """Return the search of a command line. Raises ConfigError, one line that names the key."""
    own, launcher, rest = split(arguments, TUNE)
    refuse_unknown(rest, "tune", TUNE, config_dir)
    with user_files_first(directories(config_dir)):
        space = read_space(own["space"])
    refuse_drawn(space, rest)
    refuse_several(rest, config_dir)
    space = replace(space, penalties=penalties_of(rest))
    losses = named("loss", own["loss"], config_dir)
    for loss in losses:
        if loss not in RECIPES:
            raise ConfigError(f"loss={loss}: a search needs a YAML file of the loss's own name")
        try:
            composed(loss, space.penalties)
        except ValueError as error:
            raise ConfigError(f"loss.penalties: {error}") from error
    data = named("data", own["data"], config_dir)
    return Search(
        losses=losses,
        data=data,
        trials=whole("trials", own["trials"], 2, MOST_TRIALS),
        budget=positive("budget", own["budget"]),
        fresh=whole("seeds", own["seeds"], 0, MOST_SEEDS),
        space=space,
        overrides=rest,
        folder=folder_of(own, f"tune-{'-'.join(data)}"),
        choice=launcher_choice(launcher, config_dir),
        config_dir=user_folder(config_dir) if config_dir else None,
    )


def split(
    arguments: Sequence[str], known: Sequence[Setting]
) -> tuple[dict[str, str], list[str], tuple[str, ...]]:
    """Return the values of the command's own keys, the arguments on the launcher, all others.

    A key that is not given has its default, but for the name. Raises ConfigError for a word
    without an equals sign.
    """
    for word in arguments:
        if "=" not in word:
            form = "write KEY=VALUE, such as loss=bce,gp or seeds=5"
            raise ConfigError(f"{short_repr(word)}: {form}")
    arguments = [replacing(word) for word in arguments]
    keys = [row.key for row in known]
    pairs = [word.partition("=")[::2] for word in arguments]
    given = {key: value if key in LISTS else unquoted(value) for key, value in pairs if key in keys}
    own = {row.key: row.default for row in known if row.key != "name"} | given
    launcher = [word for word in arguments if word.startswith("hydra")]
    rest = tuple(w for w in arguments if w.partition("=")[0] not in keys and w not in launcher)
    return own, launcher, rest


def refuse_unknown(
    words: Sequence[str], command: str, own: Sequence[Setting], config_dir: str | Path | None
) -> None:
    """Raise ConfigError for a key without a dot that neither the command nor a run has."""
    known = [*(row.key for row in own), *all_keys(directories(config_dir))]
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        if key.isidentifier() and key not in known:
            near = nearest_key(key, known) or f"; wganbench list settings {command} shows its own"
            raise ConfigError(f"unknown key {key}{near}")


def folder_of(own: Mapping[str, str], default: str) -> Path:
    """Return the folder of the results, ``output_dir/name``. Raises ConfigError."""
    return check_output_dir(own["output_dir"]) / check_name("name", own.get("name", default))


def named(group: str, text: str, config_dir: str | Path | None) -> tuple[str, ...]:
    """Return the names in ``loss=bce,gp``, each once. Raises ConfigError for an unknown one."""
    known = choices(group, directories(config_dir))
    parts = (canonical(group, unquoted(part.strip()), known) for part in text.split(","))
    names = tuple(dict.fromkeys(part for part in parts if part))
    if not names:
        raise ConfigError(f"{group} is empty; give names such as {group}={','.join(known[:2])}")
    for name in names:
        if name not in known:
            raise ConfigError(unknown(group, name, known))
    return names


def whole(key: str, text: str, least: int, most: int) -> int:
    """Return a whole number in a range. Raises ConfigError."""
    value = int(text) if text.isdecimal() and len(text) < 10 else -1
    if not least <= value <= most:
        raise ConfigError(f"{key}={short_repr(text)}: give a whole number from {least} to {most}")
    return value


def positive(key: str, text: str) -> float:
    """Return a finite number above 0. Raises ConfigError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ConfigError(f"{key}={short_repr(text)}: give a number above 0; 0.25 is a quarter")
    return value


REFUSED = {
    "seed": "is set by the search: tuning seeds are 100 and up, and seeds=5 trains the winners on "
    "0 to 4",
    STEPS: "is set by the search: it follows from the compute, budget=0.25 gives a quarter of it",
    "tuned": "is set by the search, which looks for settings without those found before",
    "overwrite": "is set by the search; name=NAME searches anew in another folder",
    "experiment": "wins over tuned settings, so that it would hide those found; give its own as "
    "overrides",
}
"""Keys that no search takes, each with the reason or another way."""


def refuse_drawn(space: Space, overrides: Sequence[str]) -> None:
    """Raise ConfigError for an override of a key that the search itself sets or cannot take."""
    for word in overrides:
        key = word.partition("=")[0].lstrip("+~")
        if key in REFUSED:
            raise ConfigError(f"{key} {REFUSED[key]}")
        if key in {*space.draw, *space.fixed}:
            raise ConfigError(
                f"{key} is set by the search; change it in a space of your own (space=FILE.yaml)"
            )


def refuse_several(overrides: Sequence[str], config_dir: str | Path | None) -> None:
    """Raise ConfigError for an override with several values, which a sweep would train."""
    own = None if config_dir is None else str(config_dir)
    for word in parse_overrides(overrides, own, several=True).overrides:
        if read_override(word).is_sweep_override():
            raise ConfigError(f"{short_repr(word)}: give one value, which holds for all runs")


def penalties_of(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the names in ``loss.penalties=[r1,r2]``, which every loss of a search gets."""
    words = (word.lstrip("+").partition("=") for word in overrides)
    given = {key: value for key, _, value in words}.get("loss.penalties", "")
    return tuple(name for name in (part.strip("[]'\" ") for part in given.split(",")) if name)


def launcher_choice(arguments: Sequence[str], config_dir: str | Path | None) -> Choice:
    """Return the launcher of ``hydra/launcher=ray`` with its settings. Raises ConfigError."""
    name = dict(word.partition("=")[::2] for word in arguments).get(LAUNCHER, "stack")
    for word in arguments:
        key = word.partition("=")[0]
        if key != LAUNCHER and not key.startswith("hydra.launcher."):
            raise ConfigError(f"{key}: of Hydra's keys {LAUNCHER} and hydra.launcher.* can be set")
    known = choices(LAUNCHER, directories(config_dir))
    if name not in known:
        raise ConfigError(unknown(LAUNCHER, name, known))
    return compose_launcher(arguments, config_dir)
