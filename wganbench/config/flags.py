"""Hydra's own flags on a command line: splitting them off, and checking which may be used."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from wganbench.errors import ConfigError, short_repr
from wganbench.presets import all_keys, directories, user_folder
from wganbench.typed import alias, nearest

NOT_OURS = {
    "--experimental-rerun": "it would run what a pickled file says",
    "--shell-completion": "wganbench --install-completion does it for your shell",
    "--version": "wganbench --version prints the version",
    "--config-path": "--config-dir DIR adds YAML files of your own",
    "--config-name": "--config-dir DIR adds YAML files of your own",
}
"""Flags of Hydra that are refused, with the reason or a replacement."""

ONE_RUN = ("--cfg", "--info", "--run", "--hydra-help")
"""Flags that only `train` accepts."""


@dataclass(frozen=True)
class Flags:
    """The parts of a command line: overrides, Hydra's flags in a fixed order, YAML folder."""

    overrides: list[str]
    flags: list[str]
    config_dir: str | None


def split_flags(words: Sequence[str], several: bool) -> Flags:
    """Split ``words``, typed in any order, into overrides and Hydra's flags.

    ``several`` is true for `sweep`. Raises ConfigError for an unknown or refused flag; the
    message suggests a similar override if there is one.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.allow_abbrev = False
    setattr(parser, "error", refuse)  # noqa: B010  (argparse would print its usage and exit)
    options = {name: action for action in parser._actions for name in action.option_strings}
    check_flags(words, options)
    found = parser.parse_intermixed_args(list(words))
    if found.config_dir is not None:
        found.config_dir = str(user_folder(found.config_dir))
    given = [
        action
        for action in parser._actions
        if action.option_strings and getattr(found, action.dest, action.default) != action.default
    ]
    names = [action.option_strings[0] for action in given]
    alone = [name for name in names if name in ONE_RUN]
    if len(alone) > 1:
        raise ConfigError(f"{alone[0]} and {alone[1]} are two things to print: give one of them")
    if "--package" in names and "--cfg" not in names:
        raise ConfigError("--package (-p) names a part for --cfg to print; give --cfg job as well")
    if "--resolve" in names and found.cfg == "hydra":
        raise ConfigError(
            "--cfg hydra --resolve: Hydra's part refers to keys of the run; use --cfg all --resolve"
        )
    if several:
        wrong = next((name for name in names if name in ONE_RUN), None)
        if wrong:
            raise ConfigError(
                f"{wrong} is about one run: wganbench train ... {wrong}; --plan says what a sweep "
                "would do"
            )
    flags: list[str] = []
    for action in given:
        value = [] if action.nargs == 0 else [str(getattr(found, action.dest))]
        flags += [action.option_strings[0], *value]
    return Flags(list(found.overrides), flags, found.config_dir)


def refuse(message: str) -> None:
    raise ConfigError(message)


def check_flags(words: Sequence[str], options: dict[str, argparse.Action]) -> None:
    """Raise ConfigError for the first word that starts with a dash and is not a flag we accept."""
    i = 0
    while i < len(words):
        name, equals, _ = words[i].partition("=")
        action = options.get(name) if name.startswith("--") or not equals else None
        if not words[i].startswith("-"):
            i += 1
            continue
        if action is None:
            following = words[i + 1] if i + 1 < len(words) else ""
            raise ConfigError(unknown_flag(words[i], following, list(options)))
        reason = NOT_OURS.get(action.option_strings[0])
        if reason:
            raise ConfigError(f"{name} is not used here: {reason}")
        i += 2 if action.nargs is None and not equals else 1


SHORT = re.compile(r"-([cprmih]|sc|cp|cn|cd)")


def check_short(word: str) -> None:
    """Raise ConfigError for a word with one dash that is not a flag of Hydra."""
    if not SHORT.fullmatch(word):
        raise ConfigError(unknown_flag(word, "", []))


def unknown_flag(word: str, following: str, known: Sequence[str]) -> str:
    """Return the message for an unknown flag; it suggests a similar override or flag.

    >>> unknown_flag("--seed", "3", []), unknown_flag("-precision=bf16", "", [])
    ("'--seed' is no flag; did you mean seed=3?", "'-precision=bf16' is no flag; did you mean \
precision=bf16?")
    """
    name, equals, value = word.lstrip("-").partition("=")
    if not equals and following and not following.startswith("-") and "=" not in following:
        value = following
    keys, key = all_keys(directories()), name.replace("-", "_")
    meant = key if key in keys else alias(key, keys) or near_key(key, keys, value)
    flag = difflib.get_close_matches(word.partition("=")[0], known, n=1, cutoff=0.75)
    if meant is not None and (key in keys or not flag):
        typed = " ".join(f"{one}={value or '...'}" for one in meant.split(" and "))
        return f"{short_repr(word)} is no flag; did you mean {typed}?"
    if flag:
        return f"{short_repr(word)} is no flag; did you mean {flag[0]}?"
    form = "settings are KEY=VALUE, such as loss=gp or train.steps=100"
    return f"{short_repr(word)} is no flag; {form}"


def near_key(key: str, keys: Sequence[str], value: str) -> str | None:
    """Return the key most similar to a flag with a value; None without a value."""
    return nearest(key, keys) if value and re.fullmatch(r"[\w.]{2,40}", key) else None
