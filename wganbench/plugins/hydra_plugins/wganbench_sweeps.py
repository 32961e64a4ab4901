"""What Hydra finds of ours: the folder of YAML files, the grid sweeper, and the launchers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from wganbench.config.jobs import Choice, SweepTask

# The search path: the user's YAML files come before ours of the same name.
MAIN = "main"
"""Hydra's name of the folder that holds our YAML files."""


class UserFilesFirst(SearchPathPlugin):
    """Prepends the folders of the command line; other programs that use Hydra have none."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from wganbench.presets import USER_FOLDERS

        for folder in reversed(USER_FOLDERS):
            search_path.prepend("wganbench", f"file://{folder}", SearchPathQuery(provider=MAIN))


# The sweeper: all combinations of values; it checks every job before anything is written.
class GridSweeper(Sweeper):
    """Hydra's own sweeper and syntax, with all jobs checked before the sweep begins.

    Jobs with the same choice of groups are composed only once, and our launchers receive the
    composed jobs. ``params`` holds the sweeps in YAML files, such as an experiment's; the command
    line takes precedence.
    """

    def __init__(self, params: dict[str, Any] | None = None) -> None:
        self.params = params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from hydra.core.plugins import Plugins

        self.context, self.master, self.task = (
            hydra_context,
            config,
            cast("SweepTask", task_function),
        )
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from wganbench.config.jobs import compose_jobs, composed_job, expand
        from wganbench.files import inside_regular

        loader = self.context.config_loader
        swept = [f"{key}={values}" for key, values in self.params.items()]
        jobs: Sequence[Sequence[str]] = expand(loader, [*swept, *arguments], self.task.limit)
        nodes = list(compose_jobs(loader, self.master, jobs))
        choice: Choice = getattr(self.launcher, "choice", ("stack", {}))
        if not self.task.accept([composed_job(self.task, node) for node in nodes], choice):
            return None
        folder = Path(self.master.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.master, inside_regular(folder, "multirun.yaml"))
        if hasattr(self.launcher, "composed"):
            self.launcher.composed = {tuple(j): n for j, n in zip(jobs, nodes, strict=True)}
        return [self.launcher.launch(jobs, initial_job_idx=0)]


class StackLauncher(Launcher):
    """Trains the jobs as stacks over the local devices."""

    name: ClassVar[str] = "stack"

    def __init__(self, **settings: Any) -> None:
        plain = OmegaConf.to_container(OmegaConf.create(settings))
        self.choice: Choice = (self.name, cast("dict[str, Any]", plain))
        self.composed: dict[tuple[str, ...], DictConfig] = {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.master, self.task = (
            hydra_context,
            config,
            cast("SweepTask", task_function),
        )

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        setup_globals()
        returns = [
            self._prepare(tuple(overrides), initial_job_idx + i)
            for i, overrides in enumerate(job_overrides)
        ]
        jobs = [returned.return_value for returned in returns]
        objectives = self.task.launch(jobs, self.choice)
        for returned, objective in zip(returns, objectives, strict=True):
            returned.return_value = objective
        return returns

    def _prepare(self, overrides: tuple[str, ...], number: int) -> JobReturn:
        """Make the job's folder and .hydra/ as Hydra does; the result holds the job."""
        from wganbench.config.jobs import compose_jobs

        node = self.composed.get(overrides)
        if node is None:
            loader = self.context.config_loader
            (node,) = compose_jobs(loader, self.master, [overrides])
        with open_dict(node):
            node.hydra.job.id = node.hydra.job.num = number
        return run_job(
            hydra_context=self.context,
            task_function=self.task.job,
            config=node,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


class RayLauncher(StackLauncher):
    """Trains the jobs as stacks on a Ray cluster."""

    name: ClassVar[str] = "ray"


class SlurmLauncher(StackLauncher):
    """Trains the jobs as stacks on a Slurm cluster."""

    name: ClassVar[str] = "slurm"
