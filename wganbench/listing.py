"""What ``wganbench list`` prints: every choice with a line and its source, and every setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path

from wganbench.errors import ConfigError
from wganbench.presets import head_lines
from wganbench.registry import unknown

LISTINGS = {
    "losses": "loss",
    "data": "data",
    "networks": "network",
    "metrics": "",
    "experiments": "experiment",
    "studies": "study",
    "tuned": "tuned",
    "settings": "",
}
"""What can be listed, and the folder of conf/ that holds it."""

WHEN_ASKED = ("tuned", "settings")
"""Listings that ``wganbench list`` alone leaves out: they are long."""

ARROWS = {"up": "higher is better", "down": "lower is better", "target": "best at its target"}

Row = tuple[str, ...]
"""Name, what it is, and what stands below: its source, or default and range."""


def print_listing(
    what: str | None, group: str | None = None, config_dir: Path | None = None
) -> None:
    """One listing, or all but the long ones.

    ``group`` is one of the settings; ``config_dir`` adds a folder of the user's own YAML files.
    Raises ConfigError for a name that is none.
    """
    if what is not None and what not in LISTINGS:
        raise ConfigError(unknown("listing", what, list(LISTINGS)))
    if group is not None and what != "settings":
        raise ConfigError(f"only settings have groups: wganbench list settings {group}")
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(f"--config-dir {config_dir} is not a folder")
    if what == "settings":
        print_settings(group)
        return
    for name in [one for one in LISTINGS if one not in WHEN_ASKED] if what is None else [what]:
        print_rows(name, rows_of(name, config_dir))
    if what is None:
        print("also: wganbench list tuned, wganbench list settings [GROUP]")


def rows_of(name: str, config_dir: Path | None) -> list[Row]:
    if name == "metrics":
        return metric_rows()
    if name == "tuned":
        return tuned_rows(config_dir)
    return [*preset_rows(LISTINGS[name], config_dir), *plugin_rows(name, config_dir)]


def preset_rows(group: str, config_dir: Path | None = None) -> list[Row]:
    """``(name, what it is, source)`` of every YAML file of a group, from its head comment."""
    rows: list[Row] = []
    for path in preset_files(group, config_dir):
        text, _, source = " ".join(head_lines(path)).partition("Source:")
        name = path.stem if group == "study" else f"{group}={path.stem}"
        rows.append((name, text.strip(), source.strip()))
    return rows


def preset_files(group: str, config_dir: Path | None) -> list[Path]:
    """The YAML files of a group, those of the user's own folder included, by name."""
    from wganbench.config.keys import directories

    files = [path for where in directories(config_dir) for path in (where / group).glob("*.yaml")]
    return sorted({path.stem: path for path in reversed(files)}.values(), key=lambda p: p.stem)


def tuned_rows(config_dir: Path | None) -> list[Row]:
    """``(name, how it was found, the settings)`` of every file of tuned settings."""
    from wganbench.config.completion import shown
    from wganbench.config.keys import read_values

    rows: list[Row] = []
    for path in preset_files("tuned", config_dir):
        text = " ".join(line for line in head_lines(path) if not line.startswith("python "))
        values = " ".join(f"{key}={shown(value)}" for key, value in read_values(path, ""))
        rows.append((f"tuned={path.stem}", text, values))
    return rows


def plugin_rows(name: str, config_dir: Path | None) -> list[Row]:
    """Rows that installed packages add to a registry and that have no YAML file."""
    if name == "experiments" or not entry_points(group=f"wganbench.{name}"):
        return []
    rows: list[Row] = []
    if name == "losses":
        from wganbench.losses import RECIPES

        rows = [(f"loss.name={key}", row.summary, row.source) for key, row in RECIPES.items()]
    elif name == "data":
        from wganbench.data import DATASETS

        rows = [(f"data.kind={key}", row.summary, row.source) for key, row in DATASETS.items()]
    elif name == "networks":
        from wganbench.networks import NETWORKS

        rows = [(f"network.kind={key}", row.summary, row.source) for key, row in NETWORKS.items()]
    elif name == "studies":
        from wganbench.studies import STUDIES

        rows = [(key, study.question, "") for key, study in STUDIES.items()]
    own = {key for path in preset_files(LISTINGS[name], config_dir) for key in kinds(path)}
    return [row for row in rows if row[0].rpartition("=")[2] not in own]


def kinds(path: Path) -> set[str]:
    """The names by which a YAML file calls itself or the row behind it."""
    from wganbench.config.keys import read

    return {path.stem, str(read(path).get("kind", path.stem))}


def metric_rows() -> list[Row]:
    """``(tag, meaning with unit, direction and formula, source)`` of every tag."""
    from wganbench.records.tags import TAGS

    rows: list[Row] = []
    for name, tag in TAGS.items():
        text = f"{tag.meaning.rstrip('.')} [{tag.unit}]"
        better = ARROWS.get(tag.direction)
        rows.append((name, f"{text}; {better}" if better else text, tag.source))
    return rows


def print_settings(group: str | None) -> None:
    """Every key of a run's configuration, or those of one group; raises ConfigError."""
    from wganbench.config.settings import GROUPS, settings

    for name in GROUPS if group is None else [group]:
        rows = [
            (row.key, row.meaning, f"default: {row.default}", f"accepts: {row.range}")
            for row in settings(name)
        ]
        print_rows(f"settings: {name}", rows)


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Two columns in a terminal, the other texts on lines below; else one line a row."""
    from rich.table import Table
    from rich.text import Text

    from wganbench.terminal import PlainConsole

    console = PlainConsole()
    if not console.is_terminal:
        print(title)
        for row in rows:
            print("  " + "  |  ".join(row))
        return
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold", max_width=console.width * 2 // 5)
    table.add_column(overflow="fold")
    for name, text, *others in rows:
        below = Text("".join(f"\n{other}" for other in others if other), style="dim")
        table.add_row(Text(name, style="bold"), Text(text) + below)
    console.print(Text(title, style="bold underline"))
    console.print(table)
    console.print()


def print_metrics(values: Mapping[str, float]) -> None:
    """Measured values by tag, one a line; a value that is not defined is left empty."""
    width = max((len(tag) for tag in values), default=0)
    for tag, value in values.items():
        print(f"{tag:<{width}}  {'' if math.isnan(value) else f'{value:.6g}'}".rstrip())
