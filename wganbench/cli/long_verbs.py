"""The commands that train many runs for one answer: study, tune, speedrun, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wganbench.cli.arguments import ConfigDir, Overrides, complete_study
from wganbench.cli.console import translated, worst
from wganbench.output import result_is_on_disk
from wganbench.presets import directories, user_files_first


def study(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME|all", autocompletion=complete_study, show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="budget=full, seeds=10, or a setting of the study."
        ),
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the studies.")] = False,
    config_dir: ConfigDir = None,
) -> int:
    """Measure what the literature claims about these losses.

    \b
    wganbench study --list budget=full      the questions, and how long they take
    wganbench study dirac                   one of them
    wganbench study all                     all of them, and a scoreboard
    wganbench study mode_collapse seeds=20 budget=full

    Prints a verdict on each claim; figures and tables are in outputs/studies/NAME. The same
    command goes on where it was stopped.
    """
    from wganbench.cli.study_view import print_studies, run_all_and_print, run_and_print

    with user_files_first(directories(config_dir)):
        if list_them or name is None:
            print_studies([name, *(overrides or [])] if name else [])
            return 0
        from wganbench.sweeps.workers import workers_in_use

        result_is_on_disk()
        run = run_all_and_print if name == "all" else run_and_print
        with workers_in_use():  # shared by all sweeps of a study
            return run(name, overrides or [])


def tune(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="loss=, data=, trials=, budget=, seeds=, ..."),
    ] = None,
    config_dir: Annotated[
        Path | None, typer.Option("--config-dir", help="Your YAML files; winners go there.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", help="The folder whose tuned/ takes the winners.")
    ] = None,
) -> int:
    """Search for each loss's settings, at the same compute for all.

    \b
    wganbench tune loss=bce,clip,gp data=ring8 trials=64
    wganbench tune loss=gp data=grid25 budget=0.25      a quarter of the compute
    wganbench tune loss=gp space=mine.yaml              a space of your own

    Random search over conf/tune/space.yaml with successive halving. The winners become YAML
    files and are trained on fresh seeds. The same command goes on where it was stopped.
    """
    from wganbench.sweeps.workers import workers_in_use

    result_is_on_disk()
    given = overrides or []
    with workers_in_use():  # shared by all rungs
        from wganbench.cli.tune_view import tune_and_print

        return tune_and_print(given, config_dir, into)


def speedrun(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="loss=, data=, seeds=, or a setting of a run."),
    ] = None,
    config_dir: ConfigDir = None,
) -> int:
    """Measure how long each loss trains until its samples are good.

    \b
    wganbench speedrun loss=bce,clip,gp data=ring8 seeds=20

    Good: all modes, 95 % of high quality, W1 at most 1.5 floors (in many dimensions the energy
    distance within two spreads of its floor), at two evaluations in a row. Seconds and passes of
    the network: medians with intervals, failures included, and which losses differ.
    """
    from wganbench.sweeps.workers import workers_in_use

    result_is_on_disk()
    given = overrides or []
    with workers_in_use():
        from wganbench.cli.tune_view import speedrun_and_print

        return speedrun_and_print(given, config_dir)


def demo(overrides: Overrides = None) -> int:
    """Compare three losses for a lecture, in minutes.

    Trains three seeds each, and writes a report, an animation and a page to print. It says first
    how many minutes it takes. The same command goes on where it stopped.
    """
    from wganbench.cli.run_view import say_loading
    from wganbench.sweeps.workers import early_workers

    given = overrides or []
    result_is_on_disk()
    say_loading()
    with early_workers(given):
        from wganbench.cli.demo import run_demo

        return worst(run_demo(translated(given, several=True).command))
