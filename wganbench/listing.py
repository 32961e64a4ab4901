"""What ``wganbench list`` prints: every choice with a line and its source."""

from __future__ import annotations

import math
from collections.abc import Mapping

from wganbench.errors import ConfigError
from wganbench.presets import describe_preset, preset_names
from wganbench.registry import unknown

LISTINGS = {
    "losses": "loss",
    "data": "data",
    "networks": "network",
    "metrics": "",
    "experiments": "experiment",
}
"""What can be listed, and the folder of conf/ that holds it."""

ARROWS = {"up": "higher is better", "down": "lower is better", "target": "best at its target"}


def print_listing(what: str | None) -> None:
    """One table, or all of them; raises ConfigError for a name that is none."""
    if what is not None and what not in LISTINGS:
        raise ConfigError(unknown("listing", what, list(LISTINGS)))
    for name in LISTINGS if what is None else [what]:
        print_rows(name, metric_rows() if name == "metrics" else preset_rows(LISTINGS[name]))


def preset_rows(group: str) -> list[tuple[str, str, str]]:
    """``(name, what it is, source)`` of every YAML file of a group, from its head comment."""
    rows = []
    for name in preset_names(group):
        text, _, source = describe_preset(group, name).partition("Source:")
        rows.append((f"{group}={name}", text.strip(), source.strip()))
    return rows


def metric_rows() -> list[tuple[str, str, str]]:
    """``(tag, meaning with unit, direction and formula, source)`` of every tag."""
    from wganbench.records.tags import TAGS

    rows = []
    for name, tag in TAGS.items():
        text = f"{tag.meaning.rstrip('.')} [{tag.unit}]"
        better = ARROWS.get(tag.direction)
        rows.append((name, f"{text}; {better}" if better else text, tag.source))
    return rows


def print_rows(title: str, rows: list[tuple[str, str, str]]) -> None:
    """A table as wide as the terminal; one line a row where there is none."""
    from rich.table import Table

    from wganbench.terminal import PlainConsole

    console = PlainConsole()
    if not console.is_terminal:
        print(title)
        for row in rows:
            print("  " + "  |  ".join(row))
        return
    table = Table("name", "what it is", "source", title=title, title_justify="left")
    for name, text, source in rows:
        table.add_row(name, text, source)
    console.print(table)


def print_metrics(values: Mapping[str, float]) -> None:
    """Measured values by tag, one a line; a value that is not defined is left empty."""
    width = max((len(tag) for tag in values), default=0)
    for tag, value in values.items():
        print(f"{tag:<{width}}  {'' if math.isnan(value) else f'{value:.6g}'}".rstrip())
