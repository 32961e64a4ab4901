"""Every setting of a run in words, for ``wganbench list settings`` and conf/README.md.

Meanings are the comments of the YAML files, defaults their values, ranges the metadata of the
dataclasses. Nothing is repeated here.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wganbench.bounds import RANGES
from wganbench.config.check import FINITE
from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError
from wganbench.output import markdown_table
from wganbench.presets import (
    choices,
    conf_directory,
    content_of,
    default_choice,
    describe_preset,
    is_global,
    preset_files,
    read_values,
    readable_values,
)
from wganbench.registry import unknown
from wganbench.typed import as_override, choices_of, last_word

RUN = "run"
SECTIONS = (
    RUN, "loss", "train", "data", "network", "evaluate", "log", "checkpoint", "sweep", "launcher",
)  # fmt: skip
"""The groups of settings; keys of config.yaml without a group belong to ``run``."""

CHOSEN = ("loss", "data", "network")
"""Groups whose keys and values depend on the choice ``group=name``."""

LAUNCHER = "hydra/launcher"
NAMES = ("name", "kind")
"""Keys by which the file of a choice names itself; users do not set them."""

MANY = 5
"""From this many numbers on a list is counted and not written out."""


@dataclass(frozen=True)
class Setting:
    """A key with its meaning, its default and its range."""

    key: str
    meaning: str
    default: str
    range: str


def settings(group: str, where: Sequence[Path] = ()) -> list[Setting]:
    """Return the settings of one of `SECTIONS`; raises ConfigError for another name.

    ``where`` are the searched folders of YAML files, by default ours alone. Imports torch for
    ``network``, whose options are defined beside the modules.
    """
    if group not in SECTIONS:
        raise ConfigError(unknown("group of settings", group, list(SECTIONS)))
    where = where or [conf_directory()]
    if group in CHOSEN:
        return [*chosen_settings(group, where), *base_settings(group)]
    if group == "train":
        return train_settings(where)
    if group == "launcher":
        return launcher_settings(where)
    return base_settings(group)


def base_settings(group: str) -> list[Setting]:
    """Return the settings in config.yaml of a group, or (``run``) those without a group."""
    path = conf_directory() / "config.yaml"
    prefix = "" if group == RUN else f"{group}."
    cls = RunConfig if group == RUN else section(group)
    meanings = comments(path)
    ranges = option_ranges(group) if group in CHOSEN else {}
    return [
        Setting(
            key,
            meanings.get(key, ""),
            shown(value),
            ranges.get(last_word(key)) or field_range(cls, last_word(key)),
        )
        for key, value in read_values(path, "")
        if key.startswith(prefix) and ("." in key) == (group != RUN)
    ]


def train_settings(where: Sequence[Path]) -> list[Setting]:
    """Return the settings in train/default.yaml; defaults of the losses' papers replace its own."""
    path = conf_directory() / "train" / "default.yaml"
    meanings = comments(path, "train.")
    by_loss = preset_tables("loss", where)
    rows = []
    for key, value in read_values(path, "train."):
        own = {name: table[key] for name, table in by_loss.items() if key in table}
        default = by_choice(own, by_loss) if own else shown(value)
        range_ = field_range(section("train"), last_word(key))
        rows.append(Setting(key, meanings.get(key, ""), default, range_))
    return rows


def chosen_settings(group: str, where: Sequence[Path]) -> list[Setting]:
    """Return the settings of all choices of a group, each with the choices that set it."""
    tables = preset_tables(group, where)
    meanings: dict[str, str] = {}
    paths = {path.stem: path for path in preset_files(group, where)}
    for name in tables:
        prefix = "" if is_global(paths[name]) else f"{group}."
        meanings = comments(paths[name], prefix) | meanings
    own = [key for table in tables.values() for key in table if key.startswith(f"{group}.")]
    keys = [key for key in dict.fromkeys(own) if last_word(key) not in NAMES]
    ranges = option_ranges(group)
    other = in_words(float, FINITE) if group == "loss" else ""  # a coefficient of the user's
    return [
        Setting(
            key,
            meanings.get(key, ""),
            by_choice({name: row[key] for name, row in tables.items() if key in row}, tables),
            ranges.get(last_word(key), other),
        )
        for key in keys
    ]


def launcher_settings(where: Sequence[Path]) -> list[Setting]:
    """Return the options of the cluster launchers, which Hydra checks by their type."""
    rows = []
    for path in preset_files(LAUNCHER, where):
        meanings = comments(path, "hydra.launcher.")
        for name, value in readable_values(LAUNCHER, path.stem, where).items():
            key = name.replace("/", ".")
            if last_word(key) != "_target_":
                default, range_ = f"{shown(value)} ({path.stem})", LIKE.get(type(value), "")
                rows.append(Setting(key, meanings.get(key, ""), default, range_))
    return rows


def preset_tables(group: str, where: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return the values of each choice of a group by dotted key, the default choice first."""
    first = default_choice(group)
    names = sorted(choices(group, where), key=lambda name: (name != first, name))
    tables = {name: readable_values(group, name, where) for name in names}
    return {name: table for name, table in tables.items() if table}


def by_choice(values: Mapping[str, Any], every: Collection[str]) -> str:
    """Return the value that all choices share, or each value with the choices that have it.

    >>> by_choice({"gp": 5, "bce": 1, "clip": 5}, ["bce", "clip", "gp"])
    '5 (gp, clip); 1 (bce)'
    """
    names: dict[str, list[str]] = {}
    for name, value in values.items():
        names.setdefault(shown(value), []).append(name)
    if len(names) == 1 and len(values) == len(every):
        return next(iter(names))
    return "; ".join(f"{value} ({', '.join(own)})" for value, own in names.items())


# Meanings: the comments of a YAML file.
def comments(path: Path, prefix: str = "") -> dict[str, str]:
    """Return the comment after each dotted key, joined with the comment lines below it."""
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    last = ""
    for line in content_of(path).decode(errors="replace").splitlines():
        more = re.fullmatch(r"\s+# (.*)", line)
        if more and last in found:
            found[last] += f" {more[1].strip()}"
            continue
        entry = re.match(r"(\s*)([\w]+):(.*)", line)
        if entry is None:
            continue
        indent, name = len(entry[1]), entry[2]
        parents = [(depth, parent) for depth, parent in parents if depth < indent]
        last = prefix + ".".join([*(parent for _, parent in parents), name])
        parents.append((indent, name))
        _, mark, text = entry[3].partition(" # ")
        if mark:
            found[last] = text.strip()
    return found


def shown(value: Any) -> str:
    """Return a default as an override would hold it, with numbers in short form.

    >>> shown([0.5, 0.9]), shown(5e-5), shown(None), shown([[1.0, 0.0], [0.0, 1.0]])
    ('[0.5,0.9]', '5e-05', 'null', '2 lists of 2')
    """
    if isinstance(value, list) and value and isinstance(value[0], list):
        return f"{len(value)} lists of {len(value[0])}"
    if isinstance(value, list) and len(value) >= MANY:
        return f"{len(value)} numbers"
    return as_override(value, ".4g")


# Ranges: the types and the metadata of the dataclasses.
def section(group: str) -> type:
    """Return the dataclass of a group of the configuration."""
    return typing.cast(type, typing.get_type_hints(RunConfig)[group])


def option_ranges(group: str) -> dict[str, str]:
    """Return the ranges of a chosen group's keys, by the last word of the key."""
    if group == "loss":
        from wganbench.losses import RECIPES
        from wganbench.losses.constraints import TERMS

        own = {"n_critic": field_range(section("loss"), "n_critic")}
        own["penalties"] = f"list of {either(list(TERMS))}"
        ranges = [pair for recipe in RECIPES.values() for pair in recipe.ranges.items()]
        return own | {name: in_words(float, metadata) for name, metadata in ranges}
    rows: Iterable[tuple[str, Any]]
    if group == "data":
        from wganbench.data import DATASETS

        rows = DATASETS.items()
    else:
        from wganbench.networks import NETWORKS

        rows = NETWORKS.items()
    found: dict[str, dict[str, list[str]]] = {}
    for kind, row in rows:
        for field in dataclasses.fields(row.options):
            kinds = found.setdefault(field.name, {})
            kinds.setdefault(field_range(row.options, field.name), []).append(kind)
    return {name: by_kind(ranges) for name, ranges in found.items()}


def by_kind(ranges: Mapping[str, Sequence[str]]) -> str:
    """Return ranges in words, each with the kinds that have it where there are several.

    >>> by_kind({"number": ["ring"]}), by_kind({"1 to 5": ["ring", "grid"], "1 to 3": ["funnels"]})
    ('number', '1 to 5 (ring, grid); 1 to 3 (funnels)')
    """
    if len(ranges) == 1:
        return next(iter(ranges))
    return "; ".join(f"{text} ({', '.join(kinds)})" for text, kinds in ranges.items())


def field_range(cls: type, name: str) -> str:
    """Return the range of a dataclass field in words; empty for an unknown field."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if name not in fields:
        return ""
    return in_words(typing.get_type_hints(cls)[name], fields[name].metadata)


KINDS: dict[Any, str] = {int: "whole number", float: "number", str: "text", bool: "true or false"}
LIKE = {int: KINDS[int], str: KINDS[str], list: "list", dict: "mapping", type(None): "text or null"}
"""The accepted type, by the type of the default, for keys without a dataclass."""

PLAIN = 1e5
"""The largest whole bound that is written without an exponent."""


def in_words(hint: Any, metadata: Mapping[str, Any]) -> str:
    """Return a type and its bounds in words.

    >>> in_words(int, {"least": 1}), in_words(float | None, {"above": 0, "below": 1})
    ('whole number, at least 1', 'number, above 0, below 1, or null')
    >>> in_words(typing.Literal["adam", "sgd"], {}), in_words(list[float], {"length": 2})
    ('adam or sgd', '2 numbers')
    """
    if choices_of(hint, metadata):
        return ", ".join([either(choices_of(hint, metadata)), *or_null(hint)])
    kind = kind_in_words(hint, metadata.get("length"))
    return ", ".join([kind, *bounds_in_words(metadata), *or_null(hint)])


def either(names: Sequence[object]) -> str:
    """Return the choices in words.

    >>> either(["adam", "sgd", "rmsprop"]), either([1, 3])
    ('adam, sgd or rmsprop', '1 or 3')
    """
    *rest, last = map(str, names)
    return f"{', '.join(rest)} or {last}" if rest else last


def bounds_in_words(metadata: Mapping[str, Any]) -> list[str]:
    """Return bounds in words.

    >>> bounds_in_words({"least": 1, "most": 10**9}), bounds_in_words({"above": 0, "most": 1e6})
    (['1 to 1e9'], ['above 0', 'at most 1e6'])
    """
    own = {name: number(metadata[name]) for name in RANGES if name in metadata}
    if "least" in own and "most" in own:
        return [f"{own['least']} to {own['most']}"]
    return [f"{RANGES[name][0]} {bound}" for name, bound in own.items()]


def number(bound: float) -> str:
    """Return a bound as text, with an exponent if it is large or not whole."""
    if bound == int(bound) and abs(bound) <= PLAIN:
        return str(int(bound))
    return re.sub(r"e([+-])0*", lambda sign: "e" + sign[1].strip("+"), f"{bound:.4g}")


def kind_in_words(hint: Any, length: int | None = None) -> str:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind_in_words(one) for one in typing.get_args(hint) if one is not type(None)]
        return " or ".join(kinds)
    if typing.get_origin(hint) is list:
        (item,) = typing.get_args(hint)
        if typing.get_origin(item) is list:
            return "list of lists of numbers"
        return f"{length} {KINDS[item]}s" if length else f"list of {KINDS[item]}s"
    return KINDS[hint]


def or_null(hint: Any) -> list[str]:
    return ["or null"] if type(None) in typing.get_args(hint) else []


# Settings and choices as Markdown.
def settings_markdown() -> str:
    """Return all settings as Markdown: a section with a table for each group."""
    return "\n".join(_section(group) for group in SECTIONS)


def _section(group: str) -> str:
    rows = [[f"`{row.key}`", row.meaning, row.default, row.range] for row in settings(group)]
    table = markdown_table(["key", "meaning", "default", "accepts"], rows)
    return "\n".join([f"### {group}", "", *table, ""])


def presets_markdown() -> str:
    """Return every choice as Markdown: a table per group, from the head comments of the files."""
    return "\n".join(_choices(group) for group in PRESETS)


PRESETS = ("loss", "data", "network", "experiment", "study", "tuned")


def _choices(group: str) -> str:
    between = " " if group == "study" else "="
    rows = []
    for name in choices(group, [conf_directory()]):
        text, _, source = describe_preset(group, name).partition("Source:")
        rows.append([f"`{group}{between}{name}`", text.strip(), source.strip()])
    table = markdown_table(["choice", "what it is", "source"], rows)
    return "\n".join([f"### {group}", "", *table, ""])
