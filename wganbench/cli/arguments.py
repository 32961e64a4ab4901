"""Arguments that several commands share, with their completion; imports are deferred."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def written_to(out: str | Path | None) -> str | Path | None:
    """Return the file that ``--out`` names, links followed. Raises ConfigError.

    A file is written whole and then renamed, so that a device or a pipe would be replaced.
    """
    from wganbench.errors import ConfigError

    if out is None:
        return None
    if str(out) == "-":
        raise ConfigError("--out -: give the name of a file")
    # Asked by its own name: no path leads to the pipe behind /dev/stdout.
    place = Path(out)
    if place.exists() and not (place.is_file() or place.is_dir()):
        raise ConfigError(f"--out {out}: it is no regular file; give the name of a file")
    ending = "/" if str(out).endswith(("/", os.sep)) else ""
    return type(out)(f"{os.path.realpath(out)}{ending}") if os.path.islink(out) else out


def complete_override(incomplete: str) -> list[str]:
    from wganbench.cli.completion import complete_override

    return complete_override(incomplete)


def complete_listing(incomplete: str) -> list[str]:
    from wganbench.cli.listing import LISTINGS

    return [name for name in LISTINGS if name.startswith(incomplete)]


def complete_study(incomplete: str) -> list[str]:
    from wganbench.presets import preset_names

    return [name for name in ["all", *preset_names("study")] if name.startswith(incomplete)]


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Overrides, such as loss=clip seed=1 train.steps=2000; plugins=FILE adds a Python "
        "file of your own; Hydra's own flags.",
        autocompletion=complete_override,
        show_default=False,
    ),
]
Resumed = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="A run's folder, a sweep's, or one above several."),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]
Features = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        metavar="MODULE:CALLABLE",
        help="Run this code, which the stored evaluate.features names; repeatable.",
    ),
]
ConfigDir = Annotated[
    Path | None,
    typer.Option(
        "--config-dir",
        file_okay=False,
        help="A folder with YAML files of your own.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# Options of compare.
BUDGET = "generator_steps, critic_steps, examples, gradient_evaluations, passes or seconds."
By = Annotated[
    list[str] | None,
    typer.Option("--by", help="Group by this key only, such as loss.gp_lambda; repeatable."),
]
Metric = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Compare this tag, such as modes/covered; repeatable."),
]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="BUDGET[=AMOUNT]", help="Compare at an equal budget: " + BUDGET),
]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", metavar="GROUP", help="Compare the others with it alone."),
]
