"""Composition by Hydra, for the commands and for the Python API."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from wganbench.config.check import check_output_dir, from_dict
from wganbench.config.hydra_errors import chain, in_one_line
from wganbench.config.overrides import Arguments, parse_arguments, parse_overrides
from wganbench.config.schema import RunConfig, run_id
from wganbench.errors import ConfigError
from wganbench.presets import conf_directory, user_files_first, user_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from wganbench.config.jobs import SweepTask


Outcome = TypeVar("Outcome")
Check = Callable[["DictConfig"], RunConfig]
Accept = Callable[[RunConfig], None]

CLUSTERS = ("ray", "slurm")
"""Our launchers that train on other machines."""


_one_at_a_time = threading.RLock()


@contextmanager
def hydra_to_ourselves() -> Iterator[None]:
    """Let the block use Hydra as if nobody else did: Hydra keeps its state for the whole process.

    Other threads wait. A program that runs Hydra itself has its own state again afterwards.
    """
    with _one_at_a_time:
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.hydra_config import HydraConfig

        running, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
        GlobalHydra.instance().clear()
        try:
            yield
        finally:
            GlobalHydra.instance().hydra, HydraConfig.instance().cfg = running, config


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> RunConfig:
    """Return the typed and checked configuration of one run, as ``wganbench train`` uses it.

    ``config_dir`` is a folder of the user's YAML files. Raises ConfigError.

    >>> compose(["loss=clip", "tuned=none"]).loss.coefficients
    {'clip_value': 0.01}
    """
    from wganbench.config.check import check_options

    return check_options(from_dict(compose_values(overrides, config_dir)))


def compose_values(
    overrides: Sequence[str] = (), config_dir: str | Path | None = None
) -> dict[str, Any]:
    """Return the composed values, groups flat as in the YAML files; only keys are checked."""
    return composed(overrides, config_dir, plain)


def compose_launcher(
    overrides: Sequence[str] = (), config_dir: str | Path | None = None
) -> tuple[str, dict[str, Any]]:
    """Return the name and the settings of the launcher that the overrides choose."""
    from omegaconf import OmegaConf

    def launcher(node: DictConfig) -> tuple[str, dict[str, Any]]:
        found = OmegaConf.to_container(node.hydra.launcher, resolve=True)
        settings = cast("dict[str, Any]", found)
        settings.pop("_target_", None)
        return launcher_of(node), settings

    return composed(overrides, config_dir, launcher)


def launcher_of(node: DictConfig) -> str:
    """Return the name of the launcher in a composed node with Hydra's part."""
    return str(node.hydra.runtime.choices["hydra/launcher"])


def composed(
    overrides: Sequence[str],
    config_dir: str | Path | None,
    read: Callable[[DictConfig], Outcome],
) -> Outcome:
    """Return what ``read`` makes of the composed node, Hydra's part included.

    Raises ConfigError, also for a reference in a value that leads nowhere.
    """
    import hydra

    own = None if config_dir is None else str(user_folder(config_dir).resolve())
    arguments = parse_overrides(overrides, own)
    folder = str(conf_directory())
    show_plugins()
    with (
        in_one_line(arguments),
        user_files_first(arguments.where),
        hydra.initialize_config_dir(folder, job_name="wganbench", version_base="1.3"),
    ):
        return read(hydra.compose("config", arguments.overrides, return_hydra_config=True))


def run(
    arguments: Sequence[str],
    task: Callable[[RunConfig, Path], Outcome],
    accept: Accept,
    look: Accept | None = None,
) -> Outcome | None:
    """Call ``task`` with the configuration and the folder that Hydra made, and return its result.

    ``accept`` is called with the configuration before anything is written and may raise
    ConfigError; ``look`` is called before it, see `Checking`. Returns None if Hydra should only
    print (``--cfg job``). Raises ConfigError for wrong arguments; exceptions of the task are
    passed on.
    """
    from hydra.core.hydra_config import HydraConfig

    parsed = parse_arguments(arguments)
    check = Checking(accept, look)
    outcomes: list[Outcome] = []
    failures: list[BaseException] = []

    def entry(node: DictConfig) -> None:
        try:
            outcomes.append(task(check(node), Path(HydraConfig.get().runtime.output_dir)))
        except BaseException as error:
            failures.append(error)

    with (
        readable_errors(parsed, check),
        hydra_process(parsed.command),
        resolvers(check, []),
        user_files_first(parsed.where),
    ):
        check_early(parsed, check)
        hydra_main(entry)
    if failures:
        raise failures[0]
    return outcomes[0] if outcomes else None


PRINTING = ("--cfg", "--info", "--hydra-help")
"""Flags with which Hydra only prints."""


def check_early(parsed: Arguments, check: Check) -> None:
    """Check a run whose ``hydra.run.dir`` is typed, before Hydra makes this folder.

    Without it, the name of the folder makes Hydra call the check in time.
    """
    import hydra

    typed = any(text.startswith("hydra.run.dir=") for text in parsed.overrides)
    if typed and not set(parsed.flags) & set(PRINTING):
        show_plugins()
        folder = str(conf_directory())
        with hydra.initialize_config_dir(folder, job_name="wganbench", version_base="1.3"):
            check(hydra.compose("config", parsed.overrides))


def sweep(
    arguments: Sequence[str],
    task: Callable[[Check], SweepTask],
    accept: Accept,
    accept_on_cluster: Accept,
) -> list[Path]:
    """Run Hydra's sweeper and launcher on a task to the end; return the folders of the sweeps.

    ``accept`` is called for each job, as in `run`, and ``accept_on_cluster`` in its place where
    the launcher is one of `CLUSTERS`. Raises ConfigError for wrong arguments;
    exceptions of the task are passed on.
    """
    parsed = parse_arguments(arguments, several=True)
    check = Checking(accept, on_cluster=accept_on_cluster)
    folders: list[Path] = []
    command = ["--multirun", *parsed.command]
    with (
        readable_errors(parsed, check),
        hydra_process(command, "sweep"),
        resolvers(check, folders),
        user_files_first(parsed.where),
    ):
        hydra_main(task(check))
    return list(dict.fromkeys(folders))


class Checking:
    """Turns a composed node into a typed, checked and accepted configuration, and caches it.

    ``look`` is called first, before the options are checked, which needs torch; it may raise to
    end the command. ``on_cluster`` is called in place of ``accept`` where the launcher is one of
    `CLUSTERS`. ``failure`` holds the last exception, before Hydra wraps it in its own.
    """

    def __init__(
        self, accept: Accept, look: Accept | None = None, on_cluster: Accept | None = None
    ) -> None:
        self.accept, self.look, self.on_cluster = accept, look, on_cluster
        self.checked: dict[str, RunConfig] = {}
        self.failure: Exception | None = None

    def __call__(self, node: DictConfig) -> RunConfig:
        values = plain(node)
        if repr(values) not in self.checked:
            try:
                self.checked[repr(values)] = self.check(values, self.accepting(node))
            except Exception as error:
                self.failure = error
                raise
        return self.checked[repr(values)]

    def accepting(self, node: DictConfig) -> Accept:
        """Return what accepts the configuration of a node where its launcher trains it."""
        if self.on_cluster is not None and launcher_of(node) in CLUSTERS:
            return self.on_cluster
        return self.accept

    def check(self, values: dict[str, Any], accept: Accept) -> RunConfig:
        from wganbench.config.check import check_options

        config = from_dict(values)
        if self.look is not None:
            self.look(config)
        config = check_options(config)
        accept(config)
        return config


def plain(node: DictConfig) -> dict[str, Any]:
    """Return a composed node as plain values without Hydra's part, interpolations resolved."""
    from omegaconf import OmegaConf

    def resolved(value: Any) -> Any:
        if OmegaConf.is_config(value):
            return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        return value

    return {str(key): resolved(node[key]) for key in node if key != "hydra"}


def hydra_main(entry: Callable[[DictConfig], Any]) -> None:
    """Run Hydra's command line on our conf/; --hydra-help and similar flags end it early."""
    import hydra

    show_plugins()
    try:
        hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")(
            entry
        )()
    except SystemExit as error:
        if error.code:
            raise ConfigError(f"Hydra refused the command line ({error.code})") from error


@contextmanager
def readable_errors(arguments: Arguments, check: Checking) -> Iterator[None]:
    """Turn exceptions from Hydra that are about the configuration into a ConfigError."""
    with in_one_line(arguments):
        try:
            yield
        except Exception as error:
            if check.failure is not None and check.failure in chain(error):
                raise check.failure from None
            raise


def show_plugins() -> None:
    """Add our plugins to Hydra's; a program that ran Hydra before has searched without ours."""
    from hydra.core.plugins import Plugins

    plugins = str(Path(__file__).parent.parent / "plugins")
    if plugins not in sys.path:
        sys.path.append(plugins)
    ours = importlib.import_module("hydra_plugins.wganbench_sweeps")
    for found in vars(ours).values():
        if isinstance(found, type) and found.__module__ == ours.__name__:
            Plugins.instance().register(found)


@contextmanager
def resolvers(check: Check, sweep_folders: list[Path]) -> Iterator[None]:
    """Call `register_resolvers`, and clear the resolvers at the end of the block."""
    from omegaconf import OmegaConf

    register_resolvers(check, sweep_folders)
    try:
        yield
    finally:
        for name in ("run_id", "home", "sweep_folder"):
            OmegaConf.clear_resolver(name)


def register_resolvers(check: Check, sweep_folders: list[Path]) -> None:
    """Register ``${run_id:}``, ``${home:output_dir}`` and ``${sweep_folder:output_dir,name}``.

    The first is resolved before Hydra makes a folder, so that a refused configuration leaves no
    files. The second expands ``~``. The third does so too, and appends its path to
    ``sweep_folders``.
    """
    from omegaconf import OmegaConf

    def name_of_run(*, _root_: DictConfig) -> str:
        return run_id(check(_root_))

    def folder_of_sweep(output_dir: str, name: str) -> str:
        sweep_folders.append(check_output_dir(str(output_dir)) / str(name))
        return str(sweep_folders[-1])

    def home(output_dir: str) -> str:
        return str(check_output_dir(str(output_dir)))

    OmegaConf.register_new_resolver("run_id", name_of_run, replace=True)
    OmegaConf.register_new_resolver("home", home, replace=True)
    OmegaConf.register_new_resolver("sweep_folder", folder_of_sweep, replace=True)


@contextmanager
def hydra_process(arguments: Sequence[str], verb: str = "train") -> Iterator[None]:
    """Set what Hydra reads from the process: its arguments, and that errors are raised."""
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [f"wganbench {verb}", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error
