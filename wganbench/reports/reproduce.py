"""Reproduction of the compared runs: versions, seeds, and the commands that train them again.

Folders may come from a stranger. YAML is read as plain data. No command is given where an
override is malformed or a terminal would not print it as it is.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from wganbench.errors import printable
from wganbench.files import read_regular
from wganbench.reports.comparison import Comparison, usual_metrics
from wganbench.reports.groups import choose_keys
from wganbench.runs.record import RunRecord, shown

LARGEST = 200_000
"""The most bytes of YAML that are read, which takes seconds; Hydra's files have a few thousand."""


class WithoutAliases(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
    """A loader of plain data that refuses aliases, as nested ones can expand without bound."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias, of which Hydra writes none")
        return super().compose_node(parent, index)


def versions_of(runs: Sequence[RunRecord]) -> dict[str, tuple[str, ...]]:
    """Return the distinct versions of packages, and the devices, in the runs' run.json."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        pairs = dict(run.versions or {})
        if run.device:
            pairs["device"] = run.device
        for package, version in pairs.items():
            known = found.setdefault(shown(package), {})
            known[shown(version)] = None
    return {package: tuple(known) for package, known in found.items()}


def sweep_commands(runs: Iterable[RunRecord], paths: Iterable[str]) -> dict[Path, str]:
    """Return the last `wganbench sweep` command of each folder with Hydra's multirun.yaml."""
    folders = dict.fromkeys([*(Path(path).resolve() for path in paths), *parents(runs)])
    found = {folder: sweep_command(folder / "multirun.yaml") for folder in folders}
    return {folder: command for folder, command in found.items() if command}


def train_commands(runs: Iterable[RunRecord], swept: Iterable[Path]) -> list[str]:
    """Return the known `wganbench train` commands of runs outside the folders of sweeps."""
    folders = set(swept)
    alone = [run for run in runs if run.path.parent not in folders]
    commands = [train_command(run.path / ".hydra" / "overrides.yaml") for run in alone]
    return [command for command in commands if command]


def parents(runs: Iterable[RunRecord]) -> list[Path]:
    return list(dict.fromkeys(run.path.parent for run in runs))


def sweep_command(file: Path) -> str:
    """Return the command in a multirun.yaml; empty if the file is missing or not Hydra's."""
    content: Any = read_yaml(file)
    for key in ("hydra", "overrides"):
        content = content.get(key) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        return ""
    task, hydra = content.get("task"), content.get("hydra")
    chosen = [word for word in hydra or [] if word != "hydra.mode=MULTIRUN"]
    return command("sweep", [*(task or []), *chosen]) if isinstance(task, list) else ""


def train_command(file: Path) -> str:
    """Return the command in an overrides.yaml; empty if the file is missing or not Hydra's."""
    content = read_yaml(file)
    return command("train", content) if isinstance(content, list) else ""


def command(verb: str, overrides: Sequence[Any]) -> str:
    """Return a command quoted for a shell; empty if a word is a flag or not printable text.

    >>> command("sweep", ["loss=bce,gp", "seed=range(0,5)"])
    "wganbench sweep loss=bce,gp 'seed=range(0,5)'"
    >>> command("train", ["--config-dir=/tmp/x"])
    ''
    """
    for word in overrides:
        if not isinstance(word, str) or not word.isprintable() or word.startswith("-"):
            return ""
    return shlex.join(["wganbench", verb, *overrides])


def read_yaml(file: Path) -> Any:
    """Return the plain data of a YAML file; None if it cannot be read."""
    try:
        text = read_regular(file, LARGEST).decode()
        return yaml.load(text, WithoutAliases)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def compare_command(comparison: Comparison) -> str:
    """Return the command that makes this comparison, without default options."""
    runs, words = comparison.runs, ["wganbench", "compare", *comparison.paths]
    keys = [key for key, _ in comparison.rows[0].group.values]
    if keys != (choose_keys(runs) or ["loss.name"]):
        words += [word for key in keys for word in ("--by", key)]
    usual = usual_metrics(runs)
    if comparison.metrics != usual:
        words += [word for metric in comparison.metrics for word in ("--metric", metric)]
    if comparison.at:
        words += ["--at", f"{comparison.at.budget}={comparison.at.amount!r}"]
    if comparison.baseline is not None:
        words += ["--baseline", comparison.baseline]
    return shlex.join(printable(word) for word in words)


def seeds_text(seeds: Iterable[int]) -> str:
    """Return seeds as text, with consecutive ones as ranges.

    >>> seeds_text([0, 1, 2, 3, 7, 9, 10])
    '0 to 3, 7, 9, 10'
    """
    spans: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if spans and seed == spans[-1][-1] + 1:
            spans[-1].append(seed)
        else:
            spans.append([seed])
    return ", ".join(
        f"{span[0]} to {span[-1]}" if len(span) > 2 else ", ".join(map(str, span)) for span in spans
    )
