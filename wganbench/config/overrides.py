"""Conversion of typed arguments to overrides that Hydra reads: common names, seeds, file names.

A second conversion changes nothing. Values that Hydra's grammar cannot read are quoted: the
schema then checks them, and files with unusual names are found.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from wganbench.config.flags import split_flags
from wganbench.config.schema import LossConfig
from wganbench.config.synonyms import canonical
from wganbench.errors import ConfigError, short_repr, shortened
from wganbench.plugin_files import use_plugins
from wganbench.presets import (
    GROUPS,
    all_keys,
    choices,
    defaults_of,
    directories,
    find_preset,
    read,
    searched_folders,
)
from wganbench.registry import unknown
from wganbench.typed import alias, nearest

PLACES = ("data.path", "data.root", "output_dir", "name")
"""Keys for names of files and folders, in which a comma may be part of the name."""

TEXTS = (*PLACES, "evaluate.features", "device", "sweep.objective")
"""Keys whose value is always text: ``name=1e5`` is not a number."""

LISTS_OF_TEXTS = ("data.columns",)
"""Keys whose value is a list of texts that may hold any character: ``data.columns=[x (m),y]``."""

MOST_CHARACTERS, LONGEST_NAME, DEEPEST = 20_000, 4096, 20
"""Bounds: characters of a word (a thousand mode centres) and of a name in it (a path), nesting."""

WITHOUT = {"experiment": "null", "tuned": "none"}
"""Groups that may be left out, with the choice that stands for none of them."""


@dataclass(frozen=True)
class Translated:
    """Overrides as Hydra reads them, and a line on each common name that was replaced."""

    overrides: list[str]
    notes: list[str]


def translate(overrides: Sequence[str], several: bool, where: Sequence[Path]) -> Translated:
    """Return the typed overrides in a form that Hydra reads.

    ``several`` values are allowed for `sweep`; ``where`` are the folders of YAML files. Raises
    ConfigError for a word that cannot be an override.
    """
    words: list[str] = []
    notes: list[str] = []
    for text in overrides:
        check_word(text)
        kept = removed(replacing(text), where)
        if kept.startswith("~loss."):
            words.append(kept)
            continue
        for one in seeds(kept, several):
            named, note = renamed(one, where)
            notes += [note] if note else []
            words.append(quoted(named, several, where))
    words = with_coefficients(words, where)
    # Hydra cannot choose no experiment, so `experiment=null` removes all earlier choices of one.
    experiments = [word for word in words if word.startswith("experiment=")]
    if experiments and experiments[-1] == "experiment=null":
        words = [word for word in words if word not in experiments]
    return Translated(words, notes)


def with_coefficients(words: Sequence[str], where: Sequence[Path]) -> list[str]:
    """Return the words so that Hydra adds the coefficients of ``loss.penalties`` to a loss.

    >>> with_coefficients(["loss.penalties=[r1]", "loss.r1_gamma=1"], directories())
    ['++loss.penalties=[r1]', '++loss.r1_gamma=1']
    """
    if not any(word.startswith("loss.penalties=") for word in words):
        return list(words)
    known = all_keys(where)
    return [
        f"++{word}" if word.startswith("loss.") and word.partition("=")[0] in known else word
        for word in words
    ]


def replacing(text: str) -> str:
    """Return ``+loss=gp`` without its plus: every group has a choice, which another replaces.

    >>> replacing("+experiment=demo"), replacing("+loss.gp_lambda=1")
    ('experiment=demo', '+loss.gp_lambda=1')
    """
    bare = text.lstrip("+")
    return bare if bare.partition("=")[0] in GROUPS else text


def check_word(text: str) -> None:
    """Raise ConfigError for a word that is too long, too deeply nested or holds a NUL."""
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"{short_repr(text)} has {len(text)} characters; "
            f"{MOST_CHARACTERS} are the most of a word"
        )
    if any(len(name) > LONGEST_NAME for name in re.split(r"[\[\](){},=]", text)):
        raise ConfigError(f"{short_repr(text)}: no value is longer than {LONGEST_NAME} characters")
    steps = ((mark in "[({") - (mark in "])}") for mark in text)
    if max(itertools.accumulate(steps), default=0) > DEEPEST:
        raise ConfigError(f"{short_repr(text)} is nested too deeply")
    if "\0" in text:
        raise ConfigError(f"{short_repr(text)} holds a NUL character")


EVERY_LOSS = tuple(f"loss.{one.name}" for one in fields(LossConfig))
"""Keys that every loss has; its others are coefficients."""


def removed(text: str, where: Sequence[Path]) -> str:
    """Return ``~tuned`` as ``tuned=none``. Raises ConfigError for a key that cannot be removed."""
    key = text.lstrip("~").partition("=")[0]
    if not text.startswith("~") or key.startswith("hydra"):
        return text
    if key in WITHOUT:
        return f"{key}={WITHOUT[key]}"
    known = all_keys(where)
    if key in known and key.startswith("loss.") and key not in EVERY_LOSS:
        return text  # a coefficient, perhaps of a penalty that an experiment adds
    if key in known:
        raise ConfigError(f"~{key}: {key} cannot be removed, every run has it; {key}=... sets it")
    raise ConfigError(f"~{short_repr(key)}: unknown key{suggestion(key, known)}")


def suggestion(key: str, known: Sequence[str]) -> str:
    near = alias(key, known) or nearest(key, known)
    return f"; did you mean {near}?" if near else ""


def seeds(text: str, several: bool) -> Iterator[str]:
    """Yield ``seeds=5`` and ``seed=0..4`` in the form that Hydra sweeps over.

    >>> list(seeds("seeds=5", True)), list(seeds("seed=2..4", True)), list(seeds("seeds=3,7", True))
    (['seed=range(0,5)'], ['seed=range(2,5)'], ['seed=3,7'])
    """
    key, _, value = text.partition("=")
    value = value.strip()
    through = re.fullmatch(r"(\d+)\s*\.\.\s*(\d+)", value)
    if key in ("seed", "seeds") and through:
        first, last = sorted(through.groups(), key=int)
        if first != through[1]:
            raise ConfigError(
                f"{shortened(text, 80)} holds no seed: {key}={first}..{last} is {first} to {last}"
            )
        meant = f"seed=range({through[1]},{int(through[2]) + 1})"
    elif key != "seeds":
        yield text
        return
    elif re.fullmatch(r"0+", value):
        raise ConfigError(f"{text} is no seed at all; seeds=1 is the seed 0")
    elif re.fullmatch(r"\d+", value):
        meant = f"seed=range(0,{value})"
    elif re.fullmatch(r"\[?\s*\d+(\s*,\s*\d+)*\s*\]?", value):
        meant = f"seed={value.strip('[] ')}"
    else:
        form = "seeds=5 is the seeds 0 to 4, seeds=3,7 those two"
        raise ConfigError(f"seeds={short_repr(value)}: {form}")
    if not several:
        raise ConfigError(
            f"{text} asks for several runs and train does one: wganbench sweep '{meant}', or seed=0"
        )
    yield meant


def renamed(text: str, where: Sequence[Path]) -> tuple[str, str | None]:
    """Return a choice under our name, and a line about it if a common name was replaced."""
    key, equals, value = text.partition("=")
    if key not in GROUPS or not equals:
        return text, None
    if key == "experiment" and value.strip().lower() in ("null", "none"):
        return "experiment=null", None
    if not re.fullmatch(r"[\w\-. ]+(,[\w\-. ]+)*", value):
        return text, None
    known = choices(key, where)
    names = [canonical(key, name.strip(), known) for name in value.split(",")]
    typed = [name.strip() for name in value.split(",")]
    if names == typed:
        return text, None
    others = [
        f"{key}={a} is {key}={b} here"
        for a, b in zip(typed, names, strict=True)
        if b not in (a, a.lower(), "none")
    ]
    return f"{key}={','.join(names)}", "; ".join(others) or None


def quoted(text: str, several: bool, where: Sequence[Path]) -> str:
    """Return the override, its value quoted if Hydra cannot read it or would misread it.

    In a sweep a comma is part of a file's name if such a file exists. Raises ConfigError for a
    word that is not an override.
    """
    found = re.fullmatch(r"(\+{0,2}[A-Za-z_][\w./@-]*)=(.*)", text, re.DOTALL)
    if found is None:
        raise ConfigError(malformed(text, where))
    key, value = found[1], found[2]
    bare = key.lstrip("+")
    override = read_override(text)
    if override is None and bare.startswith("hydra"):
        raise ConfigError(f"{short_repr(text)}: Hydra cannot read this value")
    if override is None or (bare in LISTS_OF_TEXTS and re.match(r"\s*\[", value)):
        parts = parts_of(bare, value, several)
        readable = f"{key}={','.join(as_text(part, bare) for part in parts)}"
        if read_override(readable) is None:
            raise ConfigError(malformed(text, where))
        return readable
    if bare in PLACES and override.is_sweep_override():
        name = not several or exists(value)
        return f"{key}={in_quotes(value)}" if name else text
    if bare in TEXTS and not override.is_sweep_override() and not keeps(override, value):
        return f"{key}={in_quotes(value)}"
    return text


def parts_of(key: str, value: str, several: bool) -> list[str]:
    """Return the values of a sweep, each of which may need quotes; else the value alone."""
    if several and key in PLACES and not exists(value):
        return value.split(",")
    if key in LISTS_OF_TEXTS:
        return re.split(r"(?<=\])\s*,\s*(?=\[)", value)
    return [value]


def as_text(value: str, key: str) -> str:
    """Return a value unchanged if Hydra can read it, else in quotes; of a list of texts each.

    Of these also what it would read as another text: ``1e5``, ``0.10`` and ``null`` are names.
    """
    found = re.fullmatch(r"\[(.*)\]", value.strip(), re.DOTALL)
    if found is not None and key in LISTS_OF_TEXTS:
        # A comma inside a pair of quotes does not separate.
        items = re.findall(r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^,])+""", found[1])
        return f"[{','.join(as_name(item.strip()) for item in items)}]"
    return value if read_override(f"{key}={value}") is not None else in_quotes(value)


def as_name(item: str) -> str:
    override = read_override(f"name={item}")
    kept = override is not None and override.value() is not None and keeps(override, item)
    return item if kept else in_quotes(item)


def keeps(override: Any, typed: str) -> bool:
    """Return whether Hydra reads the value as the same text that was typed."""
    from hydra.core.override_parser.types import QuotedString

    value = override.value()
    if isinstance(override._value, QuotedString) or value is None:
        return True
    if isinstance(value, bool):
        return False
    return str(value) == typed or (isinstance(value, str) and "\\" in typed)


def exists(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def read_override(text: str) -> Any:
    """Return an override as Hydra parses it; None if its grammar refuses it.

    Raises ConfigError for an override that is nested too deeply for the parser.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        (override,) = OverridesParser.create().parse_overrides([text])
    except HydraException:
        return None
    except RecursionError as error:
        raise ConfigError(f"{short_repr(text)} is nested too deeply") from error
    return override


def in_quotes(value: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(value, Quote.single).with_quotes()


def malformed(text: str, where: Sequence[Path]) -> str:
    """Return the message for an argument that is not an override."""
    for group in GROUPS:
        known = choices(group, where)
        name = canonical(group, text, known)
        if name in known:
            return f"{short_repr(text)} is no override; did you mean {group}={name}?"
    return (
        f"{short_repr(text)} is no override: overrides are KEY=VALUE, such as loss=gp or "
        "train.steps=100"
    )


# The typed flags and overrides, checked before Hydra acts on them.
LONGEST_CHOICE = 100
"""Characters of a name in conf/; Hydra would look for a file of any length of name."""


@dataclass(frozen=True)
class Arguments:
    """A command line: its overrides, the choices in them, and the folders of YAML files.

    ``flags`` are Hydra's own; ``notes`` are lines on the common names that were replaced.
    """

    overrides: list[str]
    chosen: dict[str, str]
    where: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """Overrides and flags in the order that Hydra needs."""
        return [*self.overrides, *self.flags]


def parse_arguments(arguments: Sequence[str], several: bool = False) -> Arguments:
    """Return a parsed command line of flags and overrides.

    ``several`` is true for `sweep`. Raises ConfigError, also if `train` is asked for a sweep.
    """
    found = split_flags(arguments, several)
    if "--multirun" in found.flags and not several:
        refuse_sweep("-m", found.overrides)
    parsed = parse_overrides(found.overrides, found.config_dir, several)
    flags = [flag for flag in found.flags if flag != "--multirun"]
    note = unused_sweep(parsed, several)
    notes = (*parsed.notes, *([note] if note else []))
    return replace(parsed, flags=tuple(flags), notes=notes)


def unused_sweep(parsed: Arguments, several: bool) -> str | None:
    """Return a line on an experiment's own sweep, which `train` does not run.

    Raises ConfigError for one among several experiments: Hydra would leave its sweep out.
    """
    words = [word for word in parsed.overrides if word.startswith("experiment=")]
    for name in words[-1].partition("=")[2].split(",") if words else ():
        path = find_preset("experiment", name, parsed.where)
        hydra = read(path).get("hydra") if path else None
        sweeper = hydra.get("sweeper") if isinstance(hydra, dict) else None
        swept = sweeper.get("params") if isinstance(sweeper, dict) else None
        if not isinstance(swept, dict):
            continue
        keys = ", ".join(map(str, swept))
        if not several:
            return f"experiment={name} sweeps over {keys}, train does one run; sweep does all"
        if "," in words[-1]:
            raise ConfigError(
                f"experiment={name} has a sweep of its own, over {keys}, which is left out among "
                "several experiments: sweep over it alone"
            )
    return None


def parse_overrides(
    overrides: Sequence[str], config_dir: str | None = None, several: bool = False
) -> Arguments:
    """Return parsed overrides without flags; ``plugins=FILE`` takes effect here.

    ``config_dir`` is a folder of the user's YAML files; without it, those of the command that
    runs now are searched. Raises ConfigError for a malformed override, and for a sweep unless
    ``several``.
    """
    from hydra.core.override_parser.types import ChoiceSweep, Glob

    overrides = use_plugins(overrides)
    where = searched_folders() if config_dir is None else directories(config_dir)
    words = translate(overrides, several, where)
    chosen: dict[str, str] = {}
    for text in words.overrides:
        override = read_override(text)
        key = override.key_or_group
        asks_for_several = override.is_sweep_override() or key == "hydra.mode"
        if asks_for_several and not several:
            refuse_sweep(text, overrides)
        if key == "hydra.job.chdir" and override.value():
            raise ConfigError(
                f"{text}: runs stay in the folder of the command, where its paths and those that "
                "it prints begin"
            )
        if key not in GROUPS:
            continue
        value = override.value()
        names = override._convert_value(value.list) if isinstance(value, ChoiceSweep) else [value]
        if override.is_delete() or isinstance(value, Glob):
            continue
        if not all(isinstance(name, str) for name in names):
            raise ConfigError(
                f"{short_repr(text)}: {key} is chosen by a name, such as "
                f"{key}={choices(key, where)[0]}, "
                f"and several are swept over: wganbench sweep {key}=A,B"
            )
        long = next((name for name in names if len(name) > LONGEST_CHOICE), None)
        if long is not None:
            raise ConfigError(unknown(key, long, choices(key, where)))
        if key == "tuned":
            check_tuned(names, where)
        if not asks_for_several:
            chosen[key] = str(value)
    chosen = experiment_choices(chosen, where) | chosen
    return Arguments(words.overrides, chosen, where, tuple(words.notes))


def check_tuned(names: Iterable[str], where: Sequence[Path]) -> None:
    """Raise ConfigError for tuned settings that were chosen and do not exist.

    The entry in config.yaml is optional, so that Hydra passes over a missing file.
    """
    known = choices("tuned", where)
    for name in names:
        if name not in known:
            shown = "tuned=none takes the paper's settings; `wganbench list tuned` shows all"
            raise ConfigError(unknown("tuned", name, known, shown))


def refuse_sweep(what: str, overrides: Iterable[str]) -> NoReturn:
    words = " ".join(f"'{text}'" if set(text) & set("()[]{} *$") else text for text in overrides)
    raise ConfigError(
        f"{shortened(what, 80)} asks for several runs and train does one; "
        f"use: wganbench sweep {words}"
    )


def experiment_choices(chosen: dict[str, str], where: Sequence[Path]) -> dict[str, str]:
    """Return the choices in the defaults lists of the chosen experiment and of those it names."""
    names, seen, found = [chosen.get("experiment")], set[str | None](), dict[str, str]()
    while names:
        name = names.pop(0)
        path = find_preset("experiment", str(name), where)
        if path is None or name in seen:
            continue
        seen.add(name)
        entries = defaults_of(path)
        names += [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]
        pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
        found = {group_of(str(key)): str(value) for key, value in pairs} | found
    return found


def group_of(key: str) -> str:
    """Return the group of an entry of a defaults list, such as ``override /loss``."""
    return key.removeprefix("override ").lstrip("/")
