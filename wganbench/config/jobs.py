"""The jobs of a sweep: expanded from a command line, composed and checked before any starts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wganbench import bounds
from wganbench.config.composition import plain, show_plugins
from wganbench.config.hydra_errors import check_choices, from_configuration, in_one_line, readable
from wganbench.config.overrides import parse_overrides
from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError, short_repr
from wganbench.presets import GROUPS, conf_directory, searched_folders, user_files_first

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its configuration, its folder and its overrides."""

    config: RunConfig
    folder: Path
    overrides: tuple[str, ...] = ()


Choice = tuple[str, dict[str, Any]]
"""The name of a launcher (``stack``, ``ray`` or ``slurm``) and its settings."""


@dataclass(frozen=True)
class SweepTask:
    """The task function that Hydra's sweeper and launchers receive.

    ``limit`` is called with the number of jobs, ``accept`` with all jobs before anything is
    written. Both may raise ConfigError; if ``accept`` returns False, the sweep ends there.
    ``launch`` trains the jobs and returns the objective of each. A launcher that is not ours
    calls the task itself, which trains one job by ``train``.
    """

    check: Callable[[DictConfig], RunConfig]
    limit: Callable[[int], None]
    accept: Callable[[list[Job], Choice], bool]
    launch: Callable[[list[Job], Choice], list[float]]
    train: Callable[[Job], float]

    def __getstate__(self) -> dict[str, Any]:
        # A launcher that is not ours sends the task to other processes; these only need `train`.
        return {"train": self.train}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from wganbench.config.composition import Checking, register_resolvers

        object.__setattr__(self, "train", state["train"])
        object.__setattr__(self, "check", Checking(lambda config: None))
        register_resolvers(self.check, [])

    def __call__(self, node: DictConfig) -> float:
        return self.train(self.job(node))

    def job(self, node: DictConfig) -> Job:
        """Return the job of a composed node, inside Hydra's `run_job`."""
        from hydra.core.hydra_config import HydraConfig

        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        return Job(self.check(node), folder, tuple(hydra.overrides.task))


def composed_job(task: SweepTask, node: DictConfig) -> Job:
    """Return the checked job of a composed node, before Hydra makes its folder."""
    folder = Path(str(node.hydra.sweep.dir)) / str(node.hydra.sweep.subdir)
    return Job(task.check(node), folder, tuple(node.hydra.overrides.task))


def compose_jobs(
    loader: ConfigLoader, master: DictConfig, jobs: Sequence[Sequence[str]]
) -> Iterator[DictConfig]:
    """Yield Hydra's composition of every job; equal group choices are composed only once.

    A composition takes Hydra a tenth of a second. Single values are then set on a copy, in the
    same way as Hydra does it. Raises ConfigError.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import open_dict

    parser = OverridesParser.create(config_loader=loader)
    composed: dict[tuple[str, ...], DictConfig] = {}
    seen = set[tuple[str | None, ...]]()
    for job in jobs:
        try:
            overrides = parser.parse_overrides(list(job))
            node = shared(composed, overrides, partial(loader.load_sweep_config, master))
            with open_dict(node):
                node.hydra.overrides.task = list(job)
            chosen = tuple(node.hydra.runtime.choices.get(group) for group in GROUPS)
            if chosen not in seen:
                seen.add(chosen)
                check_choices(dict(zip(GROUPS, chosen, strict=True)), searched_folders())
        except Exception as error:
            if not from_configuration(error):
                raise
            raise for_a_sweep(readable(error, parse_overrides(own(job), several=True))) from error
        yield node


def compose_all(many: Sequence[Sequence[str]]) -> list[RunConfig]:
    """Return what `compose` returns for each list of overrides; equal choices compose once.

    The folders of the command that runs now are searched. Raises ConfigError.
    """
    import hydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from wganbench.config.check import check_options, from_dict

    parser = OverridesParser.create()
    composed: dict[tuple[str, ...], DictConfig] = {}
    configs = []
    show_plugins()
    with (
        user_files_first(searched_folders()),
        hydra.initialize_config_dir(str(conf_directory()), job_name="wganbench",
                                    version_base="1.3"),
    ):  # fmt: skip
        for words in many:
            arguments = parse_overrides(words)
            with in_one_line(arguments):
                overrides = parser.parse_overrides(arguments.overrides)
                node = shared(composed, overrides, partial(hydra.compose, "config"))
                configs.append(check_options(from_dict(plain(node))))
    return configs


def shared(
    composed: dict[tuple[str, ...], DictConfig],
    overrides: Sequence[Override],
    compose_choices: Callable[[list[str]], DictConfig],
) -> DictConfig:
    """Return a composition: its values are set on a copy of that of its choices, in ``composed``.

    ``compose_choices`` composes choices that are not there yet.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    choices = tuple(o.input_line or "" for o in overrides if not sets_a_value(o))
    if choices not in composed:
        composed[choices] = compose_choices(list(choices))
    node = copy.deepcopy(composed[choices])
    values = [override for override in overrides if sets_a_value(override)]
    ConfigLoaderImpl._apply_overrides_to_config(values, node)
    return node


def own(job: Sequence[str]) -> list[str]:
    """Return the overrides of the run, without those of Hydra."""
    return [text for text in job if not text.lstrip("+~").startswith("hydra")]


def sets_a_value(override: Override) -> bool:
    """Return whether an override sets a value rather than the choice of a group."""
    key = override.key_or_group
    plain = not (override.is_add() or override.is_delete() or override.package)
    return plain and key not in GROUPS and "/" not in key and not key.startswith("hydra.")


def for_a_sweep(error: ConfigError) -> ConfigError:
    """Return the error with a hint on how to sweep over losses with different options."""
    if "not used by" not in str(error):
        return error
    return ConfigError(
        f"{error}. Unlike losses are swept together as experiments, each with its own "
        "settings: 'experiment=glob(arm_*)'"
    )


def expand(
    loader: ConfigLoader, arguments: Sequence[str], limit: Callable[[int], None]
) -> list[list[str]]:
    """Return all combinations of a command line's values, as Hydra's own sweeper makes them.

    ``limit`` is called with their number before they are made. Raises ConfigError for an empty
    sweep, and for a kind of sweep that only an optimiser can do.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    count = 1
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    overrides = last_of_each_key(parsed)
    for override in overrides:
        if override.is_sweep_override():
            if not override.is_discrete_sweep():
                raise ConfigError(
                    f"{override.input_line} is a range for an optimiser: say which with "
                    "hydra/sweeper=..., or list the values"
                )
            count *= sweep_size(override)
    if count > bounds.RUNS:
        raise ConfigError(f"this sweep has more than {bounds.RUNS} runs, which is too many for one")
    limit(count)
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    return [list(job) for job in jobs]


def last_of_each_key(parsed: Sequence[Override]) -> list[Override]:
    """Return the last override of each key, which replaces those before it, even sweeps.

    It adds the key if one of them did. A removal of a key stays beside what sets it.
    """
    from hydra.core.override_parser.types import OverrideType

    adding = (OverrideType.ADD, OverrideType.FORCE_ADD)
    last: dict[tuple[str, str | None, bool], Override] = {}
    for override in parsed:
        key = (override.key_or_group, override.package, override.is_delete())
        earlier = last.get(key)
        adds = earlier is not None and earlier.type in adding and override.type not in adding
        last[key] = replace(override, type=OverrideType.FORCE_ADD) if adds else override
    return list(last.values())


def sweep_size(override: Override) -> int:
    """Return the number of values of an override; those of a range are counted by arithmetic.

    Raises ConfigError for an override without values, or a range without an end.
    """
    from hydra.core.override_parser.types import RangeSweep

    swept = override.value()
    if isinstance(swept, RangeSweep):
        step = swept.step or 0
        ends = (swept.start or 0, swept.stop or 0, step)
        if not step or not all(abs(end) <= bounds.SEEDS for end in ends):
            raise ConfigError(f"{short_repr(override.input_line)} is a range without an end")
        size = max(0, math.ceil((ends[1] - ends[0]) / step))
    else:
        size = sum(1 for _ in override.sweep_string_iterator())
    if not size:
        raise ConfigError(f"{override.input_line} has no values: the sweep is empty")
    return size
