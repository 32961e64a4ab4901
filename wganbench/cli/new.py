"""The command new: files for a loss, a data set, a network or a metric of the user's own."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated

import typer

from wganbench.cli.console import PlainConsole
from wganbench.errors import ConfigError, of_the_system, short_repr
from wganbench.files import write_atomic
from wganbench.presets import preset_names
from wganbench.registry import unknown

KINDS = ("loss", "data", "network", "metric")
HEAD = "=== "


def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="loss, data, network or metric.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, such as mine.")],
    into: Annotated[Path, typer.Option("--into", help="The folder of the files.")] = Path("."),
) -> None:
    """Write files for your own loss, data, network or metric.

    They are code, a YAML file with its settings (a metric has none), and a test.
    """
    write_new(kind, name, into)


def write_new(kind: str, name: str, folder: Path) -> None:
    """Write the files of ``templates/<kind>.txt`` for a name; print them and the next command.

    Raises ConfigError for an unknown kind, a name that cannot be a module's or is taken, a file
    that exists, and a folder that cannot be written: no file is left then.
    """
    if kind not in KINDS:
        raise ConfigError(unknown("kind", kind, list(KINDS)))
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"{short_repr(name)}: give a name of up to 41 small letters, digits and _, "
            "which is no word of Python's, such as mine"
        )
    files = {folder / path: text for path, text in filled(kind, name).items()}
    for path in files:
        if path.exists() or path.is_symlink():
            raise ConfigError(f"{path} exists already: give another name, or another --into")
    check_free(kind, name)
    written: list[Path] = []
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text.encode())
            written.append(path)
    except OSError as error:
        for path in written:  # the next try would find them
            path.unlink()
        raise ConfigError(f"--into: {of_the_system(error)}") from error
    console = PlainConsole()
    for path in files:
        console.print(f"written:  {path}", soft_wrap=True)
    code = shlex.quote(f"{folder / name}.py")
    choice = "loss=gp" if kind == "metric" else f"{kind}={name}"
    console.print(f"train:    wganbench train {choice} plugins={code}", soft_wrap=True)
    there = "" if folder == Path(".") else f"cd {shlex.quote(str(folder))} && "
    console.print(f"test:     {there}python -m pytest test_{name}.py", soft_wrap=True)


def check_free(kind: str, name: str) -> None:
    """Raise ConfigError for the name of an installed module, and for one that the kind has."""
    here = {"", str(Path.cwd())}
    elsewhere = [place for place in sys.path if place not in here]
    if name in sys.stdlib_module_names or PathFinder.find_spec(name, elsewhere) is not None:
        raise ConfigError(f"{name}.py would hide the installed module {name}: give another name")
    if name in taken(kind):
        raise ConfigError(f"there is a {kind} {name} already: give another name")


def taken(kind: str) -> set[str]:
    """Return the names that a kind has: rows of its registry and presets."""
    from wganbench.data import DATASETS
    from wganbench.losses import RECIPES
    from wganbench.metrics import METRICS
    from wganbench.networks import NETWORKS

    kinds: dict[str, Mapping[str, object]] = {
        "loss": RECIPES, "data": DATASETS, "network": NETWORKS, "metric": METRICS,
    }  # fmt: skip
    return {*kinds[kind], *(preset_names(kind) if kind != "metric" else ())}


def filled(kind: str, name: str) -> dict[str, str]:
    """Return the files of a kind for a name: text by relative path."""
    template = (Path(__file__).parent / "templates" / f"{kind}.txt").read_text()
    files: dict[str, str] = {}
    for part in template.replace("NAME", name).removeprefix(HEAD).split(f"\n{HEAD}"):
        path, _, text = part.partition("\n")
        files[path.strip()] = text.rstrip("\n") + "\n"
    return files
