"""The commands of the command line: parse, call, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from wganbench.cli.arguments import (
    AsJson,
    At,
    Baseline,
    By,
    ConfigDir,
    Features,
    Metric,
    Overrides,
    Resumed,
    complete_listing,
)
from wganbench.cli.console import (
    EXIT_CODES,
    FAILED,
    WRONG_USE,
    Finished,
    end_if_finished,
    end_process,
    exit_code,
    fail,
    open_in_browser,
    report,
    translated,
    worst,
)
from wganbench.cli.long_verbs import demo, speedrun, study, tune
from wganbench.cli.new import new
from wganbench.cli.runs_verbs import diff, evaluate, export, list_runs, remove, sample
from wganbench.output import result_is_on_disk, unbreakable
from wganbench.plugin_files import use_plugins
from wganbench.training.process import signals_interrupt

app = typer.Typer(
    name="wganbench",
    help="Train BCE-GAN, WGAN-clip and WGAN-GP side by side, and measure what they claim.",
    epilog="plugins=FILE, with any command, adds the losses, data, networks, metrics and studies "
    "of a Python file.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

LOOSE = {"ignore_unknown_options": True}
"""For commands with overrides: one that looks like an option is left to Hydra."""


@app.callback(invoke_without_command=True)
def no_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"wganbench {installed('wganbench')}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command(context_settings=LOOSE)
def train(
    overrides: Overrides = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start the run afresh where it exists already.")
    ] = False,
) -> int:
    """Train one run, measure it and say how it went.

    \b
    wganbench train                         WGAN-GP on the ring of 8 Gaussians
    wganbench train loss=clip data=grid25   another loss, other data
    wganbench train loss=gp --cfg job       print the configuration, do nothing

    The same command continues an interrupted run, or reports a finished one.
    --config-dir DIR adds YAML files of your own.
    """
    from wganbench.config.composition import run
    from wganbench.config.schema import RunConfig

    def look(config: RunConfig) -> None:
        from wganbench.cli.run_view import say_loading
        from wganbench.training.native.library import build_early

        end_if_finished(config)
        say_loading()
        build_early(config)

    def accept(config: RunConfig) -> None:
        from wganbench.runs.stored import check_folder
        from wganbench.training.device import pick_device

        pick_device(config.device)
        check_folder(config)

    def task(config: RunConfig, folder: Path) -> int:
        from wganbench.cli.run_view import RunView, settings_line
        from wganbench.presets import searched_folders
        from wganbench.training.runs import train_run

        result_is_on_disk()
        view = RunView()
        view.say(settings_line(config, searched_folders(), given.chosen.get("tuned")))
        return report(train_run(config, folder, view))

    arguments = [*(overrides or []), *(["overwrite=true"] if overwrite else [])]
    try:
        given = translated(arguments)
        return run(given.command, task, accept, look) or 0
    except Finished as finished:
        return report(finished.outcome)


@app.command(context_settings=LOOSE)
def sweep(
    overrides: Overrides = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start runs afresh where they exist already.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print stacks, devices and an estimate; train nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Allow more than 10 000 runs.")] = False,
) -> int:
    """Train every combination of the values given, side by side.

    \b
    wganbench sweep loss=bce,clip,gp 'seed=range(0,5)'
    wganbench sweep loss=gp loss.gp_lambda=0.1,1,10,100 'seed=range(0,8)'
    wganbench sweep 'experiment=glob(arm_*)' seed=0,1

    The same command finishes what is missing; more seeds train only the new ones.
    """
    from wganbench.cli.run_view import say_loading
    from wganbench.sweeps.workers import early_workers

    arguments = [*(overrides or []), *(["overwrite=true"] if overwrite else [])]
    if not plan:
        result_is_on_disk()
        say_loading()
    # Started first, because the imports below take seconds.
    with early_workers([*arguments, *(["--plan"] if plan else [])]):
        from wganbench.cli.sweep_view import SweepView, print_plan, print_sweep
        from wganbench.sweeps.command import plan_only, run_sweep

        command = translated(arguments, several=True).command
        if plan:
            print_plan(*plan_only(command, limited=not yes))
            return 0
        done = run_sweep(command, SweepView(), limited=not yes)
    for folder, (jobs, outcomes) in done.folders.items():
        print_sweep(folder, jobs, outcomes)
    return worst(done.outcomes())


@app.command()
def resume(path: Resumed, features: Features = None) -> int:
    """Finish runs and sweeps that were interrupted.

    Finished runs are left as they are. In a folder that holds several sweeps, such as outputs,
    everything unfinished is finished.
    """
    from wganbench.cli.run_view import say_loading

    say_loading()
    from wganbench.cli.runs_verbs import REFUSED, resume_path
    from wganbench.metrics import allow_features

    allow_features(*(features or []))
    result_is_on_disk()

    codes = EXIT_CODES | {REFUSED: WRONG_USE}
    return max((codes[status] for status in resume_path(path)), default=0)


@app.command()
def compare(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Folders of runs or of sweeps.")
    ],
    by: By = None,
    metric: Metric = None,
    at: At = None,
    baseline: Baseline = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files; else PATH/comparison.")
    ] = None,
    animate: Annotated[
        bool,
        typer.Option("--animate", help="A GIF of all groups learning (needs log.animation=true)."),
    ] = False,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORM", help="Print one table only: markdown or latex."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Say which settings are better, and how sure that is.

    Prints tables with intervals over seeds, and writes figures and a report.

    \b
    wganbench compare outputs/ring8                    groups: what differs
    wganbench compare outputs/ring8 --by loss.name --metric modes/covered
    wganbench compare outputs/ring8 --at critic_steps  at an equal budget
    wganbench compare outputs/ring8 --baseline bce     each group with this one
    """
    from wganbench.cli.compare_view import check_form, print_as, print_comparison, print_files
    from wganbench.files import inside
    from wganbench.reports.comparison import compare as compare_runs
    from wganbench.reports.export import write_all
    from wganbench.reports.groups import parse_at
    from wganbench.runs.record import find_runs
    from wganbench.sweeps.manifest import not_begun

    check_form(form, {"--out": out, "--animate": animate, "--open": show})
    runs = find_runs(paths)
    budget, named = parse_at(at, runs) if at else None, [str(path) for path in paths]
    comparison = compare_runs(
        runs, by or (), metric or (), budget, not_begun(paths, runs), named, baseline
    )
    if form is not None:
        print_as(form, comparison)
        return
    folder = out or inside(paths[0], "comparison")
    print_comparison(comparison)
    written = write_all(comparison, folder, animate)
    print_files(*written)
    if show:
        open_in_browser(written.files["report"].resolve().as_uri())


app.command()(sample)
app.command()(evaluate)
app.command("ls")(list_runs)
app.command("rm")(remove)
app.command()(diff)
app.command()(export)
app.command()(new)


@app.command()
def tensorboard(
    path: Annotated[
        Path, typer.Argument(metavar="[PATH]", help="A sweep's folder, a run's, or one above.")
    ] = Path("outputs"),
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where to listen; 0: any free port.")
    ] = 0,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="NAME",
            help="Answer to this host name too, such as a tunnel's; repeatable.",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--open", help="Open it in a browser, at Custom scalars.")
    ] = False,
) -> None:
    """Show runs in TensorBoard, while they train and after.

    \b
    wganbench tensorboard                   everything in outputs
    wganbench tensorboard outputs/ring8     one sweep

    Ctrl-C ends it. It listens on 127.0.0.1 and refuses requests for other host names.
    """
    from wganbench.cli.board import serve

    serve(path, port, host or (), open_in_browser if show else None)


app.command(context_settings=LOOSE)(study)
app.command(context_settings=LOOSE)(tune)
app.command(context_settings=LOOSE)(speedrun)


@app.command("list")
def list_(
    what: Annotated[
        str | None, typer.Argument(metavar="[WHAT]", autocompletion=complete_listing)
    ] = None,
    group: Annotated[
        str | None,
        typer.Argument(
            metavar="[GROUP]", help="Of settings: loss, train, data, tune, ...; a loss; a tag."
        ),
    ] = None,
    config_dir: ConfigDir = None,
) -> None:
    """List what there is to choose from, and what can be set.

    \b
    wganbench list                  everything but tuned and settings
    wganbench list tuned            settings that were searched for
    wganbench list settings train   keys with meaning, default and range
    wganbench list losses hinge     the page of one loss
    wganbench list metrics modes/kl a tag: formula, unit, caveat

    WHAT: losses, data, networks, metrics, experiments, studies, tuned or settings.
    """
    from wganbench.cli.listing import print_listing

    print_listing(what, group, config_dir)


app.command(context_settings=LOOSE)(demo)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show what this machine can do, and what is missing."""
    from wganbench.cli.listing import print_report

    print_report(as_json)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line (default: the process's own) and return its exit code.

    0: done, even if the reader of the output left. 2: wrong use or configuration, reported in one
    line. 3: a run diverged or failed, or the result could not be printed. 130: interrupted.
    """

    def command(words: list[str]) -> object:
        return app(use_plugins(words), standalone_mode=False)

    with unbreakable() as output, signals_interrupt():
        code = exit_code(command, sys.argv[1:] if arguments is None else arguments)
        output.out.flush()
        if output.lost and not code:
            return fail(f"the output could not be written: {output.lost}", FAILED)
    return code


def run() -> NoReturn:
    """Run the process's own command line, and end the process with its exit code."""
    end_process(main())
