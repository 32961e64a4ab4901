"""Composition by Hydra, for the commands and for the Python API."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, TypeVar, cast

from wganbench.config.check import validate
from wganbench.config.overrides import Arguments, parse_arguments, parse_overrides
from wganbench.config.schema import RunConfig, run_id
from wganbench.errors import ConfigError
from wganbench.presets import (
    all_keys,
    choices,
    chosen_keys,
    conf_directory,
    default_choice,
    owners,
    preset_values,
    user_files_first,
)
from wganbench.registry import unknown
from wganbench.typed import alias, nearest, nearest_key

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from wganbench.config.jobs import SweepTask


HYDRA_PLUGINS = {
    "hydra/launcher=joblib": "hydra-joblib-launcher",
    "hydra/launcher=rq": "hydra-rq-launcher",
    "hydra/launcher=submitit_local": "hydra-submitit-launcher",
    "hydra/launcher=submitit_slurm": "hydra-submitit-launcher",
    "hydra/sweeper=ax": "hydra-ax-sweeper",
    "hydra/sweeper=nevergrad": "hydra-nevergrad-sweeper",
    "hydra/sweeper=optuna": "hydra-optuna-sweeper",
}
"""The packages of other launchers and sweepers of Hydra, by what is typed."""


# Conversion of Hydra's and OmegaConf's errors to one line that helps the user.
def readable(error: BaseException, arguments: Arguments) -> ConfigError:
    """Return the ConfigError for an error from Hydra; a ConfigError in its chain comes first."""
    from hydra.errors import MissingConfigException

    for cause in chain(error):
        if isinstance(cause, ConfigError):
            return cause
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            group, _, name = str(cause.missing_cfg_file).rpartition("/")
            package = HYDRA_PLUGINS.get(f"{group}={name}")
            if package is not None:
                return ConfigError(f"{group}={name} needs a package: pip install {package}")
            return ConfigError(unknown(group, name, list(cause.options or [])))
    if isinstance(error, OSError) and error.filename:
        if any(Path(error.filename).is_relative_to(folder) for folder in arguments.where):
            return ConfigError(f"cannot read {error.filename}: {error.strerror}")
        return ConfigError(f"cannot write {error.filename}: {error.strerror}; set output_dir")
    message = of_a_reference(error)
    if message:
        return ConfigError(message)
    found = re.search(r"In '(experiment/[^']+)': Could not override '[^']+@experiment", str(error))
    if found:
        return ConfigError(f"{found[1]}.yaml: its first line must be '# @package _global_'")
    found = re.search(r"Could not \w+ '([^']+)'", str(error))
    if found and not re.search(r"multiple|already", str(error)):
        return ConfigError(unknown_key(found[1].partition("@")[0], arguments))
    key = getattr(error, "full_key", None)
    message = next((line for line in str(error).splitlines() if line.strip()), repr(error))
    return ConfigError(f"{key}: {message}" if key and str(key) not in message else message)


def of_a_reference(error: BaseException) -> str | None:
    """Return the message for a reference such as ``${seed}`` to a missing value, else None."""
    from omegaconf.errors import (
        GrammarParseError,
        InterpolationResolutionError,
        MissingMandatoryValue,
        UnsupportedInterpolationType,
    )

    causes = list(chain(error))
    key = next((k for k in (getattr(c, "full_key", None) for c in causes) if k), None)
    of_a_key = f"{key}: " if key and not str(key).startswith("hydra") else ""
    for cause in causes:
        if isinstance(cause, MissingMandatoryValue) or "Missing mandatory value" in str(cause):
            found = re.search(r"value: (\S+)", str(cause))
            missing = f"{found[1]}: " if found else of_a_key
            return f"{missing}'???' stands for a value that must be given"
        if isinstance(cause, GrammarParseError):
            return (
                f"{of_a_key}'${{' begins a reference to another key, such as ${{seed}}, "
                "and has no end"
            )
        variable = re.search(r"Environment variable '([^']*)'", str(cause))
        if variable:
            return f"{of_a_key}there is no environment variable {variable[1]!r}"
        if isinstance(cause, InterpolationResolutionError | UnsupportedInterpolationType):
            key_of = re.search(r"'([^']*)'", str(cause).partition("nterpolation")[2])
            name = f"${{{key_of[1]}}}" if key_of else "a reference in ${...}"
            return f"{of_a_key}{name} stands for another key's value, and there is none"
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and then its causes."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def unknown_key(key: str, arguments: Arguments) -> str:
    """Return the message for a key that the composed configuration does not have.

    It suggests a similar key. For a key of other choices than the user's (``loss.clip_value``
    under ``loss=gp``) it names the choices that have it.
    """
    if key.startswith("hydra.launcher."):
        near = nearest_key(key, launcher_keys(arguments.where))
        return f"unknown key {key}{near or '; conf/hydra/launcher lists them'}"
    valid, everything = chosen_keys(arguments.chosen, arguments.where), all_keys(arguments.where)
    if key in everything:
        return f"{key} is {not_used(key, arguments)}"
    meant = alias(key, valid) or nearest(key, valid) or nearest(key, everything)
    if meant is None:
        return f"unknown key {key}; wganbench train --cfg job prints all there are"
    line = f"unknown key {key}; did you mean {meant}?"
    if meant not in valid and " and " not in meant:
        line += f" It is {not_used(meant, arguments)}"
    return line


def launcher_keys(where: Sequence[Path]) -> list[str]:
    """Return the settings of all launchers as keys."""
    group = "hydra/launcher"
    names = choices(group, where)
    keys = dict.fromkeys(key for name in names for key in preset_values(group, name, where))
    return [key.replace("/", ".") for key in keys if not key.endswith("_target_")]


def not_used(key: str, arguments: Arguments) -> str:
    group = key.partition(".")[0]
    chosen = arguments.chosen.get(group) or default_choice(group)
    have = ", ".join(owners(key, arguments.where))
    return f"not used by {group}={chosen}; {penalty_hint(key)}those that have it: {have}"


def penalty_hint(key: str) -> str:
    """Return which penalty would bring a coefficient; empty for another key."""
    from wganbench.losses.penalties import TERMS

    names = [name for name, term in TERMS.items() if key in [f"loss.{own}" for own in term.names]]
    return f"loss.penalties=[{names[0]}] adds its penalty; " if names else ""


Outcome = TypeVar("Outcome")
Check = Callable[["DictConfig"], RunConfig]
Accept = Callable[[RunConfig], None]


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> RunConfig:
    """Return the typed and checked configuration of one run, as ``wganbench train`` uses it.

    ``config_dir`` is a folder of the user's YAML files. Raises ConfigError.

    >>> compose(["loss=clip", "tuned=none"]).loss.coefficients
    {'clip_value': 0.01}
    """
    from wganbench.config.check import check_options

    return check_options(validate(compose_values(overrides, config_dir)))


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
        return str(node.hydra.runtime.choices["hydra/launcher"]), settings

    return composed(overrides, config_dir, launcher)


def composed(
    overrides: Sequence[str],
    config_dir: str | Path | None,
    read: Callable[[DictConfig], Outcome],
) -> Outcome:
    """Return what ``read`` makes of the composed node, Hydra's part included.

    Raises ConfigError, also for a reference in a value that leads nowhere.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    own = None if config_dir is None else str(Path(config_dir).expanduser().resolve())
    if own is not None and not Path(own).is_dir():
        raise ConfigError(f"config_dir={config_dir}: there is no such folder")
    arguments = parse_overrides(overrides, own)
    folder = str(conf_directory())
    show_plugins()
    try:
        with (
            user_files_first(arguments.where),
            hydra.initialize_config_dir(folder, job_name="wganbench", version_base="1.3"),
        ):
            return read(hydra.compose("config", arguments.overrides, return_hydra_config=True))
    except (HydraException, OmegaConfBaseException) as error:
        raise readable(error, arguments) from error


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
        hydra_main(entry)
    if failures:
        raise failures[0]
    return outcomes[0] if outcomes else None


def sweep(
    arguments: Sequence[str], task: Callable[[Check], SweepTask], accept: Accept
) -> list[Path]:
    """Run Hydra's sweeper and launcher on a task to the end; return the folders of the sweeps.

    ``accept`` is called for each job, as in `run`. Raises ConfigError for wrong arguments;
    exceptions of the task are passed on.
    """
    parsed = parse_arguments(arguments, several=True)
    check = Checking(accept)
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
    end the command. ``failure`` holds the last exception, before Hydra wraps it in its own.
    """

    def __init__(self, accept: Accept, look: Accept | None = None) -> None:
        self.accept, self.look = accept, look
        self.checked: dict[str, RunConfig] = {}
        self.failure: Exception | None = None

    def __call__(self, node: DictConfig) -> RunConfig:
        values = plain(node)
        if repr(values) not in self.checked:
            try:
                self.checked[repr(values)] = self.check(values)
            except Exception as error:
                self.failure = error
                raise
        return self.checked[repr(values)]

    def check(self, values: dict[str, Any]) -> RunConfig:
        from wganbench.config.check import check_options

        config = validate(values)
        if self.look is not None:
            self.look(config)
        config = check_options(config)
        self.accept(config)
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
    try:
        yield
    except Exception as error:
        if check.failure is not None and check.failure in chain(error):
            raise check.failure from None
        if not from_configuration(error):
            raise
        raise readable(error, arguments) from error


def show_plugins() -> None:
    """Add our plugins to Hydra's namespace hydra_plugins, once, before Hydra searches it."""
    plugins = str(Path(__file__).parent.parent / "plugins")
    if plugins not in sys.path:
        sys.path.append(plugins)


def from_configuration(error: Exception) -> bool:
    """Return whether an error from Hydra is about flags, configuration, YAML files or folders.

    Hydra and its parser raise errors of any class for unexpected input.
    """
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    kinds = (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError)
    last = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)][-1:]
    return isinstance(error, kinds) or any(
        name.partition(".")[0] in ("hydra", "omegaconf", "antlr4") for name in last
    )


@contextmanager
def resolvers(check: Check, sweep_folders: list[Path]) -> Iterator[None]:
    """Call `register_resolvers`, and clear the resolvers at the end of the block."""
    from omegaconf import OmegaConf

    register_resolvers(check, sweep_folders)
    try:
        yield
    finally:
        OmegaConf.clear_resolver("run_id")
        OmegaConf.clear_resolver("sweep_folder")


def register_resolvers(check: Check, sweep_folders: list[Path]) -> None:
    """Register ``${run_id:}`` and ``${sweep_folder:output_dir,name}``.

    The first is resolved before Hydra makes a folder, so that a refused configuration leaves no
    files. The second also appends its path to ``sweep_folders``.
    """
    from omegaconf import OmegaConf

    def name_of_run(*, _root_: DictConfig) -> str:
        return run_id(check(_root_))

    def folder_of_sweep(output_dir: str, name: str) -> str:
        sweep_folders.append(Path(str(output_dir)) / str(name))
        return str(sweep_folders[-1])

    OmegaConf.register_new_resolver("run_id", name_of_run, replace=True)
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
