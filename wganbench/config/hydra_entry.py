"""Composition by Hydra: the entry of the command and of the Python API."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wganbench.config.arguments import parse_arguments, parse_overrides
from wganbench.config.errors import ConfigError
from wganbench.config.identity import run_id
from wganbench.config.readable import readable
from wganbench.config.schema import RunConfig
from wganbench.config.validation import validate
from wganbench.presets import conf_directory

if TYPE_CHECKING:
    from omegaconf import DictConfig

Outcome = TypeVar("Outcome")
Check = Callable[["DictConfig"], RunConfig]


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """The typed and checked configuration of one run, as ``wganbench train`` would have it.

    Raises ConfigError.

    >>> compose(["loss=clip", "tuned=none"]).loss.coefficients
    {'clip_value': 0.01}
    """
    from wganbench.config.options import check_options

    return check_options(validate(compose_values(overrides)))


def compose_values(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The composed values, groups flat as in the YAML files; only the keys are checked."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    arguments = parse_overrides(overrides)
    folder = str(conf_directory())
    try:
        with hydra.initialize_config_dir(folder, job_name="wganbench", version_base="1.3"):
            return plain(hydra.compose("config", arguments.overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise readable(error, arguments) from error


def run(
    arguments: Sequence[str],
    task: Callable[[RunConfig, Path], Outcome],
    accept: Callable[[RunConfig], None],
) -> Outcome | None:
    """Hand ``task`` the configuration and the folder that Hydra made for it.

    ``accept`` sees the configuration before anything is written and may raise
    ConfigError. None is returned where Hydra was only asked to print (``--cfg job``).
    Raises ConfigError for whatever is wrong with the arguments; what the task raises
    goes through.
    """
    from hydra.core.hydra_config import HydraConfig

    parsed = parse_arguments(arguments)
    check = checking(accept)
    outcomes: list[Outcome] = []
    failures: list[BaseException] = []

    def entry(node: DictConfig) -> None:
        try:
            outcomes.append(task(check(node), Path(HydraConfig.get().runtime.output_dir)))
        except BaseException as error:
            failures.append(error)

    try:
        with hydra_process(arguments), run_id_resolver(check):
            hydra_main(entry)
    except BrokenPipeError:
        raise
    except Exception as error:
        if not from_configuration(error):
            raise
        raise readable(error, parsed) from error
    if failures:
        raise failures[0]
    return outcomes[0] if outcomes else None


def checking(accept: Callable[[RunConfig], None]) -> Check:
    """From a composed node to a typed, checked and accepted configuration, once for each."""
    checked: dict[str, RunConfig] = {}

    def check(node: DictConfig) -> RunConfig:
        from wganbench.config.options import check_options

        values = plain(node)
        if repr(values) not in checked:
            config = check_options(validate(values))
            accept(config)
            checked[repr(values)] = config
        return checked[repr(values)]

    return check


def plain(node: DictConfig) -> dict[str, Any]:
    """The run's own part of a composed node, interpolations resolved."""
    from omegaconf import OmegaConf

    own = OmegaConf.masked_copy(node, [str(key) for key in node if key != "hydra"])
    values = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def hydra_main(entry: Callable[[DictConfig], None]) -> None:
    """Hydra's own command line on our conf/; --hydra-help and the like end it early."""
    import hydra

    try:
        hydra.main(version_base="1.3", config_path=str(conf_directory()), config_name="config")(
            entry
        )()
    except SystemExit as error:
        if error.code:
            raise ConfigError(f"Hydra refused the command line ({error.code})") from error


def from_configuration(error: Exception) -> bool:
    """Whether an error that left Hydra speaks of flags, configuration, YAML files or folders."""
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    kinds = (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError)
    return isinstance(error, kinds)


@contextmanager
def run_id_resolver(check: Check) -> Iterator[None]:
    """``${run_id:}``: resolved before Hydra makes a folder, so a refusal leaves nothing behind."""
    from omegaconf import OmegaConf

    def resolve(*, _root_: DictConfig) -> str:
        return run_id(check(_root_))

    OmegaConf.register_new_resolver("run_id", resolve, replace=True)
    try:
        yield
    finally:
        OmegaConf.clear_resolver("run_id")


@contextmanager
def hydra_process(arguments: Sequence[str]) -> Iterator[None]:
    """What Hydra reads from the process: its arguments, and to raise errors, not print them."""
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["wganbench train", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error
